"""Ten thousand hostile requests: only permitted orders leave, all are on record, and the process stays as it is."""

from __future__ import annotations

import pytest
from integration.stack import Stack

from redteam import fuzz

pytestmark = pytest.mark.slow


def test_fuzzed_requests_let_nothing_through_but_permitted_orders(own_stack: Stack) -> None:
    result = fuzz.run(own_stack, count=10_000, seed=7)
    assert result.faults == []
    assert result.orders_upstream >= 20, result.table()
    assert result.requests_seen == result.requests_recorded, result.table()
    # Pipelined requests can be seen twice, cut off ones not at all.
    assert result.sent == 10_000
    assert result.requests_seen > 9_000, result.table()
    assert result.growth_bytes < fuzz.GROWTH_LIMIT_BYTES, result.table()
    own_stack.wait_for_state("ACTIVE")


def test_judge_of_upstream_bodies_refuses_what_is_not_permitted() -> None:
    policy = {
        "symbols": [{"category": "spot", "symbol": "XRPUSDT", "max_order_quantity": "100"}],
        "min_order_notional_usdt": "5",
        "max_order_notional_usdt": "250",
    }
    tag = "T1" + "a" * 34
    good = (
        '{"category":"spot","symbol":"XRPUSDT","side":"Buy","orderType":"Limit","qty":"10","price":"2",'
        f'"timeInForce":"PostOnly","orderLinkId":"{tag}"}}'
    )
    rows = {tag: {"category": "spot", "symbol": "XRPUSDT", "side": "Buy", "quantity": "10", "price": "2"}}
    assert fuzz.judge_upstream(good, policy=policy, rows=rows) is None
    for fault, before, after in (
        ("keys", '"qty"', '"triggerPrice":"1","qty"'),
        ("bytes", ":", ": "),
        ("kind", "PostOnly", "IOC"),
        ("kind", "Limit", "Market"),
        ("symbol", "XRPUSDT", "DOGEUSDT"),
        ("number", '"10"', '"10.0"'),
        ("number", '"10"', '"1e1"'),
        ("notional", '"2"', '"26"'),
        ("quantity", '"10"', '"101"'),
        ("no intent row", "T1a", "T1b"),
        ("row", '"10"', '"11"'),
    ):
        assert fuzz.judge_upstream(good.replace(before, after, 1), policy=policy, rows=rows) == fault
