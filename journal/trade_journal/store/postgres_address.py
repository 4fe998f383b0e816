"""Where a journal lies in a PostgreSQL server, read from its URL. Pure but for a look at the password file's mode.

`postgresql://role@host:port/database?journal=ORIGIN&...`, or with `host=/folder` for a Unix socket. The options are a
closed list. A password never stands in a URL: libpq takes it from `passfile=`, PGPASSFILE or `~/.pgpass`. Over a
network the server must prove who it is (`sslmode=verify-full`), since whoever answers there is told what is journaled.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from trade_journal.errors import JournalRefused

SCHEMA_PREFIX: Final = "trade_journal_"
_WORDS_CHARACTERS: Final = 32  # an identifier of PostgreSQL has at most 63 bytes
_FILES: Final = ("passfile", "sslrootcert", "sslcert", "sslkey")
_OPTIONS: Final = ("host", "journal", "sslmode", *_FILES)
_LOCAL_HOSTS: Final = ("127.0.0.1", "::1", "localhost")
_LOCAL_TLS: Final = ("disable", "prefer", "require", "verify-ca", "verify-full")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/\-]{1,255}", re.ASCII)
_PORT: Final = 5432


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """A server, a database in it and a role; `journal` is the origin of the one meant, or None for the only one."""

    host: str
    port: int
    database: str
    role: str
    journal: str | None
    sslmode: str
    files: Mapping[str, str]

    @property
    def place(self) -> str:
        """Name it in a message."""
        if self.host.startswith("/"):
            return f"postgresql://{self.role}@:{self.port}/{self.database}?host={self.host}"
        return f"postgresql://{self.role}@{self.host}:{self.port}/{self.database}"

    def parameters(self) -> dict[str, str | int]:
        """Give what libpq connects with."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.role,
            "sslmode": self.sslmode,
            "gssencmode": "disable",
            # Nobody is told the password in clear but a server that has proved who it is.
            **({} if self.sslmode == "verify-full" else {"require_auth": "!password"}),
            **self.files,
        }


def schema_of(origin: str) -> str:
    """Name the schema of a journal: words of its origin for people, and a hash that keeps two origins apart."""
    words = re.sub(r"[^a-z0-9]+", "_", origin.lower())[:_WORDS_CHARACTERS].strip("_")
    return f"{SCHEMA_PREFIX}{words}_{hashlib.sha256(origin.encode()).hexdigest()[:12]}"


def postgres_address(url: URL) -> PostgresAddress:
    """Read a URL. Raises JournalRefused that says what is wrong, and never repeats a password."""
    if url.password is not None:
        raise JournalRefused(
            "journal_url: holds a password; put it into a file of mode 0600 in the form of .pgpass, and name that with "
            "?passfile=/path or in PGPASSFILE"
        )
    options = _options(url)
    host = options.pop("host", url.host or "")
    if not host or (url.host and host != url.host):
        raise JournalRefused("journal_url: expected one host, as postgresql://role@host/database or ?host=/folder")
    for what, value in (("host", host), ("role", url.username), ("database", url.database)):
        if not value or not _NAME.fullmatch(value):
            raise JournalRefused(
                f"journal_url: the {what} is missing or has other characters than A-Z a-z 0-9 _ . : / -"
            )
    journal = options.pop("journal", None)
    return PostgresAddress(
        host=host,
        port=url.port or _PORT,
        database=url.database or "",
        role=url.username or "",
        journal=journal,
        sslmode=_tls(host, options.pop("sslmode", None)),
        files=_files(options),
    )


def _options(url: URL) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in url.query.items():
        if name not in _OPTIONS:
            raise JournalRefused(f"journal_url: unknown option {ascii(name)[:40]}; known are {', '.join(_OPTIONS)}")
        if not isinstance(value, str) or not value or "\0" in value:
            raise JournalRefused(f"journal_url: {name}: expected one value")
        options[name] = value
    return options


def _tls(host: str, asked: str | None) -> str:
    if host.startswith("/") or host in _LOCAL_HOSTS:
        if asked is not None and asked not in _LOCAL_TLS:
            raise JournalRefused(f"journal_url: sslmode: expected one of {', '.join(_LOCAL_TLS)}")
        return asked or "prefer"
    if asked not in (None, "verify-full"):
        raise JournalRefused("journal_url: sslmode: only verify-full over a network")
    return "verify-full"


def _files(options: Mapping[str, str]) -> dict[str, str]:
    for name, value in options.items():
        if not Path(value).is_absolute() and (name, value) != ("sslrootcert", "system"):
            raise JournalRefused(f"journal_url: {name}: expected an absolute path")
    if "passfile" in options:
        _check_password_file(Path(options["passfile"]))
    return dict(options)


def _check_password_file(path: Path) -> None:
    """Refuse what libpq would pass over with a warning, or what others may read. Raises JournalRefused."""
    try:
        status = os.stat(path)  # noqa: PTH116 - the error's words are the system's own
    except OSError as error:
        raise JournalRefused(f"{path}: password file cannot be read: {error.strerror}") from error
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or mode & 0o077:
        raise JournalRefused(f"{path}: password file must be a regular file of mode 0600 (found {mode:04o})")
