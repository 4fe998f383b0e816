"""Which orders the journal knows: what a row must say, repeats, and what is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from trade_journal.log.rows import RowKind
from trade_watchdog.audit import journaled
from trade_watchdog.audit.journaled import JournaledOrder, JournaledOrders

FIELDS: Mapping[str, Any] = {
    "tag": "T1a",
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "quantity": "0.5",
    "price": "100",
    "reduce_only": False,
}


def take(orders: JournaledOrders, seq: int, kind: RowKind = RowKind.ORDER_INTENT, **changes: Any) -> None:
    orders.take(seq=seq, at_ns=seq * 1_000_000, kind=kind, fields={**FIELDS, **changes})


def test_intent_is_found_by_its_tag() -> None:
    orders = JournaledOrders()
    take(orders, 7)
    assert orders.find("T1a") == JournaledOrder(
        seq=7,
        at_ms=7,
        category="linear",
        symbol="BTCUSDT",
        side="Buy",
        quantity=Decimal("0.5"),
        price=Decimal(100),
        is_reduce_only=False,
        trigger_price=None,
    )
    assert orders.find("T1b") is None
    assert (orders.repeats("T1a"), orders.unread, orders.covers_from_ms, len(orders)) == (None, 0, 0, 1)


def test_stop_of_the_gateway_is_found_with_its_trigger() -> None:
    orders = JournaledOrders()
    take(orders, 7, RowKind.DISASTER_STOP_INTENT, trigger_price="90", reduce_only=True, price="0")
    found = orders.find("T1a")
    assert found is not None
    assert (found.trigger_price, found.is_reduce_only) == (Decimal(90), True)
    assert len(orders) == 1


def test_same_row_twice_is_no_repetition() -> None:
    orders = JournaledOrders()
    take(orders, 7)
    take(orders, 7)
    assert (orders.repeats("T1a"), len(orders)) == (None, 1)


def test_cover_begins_a_minute_after_the_rows_do() -> None:
    # An order made then may have its row before them: rows come first, and the gateway's clock is another one.
    assert JournaledOrders(covers_from_ms=5).covers_from_ms == 60_005


def test_bounds_are_those_that_the_memory_was_counted_for() -> None:
    assert (journaled.MAX_ORDERS, journaled.MAX_STOPS) == (100_000, 10_000)


def test_rows_of_other_kinds_are_passed_over() -> None:
    orders = JournaledOrders()
    take(orders, 7, RowKind.ORDER_OUTCOME)
    assert orders.find("T1a") is None
    assert orders.unread == 0


def test_second_row_of_a_tag_is_remembered_and_changes_nothing() -> None:
    orders = JournaledOrders()
    take(orders, 7)
    take(orders, 8, side="Sell")
    take(orders, 9, trigger_price="90")
    found = orders.find("T1a")
    assert found is not None
    assert found.side == "Buy"
    assert orders.repeats("T1a") == 9
    assert len(orders) == 1


@pytest.mark.parametrize(
    "changes", [{"quantity": "1e3"}, {"price": None}, {"trigger_price": "-1"}, {"tag": None}, {"tag": 5}]
)
def test_row_without_a_readable_order_is_counted(changes: dict[str, Any]) -> None:
    orders = JournaledOrders()
    take(orders, 7, **changes)
    assert (orders.unread, len(orders)) == (1, 0)


def test_row_without_a_field_is_counted() -> None:
    orders = JournaledOrders()
    orders.take(seq=1, at_ns=1, kind=RowKind.ORDER_INTENT, fields={"tag": "T1a"})
    orders.take(seq=2, at_ns=1, kind=RowKind.ORDER_INTENT, fields={"tag": "T1a"})
    assert orders.unread == 2


@pytest.mark.parametrize("more", [{}, {"trigger_price": "90"}])
def test_oldest_is_forgotten_and_the_cover_begins_a_minute_after_it(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaled, "MAX_STOPS" if more else "MAX_ORDERS", 2)
    orders = JournaledOrders()
    for seq, tag in ((1, "T1"), (4, "T1"), (2, "T2")):
        take(orders, seq, tag=tag, **more)
    assert (orders.find("T1") is not None, orders.covers_from_ms, orders.repeats("T1")) == (True, 0, 4)
    take(orders, 3, tag="T3", **more)
    assert (orders.find("T1"), orders.covers_from_ms, orders.repeats("T1")) == (None, 60_001, None)
    assert len(orders) == 2


def test_flood_of_orders_does_not_make_a_stop_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journaled, "MAX_ORDERS", 2)
    orders = JournaledOrders()
    take(orders, 1, tag="stop", trigger_price="90")
    for seq in range(2, 9):
        take(orders, seq, tag=f"T{seq}")
    assert orders.find("stop") is not None
    assert orders.covers_from_ms == 60_006
    take(orders, 9, tag="old", trigger_price="90")
    monkeypatch.setattr(journaled, "MAX_STOPS", 2)
    take(orders, 10, tag="newer", trigger_price="90")
    assert (orders.find("stop"), orders.covers_from_ms) == (None, 60_006)
