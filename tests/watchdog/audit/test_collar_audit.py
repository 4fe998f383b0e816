"""Prices held against the index of their time: which minutes tell it, and where every collar ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trade_watchdog.audit.collar_audit import (
    LEAD_MS,
    MINUTE_MS,
    TAIL_MS,
    IndexCandle,
    Minutes,
    covering,
    examine_collar,
    minutes_of,
)
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitAlarm, LimitFinding
from trade_watchdog.audit.sightings import SeenOrder

BEGAN_MS = 1_700_000_040_000
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


def order(price: str, *, side: str = "Buy", **more: Any) -> SeenOrder:
    plain = SeenOrder(
        category="linear",
        symbol="BTCUSDT",
        order_id="o-1",
        link_id="",
        side=side,
        quantity=Decimal(1),
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


def candle(minute: int, lowest: str = "100", highest: str = "100") -> IndexCandle:
    return IndexCandle(start_ms=BEGAN_MS + minute * MINUTE_MS, lowest=Decimal(lowest), highest=Decimal(highest))


def outside(
    price: str, *candles: IndexCandle, side: str = "Buy", limits: tuple[AuditedLimits, ...] = (LIMITS,)
) -> bool:
    return examine_collar(order(price, side=side), candles or (candle(0),), limits) is not None


def test_minutes_begin_before_the_decision_and_end_after_the_order_was_made() -> None:
    assert (LEAD_MS, TAIL_MS) == (60_000, 2_000)
    minutes = minutes_of(order("1", created_at_ms=BEGAN_MS + 4_999), [LIMITS])
    assert minutes == Minutes(first_ms=BEGAN_MS - 2 * MINUTE_MS, last_ms=BEGAN_MS)
    minutes = minutes_of(order("1", created_at_ms=BEGAN_MS + 5_000), [LIMITS])
    assert minutes == Minutes(first_ms=BEGAN_MS - MINUTE_MS, last_ms=BEGAN_MS)
    slower = replace(LIMITS, reference_max_age_s=30)
    minutes = minutes_of(order("1", created_at_ms=BEGAN_MS + 29_999), [LIMITS, slower, LIMITS])
    assert minutes == Minutes(first_ms=BEGAN_MS - 2 * MINUTE_MS, last_ms=BEGAN_MS)


@pytest.mark.parametrize(("made_ms", "last"), [(57_999, 0), (58_000, 1)])
def test_next_minute_counts_when_the_order_was_made_at_its_border(made_ms: int, last: int) -> None:
    minutes = minutes_of(order("1", created_at_ms=BEGAN_MS + made_ms), [LIMITS])
    assert minutes.last_ms == BEGAN_MS + last * MINUTE_MS


def test_candles_are_picked_by_their_minutes_and_put_in_order() -> None:
    minutes = Minutes(first_ms=BEGAN_MS, last_ms=BEGAN_MS + MINUTE_MS)
    assert covering([candle(2), candle(1), candle(0), candle(-1)], minutes) == [candle(0), candle(1)]


@pytest.mark.parametrize("missing", [[], [candle(0)], [candle(1)], [candle(-1), candle(2)]])
def test_minute_that_is_missing_proves_nothing(missing: list[IndexCandle]) -> None:
    assert covering(missing, Minutes(first_ms=BEGAN_MS, last_ms=BEGAN_MS + MINUTE_MS)) is None


@pytest.mark.parametrize("nonsense", [candle(0, "0", "100"), candle(0, "-1", "100"), candle(0, "101", "100")])
def test_candle_that_tells_no_price_proves_nothing(nonsense: IndexCandle) -> None:
    assert covering([nonsense], Minutes(first_ms=BEGAN_MS, last_ms=BEGAN_MS)) is None
    both = Minutes(first_ms=BEGAN_MS, last_ms=BEGAN_MS + MINUTE_MS)
    assert covering([nonsense, candle(1)], both) is None
    low = candle(0, "0.000001", "0.000001")
    assert covering([low, candle(1)], both) == [low, candle(1)]


def test_still_index_leaves_the_collar_and_what_sources_may_differ_by() -> None:
    # 100 x 1.02 x 1.01, and 100 x 0.98 x 0.99
    assert [outside(price) for price in ("100", "103.02", "103.020001", "200")] == [False, False, True, True]
    assert [outside(price, side="Sell") for price in ("97.02", "97.019999", "1")] == [False, True, True]
    assert not outside("1")
    assert not outside("200", side="Sell")


def test_index_that_moved_may_have_been_beyond_by_as_much_again() -> None:
    moved = (candle(-1, "96", "99"), candle(0, "98", "100"))
    # (100 + 4) x 1.01, and (96 - 4) x 0.99
    assert [outside(price, *moved) for price in ("105.04", "105.05")] == [False, True]
    assert [outside(price, *moved, side="Sell") for price in ("91.08", "91.07")] == [False, True]


def test_lowest_and_highest_are_those_of_all_minutes() -> None:
    moved = (candle(-1, "100", "110"), candle(0, "90", "100"))
    # (110 + 20) x 1.01, and (90 - 20) x 0.99
    assert [outside(price, *moved) for price in ("131.3", "131.31")] == [False, True]
    assert [outside(price, *moved, side="Sell") for price in ("69.3", "69.29")] == [False, True]


def test_widest_of_the_policies_counts() -> None:
    wide = replace(LIMITS, collar=Decimal("0.02"), reference_max_divergence=Decimal("0.05"))
    assert [outside(price, limits=(LIMITS, wide, LIMITS)) for price in ("107.1", "107.11")] == [False, True]


def test_order_outside_is_told_by_its_id_with_the_bound() -> None:
    assert examine_collar(order("110"), [candle(0)], [LIMITS]) == LimitFinding(
        alarm=LimitAlarm.COLLAR,
        name="o-1",
        detail="linear BTCUSDT bought at 110 where the collar ended at 103.02",
        figure="110 of 103.02",
    )
    sold = examine_collar(order("90", side="Sell", category="spot"), [candle(0)], [LIMITS])
    assert sold is not None
    assert sold.detail == "spot BTCUSDT sold at 90 where the collar ended at 97.02"
