"""One row, held against its place in the log and against the hash that lies beside it."""

from __future__ import annotations

from trade_journal.errors import JournalDamaged
from trade_journal.log.rows import Row, leaf_hash, parse_row
from trade_journal.log.verify import StoredRow


def checked_row(stored: StoredRow, *, seq: int) -> Row:
    """Read the row that must be number `seq`. Raises JournalDamaged when its bytes or its place say otherwise."""
    if stored.seq != seq:
        raise JournalDamaged(f"row {seq} is missing; found {stored.seq}")
    if leaf_hash(stored.body) != stored.leaf_hash:
        raise JournalDamaged(f"row {seq}: leaf hash does not match its bytes")
    try:
        row = parse_row(stored.body)
    except JournalDamaged as error:
        raise JournalDamaged(f"row {seq}: {error}") from error
    if row.seq != seq:
        raise JournalDamaged(f"row {seq}: its bytes are of row {row.seq}")
    return row
