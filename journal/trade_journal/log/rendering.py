"""How rows look to people and machines: plain JSON with the leaf hash, or one line of text. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from trade_core.clock import NS_PER_S
from trade_journal.log.rows import Row, leaf_hash, row_bytes

_LINE_CHARACTERS: Final = 400


def rendered_row(row: Row) -> dict[str, Any]:
    """Show one row as JSON values."""
    return {
        "seq": row.seq,
        "at_ns": row.at_ns,
        "kind": row.kind.value,
        "actor": row.actor,
        "fields": dict(row.fields),
        "policy_hash": row.policy_hash,
        "leaf_hash": leaf_hash(row_bytes(row)).hex(),
    }


def line_of(row: Row) -> str:
    """Show one row as a line: number, UTC time, kind, actor, fields. What is not printable is escaped."""
    fields = " ".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in row.fields.items())
    return f"{row.seq} {time_text(row.at_ns)} {row.kind.value} {row.actor} {fields}"[:_LINE_CHARACTERS]


def time_text(at_ns: int) -> str:
    """Show a UTC time in nanoseconds to the millisecond; a time that no calendar has as its number."""
    try:
        at = datetime.fromtimestamp(at_ns // NS_PER_S, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ns}ns"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ns % NS_PER_S // 1_000_000:03d}Z"
