"""The database of a journal: what the store needs of one, whichever kind it is, and which kind a URL means.

Guarantees of every kind
- What a transaction kept is durable when it ends: it survives the death of the process and of the machine.
- The database itself refuses changed, deleted and out-of-sequence records of this program, by triggers.
- One writer at a time; a second one is refused and told who has the journal.
- What is not ours, newer than this code or of another origin is refused, never repaired.
- A URL holds no password, so that none stands in a settings file, a message, a row or a list of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from trade_journal.errors import JournalRefused, JournalUnavailable
from trade_journal.store.postgres_address import postgres_address
from trade_journal.store.schema import RowValues
from trade_journal.store.segments import archive_beside
from trade_journal.store.sqlite_database import SqliteReading, SqliteWriting, is_blank, sqlite_path

_KINDS = "sqlite:////absolute/path or postgresql://role@host/database"


class WritingDatabase(Protocol):
    """A database that is held by the one writer of a journal in it. Used by one thread at a time.

    After an error it is good for closing only, because whether anything was kept is known by reading it anew.
    """

    @property
    def place(self) -> str:
        """Name the database in a message; never with a secret."""

    def prepared(self, *, origin: str) -> AbstractContextManager[Connection]:
        """Check that the tables are ours and of this origin, and give them to be read.

        Raises JournalRefused, JournalDamaged, JournalUnavailable.
        """

    def transaction(self) -> AbstractContextManager[Connection]:
        """Give the connection for one statement; what it keeps is durable at the end. Raises JournalUnavailable."""

    def look(self) -> None:
        """See whether somebody else has written to it, where that can be known. Raises JournalUnavailable."""

    def insert_rows(self, values: Sequence[RowValues]) -> None:
        """Keep rows, all or none, durable on return. Raises JournalUnavailable."""

    def close(self) -> None:
        """Release what is held. Never raises."""


class ReadingDatabase(Protocol):
    """A database that a journal is read from, by any number of threads."""

    @property
    def place(self) -> str:
        """Name the database in a message; never with a secret."""

    @property
    def is_one_state(self) -> bool:
        """Say whether all that one view reads is of one moment."""

    def view(self) -> AbstractContextManager[Connection]:
        """Give the tables for one statement, once they are known to be ours. Raises JournalError."""

    def close(self) -> None:
        """Release what is held."""


def open_for_writing(url: str, *, origin: str) -> WritingDatabase:
    """Hold the database at a URL as the writer of a journal. Raises JournalRefused, JournalUnavailable."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteWriting(sqlite_path(parsed))
    with driver_loaded():
        from trade_journal.store.postgres_database import PostgresWriting  # noqa: PLC0415 - only its users load the driver
    return PostgresWriting(postgres_address(parsed), origin=origin)


def open_for_reading(url: str, *, is_evidence: bool = False) -> ReadingDatabase:
    """Prepare to read the journal at a URL. Raises JournalRefused; what is there is found out by the first view.

    With ``is_evidence`` a SQLite file and what lies beside it are not changed by it.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteReading(sqlite_path(parsed), is_evidence=is_evidence)
    with driver_loaded():
        from trade_journal.store.postgres_database import PostgresReading  # noqa: PLC0415 - only its users load the driver
    return PostgresReading(postgres_address(parsed))


def archive_of(url: str) -> Path | None:
    """Say where the sealed segments of a journal are when nobody says otherwise: beside a SQLite file, or nowhere."""
    parsed = parse_url(url)
    return archive_beside(sqlite_path(parsed)) if parsed.get_backend_name() == "sqlite" else None


def is_yet_to_be_made(url: str) -> bool:
    """Tell whether a URL names a SQLite file that is not there, or that has no table yet. Raises JournalRefused."""
    parsed = parse_url(url)
    return parsed.get_backend_name() == "sqlite" and is_blank(sqlite_path(parsed))


@contextmanager
def driver_loaded() -> Iterator[None]:
    """Import what needs PostgreSQL's driver. Raises JournalUnavailable where it is not installed."""
    try:
        yield
    except ImportError as error:
        raise JournalUnavailable(
            "a journal in PostgreSQL needs psycopg, which the extra journal brings", cause="psycopg"
        ) from error


def parse_url(url: str) -> URL:
    """Read a journal's URL as one of the kinds there are. Raises JournalRefused, without anything of the URL in it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise JournalRefused(f"journal_url is not a database URL; expected {_KINDS}") from None
    if parsed.drivername not in ("sqlite", "postgresql"):
        raise JournalRefused(f"journal_url: expected {_KINDS}, found {parsed.drivername}")
    return parsed
