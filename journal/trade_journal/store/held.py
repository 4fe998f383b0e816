"""A journal that cannot be written for now, held by its writer all the same, and read: so that its end stays known.

Guarantees
- While it is held no other writer opens the journal: the kernel's lock beside the file is ours, also on a disk that has
  become read-only.
- What it says of the end was checked as an opening for writing checks it: format, origin, the last rows, the tree under
  the log's own signature. It writes nothing.

Another process that locks the file, or a disk that takes no more writes, keep nobody from reading it. What that process
commits meanwhile is found at the next opening, which refuses rows that are not this writer's.
It does not know PostgreSQL, where a writer's lock ends with its connection.
"""

from __future__ import annotations

import os
from typing import Protocol

from trade_journal.errors import JournalUnavailable
from trade_journal.log.note import Verifier
from trade_journal.log.rows import Row
from trade_journal.store.database import parse_url
from trade_journal.store.opening import opened_tree
from trade_journal.store.records import read_rows
from trade_journal.store.sqlite_database import SqliteReading, hold, sqlite_path


class JournalEnd(Protocol):
    """A journal as far as its end is to be known: an open store, or one that is held."""

    @property
    def place(self) -> str:
        """Say where the journal lives, without a secret."""

    def size(self) -> int:
        """Count the rows; the next row gets this sequence number."""

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order. Raises JournalError."""


class HeldJournal:
    """The journal's file, locked against every other writer and open for reading. Used by one thread at a time."""

    __slots__ = ("_lock", "_reading", "_size")

    def __init__(self, *, lock: int, reading: SqliteReading, size: int) -> None:
        """Use `open` instead."""
        self._lock = lock
        self._reading = reading
        self._size = size

    @classmethod
    def open(cls, url: str, *, origin: str, log: Verifier | None = None) -> HeldJournal:
        """Hold the journal at a URL and check its end. Raises JournalRefused, JournalDamaged, JournalUnavailable."""
        parsed = parse_url(url)
        if parsed.get_backend_name() != "sqlite":
            raise JournalUnavailable("only a journal in a file can be held without being written", cause="not_held")
        path = sqlite_path(parsed)
        lock = hold(path)
        reading: SqliteReading | None = None
        try:
            reading = SqliteReading(path, origin=origin)
            with reading.view() as connection:
                tree, _, _ = opened_tree(connection, reading.place, log=log)
        except BaseException:
            if reading is not None:
                reading.close()
            os.close(lock)
            raise
        return cls(lock=lock, reading=reading, size=tree.size)

    @property
    def place(self) -> str:
        """Name the file."""
        return self._reading.place

    def size(self) -> int:
        """Count the rows that were there when it was opened."""
        return self._size

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order, at most READ_ROWS_MAX. Raises JournalDamaged, JournalUnavailable."""
        with self._reading.view() as connection:
            return read_rows(connection, from_seq, limit)

    def close(self) -> None:
        """Let go of the journal."""
        self._reading.close()
        os.close(self._lock)
