"""A journal that is one whole SQLite file, read with nothing but the driver: for who must be quick, and may give up.

It knows one case only, the usual one: a file of this format, begun with row 0, with the triggers that it was made with.
`opened` answers None for everything else, and whoever asked reads the journal the usual way, which says what it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from trade_journal.errors import JournalError
from trade_journal.log.verify import StoredRow
from trade_journal.store.evidence import evidence_uri

PLAIN_VERSION: Final = 3
PLAIN_TABLES: Final = frozenset({"rows", "journal_format", "checkpoints", "cosignatures"})
PLAIN_TRIGGERS: Final = frozenset(
    f"{table}_refuse_{what}" for table in PLAIN_TABLES - {"journal_format"} for what in ("update", "delete", "gap")
)
_BUSY_TIMEOUT_S: Final = 2
_NOTES: Final = 1000
_ROWS: Final = "SELECT seq, body, leaf_hash FROM rows WHERE seq >= ? ORDER BY seq LIMIT ?"


class PlainSqlite:
    """The file, open for reading, and never changed by it. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        """Use `opened` instead."""
        self._connection = sqlite3.connect(evidence_uri(path), uri=True, timeout=_BUSY_TIMEOUT_S)
        for pragma in ("trusted_schema=OFF", "query_only=ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    @classmethod
    def opened(cls, path: Path) -> PlainSqlite | None:
        """Open a journal, if it is of the one kind that is known here."""
        made: PlainSqlite | None = None
        with suppress(sqlite3.Error, JournalError, OSError):
            made = cls(path)
            if made._is_plain():
                return made
        if made is not None:
            made.close()
        return None

    def origin(self) -> str:
        """Name the journal."""
        (origin,) = self._connection.execute("SELECT origin FROM journal_format").fetchone()
        return str(origin)

    def size(self) -> int:
        """Count the rows by the number of the last one."""
        (size,) = self._connection.execute("SELECT ifnull(max(seq) + 1, 0) FROM rows").fetchone()
        return int(size)

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, in the order of their numbers, judging nothing."""
        # SQLite keeps whatever type it is handed; what is not bytes has no leaf hash that fits.
        return [StoredRow(seq, _as_bytes(body), _as_bytes(leaf)) for seq, body, leaf in self.records(from_seq, limit)]

    def records(self, from_seq: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Read rows as the driver gives them; what should be bytes may be of any type that SQLite knows."""
        return self._connection.execute(_ROWS, (from_seq, limit)).fetchall()

    def checkpoints(self) -> Iterator[bytes]:
        """Read every checkpoint that is kept by now, in pages, while they are asked for."""
        return self._all_notes("checkpoints")

    def cosigned(self) -> Iterator[bytes]:
        """Read every cosigned checkpoint that is kept by now."""
        return self._all_notes("cosignatures")

    def count_notes(self) -> int:
        """Count the checkpoints, the cosigned ones included."""
        counted = "SELECT (SELECT count(*) FROM checkpoints) + (SELECT count(*) FROM cosignatures)"
        return int(self._connection.execute(counted).fetchone()[0])

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _is_plain(self) -> bool:
        read = self._connection.execute
        named = read("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'trigger', 'view')").fetchall()
        is_made_so = {name for kind, name in named if kind == "table"} == PLAIN_TABLES
        is_kept_so = {name for kind, name in named if kind != "table"} == PLAIN_TRIGGERS
        return is_made_so and is_kept_so and read("SELECT version FROM journal_format").fetchall() == [(PLAIN_VERSION,)]

    def _all_notes(self, table: str) -> Iterator[bytes]:
        (count,) = self._connection.execute(f"SELECT ifnull(max(number) + 1, 0) FROM {table}").fetchone()  # noqa: S608
        return self._notes(table, int(count))

    def _notes(self, table: str, count: int) -> Iterator[bytes]:
        query = f"SELECT note FROM {table} WHERE number >= ? AND number < ? ORDER BY number"  # noqa: S608 - ours
        for first in range(0, count, _NOTES):
            page = self._connection.execute(query, (first, min(count, first + _NOTES))).fetchall()
            yield from (_as_bytes(note) for (note,) in page)


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
