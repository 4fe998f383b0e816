"""Where a journal goes on: with row 0, or behind the segments that were sealed before it.

The record of a beginning is believed as far as its tree has the root of the signed checkpoint beside it; whose
signature that is, is for who holds the key. That the segment before it really ends so is found when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, insert, select

from trade_journal.errors import JournalDamaged, NoteRefused
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.tree import HASH_BYTES, Frontier
from trade_journal.store.schema import BEGINNING, CONTINUED_VERSION, FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The numbers that a journal goes on with, and the tree over the rows before it. `note` is empty at row 0."""

    size: int = 0
    previous_size: int = 0
    checkpoints: int = 0
    cosignatures: int = 0
    note: bytes = b""
    tree: Frontier = field(default_factory=Frontier)


AT_ROW_0: Final = Beginning()


def read_beginning(connection: Connection, place: str) -> Beginning:
    """Read where a journal goes on. Raises JournalDamaged."""
    if connection.execute(select(FORMAT.c.version).limit(1)).scalar_one_or_none() != CONTINUED_VERSION:
        return AT_ROW_0
    found = connection.execute(select(BEGINNING).limit(2)).all()
    if len(found) != 1:
        raise JournalDamaged(f"{place}: {len(found)} beginnings; one is needed")
    record = found[0]
    numbers = (record.size, record.previous_size, record.checkpoints, record.cosignatures)
    # SQLite keeps whatever type it is handed.
    if not all(type(number) is int and number >= 0 for number in numbers) or record.previous_size > record.size:
        raise JournalDamaged(f"{place}: its beginning is none")
    note = record.note if isinstance(record.note, bytes) else b""
    checkpoint = kept_checkpoint(note, place)
    if checkpoint.size != record.size:
        raise JournalDamaged(f"{place}: begins with row {record.size}, under a checkpoint of {checkpoint.size} rows")
    return Beginning(
        size=record.size,
        previous_size=record.previous_size,
        checkpoints=record.checkpoints,
        cosignatures=record.cosignatures,
        note=note,
        tree=kept_tree(record.tree, checkpoint, place),
    )


def write_beginning(connection: Connection, beginning: Beginning) -> None:
    """Keep the beginning of a journal that is being made."""
    values = {
        "size": beginning.size,
        "previous_size": beginning.previous_size,
        "checkpoints": beginning.checkpoints,
        "cosignatures": beginning.cosignatures,
        "note": beginning.note,
        "tree": b"".join(beginning.tree.hashes),
    }
    connection.execute(insert(BEGINNING), values)


def kept_checkpoint(note: bytes, place: str) -> Checkpoint:
    """Read a checkpoint that is kept; who signed it is not asked here. Raises JournalDamaged."""
    try:
        return read_checkpoint(parse_note(note))
    except NoteRefused as error:
        raise JournalDamaged(f"{place}: a checkpoint that it keeps: {error}") from error


def kept_tree(kept: object, checkpoint: Checkpoint, place: str) -> Frontier:
    """Read the tree that is kept beside a checkpoint. Raises JournalDamaged when it has another root."""
    raw = kept if isinstance(kept, bytes) else b""
    try:
        hashes = tuple(raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES))
        tree = Frontier(size=checkpoint.size, hashes=hashes)
    except ValueError as error:
        raise JournalDamaged(f"{place}: the tree beside a checkpoint: {error}") from error
    if tree.root() != checkpoint.root:
        raise JournalDamaged(f"{place}: the tree beside a checkpoint has another root than was signed")
    return tree
