"""The sealed segments of a journal: whole files in an archive folder, each named by the rows that it answers for.

Guarantees
- A segment is found by name from the beginning of what comes after it, so that a missing one is named, and a file that
  is not part of the journal is never read.
- A segment joins what comes after it only when it begins where its name says, is of the same journal, and has there the
  very tree that the next one goes on from. One that is cut short, changed in place or another's is named.

A segment may hold rows behind its end: those were carried over, and count where the journal went on with them. It may
answer for no row, when a new log was begun behind a journal that had just been sealed; it then holds checkpoints. What
its rows say is for who reads them; that nobody changed a row and its hash together is for `verify`.
A file in the archive may be a link to where the segment was moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.store.beginning import AT_ROW_0, Beginning, read_beginning
from trade_journal.store.opening import tree_at
from trade_journal.store.records import count_rows
from trade_journal.store.schema import FORMAT
from trade_journal.store.sqlite_database import SqliteReading

ARCHIVE_SUFFIX: Final = ".segments"
_NAME: Final = re.compile(r"rows-([0-9]{16})-([0-9]{16})\.db", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSegment:
    """A file that answers for the rows from its own beginning to before the beginning of the next one."""

    path: Path
    beginning: Beginning
    end: Beginning

    @contextmanager
    def view(self) -> Iterator[Connection]:
        """Give its tables to be read. Raises JournalError."""
        database = SqliteReading(self.path, is_evidence=True)
        try:
            with database.view() as connection:
                yield connection
        finally:
            database.close()


def archive_beside(path: Path) -> Path:
    """Say where the segments of a SQLite journal are: in a folder beside it, or where the segment itself lies."""
    return path.parent if _NAME.fullmatch(path.name) else path.with_name(path.name + ARCHIVE_SUFFIX)


def segment_name(*, first: int, end: int) -> str:
    """Name the segment that answers for the rows from the first to before the end."""
    return f"rows-{first:016d}-{end:016d}.db"


def last_segment(folder: Path) -> Path:
    """Find the segment with the last rows of a folder. Raises JournalRefused when there is none."""
    named = [found for found in map(_NAME.fullmatch, (path.name for path in folder.iterdir())) if found]
    if not named:
        raise JournalRefused(f"{folder}: no sealed segment there")
    return folder / max(named, key=lambda found: (int(found[2]), int(found[1]))).string


def sealed_before(beginning: Beginning, *, archive: Path | None, origin: str) -> tuple[SealedSegment, ...]:
    """Find the segments before a journal's beginning, the oldest first, and check that each joins the next.

    Raises JournalRefused for one that is missing, JournalDamaged for one that does not join, JournalUnavailable.
    """
    found: list[SealedSegment] = []
    while beginning != AT_ROW_0:
        if archive is None:
            raise JournalRefused(f"the rows before {beginning.size} are sealed; say in which folder the segments are")
        segment = _joined(archive, beginning, origin=origin)
        if any(segment.path == later.path for later in found):
            raise JournalDamaged(f"{segment.path}: goes on from itself")
        found.append(segment)
        beginning = segment.beginning
    return tuple(reversed(found))


def _joined(archive: Path, end: Beginning, *, origin: str) -> SealedSegment:
    first, path = end.previous_size, archive / segment_name(first=end.previous_size, end=end.size)
    if not path.is_file():
        raise JournalRefused(f"{path}: the sealed segment of rows {first} to {end.size - 1} is missing")
    database, place = SqliteReading(path, is_evidence=True), str(path)
    try:
        with database.view() as connection:
            of = connection.execute(select(FORMAT.c.origin)).scalar_one()
            if of != origin:
                raise JournalDamaged(f"{path}: a segment of another journal: {of!r}; expected {origin!r}")
            beginning = read_beginning(connection, place)
            if beginning.size != first:
                raise JournalDamaged(f"{path}: begins with row {beginning.size}, not with row {first}: another segment")
            size = count_rows(connection, beginning)
            if size < end.size:
                said = f"has rows up to {size - 1}, and the journal goes on with row {end.size}: cut off"
                raise JournalDamaged(f"{path}: {said}")
            if tree_at(connection, place, size=end.size) != end.tree:
                said = f"does not join row {end.size}: changed, or of another history"
                raise JournalDamaged(f"{path}: {said}")
    finally:
        database.close()
    return SealedSegment(path=path, beginning=beginning, end=end)
