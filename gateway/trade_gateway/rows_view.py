"""How journal rows look on the admin listener and in tools: plain JSON, with the leaf hash of the row's bytes."""

from __future__ import annotations

from typing import Any

from trade_journal.rows import Row, leaf_hash, row_bytes


def rendered_row(row: Row) -> dict[str, Any]:
    """Show one row."""
    return {
        "seq": row.seq,
        "at_ns": row.at_ns,
        "kind": row.kind.value,
        "actor": row.actor,
        "fields": dict(row.fields),
        "policy_hash": row.policy_hash,
        "leaf_hash": leaf_hash(row_bytes(row)).hex(),
    }
