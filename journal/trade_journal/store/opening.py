"""What is checked and learnt of a journal before its first new row: its ends, and the tree over it.

The tree over all rows comes from the last checkpoint's frontier, which must have the root that the log signed, and the
rows after it, hashed from their bytes. So the time to open does not grow with the journal: rows that were changed or
deleted under that checkpoint are found by who reads them, and by `verify`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from trade_journal.errors import JournalDamaged, NoteRefused
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.note import Verifier, check_signed, parse_note
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier
from trade_journal.store.beginning import Beginning, kept_checkpoint, kept_tree, read_beginning
from trade_journal.store.records import READ_ROWS_MAX, as_bytes, count_rows, read_rows, read_stored
from trade_journal.store.schema import CHECKPOINTS, ROWS

CHECKED_ROWS: Final = 1000  # hashed again at every opening


def opened_tree(connection: Connection, place: str, *, log: Verifier | None) -> tuple[Frontier, Beginning, int]:
    """Check a journal's end; give the tree over all its rows, where it begins, and the number of its checkpoints.

    ``log`` is whose signature the last checkpoint must carry. Raises JournalDamaged.
    """
    beginning = read_beginning(connection, place)
    size = _check_ends(connection, place, beginning)
    last = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.number.desc()).limit(1)).first()
    if last is not None:
        tree = kept_tree(last.tree, _believed(as_bytes(last.note), place, log=log), place)
    else:
        tree = beginning.tree
        if beginning.size:
            _believed(beginning.note, place, log=log)
    if tree.size > size:
        raise JournalDamaged(f"{place}: {size} rows, while its last checkpoint vouches for {tree.size}: cut off")
    checkpoints = beginning.checkpoints if last is None else int(last.number) + 1
    return extended_to(connection, place, tree, size=size), beginning, checkpoints


def tree_at(connection: Connection, place: str, *, size: int) -> Frontier:
    """Compute the tree over a journal's first rows, as far as it has them, from the last checkpoint before.

    No signature is checked. Raises JournalDamaged.
    """
    before = select(CHECKPOINTS).where(CHECKPOINTS.c.size <= size).order_by(CHECKPOINTS.c.number.desc()).limit(1)
    last = connection.execute(before).first()
    if last is None:
        tree = read_beginning(connection, place).tree
    else:
        tree = kept_tree(last.tree, kept_checkpoint(as_bytes(last.note), place), place)
    return extended_to(connection, place, tree, size=size)


def extended_to(connection: Connection, place: str, tree: Frontier, *, size: int) -> Frontier:
    """Add to a tree the rows behind it, hashed from their bytes. Raises JournalDamaged when one is missing."""
    while tree.size < size:
        page = read_stored(connection, tree.size, min(READ_ROWS_MAX, size - tree.size))
        if not page:
            raise JournalDamaged(f"{place}: row {tree.size} is missing: cut off")
        for seq, row in enumerate(page, tree.size):
            if row.seq != seq:
                raise JournalDamaged(f"{place}: row {seq} is missing; found {row.seq}: not gapless")
        tree = tree.extended(leaf_hash(row.body) for row in page)
    return tree


def _check_ends(connection: Connection, place: str, beginning: Beginning) -> int:
    """Check the first row's number and the last rows; give the number of rows there should be then."""
    # One value a query: SQLite reads the whole table for two, and so do both to count.
    first = connection.execute(select(func.min(ROWS.c.seq))).scalar_one()
    if first not in (None, beginning.size):
        raise JournalDamaged(f"{place}: the first row is numbered {first}: not gapless")
    size = count_rows(connection, beginning)
    read_rows(connection, max(beginning.size, size - CHECKED_ROWS), CHECKED_ROWS)
    return size


def _believed(note: bytes, place: str, *, log: Verifier | None) -> Checkpoint:
    checkpoint = kept_checkpoint(note, place)
    try:
        if log is not None:
            check_signed(parse_note(note), verifier=log)
    except NoteRefused as error:
        raise JournalDamaged(
            f"{place}: its last checkpoint is not by this deployment's key; is it the journal of another one? ({error})"
        ) from error
    return checkpoint
