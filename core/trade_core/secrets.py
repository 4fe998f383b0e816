"""Secrets in memory and on disk: typed, never printed, readable by their owner alone, sealed where that is wanted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from trade_core.errors import ConfigurationError

MAX_SECRET_FILE_BYTES = 64 * 1024
_SEALED = "sealed"


class Secret:
    """A secret text whose every printed form hides it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "<secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is never serialised")


def read_secret_file(path: Path) -> dict[str, object]:
    """Read a JSON object from a file that only its owner may read; one that is sealed is opened (see `sealing`).

    Raises ConfigurationError that names the file and never its contents.
    """
    content = _read_object(path)
    return _opened(content, path) if _SEALED in content else content


def rewrite_secret_file(path: Path, content: Mapping[str, object]) -> None:
    """Replace the content of a secret file that is there, sealed again if it is sealed, of the same owner.

    Raises ConfigurationError when it cannot be read or sealed, and nothing has changed.
    """
    kept: Mapping[str, object] = content
    if _SEALED in _read_object(path):
        from trade_core.sealing import seal  # noqa: PLC0415 - as below

        kept = seal(content, key=_seal_key(path), name=path.name)
    owner = path.stat()
    text = json.dumps(kept, indent=1).encode() + b"\n"
    write_atomically(path, text, mode=0o600, owner=(owner.st_uid, owner.st_gid))


def _opened(content: Mapping[str, object], path: Path) -> dict[str, object]:
    # Who reads no sealed file does without the library that opens them.
    from trade_core.sealing import open_sealed  # noqa: PLC0415

    return open_sealed(content, key=_seal_key(path), path=path)


def _seal_key(path: Path) -> bytes:
    from trade_core.sealing import (  # noqa: PLC0415 - as above
        CREDENTIAL_NAME,
        KEY_FILE_VARIABLE,
        read_seal_key,
        seal_key_file,
    )

    key_file = seal_key_file(os.environ)
    if key_file is None:
        raise ConfigurationError(
            f"{path}: is sealed, and no key is given: name a key file in {KEY_FILE_VARIABLE}, "
            f"or give the systemd credential {CREDENTIAL_NAME}"
        )
    return read_seal_key(key_file)


def _read_object(path: Path) -> dict[str, object]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(f"{path}: secret file cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{path}: secret file is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise ConfigurationError(f"{path}: secret file is open to others (mode {mode:04o}); chmod 600 it")
        raw = file.read(MAX_SECRET_FILE_BYTES + 1)
    return _parse(path, raw)


def _parse(path: Path, raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_SECRET_FILE_BYTES:
        raise ConfigurationError(f"{path}: secret file is larger than {MAX_SECRET_FILE_BYTES} bytes")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        # The parser's own message quotes the text around the fault, which is secret.
        raise ConfigurationError(f"{path}: secret file is not JSON") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: secret file must hold one JSON object")
    return cast("dict[str, object]", content)


def secret_text(content: Mapping[str, object], key: str, *, path: Path) -> Secret:
    """Take one required secret out of a secret file's content. Raises ConfigurationError without the value."""
    value = content.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path}: {key}: must be a non-empty text")
    return Secret(value)


def write_secret_file(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON object that only its owner may read: whole or not at all, on disk before it returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n", mode=0o600)


def seal_secret_file(path: Path, *, key: bytes) -> None:
    """Replace a secret file by its sealed form, of the same owner. Raises ConfigurationError; also if it is sealed."""
    from trade_core.sealing import seal  # noqa: PLC0415 - as above

    content = _read_object(path)
    if _SEALED in content:
        raise ConfigurationError(f"{path}: is sealed already")
    owner = path.stat()
    sealed = json.dumps(seal(content, key=key, name=path.name), indent=1).encode() + b"\n"
    write_atomically(path, sealed, mode=0o600, owner=(owner.st_uid, owner.st_gid))


def write_atomically(path: Path, content: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file in one step, synced with its folder, so that a crash leaves the old or the new one.

    `owner` is the user and group that it shall belong to, when it is not ours.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # left by a crash of a process that had our id
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
