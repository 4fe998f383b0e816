"""The limits counted again: at, inside and beyond each, for spot and linear."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trade_watchdog.audit.limit_audit import (
    AuditedLimits,
    Exposed,
    LimitAlarm,
    LimitFinding,
    LimitsUnreadable,
    examine_ended,
    examine_limits,
    limits_of,
)
from trade_watchdog.audit.posture import SeenPosition
from trade_watchdog.audit.sightings import SeenOrder

POLICY: dict[str, Any] = {
    "version": 1,
    "symbols": [["linear", "BTCUSDT", "1000", "5"], ["spot", "ETHUSDT", "500", "9"]],
    "leverage": 3,
    "max_open_orders": 2,
    "max_order_notional_usdt": "400",
    "allocated_capital_usdt": "1200",
    "max_gross_exposure": "1",
    "turnover_budget_24h": "1",
    "collar": "0.01",
    "reference_max_divergence": "0.02",
    "reference_max_age_s": 5,
    "stress_gap": "0.1",
}
LIMITS = AuditedLimits(
    leverage=3,
    max_open_orders=2,
    max_order_notional_usdt=Decimal(400),
    allocated_capital_usdt=Decimal(1200),
    max_gross_exposure=Decimal(1),
    turnover_budget_24h=Decimal(1),
    collar=Decimal("0.01"),
    reference_max_divergence=Decimal("0.02"),
    reference_max_age_s=5,
    stress_gap=Decimal("0.1"),
    per_symbol={("linear", "BTCUSDT"): Decimal(1000), ("spot", "ETHUSDT"): Decimal(500)},
)


def order(*, category: str = "linear", side: str = "Buy", quantity: str = "1", price: str = "100", **more: Any) -> Any:
    plain = SeenOrder(
        category=category,
        symbol="BTCUSDT" if category == "linear" else "ETHUSDT",
        order_id="o-1",
        link_id="",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        trigger_price=None,
        is_reduce_only=False,
        is_leverage=False,
        create_type="",
        status="New",
        filled=Decimal(0),
        created_at_ms=1,
    )
    return replace(plain, **more)


def position(size: str, *, mark: str = "100", symbol: str = "BTCUSDT") -> SeenPosition:
    return SeenPosition(
        category="linear", symbol=symbol, size=Decimal(size), leverage=Decimal(3), index=0, mark_price=Decimal(mark)
    )


def exposed(*orders: SeenOrder, positions: tuple[SeenPosition, ...] = (), **coins: str) -> Exposed:
    return Exposed(
        orders=orders,
        positions=positions,
        coins={coin: Decimal(amount) for coin, amount in coins.items()},
        prices={"ETH": Decimal(100), "BTC": Decimal(100)},
    )


def alarms(seen: Exposed) -> list[tuple[LimitAlarm, str]]:
    return [(finding.alarm, finding.detail) for finding in examine_limits(seen, LIMITS)]


def test_policy_is_read_as_it_is_recorded() -> None:
    assert limits_of(json.dumps(POLICY)) == LIMITS


@pytest.mark.parametrize(
    "changes",
    [
        {"leverage": "3"},
        {"leverage": True},
        {"max_open_orders": None},
        {"stress_gap": 0.1},
        {"turnover_budget_24h": 1},
        {"collar": "-0.01"},
        {"reference_max_divergence": None},
        {"reference_max_age_s": "5"},
        {"max_order_notional_usdt": "NaN"},
        {"symbols": None},
        {"symbols": ["linear"]},
        {"symbols": ["ab1d"]},
        {"symbols": [["linear", "BTCUSDT", "1000"]]},
        {"symbols": [["linear", "BTCUSDT", "-1", "5"]]},
    ],
)
def test_policy_that_is_none_is_told_as_such(changes: dict[str, Any]) -> None:
    with pytest.raises(LimitsUnreadable, match="not of a form that is known"):
        limits_of(json.dumps({**POLICY, **changes}))


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", "[" * 100_000])
def test_text_that_is_no_policy_is_told_as_such(text: str) -> None:
    with pytest.raises(LimitsUnreadable):
        limits_of(text)


def test_account_at_every_limit_raises_nothing() -> None:
    at = exposed(order(quantity="4"), order(category="spot", quantity="2"), positions=(position("4"),), ETH="3.2")
    assert alarms(at) == []


def test_order_on_a_symbol_that_the_policy_does_not_trade_is_told_by_its_id() -> None:
    assert examine_limits(exposed(order(symbol="XRPUSDT")), LIMITS) == [
        LimitFinding(
            alarm=LimitAlarm.SYMBOL,
            name="o-1",
            detail="the policy does not trade linear XRPUSDT",
            figure="XRPUSDT of none",
        )
    ]
    assert alarms(exposed(order(category="spot", symbol="BTCUSDT")))[0][0] is LimitAlarm.SYMBOL


def test_order_above_the_cap_is_told_at_its_own_price_in_full() -> None:
    assert examine_limits(exposed(order(quantity="4", price="100.01", filled=Decimal(3))), LIMITS) == [
        LimitFinding(
            alarm=LimitAlarm.ORDER_NOTIONAL,
            name="o-1",
            detail="400.04 USDT of 400 USDT an order",
            figure="400.04 USDT of 400 USDT",
        )
    ]


def test_one_working_order_too_many_is_told() -> None:
    orders = [order(quantity="0.1"), order(category="spot", quantity="0.1"), order(side="Sell", quantity="0.1")]
    assert alarms(exposed(*orders)) == [(LimitAlarm.OPEN_ORDERS, "3 working orders of 2")]
    assert [finding.figure for finding in examine_limits(exposed(*orders), LIMITS)] == ["3 of 2"]


@pytest.mark.parametrize(
    "reducing",
    [order(quantity="99", is_reduce_only=True, symbol="XRPUSDT"), order(category="spot", side="Sell", quantity="99")],
)
def test_orders_that_reduce_are_not_measured(reducing: SeenOrder) -> None:
    assert alarms(exposed(reducing, reducing, reducing)) == []


@pytest.mark.parametrize(("size", "side"), [("8", "Buy"), ("-8", "Sell")])
def test_linear_exposure_is_the_worse_way_and_is_told_beyond_the_gap(size: str, side: str) -> None:
    at = exposed(order(side=side, quantity="3"), positions=(position(size),))
    assert alarms(at) == []
    beyond = exposed(order(side=side, quantity="3.1"), positions=(position(size),))
    assert alarms(beyond) == [(LimitAlarm.SYMBOL_EXPOSURE, "1110 USDT of 1000 USDT on linear BTCUSDT")]


def test_order_against_a_position_counts_only_beyond_it() -> None:
    assert alarms(exposed(order(side="Sell", quantity="4"), positions=(position("11"),))) == []
    assert alarms(exposed(order(side="Buy", quantity="4"), positions=(position("-11"),))) == []


def test_what_has_filled_of_an_order_counts_with_the_position_only() -> None:
    part = order(quantity="4", filled=Decimal(3))
    assert alarms(exposed(part, positions=(position("10"),))) == []
    assert alarms(exposed(part, positions=(position("10.1"),)))[0][0] is LimitAlarm.SYMBOL_EXPOSURE


def test_linear_exposure_without_a_position_is_measured_at_the_highest_price_of_its_orders() -> None:
    orders = (order(quantity="4", price="100", filled=Decimal(0)), order(quantity="4", price="99"))
    limits = replace(LIMITS, per_symbol={("linear", "BTCUSDT"): Decimal("727.27")})
    assert examine_limits(exposed(*orders), limits) == [
        LimitFinding(
            alarm=LimitAlarm.SYMBOL_EXPOSURE,
            name="BTCUSDT",
            detail="800 USDT of 727.27 USDT on linear BTCUSDT",
            figure="800 USDT of 727.27 USDT",
        )
    ]
    assert (
        examine_limits(exposed(*orders), replace(limits, per_symbol={("linear", "BTCUSDT"): Decimal("727.28")})) == []
    )


def test_positions_of_another_category_do_not_count_for_one() -> None:
    inverse = replace(position("50"), category="inverse")
    assert alarms(exposed(order(quantity="3"), positions=(position("8"), inverse))) == []


def test_positions_of_other_symbols_do_not_count_for_one() -> None:
    assert alarms(exposed(order(quantity="3"), positions=(position("8"), position("50", symbol="ETHUSDT")))) == []


def test_spot_exposure_is_every_coin_held_and_bought() -> None:
    at = exposed(order(category="spot", quantity="1.5"), ETH="4")
    assert alarms(at) == []
    beyond = exposed(order(category="spot", quantity="1.6"), ETH="4")
    assert alarms(beyond) == [(LimitAlarm.SYMBOL_EXPOSURE, "560 USDT of 500 USDT on spot ETHUSDT")]


def test_coin_without_a_price_is_measured_at_the_highest_price_of_its_orders() -> None:
    orders = (order(category="spot", quantity="1", price="110"), order(category="spot", quantity="1", price="90"))
    at = replace(exposed(*orders, ETH="3"), prices={})
    assert alarms(at) == []
    beyond = replace(exposed(*orders, ETH="3.1"), prices={})
    assert alarms(beyond) == [(LimitAlarm.SYMBOL_EXPOSURE, "561 USDT of 500 USDT on spot ETHUSDT")]


def test_coin_that_is_not_traded_is_not_measured() -> None:
    assert alarms(exposed(order(category="spot", quantity="1"), DOGE="9000")) == []


def test_exposure_that_no_order_would_add_to_is_the_markets_up_to_twice_the_limit() -> None:
    assert alarms(exposed(positions=(position("20"),))) == []
    assert alarms(exposed(positions=(position("-20"),))) == []
    other = exposed(order(category="spot", quantity="0.1"), positions=(position("20"),))
    assert [alarm for alarm, _ in alarms(other)] == [LimitAlarm.GROSS_EXPOSURE]


def test_position_is_told_beyond_twice_the_limit_though_no_order_works() -> None:
    for size in ("20.1", "-20.1"):
        held = exposed(positions=(position(size),))
        assert alarms(held) == [(LimitAlarm.SYMBOL_EXPOSURE, "2010 USDT of 1000 USDT is held on linear BTCUSDT")]
    assert [finding.name for finding in examine_limits(exposed(positions=(position("20.1"),)), LIMITS)] == ["BTCUSDT"]
    two = replace(LIMITS, per_symbol={**LIMITS.per_symbol, ("linear", "ETHUSDT"): Decimal(1000)})
    in_all = exposed(positions=(position("14.1"), position("10", symbol="ETHUSDT")))
    assert [(finding.alarm, finding.detail) for finding in examine_limits(in_all, two)] == [
        (LimitAlarm.GROSS_EXPOSURE, "2410 USDT of 1200 USDT is held in all")
    ]
    at = exposed(positions=(position("14"), position("10", symbol="ETHUSDT")))
    assert examine_limits(at, two) == []


def test_position_is_told_on_one_symbol_while_an_order_works_on_another() -> None:
    found = alarms(exposed(order(category="spot", quantity="0.1"), positions=(position("20.1"),)))
    assert [alarm for alarm, _ in found] == [LimitAlarm.SYMBOL_EXPOSURE, LimitAlarm.GROSS_EXPOSURE]


def test_coins_alone_are_what_a_person_brought() -> None:
    assert alarms(exposed(ETH="9000")) == []


@pytest.mark.parametrize(
    ("price", "trigger", "told"),
    [("0", "101", "404"), ("99", "101", "404"), ("101", "99", "404"), ("0", None, "400.4")],
)
def test_order_without_a_price_is_measured_at_its_trigger_or_at_what_its_coin_is_worth(
    price: str, trigger: str | None, told: str
) -> None:
    quantity = "4" if trigger else "4.004"
    waiting = order(quantity=quantity, price=price, trigger_price=None if trigger is None else Decimal(trigger))
    assert alarms(exposed(waiting)) == [(LimitAlarm.ORDER_NOTIONAL, f"{told} USDT of 400 USDT an order")]


def test_exposure_of_orders_without_a_price_is_measured_at_their_triggers() -> None:
    waiting = order(quantity="4", price="0", trigger_price=Decimal(100))
    found = alarms(exposed(waiting, replace(waiting, order_id="o-2"), replace(waiting, order_id="o-3")))
    assert (LimitAlarm.SYMBOL_EXPOSURE, "1200 USDT of 1000 USDT on linear BTCUSDT") in found


def test_gross_exposure_is_the_sum_and_is_told_beyond_the_gap() -> None:
    at = exposed(order(quantity="1"), positions=(position("7.7"),), ETH="4.5")
    assert alarms(at) == []
    beyond = exposed(order(quantity="1.1"), positions=(position("7.7"),), ETH="4.5")
    assert alarms(beyond) == [(LimitAlarm.GROSS_EXPOSURE, "1330 USDT of 1200 USDT in all")]


def ended(*orders: SeenOrder) -> list[tuple[LimitAlarm, str]]:
    return [(finding.alarm, finding.name) for finding in examine_ended(orders, LIMITS, since_ms=1)]


def test_order_that_filled_at_once_is_measured_by_itself() -> None:
    beyond = order(category="spot", quantity="4.01", filled=Decimal("0.1"), status="Filled")
    assert ended(beyond) == [(LimitAlarm.ORDER_NOTIONAL, "o-1")]
    assert ended(replace(beyond, quantity=Decimal(4))) == []
    assert ended(replace(beyond, quantity=Decimal(1), symbol="XRPUSDT")) == [(LimitAlarm.SYMBOL, "o-1")]


@pytest.mark.parametrize(
    "changes",
    [{"filled": Decimal(0)}, {"created_at_ms": 0}, {"side": "Sell"}, {"category": "linear", "is_reduce_only": True}],
)
def test_order_that_did_not_fill_is_older_or_reduces_is_not_measured(changes: dict[str, Any]) -> None:
    assert ended(replace(order(category="spot", quantity="9", filled=Decimal(9), status="Filled"), **changes)) == []
