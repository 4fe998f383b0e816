"""Which rows the emergency segment serves while the journal cannot be written. Pure.

Guarantees
- Only what cancels, halts or reduces: a row that announces new risk, lifts a latch or changes the policy never fits.
- The row itself decides, by its kind and its fields; nobody can ask for the segment.

Why it is a closed table: the gateway is REDUCE_ONLY while the journal is in trouble, so a row that is not named here
belongs to something that must not happen then, or can wait until the journal is back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from trade_journal.log.rows import Entry, Fields, RowKind

_LATCH_HOLDER: Final = "operator_latch"
_TIGHTER: Final = frozenset({"TRIMMED", "REDUCE_ONLY", "HALTED", "KILLED"})


def _reduces(fields: Fields) -> bool:
    return fields.get("adds_risk") is False


def _tightens(fields: Fields) -> bool:
    return fields.get("holder") == _LATCH_HOLDER and fields.get("ceiling") in _TIGHTER and "warrant" not in fields


def _always(_fields: Fields) -> bool:
    return True


_SERVED: Final[Mapping[RowKind, Callable[[Fields], bool]]] = {
    RowKind.CANCEL_INTENT: _always,
    RowKind.ORDER_CANCELED_BY_GATEWAY: _always,
    RowKind.STATE_CHANGED: _tightens,
    RowKind.ORDER_INTENT: _reduces,
    RowKind.DISASTER_STOP_INTENT: _reduces,
}


def serves(entry: Entry) -> bool:
    """Tell whether the emergency segment takes a row in the journal's place."""
    rule = _SERVED.get(entry.kind)
    return rule is not None and rule(entry.fields)
