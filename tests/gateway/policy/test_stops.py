"""Protective stops: only when permitted, on the right side, within the position, bounded in what they give away."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import ACCOUNT, LINEAR, MARKET, NO_PRICES, POLICY, STALE, coin, market
from hypothesis import given
from hypothesis import strategies as st

from trade_core.money import is_multiple
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.facts import AccountFacts
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.policy.stops import (
    STOP,
    AllowStop,
    StopQuestion,
    bounded_stop,
    decide_stop,
    disaster_stop,
)
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import Category, Side, StopIntent, TriggerBy

STOPS = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
HELD_LONG = replace(ACCOUNT, positions={"BTCUSDT": Decimal("0.009")})
HELD_SHORT = replace(ACCOUNT, positions={"BTCUSDT": Decimal("-0.009")})
SELL = StopIntent(
    symbol="BTCUSDT",
    side=Side.SELL,
    quantity=Decimal("0.009"),
    trigger_price=Decimal(49_000),
    trigger_by=TriggerBy.MARK,
    limit_price=None,
    client_link_id=None,
)
BUY = replace(SELL, side=Side.BUY, trigger_price=Decimal(51_000))


def decided(intent: StopIntent, account: AccountFacts = HELD_LONG, **changes: Any) -> AllowStop | Deny:
    facts: dict[str, Any] = {
        "policy": STOPS,
        "instrument": LINEAR,
        "account": account,
        "market": MARKET,
        "trading_state": TradingState.ACTIVE,
        **changes,
    }
    return decide_stop(intent, **facts)


def code_of(intent: StopIntent, account: AccountFacts = HELD_LONG, **changes: Any) -> DenyCode | None:
    result = decided(intent, account, **changes)
    return result.code if isinstance(result, Deny) else None


def test_stop_is_denied_unless_the_policy_permits_it() -> None:
    assert code_of(SELL, policy=POLICY) is DenyCode.ORDER_STOP_NOT_PERMITTED
    assert code_of(SELL) is None


def test_market_stop_is_allowed_with_a_limit_at_the_slippage() -> None:
    assert decided(SELL) == AllowStop(stop=replace(SELL, limit_price=Decimal(48_510)))
    assert decided(BUY, HELD_SHORT) == AllowStop(stop=replace(BUY, limit_price=Decimal(51_510)))


@pytest.mark.parametrize(
    ("intent", "account", "price", "code"),
    [
        (SELL, HELD_LONG, "48510.5", None),
        (SELL, HELD_LONG, "48510", None),
        (SELL, HELD_LONG, "48509.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (SELL, HELD_LONG, "0.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (BUY, HELD_SHORT, "51509.5", None),
        (BUY, HELD_SHORT, "51510", None),
        (BUY, HELD_SHORT, "51510.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (BUY, HELD_SHORT, "90000", DenyCode.PRICE_OUTSIDE_COLLAR),
    ],
)
def test_limit_stop_keeps_its_price_within_the_slippage(
    intent: StopIntent, account: AccountFacts, price: str, code: DenyCode | None
) -> None:
    limited = replace(intent, limit_price=Decimal(price))
    assert code_of(limited, account) is code
    if code is None:
        assert decided(limited, account) == AllowStop(stop=limited)


@pytest.mark.parametrize("state", list(TradingState))
def test_stop_passes_in_every_state_but_killed(state: TradingState) -> None:
    expected = DenyCode.STATE_KILLED if state is TradingState.KILLED else None
    assert code_of(SELL, trading_state=state) is expected


@pytest.mark.parametrize(
    ("trigger", "code"),
    [
        ("49999.5", None),
        ("50000", DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE),
        ("50000.5", DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE),
        ("99999", DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE),
    ],
)
def test_sell_stop_lies_below_the_market(trigger: str, code: DenyCode | None) -> None:
    assert code_of(replace(SELL, trigger_price=Decimal(trigger))) is code
    assert code_of(replace(SELL, trigger_price=Decimal(trigger)), market=STALE) is code


@pytest.mark.parametrize(
    ("trigger", "code"),
    [
        ("50000.5", None),
        ("50000", DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE),
        ("100", DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE),
    ],
)
def test_buy_stop_lies_above_the_market(trigger: str, code: DenyCode | None) -> None:
    assert code_of(replace(BUY, trigger_price=Decimal(trigger)), HELD_SHORT) is code


@pytest.mark.parametrize(("reference", "mark"), [("50000", "48900"), ("48900", "50000"), (None, "48900")])
def test_stop_is_compared_with_both_prices_that_may_trigger(reference: str | None, mark: str) -> None:
    assert code_of(SELL, market=market(BTC=coin(reference, mark=mark))) is DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE


def test_stop_without_any_price_is_left_to_the_exchange() -> None:
    assert code_of(SELL, market=NO_PRICES) is None


@pytest.mark.parametrize(
    ("intent", "account", "code"),
    [
        (SELL, HELD_LONG, None),
        (replace(SELL, quantity=Decimal("0.010")), HELD_LONG, DenyCode.ORDER_REDUCES_TOO_MUCH),
        (SELL, HELD_SHORT, DenyCode.ORDER_REDUCES_NOTHING),
        (BUY, HELD_LONG, DenyCode.ORDER_REDUCES_NOTHING),
        (SELL, ACCOUNT, DenyCode.ORDER_REDUCES_NOTHING),
        (SELL, replace(ACCOUNT, is_trusted=False), None),
    ],
)
def test_stop_stays_within_an_opposite_position(
    intent: StopIntent, account: AccountFacts, code: DenyCode | None
) -> None:
    assert code_of(intent, account) is code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "XRPUSDT"}, DenyCode.SYMBOL_NOT_PERMITTED),
        ({"trigger_price": Decimal("49000.25")}, DenyCode.ORDER_PRICE_OFF_TICK),
        ({"limit_price": Decimal("48900.25")}, DenyCode.ORDER_PRICE_OFF_TICK),
        ({"quantity": Decimal("0.0085")}, DenyCode.ORDER_QUANTITY_OFF_STEP),
    ],
)
def test_stop_needs_a_permitted_symbol_and_the_grid(changes: dict[str, Any], code: DenyCode) -> None:
    assert code_of(replace(SELL, **changes)) is code


def test_stop_on_a_symbol_of_spot_only_is_denied() -> None:
    spot = {key: limits for key, limits in POLICY.symbols.items() if key[0].value == "spot"}
    assert code_of(SELL, policy=replace(STOPS, symbols=spot)) is DenyCode.SYMBOL_NOT_PERMITTED


@pytest.mark.parametrize(("quantity", "code"), [("2", None), ("2.001", DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM)])
def test_stop_is_at_most_the_instruments_largest(quantity: str, code: DenyCode | None) -> None:
    account = replace(ACCOUNT, positions={"BTCUSDT": Decimal(5)})
    assert code_of(replace(SELL, quantity=Decimal(quantity)), account) is code


def test_stop_without_instrument_facts_is_denied() -> None:
    assert code_of(SELL, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN


@pytest.mark.parametrize("level", [MessageLevel.DENY, MessageLevel.TERMINATE])
def test_stop_above_the_message_rate_is_denied(level: MessageLevel) -> None:
    assert code_of(SELL, replace(HELD_LONG, message_level=level)) is DenyCode.LIMIT_MESSAGES


@pytest.mark.parametrize(("working", "code"), [(2, None), (3, DenyCode.LIMIT_STOPS), (900, DenyCode.LIMIT_STOPS)])
def test_stops_are_counted_apart_from_orders(working: int, code: DenyCode | None) -> None:
    stops = {"BTCUSDT": 1, "ETHUSDT": working}
    assert code_of(SELL, replace(HELD_LONG, working_stops=stops, working_orders=900)) is code


@pytest.mark.parametrize(("working", "code"), [(7, None), (8, DenyCode.LIMIT_STOPS)])
def test_stops_of_a_symbol_leave_room_for_the_gateways_own(working: int, code: DenyCode | None) -> None:
    many = replace(STOPS, max_open_orders=100)
    stops = {"BTCUSDT": working, "ETHUSDT": 50}
    assert code_of(SELL, replace(HELD_LONG, working_stops=stops), policy=many) is code


def test_stop_is_never_held_to_the_latches_of_entries() -> None:
    account = replace(
        HELD_LONG,
        is_terminated=True,
        equity_usdt=None,
        turnover_used_usdt=Decimal(10**9),
        leverage_unpinned_symbols=frozenset({"BTCUSDT"}),
    )
    assert code_of(SELL, account) is None


def test_checks_of_stops_run_alone_without_instrument() -> None:
    asked = StopQuestion(
        intent=replace(SELL, limit_price=Decimal("1.1")),
        policy=POLICY,
        instrument=None,
        account=ACCOUNT,
        market=NO_PRICES,
        trading_state=TradingState.HALTED,
    )
    failing = {name for name, check in STOP.items() if check(asked) is not None}
    assert failing == {
        "protective stops permitted",
        "instrument known",
        "within position",
        "limit within slippage",
    }


@given(
    st.sampled_from(Side),
    st.integers(1, 10**9),
    st.sampled_from(["0.5", "0.01", "0.0001"]),
    st.decimals("0.001", "0.1", places=4),
)
def test_bounded_stop_gives_away_at_most_the_slippage(side: Side, ticks: int, tick: str, slippage: Decimal) -> None:
    tick_size = Decimal(tick)
    trigger = ticks * tick_size
    limit = bounded_stop(
        replace(SELL, side=side, trigger_price=trigger), slippage=slippage, tick_size=tick_size
    ).limit_price
    assert limit is not None
    assert is_multiple(limit, tick_size)
    assert abs(limit - trigger) <= trigger * slippage
    assert abs(limit - trigger) > trigger * slippage - tick_size
    assert limit <= trigger if side is Side.SELL else limit >= trigger


@pytest.mark.parametrize(
    ("position", "side", "trigger"), [("0.009", Side.SELL, "45000.5"), ("-0.009", Side.BUY, "55000.5")]
)
def test_disaster_stop_lies_beyond_the_entry_on_the_losing_side(position: str, side: Side, trigger: str) -> None:
    stop = disaster_stop(
        symbol="BTCUSDT",
        position=Decimal(position),
        entry_price=Decimal("50000.5"),
        fraction=Decimal("0.1"),
        tick_size=Decimal("0.5"),
    )
    assert stop == replace(SELL, side=side, trigger_price=Decimal(trigger), quantity=Decimal("0.009"), limit_price=None)


def test_disaster_stop_of_no_position_is_refused() -> None:
    with pytest.raises(ValueError, match="protects a position"):
        disaster_stop(
            symbol="BTCUSDT",
            position=Decimal(0),
            entry_price=Decimal(1),
            fraction=Decimal("0.1"),
            tick_size=Decimal(1),
        )


def test_stop_on_a_symbol_that_was_permitted_once_protects_what_is_held() -> None:
    fewer = replace(STOPS, symbols={})
    former = frozenset({(Category.LINEAR, "BTCUSDT")})
    assert code_of(SELL, HELD_LONG, policy=fewer) is DenyCode.SYMBOL_NOT_PERMITTED
    assert code_of(SELL, HELD_LONG, policy=fewer, former_symbols=former) is None
