"""Exports a journal that is verified while it is read: as a bundle for strangers, or as rows for other programs.

Guarantees
- The whole journal is verified, also when a range is exported; nothing is left behind when anything contradicts it.
- A file that is there already is never replaced, and a new one is there whole or not at all.
- Memory holds a page of rows and, as `verify` does, the checkpoints; for a range 64 bytes more for every 1,024 rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from trade_journal.errors import JournalDamaged, JournalUnavailable
from trade_journal.export.bundle_writer import Notes, stretches, write_range, write_whole
from trade_journal.export.new_file import new_file
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import Row, parse_row
from trade_journal.log.verify import FaultFound, Point, PublicKeys, StoredRow, Verdict, Verification, checked_points
from trade_journal.sources import Source, stored_rows
from trade_journal.store.store import READ_ROWS_MAX

BUNDLE: Final = "bundle"
JSONL: Final = "jsonl"
PARQUET: Final = "parquet"
LAYOUTS: Final = (BUNDLE, JSONL, PARQUET)
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and what is known of the journal that it is from."""

    rows: int
    verdict: Verdict


class RowsWriter(Protocol):
    """Writes rows in a format of other programs."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""

    def close(self) -> None:
        """Complete the file, or let go of it when it will not be kept."""


def export_journal(
    source: Source,
    *,
    keys: PublicKeys,
    out: Path,
    layout: str,
    first: int | None = None,
    last: int | None = None,
    advance: Advance,
) -> Exported:
    """Write a journal, or its rows from `first` to `last`, to a new file.

    Raises JournalDamaged, naming the first bad row, JournalRefused, or JournalUnavailable: a journal that cannot be
    read, rows that are not there or, in a bundle, not under a checkpoint yet, a file that is there already.
    """
    is_whole = first is None and last is None
    with new_file(out) as file:
        # Checkpoints first: rows that are written meanwhile are then merely not vouched for yet.
        notes = Notes(checkpoints=list(source.checkpoints()), cosigned=list(source.cosigned()))
        points = _points(notes, keys)
        verification = Verification(points)
        pages = _verified_pages(source, verification, advance)
        if layout != BUNDLE:
            rows = _write_rows(_rows_writer(layout, file), pages, first or 0, last)
        elif is_whole:
            rows = write_whole(file, pages, origin=keys.log.name, points=points, notes=notes)
        else:
            rows = write_range(
                file,
                pages,
                origin=keys.log.name,
                parts=stretches(points, first or 0, last),
                read=lambda start, end: _pages(source, start, end),
                conclude=lambda: _concluded(verification),
            )
        return Exported(rows=rows, verdict=_concluded(verification))


class _JsonLines:
    """Rows as `trade-journal tail --json` shows them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        self._file.write("".join(json.dumps(rendered_row(row)) + "\n" for row in rows).encode())

    def close(self) -> None:
        """Every line is complete by itself."""


def _rows_writer(layout: str, file: IO[bytes]) -> RowsWriter:
    if layout == JSONL:
        return _JsonLines(file)
    try:
        from trade_journal.export.parquet import ParquetRows  # noqa: PLC0415 - slow to import, and not there in every service
    except ImportError as error:
        raise JournalUnavailable("parquet needs pyarrow, which the journal's extra brings", cause="pyarrow") from error
    return ParquetRows(file)


def _points(notes: Notes, keys: PublicKeys) -> list[Point]:
    try:
        return list(checked_points(notes.checkpoints, notes.cosigned, keys=keys))
    except FaultFound as error:
        raise JournalDamaged(error.fault.text()) from error


def _verified_pages(source: Source, verification: Verification, advance: Advance) -> Iterator[list[StoredRow]]:
    for page in stored_rows(source):
        verification.feed(page)
        _good(verification)
        yield page
        advance(len(page))


def _good(verification: Verification) -> Verification:
    if verification.has_fault:
        _concluded(verification)
    return verification


def _concluded(verification: Verification) -> Verdict:
    verdict = verification.verdict()
    if verdict.fault is not None:
        raise JournalDamaged(verdict.fault.text())
    return verdict


def _write_rows(writer: RowsWriter, pages: Iterator[list[StoredRow]], first: int, last: int | None) -> int:
    written = seen = 0
    with closing(writer):
        for page in pages:
            rows = [_parsed(stored) for stored in page if stored.seq >= first and (last is None or stored.seq <= last)]
            writer.write(rows)
            written += len(rows)
            seen += len(page)
    if max(first, last or 0) >= max(seen, 1):
        raise JournalUnavailable(f"the journal has {seen} rows, and no row {max(first, last or 0)}", cause="no_row")
    return written


def _parsed(stored: StoredRow) -> Row:
    try:
        return parse_row(stored.body)
    except JournalDamaged as error:
        raise JournalDamaged(f"row {stored.seq}: {error}") from error


def _pages(source: Source, start: int, end: int) -> Iterator[list[StoredRow]]:
    while start < end and (page := source.rows(start, min(READ_ROWS_MAX, end - start))):
        yield page
        start = page[-1].seq + 1
