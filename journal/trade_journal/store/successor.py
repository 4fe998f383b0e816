"""Makes the journal that goes on behind one that was lost: the witness's copy as its sealed segments, and a new file.

Guarantees
- It is there whole or not at all: the new file gets its name last. Nothing that is there is replaced.
- The rows of the copy lie in segments that are copies of the witness's own files; the new file goes on from the tree
  over all of them, and was read across its beginning before it gets its name.

Whether the copy is what the log and its witness signed, and whether somebody has ordered this, is for the caller.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.rows import Draft
from trade_journal.log.tree import Frontier
from trade_journal.store.beginning import Beginning
from trade_journal.store.opening import opened_tree
from trade_journal.store.reader import JournalReader
from trade_journal.store.records import row_values
from trade_journal.store.schema import COSIGNATURES, FORMAT, ROWS
from trade_journal.store.segments import archive_beside, sealed_before, segment_name
from trade_journal.store.sqlite_database import SqliteReading, hold, make_file, sync_folder

_SEALED_MODE: Final = 0o400


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The witness's copy of a journal: its file in use, and what it holds with its segments."""

    path: Path
    journal: str
    tree: Frontier
    beginning: Beginning
    checkpoints: int
    cosignatures: int


def read_copy(path: Path) -> Copy:
    """Read what a witness's copy holds. Raises JournalRefused, JournalDamaged, JournalUnavailable."""
    database = SqliteReading(path)
    try:
        with database.view() as connection:
            tree, beginning, checkpoints = opened_tree(connection, str(path), log=None)
            last = connection.execute(select(COSIGNATURES.c.number).order_by(COSIGNATURES.c.number.desc())).scalar()
            journal = str(connection.execute(select(FORMAT.c.origin)).scalar_one())
    finally:
        database.close()
    return Copy(
        path=path,
        journal=journal,
        tree=tree,
        beginning=beginning,
        checkpoints=checkpoints,
        cosignatures=beginning.cosignatures if last is None else int(last) + 1,
    )


def require_room(path: Path) -> None:
    """Refuse a place at which something of a journal still lies. Raises JournalRefused."""
    for there in (path, archive_beside(path)):
        if os.path.lexists(there):
            said = "is there; a new log is for a journal that is lost. Move it out of the way, and keep it"
            raise JournalRefused(f"{there}: {said}")


def go_on_behind(copy: Copy, path: Path, *, note: bytes, entries: Sequence[Draft]) -> None:
    """Make the journal at a path: all rows of the copy, and the first rows of its new log.

    ``note`` is the new log's checkpoint over the rows of the copy. Raises JournalRefused, JournalDamaged,
    JournalUnavailable.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = hold(path)
    try:
        require_room(path)
        _go_on_behind(copy, path, note=note, entries=entries)
    except OSError as error:
        raise JournalUnavailable(f"{path}: cannot be made: {error.strerror}", cause="successor") from error
    finally:
        os.close(lock)


def _go_on_behind(copy: Copy, path: Path, *, note: bytes, entries: Sequence[Draft]) -> None:
    archive, new = path.with_name(f".{path.name}.segments"), path.with_name(f".{path.name}.successor")
    for left in (new, new.with_name(new.name + "-journal")):
        left.unlink(missing_ok=True)
    if archive.exists():
        shutil.rmtree(archive)  # of an attempt that came to no end
    archive.mkdir(mode=0o700)
    size = copy.tree.size
    for segment in sealed_before(copy.beginning, archive=archive_beside(copy.path), origin=copy.journal):
        shutil.copyfile(segment.path, archive / segment.path.name)
    _copy_database(copy.path, archive / segment_name(first=copy.beginning.size, end=size))
    for made in archive.iterdir():
        _sync(made)
        made.chmod(_SEALED_MODE)
    values = [row_values(draft, size + index) for index, draft in enumerate(entries)]

    def fill(connection: Connection) -> None:
        columns = ROWS.c.keys()
        connection.execute(insert(ROWS), [dict(zip(columns, value, strict=True)) for value in values])

    beginning = Beginning(
        size=size,
        previous_size=copy.beginning.size,
        checkpoints=copy.checkpoints,
        cosignatures=copy.cosignatures,
        note=note,
        tree=copy.tree,
    )
    make_file(new, origin=copy.journal, beginning=beginning, fill=fill)
    _read_across(new, archive, size=size + len(values))
    sync_folder(archive / "any")
    archive.rename(archive_beside(path))
    sync_folder(path)
    new.rename(path)
    sync_folder(path)


def _copy_database(source: Path, target: Path) -> None:
    """Copy a file that may be in use, with what is in its write-ahead log, into one that needs no other beside it."""
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.execute("PRAGMA query_only=ON")
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise JournalUnavailable(f"{source}: cannot be copied: {error}", cause="successor") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_across(new: Path, archive: Path, *, size: int) -> None:
    with closing(JournalReader(f"sqlite:///{new}", archive=archive)) as reader:
        reader.check_segments()
        if reader.size() != size:
            raise JournalDamaged(f"{new}: {reader.size()} rows, not {size}")
