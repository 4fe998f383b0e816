"""Which rows the emergency segment takes: what cancels, halts or reduces, and nothing that adds risk or loosens."""

from __future__ import annotations

import pytest

from trade_journal.log.rows import Entry, Fields, RowKind
from trade_journal.writer.emergency import serves


def entry(kind: RowKind, fields: Fields) -> Entry:
    return Entry(at_ns=1, kind=kind, actor="gateway", fields=fields)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (RowKind.CANCEL_INTENT, {}),
        (RowKind.ORDER_CANCELED_BY_GATEWAY, {}),
        (RowKind.ORDER_INTENT, {"adds_risk": False}),
        (RowKind.DISASTER_STOP_INTENT, {"adds_risk": False}),
        *(
            (RowKind.STATE_CHANGED, {"holder": "operator_latch", "ceiling": ceiling})
            for ceiling in ("TRIMMED", "REDUCE_ONLY", "HALTED", "KILLED")
        ),
    ],
)
def test_segment_serves_what_cancels_halts_or_reduces(kind: RowKind, fields: Fields) -> None:
    assert serves(entry(kind, fields))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (RowKind.ORDER_INTENT, {"adds_risk": True}),
        (RowKind.ORDER_INTENT, {}),
        (RowKind.ORDER_INTENT, {"adds_risk": 0}),
        (RowKind.ORDER_INTENT, {"adds_risk": None}),
        (RowKind.ORDER_INTENT, {"adds_risk": "False"}),
        (RowKind.DISASTER_STOP_INTENT, {"adds_risk": True}),
        (RowKind.STATE_CHANGED, {"holder": "operator_latch", "ceiling": "ACTIVE"}),
        (RowKind.STATE_CHANGED, {"holder": "operator_latch", "ceiling": "HALTED", "warrant": ["x"]}),
        (RowKind.STATE_CHANGED, {"holder": "operator_latch"}),
        (RowKind.STATE_CHANGED, {"holder": "effective", "ceiling": "HALTED"}),
    ],
)
def test_segment_refuses_what_adds_risk_or_loosens(kind: RowKind, fields: Fields) -> None:
    assert not serves(entry(kind, fields))


def test_segment_serves_no_other_kind_whatever_its_fields_say() -> None:
    served = {
        RowKind.CANCEL_INTENT,
        RowKind.ORDER_CANCELED_BY_GATEWAY,
        RowKind.ORDER_INTENT,
        RowKind.DISASTER_STOP_INTENT,
        RowKind.STATE_CHANGED,
    }
    fields: Fields = {"adds_risk": False, "holder": "operator_latch", "ceiling": "HALTED"}
    assert {kind for kind in RowKind if serves(entry(kind, fields))} == served
