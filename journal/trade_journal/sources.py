"""Where a journal is read from: its own database with its sealed segments, a bundle, or a running service.

A source gives rows as bytes and checkpoints as notes and judges neither; `verify` does. Rows that come as JSON are
rendered again in their one canonical form, so that a row that says anything else has another hash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from trade_journal.errors import JournalRefused
from trade_journal.export.bundle_source import BundleSource, is_bundle
from trade_journal.listener_source import ListenerSource
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.database import parse_url
from trade_journal.store.evidence import is_unmerged, private_copy
from trade_journal.store.segments import archive_beside, last_segment
from trade_journal.store.sqlite_database import sqlite_path
from trade_journal.store.store import CHECKPOINTS_MAX, READ_ROWS_MAX, JournalReader

AHEAD_PAGES: Final = 8  # at most 64 MiB, of the largest rows


class Source(Protocol):
    """A journal that can be read."""

    def origin(self) -> str:
        """Name the journal, or its log, as it says itself. Raises JournalError."""

    def size(self) -> int:
        """Count the rows. Raises JournalError."""

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows in the order of their numbers, at most READ_ROWS_MAX; empty at the end. Raises JournalError."""

    def checkpoints(self) -> Iterable[bytes]:
        """Read every checkpoint that is kept by now, or the last one where no more are served. Raises JournalError.

        They may be read while they are asked for; one that is kept later is never among them.
        """

    def cosigned(self) -> Iterable[bytes]:
        """Read every cosigned checkpoint that is kept by now, or the last one, as above. Raises JournalError."""

    def close(self) -> None:
        """Release what is held."""


class DatabaseSource:
    """A journal's own database: a SQLite file, or a schema in PostgreSQL, and the folder of its sealed segments.

    It is read as evidence: no file of it is changed.
    """

    def __init__(self, url: str, *, archive: Path | None = None) -> None:
        self._copy: TemporaryDirectory[str] | None = None
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite" and is_unmerged(path := sqlite_path(parsed)):
            archive = archive or archive_beside(path)
            self._copy = private_copy(path)
            url = f"sqlite:///{self._copy.name}/{path.name}"
        self._reader = JournalReader(url, archive=archive, is_evidence=True)
        self._ahead: deque[list[StoredRow]] = deque()

    def origin(self) -> str:
        """Name the journal."""
        return self._reader.origin()

    def size(self) -> int:
        """Count the rows."""
        return self._reader.size()

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there. Whole pages are read ahead: a view costs as much as a page."""
        if limit != READ_ROWS_MAX:
            return self._reader.stored_rows(from_seq, limit)
        if not self._ahead or self._ahead[0][0].seq != from_seq:
            self._ahead = deque(self._reader.stored_pages(from_seq, AHEAD_PAGES))
        return self._ahead.popleft() if self._ahead else []

    def checkpoints(self) -> Iterator[bytes]:
        """Read every checkpoint."""
        return _all_pages(self._reader.checkpoints, self._reader.count_checkpoints())

    def cosigned(self) -> Iterator[bytes]:
        """Read every cosigned checkpoint."""
        return _all_pages(self._reader.cosigned, self._reader.count_cosigned())

    def first_over(self, seq: int) -> bytes | None:
        """Read the first cosigned checkpoint over a row, or the first of the log's own; None where there is neither."""
        return self._reader.first_over(seq)

    def tree_before(self, seq: int) -> Frontier:
        """Compute the tree over the rows before one, without reading most of them. Raises JournalDamaged."""
        return self._reader.tree_before(seq)

    def close(self) -> None:
        """Close the database."""
        self._reader.close()
        if self._copy is not None:
            self._copy.cleanup()


def open_source(where: str, *, token: str | None, archive: Path | None = None) -> Source:
    """Open a journal by its file, a folder of sealed segments, a bundle, its database URL, or an admin listener's URL.

    ``archive`` is the folder of the sealed segments, where it is not beside the file. Raises JournalError.
    """
    if where.startswith(("http://", "https://")):
        if token is None:
            raise JournalRefused("a service's journal needs a token that may read: --token-file FILE")
        return ListenerSource(where, token=token)
    if "://" in where:
        return DatabaseSource(where, archive=archive)
    path = Path(where).absolute()
    if path.is_dir():
        return DatabaseSource(f"sqlite:///{last_segment(path)}", archive=path)
    if is_bundle(path):
        return BundleSource(path)
    return DatabaseSource(f"sqlite:///{path}", archive=archive)


def stored_rows(source: Source, *, from_seq: int = 0) -> Iterator[list[StoredRow]]:
    """Read a journal to its end, a page at a time."""
    while page := source.rows(from_seq, READ_ROWS_MAX):
        yield page
        from_seq = page[-1].seq + 1


def _all_pages(read: Callable[[int, int], list[bytes]], count: int) -> Iterator[bytes]:
    number = 0
    while number < count and (page := read(number, min(CHECKPOINTS_MAX, count - number))):
        yield from page
        number += len(page)
