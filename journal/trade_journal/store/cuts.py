"""Where a journal is cut when it is sealed: which rows a segment answers for, and what the journal goes on from.

The same in every database; what is done with the two parts is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Table, func, insert, select

from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, open_cosigned
from trade_journal.log.note import Verifier
from trade_journal.store.beginning import Beginning
from trade_journal.store.opening import tree_at
from trade_journal.store.records import as_bytes
from trade_journal.store.schema import APPEND_ONLY, CHECKPOINTS, COSIGNATURES, GOES_ON_WITH, ROWS

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Up to where a journal is sealed, and the checkpoint that its new part begins with."""

    size: int
    note: bytes


def last_cosigned(connection: Connection, beginning: Beginning, *, log: Verifier, witness: Verifier) -> Cut | None:
    """Find the last checkpoint that the witness has cosigned, if it covers a row that is not sealed.

    It lies beside the log's own checkpoints, or, in the witness's copy, among them.
    """
    notes = [as_bytes(_last_note(connection, table)) for table in (COSIGNATURES, CHECKPOINTS)]
    cosigned = [(checkpoint.size, note) for note in notes if (checkpoint := _cosigned(note, log, witness))]
    if not cosigned or max(cosigned)[0] <= beginning.size:
        return None
    size, note = max(cosigned)
    return Cut(size=size, note=note)


def behind(cut: Cut, connection: Connection, place: str, *, beginning: Beginning, checkpoints: int) -> Beginning:
    """Say how a journal goes on behind a cut; `checkpoints` is how many of them it has. Raises JournalDamaged."""
    last = connection.execute(select(func.max(COSIGNATURES.c.number))).scalar()
    cosignatures = beginning.cosignatures if last is None else int(last) + 1
    return Beginning(
        size=cut.size,
        previous_size=beginning.size,
        checkpoints=_first_after(connection, CHECKPOINTS, cut.size, checkpoints),
        cosignatures=_first_after(connection, COSIGNATURES, cut.size, cosignatures),
        note=cut.note,
        tree=tree_at(connection, place, size=cut.size),
    )


def carry_over(old: Connection, new: Connection, *, first: Beginning, end: Beginning | None = None) -> None:
    """Copy rows and checkpoints as they lie, from the numbers of one beginning to before those of another."""
    for table in (ROWS, CHECKPOINTS, COSIGNATURES):
        key, number = table.c[APPEND_ONLY[table.name]], GOES_ON_WITH[table.name]
        start, limit = getattr(first, number), None if end is None else getattr(end, number)
        query = select(table) if limit is None else select(table).where(key < limit)
        while page := old.execute(query.where(key >= start).order_by(key).limit(_PAGE)).mappings().all():
            new.execute(insert(table), [dict(record) for record in page])
            start = page[-1][key.name] + 1


def _last_note(connection: Connection, table: Table) -> object:
    return connection.execute(select(table.c.note).order_by(table.c.number.desc()).limit(1)).scalar()


def _cosigned(note: bytes, log: Verifier, witness: Verifier) -> Checkpoint | None:
    try:
        return open_cosigned(note, log=log, witness=witness).checkpoint
    except NoteRefused:
        return None


def _first_after(connection: Connection, table: Table, size: int, end: int) -> int:
    """Give the number of the first checkpoint over more rows than these, or the next one that there will be."""
    first = connection.execute(select(func.min(table.c.number)).where(table.c.size > size)).scalar()
    return end if first is None else int(first)
