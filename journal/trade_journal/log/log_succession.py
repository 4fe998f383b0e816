"""The row with which a new log goes on behind one that was lost, and what makes it believed. Pure.

The row stands behind the rows that the witness had seen, and names them: their number and root, the number of the new
log, that log's first checkpoint, which is over just those rows, and the warrant of the person who has ordered it. Who
replays or witnesses the journal believes the new log by this row, and by nothing else.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from trade_core.trust.keys import NotTrusted
from trade_core.trust.log_warrant import MAX_LOG_WARRANT_BYTES, open_log_warrant
from trade_core.trust.ring import KeyRing
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import open_checkpoint
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import STRING_CHARACTERS_MAX, Entry, Fields, Row, RowKind

_PARTS_MAX: Final = MAX_LOG_WARRANT_BYTES * 4 // 3 // STRING_CHARACTERS_MAX + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """A succession that a person has ordered. `note` is the new log's checkpoint over the `size` rows before it."""

    number: int
    size: int
    root: bytes
    note: bytes


def succession_entry(*, number: int, size: int, root: bytes, note: bytes, warrant: bytes, at_ns: int) -> Entry:
    """Make the row of a succession."""
    fields: Fields = {
        "log": number,
        "rows": size,
        "root": root.hex(),
        "checkpoint": _parts(note),
        "warrant": _parts(warrant),
    }
    return Entry(at_ns=at_ns, kind=RowKind.LOG_SUCCEEDED, actor="journal", fields=fields)


def check_succession(row: Row, *, ring: KeyRing, number: int) -> Succeeded:
    """Believe the row of a succession by its warrant and its checkpoint. Raises NotTrusted saying what is wrong.

    ``number`` is that of the log before. What the rows before it are is for who has them: their root must be this one.
    """
    if row.kind is not RowKind.LOG_SUCCEEDED:
        raise NotTrusted(f"row {row.seq}: says nothing of a new log")
    ordered = open_log_warrant(_joined(row, "warrant"), ring=ring)
    if ordered.number != number + 1:
        raise NotTrusted(f"row {row.seq}: begins log {ordered.number} after log {number}")
    if ordered.size != row.seq:
        raise NotTrusted(f"row {row.seq}: its warrant is for a log that goes on with row {ordered.size}")
    note = _joined(row, "checkpoint")
    try:
        checkpoint, _ = open_checkpoint(note, log=gateway_log_keys(ring, number=ordered.number).log)
    except NoteRefused as error:
        raise NotTrusted(f"row {row.seq}: the new log's checkpoint: {error}") from None
    if (checkpoint.size, checkpoint.root.hex()) != (ordered.size, ordered.root):
        raise NotTrusted(f"row {row.seq}: the new log's checkpoint is over other rows than its warrant names")
    return Succeeded(number=ordered.number, size=ordered.size, root=checkpoint.root, note=note)


def _parts(raw: bytes) -> list[str]:
    text = base64.b64encode(raw).decode("ascii")
    return [text[start : start + STRING_CHARACTERS_MAX] for start in range(0, len(text), STRING_CHARACTERS_MAX)]


def _joined(row: Row, field: str) -> bytes:
    parts = row.fields.get(field)
    if not isinstance(parts, list) or len(parts) > _PARTS_MAX:
        raise NotTrusted(f"row {row.seq}: {field} is not there")
    try:
        return base64.b64decode("".join(map(str, parts)), validate=True)
    except ValueError:
        raise NotTrusted(f"row {row.seq}: {field} is not base64") from None
