"""The turnover counted again: what counts, for how long, and where the budget ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trade_watchdog.audit import turnover_audit
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitAlarm, LimitFinding
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder
from trade_watchdog.audit.turnover_audit import (
    COUNTED_MS,
    MINUTE_MS,
    WINDOW_MS,
    TurnoverCount,
    budget_usdt,
    examine_turnover,
    is_counted,
    pending_usdt,
)

BEGAN_MS = 1_700_000_040_000
assert BEGAN_MS % MINUTE_MS == 0
LIMITS = AuditedLimits(
    leverage=1,
    max_open_orders=2,
    max_order_notional_usdt=Decimal(400),
    allocated_capital_usdt=Decimal(1200),
    max_gross_exposure=Decimal(1),
    turnover_budget_24h=Decimal("1.5"),
    collar=Decimal("0.01"),
    reference_max_divergence=Decimal("0.02"),
    reference_max_age_s=5,
    stress_gap=Decimal("0.1"),
    per_symbol={},
)


def execution(number: int = 1, *, quantity: str = "1", price: str = "100", **more: Any) -> SeenExecution:
    plain = SeenExecution(
        category="linear",
        symbol="BTCUSDT",
        execution_id=f"e-{number}",
        order_id="o-1",
        link_id="",
        side="Buy",
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(0),
        order_quantity=Decimal(5),
        order_price=Decimal(100),
        execution_type="Trade",
        create_type="",
        executed_at_ms=BEGAN_MS,
    )
    return replace(plain, **more)


def order(*, quantity: str = "5", price: str = "100", **more: Any) -> SeenOrder:
    plain = SeenOrder(
        category="linear",
        symbol="BTCUSDT",
        order_id="o-1",
        link_id="",
        side="Buy",
        quantity=Decimal(quantity),
        price=Decimal(price),
        trigger_price=None,
        is_reduce_only=False,
        is_leverage=False,
        create_type="",
        status="New",
        filled=Decimal(0),
        created_at_ms=BEGAN_MS,
    )
    return replace(plain, **more)


def counted(*executions: SeenExecution, now_ms: int = BEGAN_MS) -> TurnoverCount:
    count = TurnoverCount()
    count.take(executions, now_ms=now_ms)
    return count


def test_window_is_a_day_of_whole_minutes_and_what_is_remembered_is_bounded() -> None:
    assert (WINDOW_MS, MINUTE_MS, COUNTED_MS) == (86_400_000, 60_000, 86_340_000)
    assert (turnover_audit.MAX_EXECUTIONS, turnover_audit.MAX_ORDERS) == (200_000, 10_000)


def test_nothing_is_counted_at_the_beginning() -> None:
    count = TurnoverCount()
    assert (count.used_usdt(), len(count), count.is_whole, count.executed("o-1")) == (0, 0, True, 0)


def test_execution_counts_once_however_often_it_is_listed() -> None:
    count = counted(execution(), execution(2, quantity="0.5"))
    count.take([execution(2, quantity="0.5"), execution(), execution(3)], now_ms=BEGAN_MS + 1)
    assert (count.used_usdt(), len(count), count.executed("o-1")) == (250, 3, Decimal("2.5"))


@pytest.mark.parametrize(
    ("price", "order_price", "counts"),
    [("100", "101", "100"), ("101", "100", "100"), ("100", "0", "100"), ("100", "100", "100")],
)
def test_execution_counts_at_the_lesser_of_its_price_and_its_order_s(price: str, order_price: str, counts: str) -> None:
    assert counted(execution(price=price, order_price=Decimal(order_price))).used_usdt() == Decimal(counts)


def test_sum_is_exact_whatever_the_digits() -> None:
    tiny, huge = "0.000000000000000001", "999999999999999999"
    count = counted(
        execution(quantity=huge, price=huge, order_price=Decimal(huge)),
        execution(2, quantity=tiny, price=tiny, order_price=Decimal(tiny), executed_at_ms=BEGAN_MS + MINUTE_MS),
    )
    count.take((), now_ms=BEGAN_MS + COUNTED_MS)
    assert count.used_usdt() == Decimal("1e-36")


@pytest.mark.parametrize(("passed_ms", "used"), [(0, 100), (COUNTED_MS - 1, 100), (COUNTED_MS, 0), (WINDOW_MS, 0)])
def test_execution_counts_while_its_whole_minute_is_a_minute_younger_than_a_day(passed_ms: int, used: int) -> None:
    count = counted(execution(executed_at_ms=BEGAN_MS + MINUTE_MS - 1))
    count.take((), now_ms=BEGAN_MS + passed_ms)
    assert (count.used_usdt(), len(count)) == (used, used // 100)


def test_execution_that_is_older_than_the_window_counts_nothing() -> None:
    assert len(counted(execution(), now_ms=BEGAN_MS + COUNTED_MS)) == 0
    assert len(counted(execution(), now_ms=BEGAN_MS + COUNTED_MS - 1)) == 1


def test_clock_that_goes_back_brings_nothing_back() -> None:
    count = counted(execution(), now_ms=BEGAN_MS + COUNTED_MS)
    count.take([execution()], now_ms=BEGAN_MS)
    assert count.used_usdt() == 0


def test_day_with_more_than_there_is_room_for_is_not_whole_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnover_audit, "MAX_EXECUTIONS", 2)
    late = BEGAN_MS + 2 * MINUTE_MS
    count = counted(execution(), execution(2))
    assert count.is_whole
    count.take([execution(4), execution(3, executed_at_ms=late), execution(6)], now_ms=BEGAN_MS)
    assert (len(count), count.used_usdt(), count.is_whole) == (2, 200, False)
    count.take((), now_ms=late + COUNTED_MS - 1)
    assert (len(count), count.is_whole) == (0, False)
    count.take([execution(5, executed_at_ms=late + COUNTED_MS)], now_ms=late + COUNTED_MS)
    assert (len(count), count.is_whole) == (1, True)


def test_orders_whose_executions_are_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnover_audit, "MAX_ORDERS", 2)
    count = counted(execution(), execution(2, order_id="o-2"), execution(3), execution(4, order_id="o-3"))
    assert [count.executed(name) for name in ("o-1", "o-2", "o-3")] == [2, 0, 1]


@pytest.mark.parametrize(
    ("category", "symbol", "counts"),
    [
        ("spot", "BTCUSDT", True),
        ("linear", "BTCUSDT", True),
        ("inverse", "BTCUSDT", False),
        ("linear", "BTCPERP", False),
        ("spot", "USDTBRL", False),
    ],
)
def test_symbols_that_are_quoted_in_usdt_count(category: str, symbol: str, counts: bool) -> None:
    assert is_counted(category, symbol) is counts


def test_what_is_left_of_an_order_counts_at_its_price() -> None:
    part = order(filled=Decimal(2), order_id="o-2")
    assert pending_usdt([order(), part, order(price="0", order_id="o-3")], TurnoverCount()) == 800


def test_what_has_executed_of_an_order_is_not_left_of_it_whatever_the_list_says() -> None:
    count = counted(execution(quantity="3"))
    assert pending_usdt([order(filled=Decimal(1))], count) == 200
    assert pending_usdt([order(filled=Decimal(4))], count) == 100
    assert pending_usdt([order(quantity="2")], count) == 0


def test_budget_is_the_widest_of_the_policies() -> None:
    tight = replace(LIMITS, turnover_budget_24h=Decimal("0.1"))
    assert (budget_usdt([LIMITS]), budget_usdt([tight, LIMITS, tight]), budget_usdt([tight])) == (1800, 1800, 120)


@pytest.mark.parametrize("used", ["0", "1799.99", "1800"])
def test_turnover_up_to_the_budget_is_permitted(used: str) -> None:
    assert examine_turnover(Decimal(used), [LIMITS]) is None


@pytest.mark.parametrize(("used", "told"), [("1800.000001", "1800"), ("1800.01", "1800.01"), ("90000", "90000")])
def test_turnover_beyond_the_budget_is_told_with_both_figures(used: str, told: str) -> None:
    assert examine_turnover(Decimal(used), [LIMITS]) == LimitFinding(
        alarm=LimitAlarm.TURNOVER,
        name="",
        detail=f"{told} USDT of 1800 USDT were added in 24 hours",
        figure=f"{told} USDT of 1800 USDT",
    )
