"""What is checked and learnt of a journal before its first new row: its ends, and the tree over it.

The tree over all rows comes from the last checkpoint's frontier, which must have the root that the log signed, and the
rows after it, hashed from their bytes. So the time to open does not grow with the journal: rows that were changed or
deleted under that checkpoint are found by who reads them, and by `verify`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from trade_journal.errors import JournalDamaged, NoteRefused
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import Verifier, check_signed, parse_note
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import HASH_BYTES, Frontier
from trade_journal.store.records import READ_ROWS_MAX, as_bytes, count_rows, read_rows, read_stored
from trade_journal.store.schema import CHECKPOINTS, ROWS

CHECKED_ROWS: Final = 1000  # hashed again at every opening


def opened_tree(connection: Connection, place: str, *, log: Verifier | None) -> tuple[Frontier, int]:
    """Check a journal's end and return the tree over all its rows, and the number of its checkpoints.

    ``log`` is whose signature the last checkpoint must carry. Raises JournalDamaged.
    """
    size = _check_ends(connection, place)
    last = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.number.desc()).limit(1)).first()
    tree = Frontier()
    if last is not None:
        checkpoint = _believed(as_bytes(last.note), place, log=log)
        tree = _kept_tree(as_bytes(last.tree), checkpoint, place)
        if tree.size > size:
            raise JournalDamaged(f"{place}: {size} rows, while its last checkpoint vouches for {tree.size}: cut off")
    while tree.size < size:
        page = read_stored(connection, tree.size, min(READ_ROWS_MAX, size - tree.size))
        for seq, row in enumerate(page, tree.size):
            if row.seq != seq:
                raise JournalDamaged(f"{place}: row {seq} is missing; found {row.seq}: not gapless")
        tree = tree.extended(leaf_hash(row.body) for row in page)
    return tree, 0 if last is None else int(last.number) + 1


def _check_ends(connection: Connection, place: str) -> int:
    """Check the first row's number and the last rows; give the number of rows there should be then."""
    # One value a query: SQLite reads the whole table for two, and so do both to count.
    first = connection.execute(select(func.min(ROWS.c.seq))).scalar_one()
    if first not in (None, 0):
        raise JournalDamaged(f"{place}: the first row is numbered {first}: not gapless")
    size = count_rows(connection)
    read_rows(connection, max(0, size - CHECKED_ROWS), CHECKED_ROWS)
    return size


def _believed(note: bytes, place: str, *, log: Verifier | None) -> Checkpoint:
    try:
        parsed = parse_note(note)
        checkpoint = read_checkpoint(parsed)
    except NoteRefused as error:
        raise JournalDamaged(f"{place}: its last checkpoint: {error}") from error
    try:
        if log is not None:
            check_signed(parsed, verifier=log)
    except NoteRefused as error:
        raise JournalDamaged(
            f"{place}: its last checkpoint is not by this deployment's key; is it the journal of another one? ({error})"
        ) from error
    return checkpoint


def _kept_tree(kept: bytes, checkpoint: Checkpoint, place: str) -> Frontier:
    try:
        hashes = tuple(kept[start : start + HASH_BYTES] for start in range(0, len(kept), HASH_BYTES))
        tree = Frontier(size=checkpoint.size, hashes=hashes)
    except ValueError as error:
        raise JournalDamaged(f"{place}: the tree beside its last checkpoint: {error}") from error
    if tree.root() != checkpoint.root:
        raise JournalDamaged(f"{place}: the tree beside its last checkpoint has another root than was signed")
    return tree
