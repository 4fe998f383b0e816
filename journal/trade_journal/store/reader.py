"""A reading view of a journal, over its sealed segments and the file or schema that it goes on in.

Whoever reads is told of rows by their numbers and need not know where they lie. The segments are looked for when a row
of theirs is asked for, and again when the journal goes on in another file than before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Table, func, select

from trade_journal.errors import JournalDamaged, JournalUnavailable, NoteRefused
from trade_journal.log.checkpoint import log_number, said_name
from trade_journal.log.rows import Row
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.beginning import Beginning, read_beginning
from trade_journal.store.database import archive_of, open_for_reading
from trade_journal.store.opening import tree_at
from trade_journal.store.records import READ_ROWS_MAX, as_bytes, count_rows, read_rows, read_stored
from trade_journal.store.schema import CHECKPOINTS, COSIGNATURES, FORMAT, GOES_ON_WITH
from trade_journal.store.segments import SealedSegment, sealed_before

CHECKPOINTS_MAX: Final = 1000  # one page of checkpoints
_R = TypeVar("_R")


class JournalReader:
    """A reading view of a journal; any number of them, beside the writer and in other processes."""

    __slots__ = ("_archive", "_database", "_sealed")

    def __init__(self, url: str, *, archive: Path | None = None, is_evidence: bool = False) -> None:
        """Prepare; what is there is found out by the first reading. Raises JournalRefused for a URL that is none.

        ``archive`` is the folder of the sealed segments; without it, the one beside a SQLite file. With ``is_evidence``
        no file is changed by it.
        """
        self._database = open_for_reading(url, is_evidence=is_evidence)
        self._archive = archive if archive is not None else archive_of(url)
        self._sealed: tuple[Beginning, tuple[SealedSegment, ...]] = (Beginning(), ())

    def origin(self) -> str:
        """Name the journal, as its database does. Raises JournalRefused or JournalUnavailable."""
        with self._view() as (connection, _):
            return str(connection.execute(select(FORMAT.c.origin)).scalar_one())

    def size(self) -> int:
        """Count the committed rows. Raises JournalRefused or JournalUnavailable."""
        with self._view() as (connection, beginning):
            return count_rows(connection, beginning)

    def first_seq(self) -> int:
        """Say with which row the part that is not sealed begins."""
        with self._view() as (_, beginning):
            return beginning.size

    def check_segments(self) -> int:
        """Find every sealed segment and check that it joins the next; answers their number. Raises JournalError."""
        with self._view() as (connection, beginning):
            return len(self._segments(connection, beginning))

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order, at most READ_ROWS_MAX. Raises JournalDamaged, JournalRefused."""
        return self._rows(read_rows, from_seq, limit)

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, in the order of their numbers, judging nothing. At most READ_ROWS_MAX."""
        return self._rows(read_stored, from_seq, limit)

    def stored_pages(self, from_seq: int, count: int) -> list[list[StoredRow]]:
        """Read so many pages of at most READ_ROWS_MAX rows, as `stored_rows` reads one; fewer at the end."""
        pages: list[list[StoredRow]] = []
        with self._view() as (connection, beginning):
            for segment in self._segments_from(connection, beginning, _first_row, from_seq):
                with segment.view() as sealed:
                    pages += _pages(sealed, from_seq, count - len(pages), end=segment.end.size)
                if len(pages) == count:
                    return pages
                from_seq = segment.end.size  # what is missing before it is noticed by who counts
            return pages + _pages(connection, from_seq, count - len(pages))

    def checkpoints(self, from_number: int, limit: int) -> list[bytes]:
        """Read checkpoints as notes, in the order in which they were kept. At most CHECKPOINTS_MAX."""
        return self._notes(CHECKPOINTS, from_number, limit)

    def cosigned(self, from_number: int, limit: int) -> list[bytes]:
        """Read cosigned checkpoints as notes, in the order in which they were kept. At most CHECKPOINTS_MAX."""
        return self._notes(COSIGNATURES, from_number, limit)

    def count_checkpoints(self) -> int:
        """Count the checkpoints that are kept."""
        return self._count(CHECKPOINTS)

    def count_cosigned(self) -> int:
        """Count the cosigned checkpoints that are kept."""
        return self._count(COSIGNATURES)

    def last_note(self) -> bytes:
        """Read the last checkpoint, or the one that it begins with; empty where there is none."""
        query = select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.number.desc()).limit(1)
        with self._view() as (connection, beginning):
            return as_bytes(connection.execute(query).scalar() or beginning.note)

    def checkpoints_of(self, size: int) -> list[bytes]:
        """Read every checkpoint over just so many rows, as notes."""
        query = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.size == size).order_by(CHECKPOINTS.c.number)
        found: list[bytes] = []
        with self._view() as (connection, beginning):
            segments = self._segments(connection, beginning) if size <= beginning.size else ()
            for segment in segments:
                if segment.beginning.size <= size <= segment.end.size:
                    with segment.view() as sealed:
                        found += map(as_bytes, sealed.execute(query).scalars().all())
            return found + [as_bytes(note) for note in connection.execute(query).scalars().all()]

    def first_over(self, seq: int) -> bytes | None:
        """Read the first cosigned checkpoint over a row, or the first of the log's own; None where there is neither."""
        return self._first_over(COSIGNATURES, seq) or self._first_over(CHECKPOINTS, seq)

    def tree_before(self, seq: int) -> Frontier:
        """Compute the tree over the rows before one, from the last checkpoint before it. Raises JournalDamaged."""
        with self._view() as (connection, beginning):
            for segment in self._segments_from(connection, beginning, _first_row, seq):
                with segment.view() as sealed:
                    return tree_at(sealed, str(segment.path), size=seq)
            return tree_at(connection, self._database.place, size=seq)

    def close(self) -> None:
        """Release what the view holds."""
        self._database.close()

    @contextmanager
    def _view(self) -> Iterator[tuple[Connection, Beginning]]:
        """Give the part that is not sealed, and where it begins, as they belong together."""
        place = self._database.place
        with self._database.view() as connection:
            beginning = read_beginning(connection, place)
            yield connection, beginning
            if not self._database.is_one_state and read_beginning(connection, place) != beginning:
                raise JournalUnavailable(f"{place}: was sealed while it was read; read it again", cause="sealed")

    def _segments(self, connection: Connection, beginning: Beginning) -> tuple[SealedSegment, ...]:
        known, segments = self._sealed
        if known != beginning:
            origin = connection.execute(select(FORMAT.c.origin)).scalar_one()
            segments = sealed_before(beginning, archive=self._archive, origin=origin)
            self._sealed = (beginning, segments)
        return segments

    def _segments_from(
        self, connection: Connection, beginning: Beginning, numbers: Callable[[Beginning], int], first: int
    ) -> list[SealedSegment]:
        """Give the segments that answer for a number or later ones; none when all of them are in the part in use."""
        if first >= numbers(beginning):
            return []
        return [segment for segment in self._segments(connection, beginning) if first < numbers(segment.end)]

    def _rows(self, read: Callable[[Connection, int, int], list[_R]], from_seq: int, limit: int) -> list[_R]:
        found: list[_R] = []
        with self._view() as (connection, beginning):
            for segment in self._segments_from(connection, beginning, _first_row, from_seq):
                room = min(limit - len(found), segment.end.size - from_seq)
                with segment.view() as sealed:
                    found += read(sealed, from_seq, room)
                if len(found) == limit:
                    return found
                from_seq = segment.end.size
            return found + read(connection, from_seq, limit - len(found))

    def _notes(self, table: Table, from_number: int, limit: int) -> list[bytes]:
        numbers = _numbers_of(table)
        found: list[bytes] = []
        with self._view() as (connection, beginning):
            for segment in self._segments_from(connection, beginning, numbers, from_number):
                end = numbers(segment.end)
                with segment.view() as sealed:
                    found += _notes(sealed, table, from_number, limit - len(found), end=end)
                from_number = end
            return found + _notes(connection, table, from_number, limit - len(found))

    def _first_over(self, table: Table, seq: int) -> bytes | None:
        query = select(table.c.note).where(table.c.size > seq).order_by(table.c.number).limit(1)
        with self._view() as (connection, beginning):
            for segment in self._segments_from(connection, beginning, _first_row, seq):
                with segment.view() as sealed:
                    found = sealed.execute(query).scalar()
                if found is not None:
                    return as_bytes(found)
            found = connection.execute(query).scalar()
        return None if found is None else as_bytes(found)

    def _count(self, table: Table) -> int:
        query = select(func.max(table.c.number))
        with self._view() as (connection, beginning):
            last = connection.execute(query).scalar_one()
            return _numbers_of(table)(beginning) if last is None else int(last) + 1


