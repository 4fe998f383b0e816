"""Rows as records of a journal's tables: read in pages, and held against their own hashes and bytes.

The columns are an index; the bytes are the row. What contradicts them is damaged, whoever wrote it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, func, select

from trade_journal.errors import JournalDamaged
from trade_journal.log.row_check import checked_row
from trade_journal.log.rows import Draft, Row, leaf_hash, numbered
from trade_journal.log.verify import StoredRow
from trade_journal.store.beginning import Beginning
from trade_journal.store.schema import ROWS, RowValues

READ_ROWS_MAX: Final = 1000  # one page for the witness: at most 8 MiB
_PAGE: Final = {
    "sqlite": "SELECT seq, body, leaf_hash FROM rows WHERE seq >= ? ORDER BY seq LIMIT ?",
    "postgresql": "SELECT seq, body, leaf_hash FROM rows WHERE seq >= %s ORDER BY seq LIMIT %s",
}
_BODY: Final = itemgetter(1)
_LEAF: Final = itemgetter(2)
_AS_TUPLE: Final = tuple.__new__  # what the named tuple's own constructor comes to, at a third of its time


def row_values(draft: Draft, seq: int) -> RowValues:
    """Give the values of a row in the order of the table's columns."""
    body = numbered(draft.head, seq)
    entry = draft.entry
    return (seq, entry.at_ns, entry.kind._value_, entry.actor, body, leaf_hash(body))


def stored_values(stored: StoredRow, seq: int) -> RowValues:
    """Give the values of another journal's row, which must be the one numbered `seq`. Raises JournalDamaged."""
    row = checked_row(stored, seq=seq)
    return (row.seq, row.at_ns, row.kind.value, row.actor, stored.body, stored.leaf_hash)


def count_rows(connection: Connection, beginning: Beginning) -> int:
    """Count the rows by the number of the last one, those before the beginning included."""
    last = connection.execute(select(func.max(ROWS.c.seq))).scalar_one()
    return beginning.size if last is None else int(last) + 1


def read_rows(connection: Connection, from_seq: int, limit: int) -> list[Row]:
    """Read rows in order, at most READ_ROWS_MAX. Raises JournalDamaged when one is not what was written."""
    if from_seq < 0 or not 0 <= limit <= READ_ROWS_MAX:
        raise ValueError(f"rows are read from 0 upwards, at most {READ_ROWS_MAX}: from_seq={from_seq} limit={limit}")
    query = select(ROWS).where(ROWS.c.seq >= from_seq).order_by(ROWS.c.seq).limit(limit)
    return [_checked(record, from_seq + index) for index, record in enumerate(connection.execute(query))]


def read_stored(connection: Connection, from_seq: int, limit: int) -> list[StoredRow]:
    """Read rows as they lie there, in the order of their numbers, judging nothing."""
    # The driver's own cursor: an object of SQLAlchemy's for each row would cost as much again as reading it.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(_PAGE[connection.dialect.name], (from_seq, limit))
        found = cursor.fetchall()
    finally:
        cursor.close()
    # SQLite keeps whatever type it is handed; text in place of bytes has no leaf hash that fits.
    if all(set(map(type, map(column, found))) <= {bytes} for column in (_BODY, _LEAF)):
        return [_AS_TUPLE(StoredRow, record) for record in found]
    return [StoredRow(seq, as_bytes(body), as_bytes(leaf)) for seq, body, leaf in found]


def as_bytes(value: object) -> bytes:
    """Take a value that should be bytes; what is not is none."""
    return value if isinstance(value, bytes) else b""


def _checked(record: Any, seq: int) -> Row:
    """Hold a stored record against its own hash and bytes; the columns are an index, the bytes are the row."""
    row = checked_row(StoredRow(record.seq, as_bytes(record.body), as_bytes(record.leaf_hash)), seq=seq)
    if (row.seq, row.at_ns, row.kind.value, row.actor) != (seq, record.at_ns, record.kind, record.actor):
        raise JournalDamaged(f"row {seq}: columns do not match its bytes")
    return row
