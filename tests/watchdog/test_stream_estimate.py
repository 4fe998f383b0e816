"""What streamed prices make of the last reading, and when that is a rung."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_watchdog.ladder import Rung, RungReading, Stage
from trade_watchdog.stream_estimate import NEAR, Anchor, Told, estimated_price, rung_reached, symbols_of

ANCHOR = Anchor(
    equity_usdt=Decimal(1000),
    unit_price=Decimal("1.5"),
    amounts={"USDT": Decimal(600), "BTC": Decimal(4)},
    told={"BTCUSDT": Told(mark=Decimal(99), index=Decimal(100)), "ETHUSDT": Told(mark=Decimal(10), index=Decimal(11))},
)
DAILY = RungReading(
    rung=Rung.DAILY,
    stage=Stage.ARMED,
    fraction=Decimal("0.05"),
    peak=Decimal(2),
    drawdown=Decimal(0),
    breaching_samples=0,
    since_ms=0,
)
WEEKLY = replace(DAILY, rung=Rung.WEEKLY, fraction=Decimal("0.08"))


def test_contracts_are_those_of_coins_and_positions_without_the_quote_coin() -> None:
    assert symbols_of(["USDT", "BTC"], ["ETHUSDT", "XRPUSDT"]) == {"BTCUSDT", "ETHUSDT", "XRPUSDT"}


def test_prices_that_have_not_moved_leave_the_unit_price() -> None:
    assert estimated_price(ANCHOR, sizes={"ETHUSDT": Decimal(7)}, told=ANCHOR.told) == Decimal("1.5")


def test_coin_moves_by_the_index() -> None:
    told = {**ANCHOR.told, "BTCUSDT": Told(mark=Decimal(1), index=Decimal(75))}
    assert estimated_price(ANCHOR, sizes={}, told=told) == Decimal("1.35")  # 4 x -25 of 1000


@pytest.mark.parametrize(("size", "price"), [("20", "1.44"), ("-20", "1.56")])
def test_position_moves_by_the_mark_price_and_its_sign(size: str, price: str) -> None:
    told = {**ANCHOR.told, "ETHUSDT": Told(mark=Decimal(8), index=Decimal(1))}
    assert estimated_price(ANCHOR, sizes={"ETHUSDT": Decimal(size)}, told=told) == Decimal(price)


def test_coin_and_position_add_up() -> None:
    told = {"BTCUSDT": Told(mark=Decimal(99), index=Decimal(75)), "ETHUSDT": Told(mark=Decimal(8), index=Decimal(11))}
    assert estimated_price(ANCHOR, sizes={"ETHUSDT": Decimal(20)}, told=told) == Decimal("1.29")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"BTCUSDT": Told(index=Decimal(1))}),
        ({"BTCUSDT": Told(index=Decimal(1))}, {}),
        ({"BTCUSDT": Told(mark=Decimal(1))}, {"BTCUSDT": Told(index=Decimal(1))}),
        ({"BTCUSDT": Told(index=Decimal(1))}, {"BTCUSDT": Told(mark=Decimal(1))}),
    ],
)
def test_price_that_is_told_on_one_side_only_moves_nothing(before: dict[str, Told], now: dict[str, Told]) -> None:
    assert estimated_price(replace(ANCHOR, told=before), sizes={}, told=now) == Decimal("1.5")


@pytest.mark.parametrize(
    ("price", "reached"), [("1.900001", ""), ("1.9", "daily"), ("1.84", "daily"), ("0.1", "daily")]
)
def test_rung_is_reached_exactly_at_its_fraction(price: str, reached: str) -> None:
    assert rung_reached(Decimal(price), [DAILY, WEEKLY]) == reached


def test_margin_reaches_a_rung_before_its_fraction() -> None:
    assert rung_reached(Decimal("1.904"), [DAILY], margin=NEAR) == "daily"
    assert rung_reached(Decimal("1.904001"), [DAILY], margin=NEAR) == ""


@pytest.mark.parametrize("passed", [{"stage": Stage.FIRED}, {"stage": Stage.ACKNOWLEDGED}, {"peak": None}])
def test_rung_that_has_fired_or_has_no_peak_is_passed_over(passed: dict[str, object]) -> None:
    first = replace(DAILY, **passed)  # type: ignore[arg-type]
    assert rung_reached(Decimal("1.84"), [first, WEEKLY]) == "weekly"
    assert rung_reached(Decimal("1.85"), [first, WEEKLY]) == ""