def kept_log_number(reader: JournalReader, *, journal: str) -> int:
    """Read which of a journal's logs it is in by its last checkpoint, which is not verified here.

    Raises JournalDamaged when that is of no log of the journal, JournalError.
    """
    note = reader.last_note()
    try:
        return log_number(journal, said_name(note)) if note else 1
    except NoteRefused as error:
        raise JournalDamaged(f"its last checkpoint: {error}") from error


def _numbers_of(table: Table) -> Callable[[Beginning], int]:
    """Say with which number of a table a beginning goes on."""
    return lambda beginning: int(getattr(beginning, GOES_ON_WITH[table.name]))


def _first_row(beginning: Beginning) -> int:
    return beginning.size


def _pages(connection: Connection, from_seq: int, count: int, *, end: int | None = None) -> list[list[StoredRow]]:
    pages: list[list[StoredRow]] = []
    while len(pages) < count:
        limit = READ_ROWS_MAX if end is None else min(READ_ROWS_MAX, end - from_seq)
        page = [row for row in read_stored(connection, from_seq, limit) if end is None or row.seq < end]
        if not page:
            break
        pages.append(page)
        from_seq = page[-1].seq + 1
    return pages


def _notes(
    connection: Connection, table: Table, from_number: int, limit: int, *, end: int | None = None
) -> list[bytes]:
    if limit <= 0:
        return []
    query = select(table.c.note).where(table.c.number >= from_number)
    if end is not None:
        query = query.where(table.c.number < end)
    found = connection.execute(query.order_by(table.c.number).limit(limit)).scalars().all()
    return [as_bytes(note) for note in found]
