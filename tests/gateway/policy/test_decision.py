"""The decision: each limit inside, at, just past and far past; exits are never trapped; nothing passes when killed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.decision import AccountFacts, Allow, Deny, decide
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.wire.intents import Category, OrderIntent, Side

POLICY = Policy(
    symbols=frozenset({(Category.SPOT, "BTCUSDT"), (Category.LINEAR, "BTCUSDT")}),
    max_order_notional_usdt=Decimal(500),
    min_order_notional_usdt=Decimal(10),
    max_open_orders=4,
    leverage=3,
)
SPOT = Instrument(
    category=Category.SPOT,
    symbol="BTCUSDT",
    base_coin="BTC",
    quote_coin="USDT",
    tick_size=Decimal("0.5"),
    quantity_step=Decimal("0.0001"),
    min_quantity=Decimal("0.0002"),
    max_quantity=Decimal(2),
    min_notional=Decimal(5),
)
LINEAR = replace(SPOT, category=Category.LINEAR, quantity_step=Decimal("0.001"), min_quantity=Decimal("0.001"))
ACCOUNT = AccountFacts(
    working_orders=0,
    unresolved_symbols=frozenset(),
    sellable_base={"BTC": Decimal("0.01")},
    positions={},
    leverage_unpinned_symbols=frozenset(),
    is_trusted=True,
)
BUY = OrderIntent(
    category=Category.SPOT,
    symbol="BTCUSDT",
    side=Side.BUY,
    quantity=Decimal("0.004"),
    price=Decimal(50_000),
    reduce_only=False,
    client_link_id=None,
)
SELL = replace(BUY, side=Side.SELL)
LONG = replace(BUY, category=Category.LINEAR)
EXIT_LONG = replace(LONG, side=Side.SELL, reduce_only=True)
EXIT_SHORT = replace(LONG, side=Side.BUY, reduce_only=True)
HELD_LONG = replace(ACCOUNT, positions={"BTCUSDT": Decimal("0.004")})
HELD_SHORT = replace(ACCOUNT, positions={"BTCUSDT": Decimal("-0.004")})
ADDS, REDUCES = Allow(adds_risk=True), Allow(adds_risk=False)


def decided(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> Allow | Deny:
    facts: dict[str, Any] = {
        "policy": POLICY,
        "instrument": SPOT if intent.category is Category.SPOT else LINEAR,
        "account": account,
        "trading_state": TradingState.ACTIVE,
        **changes,
    }
    return decide(intent, **facts)


def code_of(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> DenyCode | None:
    result = decided(intent, account, **changes)
    return result.code if isinstance(result, Deny) else None


def test_decide_on_plain_orders() -> None:
    assert decided(BUY) == ADDS
    assert decided(SELL) == REDUCES
    assert decided(LONG) == ADDS
    assert decided(replace(LONG, side=Side.SELL)) == ADDS
    assert decided(EXIT_LONG, HELD_LONG) == REDUCES
    assert decided(EXIT_SHORT, HELD_SHORT) == REDUCES


@pytest.mark.parametrize("intent", [BUY, SELL, LONG, EXIT_LONG])
def test_decide_when_killed_denies_everything(intent: OrderIntent) -> None:
    assert code_of(intent, HELD_LONG, trading_state=TradingState.KILLED) is DenyCode.STATE_KILLED


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (TradingState.ACTIVE, None),
        (TradingState.TRIMMED, None),
        (TradingState.REDUCE_ONLY, DenyCode.STATE_REDUCE_ONLY),
        (TradingState.HALTED, DenyCode.STATE_HALTED),
    ],
)
def test_decide_in_each_state_lets_exits_pass(state: TradingState, code: DenyCode | None) -> None:
    assert code_of(BUY, trading_state=state) is code
    assert code_of(LONG, trading_state=state) is code
    assert decided(SELL, trading_state=state) == REDUCES
    assert decided(EXIT_LONG, HELD_LONG, trading_state=state) == REDUCES


@pytest.mark.parametrize(
    "intent",
    [
        replace(BUY, symbol="ETHUSDT"),
        replace(LONG, symbol="ETHUSDT"),
        replace(SELL, symbol="ETHUSDT"),
        replace(EXIT_LONG, symbol="ETHUSDT"),
    ],
)
def test_decide_on_an_unlisted_symbol_denies_entries_and_exits(intent: OrderIntent) -> None:
    assert code_of(intent) is DenyCode.SYMBOL_NOT_PERMITTED


def test_decide_on_a_symbol_listed_in_the_other_category_denies() -> None:
    policy = replace(POLICY, symbols=frozenset({(Category.SPOT, "BTCUSDT")}))
    assert code_of(LONG, policy=policy) is DenyCode.SYMBOL_NOT_PERMITTED
    assert decided(BUY, policy=policy) == ADDS


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("0.0001", None),
        ("0.0099", None),
        ("0.01", None),
        ("0.0101", DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS),
        ("1", DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS),
    ],
)
def test_decide_on_a_spot_sell_stays_within_what_is_sellable(quantity: str, code: DenyCode | None) -> None:
    assert code_of(replace(SELL, quantity=Decimal(quantity))) is code


@pytest.mark.parametrize("sellable", [{}, {"BTC": Decimal(0)}, {"ETH": Decimal(5)}, {"BTC": Decimal(-1)}])
def test_decide_on_a_spot_sell_of_nothing_denies(sellable: dict[str, Decimal]) -> None:
    account = replace(ACCOUNT, sellable_base=sellable)
    assert code_of(SELL, account) is DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("0.003", None),
        ("0.004", None),
        ("0.005", DenyCode.ORDER_REDUCES_TOO_MUCH),
        ("2", DenyCode.ORDER_REDUCES_TOO_MUCH),
    ],
)
def test_decide_on_a_linear_exit_stays_within_the_position(quantity: str, code: DenyCode | None) -> None:
    assert code_of(replace(EXIT_LONG, quantity=Decimal(quantity)), HELD_LONG) is code
    assert code_of(replace(EXIT_SHORT, quantity=Decimal(quantity)), HELD_SHORT) is code


@pytest.mark.parametrize(
    ("intent", "account"),
    [
        (EXIT_LONG, ACCOUNT),
        (EXIT_SHORT, ACCOUNT),
        (EXIT_LONG, HELD_SHORT),
        (EXIT_SHORT, HELD_LONG),
        (EXIT_LONG, replace(ACCOUNT, positions={"BTCUSDT": Decimal(0)})),
        (EXIT_LONG, replace(ACCOUNT, positions={"ETHUSDT": Decimal(5)})),
    ],
)
def test_decide_on_a_linear_exit_without_opposite_position_denies(intent: OrderIntent, account: AccountFacts) -> None:
    assert code_of(intent, account) is DenyCode.ORDER_REDUCES_NOTHING


def test_decide_without_reduce_only_counts_as_adding_even_against_a_position() -> None:
    against = replace(LONG, side=Side.SELL)
    assert decided(against, HELD_LONG) == ADDS
    assert code_of(against, HELD_LONG, trading_state=TradingState.REDUCE_ONLY) is DenyCode.STATE_REDUCE_ONLY


def test_decide_on_a_spot_buy_that_calls_itself_reducing_counts_as_adding() -> None:
    liar = replace(BUY, reduce_only=True)
    assert decided(liar) == ADDS
    assert code_of(liar, trading_state=TradingState.HALTED) is DenyCode.STATE_HALTED


def test_decide_with_an_untrusted_account_adds_nothing_and_traps_nothing() -> None:
    blind = replace(ACCOUNT, is_trusted=False)
    assert code_of(BUY, blind) is DenyCode.ACCOUNT_VIEW_UNTRUSTED
    assert code_of(LONG, blind) is DenyCode.ACCOUNT_VIEW_UNTRUSTED
    assert decided(SELL, blind) == REDUCES
    assert decided(EXIT_LONG, blind) == REDUCES


def test_decide_on_an_unresolved_symbol_denies_entries_of_that_category_only() -> None:
    account = replace(HELD_LONG, unresolved_symbols=frozenset({(Category.SPOT, "BTCUSDT")}))
    assert code_of(BUY, account) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
    assert decided(LONG, account) == ADDS
    assert decided(SELL, account) == REDUCES
    both = replace(account, unresolved_symbols=frozenset({(Category.LINEAR, "BTCUSDT")}))
    assert code_of(LONG, both) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
    assert decided(EXIT_LONG, both) == REDUCES


def test_decide_with_unpinned_leverage_denies_linear_entries_only() -> None:
    account = replace(HELD_LONG, leverage_unpinned_symbols=frozenset({"BTCUSDT"}))
    assert code_of(LONG, account) is DenyCode.SYMBOL_LEVERAGE_UNPINNED
    assert decided(EXIT_LONG, account) == REDUCES
    assert decided(BUY, account) == ADDS


def test_decide_without_instrument_facts_lets_only_linear_exits_pass() -> None:
    assert code_of(BUY, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert code_of(LONG, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert code_of(SELL, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert decided(EXIT_LONG, HELD_LONG, instrument=None) == REDUCES


@pytest.mark.parametrize("price", ["50000.1", "50000.25", "0.000000000001"])
def test_decide_off_the_tick_denies(price: str) -> None:
    for intent, account in ((BUY, ACCOUNT), (SELL, ACCOUNT), (LONG, ACCOUNT), (EXIT_LONG, HELD_LONG)):
        assert code_of(replace(intent, price=Decimal(price)), account) is DenyCode.ORDER_PRICE_OFF_TICK


@pytest.mark.parametrize("quantity", ["0.00405", "0.000000000001", "0.0040000001"])
def test_decide_off_the_step_denies(quantity: str) -> None:
    for intent, account in ((BUY, ACCOUNT), (SELL, ACCOUNT), (LONG, ACCOUNT)):
        assert code_of(replace(intent, quantity=Decimal(quantity)), account) is DenyCode.ORDER_QUANTITY_OFF_STEP


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("0.0003", None),
        ("0.0002", None),
        ("0.0001", DenyCode.ORDER_QUANTITY_BELOW_MINIMUM),
    ],
)
def test_decide_bounds_the_quantity_from_below_for_entries_only(quantity: str, code: DenyCode | None) -> None:
    assert code_of(replace(BUY, quantity=Decimal(quantity))) is code
    assert decided(replace(SELL, quantity=Decimal(quantity))) == REDUCES


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("1.9999", None),
        ("2", None),
        ("2.0001", DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM),
        ("900", DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM),
    ],
)
def test_decide_bounds_the_quantity_from_above(quantity: str, code: DenyCode | None) -> None:
    account = replace(ACCOUNT, sellable_base={"BTC": Decimal(1_000)})
    assert code_of(replace(BUY, quantity=Decimal(quantity), price=Decimal(100))) is code
    assert code_of(replace(SELL, quantity=Decimal(quantity), price=Decimal(100)), account) is code


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.0002", "50000", None),
        ("0.0002", "50000.5", None),
        ("0.0002", "49999.5", DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM),
        ("0.0002", "1", DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM),
        ("0.0099", "50000", None),
        ("0.01", "50000", None),
        ("0.01", "50000.5", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("0.0101", "50000", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("2", "999999999999.5", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
    ],
)
def test_decide_bounds_the_notional_of_entries(quantity: str, price: str, code: DenyCode | None) -> None:
    assert code_of(replace(BUY, quantity=Decimal(quantity), price=Decimal(price))) is code


def test_decide_takes_the_greater_minimum_of_policy_and_instrument() -> None:
    small = replace(BUY, quantity=Decimal("0.0002"))
    assert code_of(small, instrument=replace(SPOT, min_notional=Decimal("10.01"))) is (
        DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM
    )
    assert decided(small, instrument=replace(SPOT, min_notional=Decimal(10))) == ADDS


def test_decide_on_an_exit_ignores_the_notional_limits() -> None:
    account = replace(ACCOUNT, sellable_base={"BTC": Decimal(2)}, positions={"BTCUSDT": Decimal(2)})
    assert decided(replace(SELL, quantity=Decimal(2)), account) == REDUCES
    assert decided(replace(EXIT_LONG, quantity=Decimal(2)), account) == REDUCES
    assert decided(replace(SELL, quantity=Decimal("0.0001"))) == REDUCES


def test_decide_computes_the_notional_exactly() -> None:
    policy = replace(POLICY, max_order_notional_usdt=Decimal("1"), min_order_notional_usdt=Decimal("1"))
    fine = replace(SPOT, tick_size=Decimal("0.000000000001"), quantity_step=Decimal("0.000000000001"),
                   min_quantity=Decimal("0.000000000001"), min_notional=Decimal("0.1"))  # fmt: skip
    # 1.000000000001 x 0.999999999999 = 0.999999999999999999999999, 24 digits below one
    intent = replace(BUY, quantity=Decimal("1.000000000001"), price=Decimal("0.999999999999"))
    assert code_of(intent, policy=policy, instrument=fine) is DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM
    above = replace(BUY, quantity=Decimal("1.000000000001"), price=Decimal("1"))
    assert code_of(above, policy=policy, instrument=fine) is DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM


@pytest.mark.parametrize(
    ("scale", "quantity", "code"),
    [
        ("0.5", "0.005", None),
        ("0.5", "0.0051", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("1", "0.01", None),
        ("0.1", "0.001", None),
        ("0.1", "0.0011", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("0", "0.001", DenyCode.GATEWAY_FAULT),
        ("-1", "0.001", DenyCode.GATEWAY_FAULT),
        ("1.01", "0.001", DenyCode.GATEWAY_FAULT),
    ],
)
def test_decide_when_trimmed_scales_the_maximum(scale: str, quantity: str, code: DenyCode | None) -> None:
    intent = replace(BUY, quantity=Decimal(quantity))
    assert code_of(intent, trading_state=TradingState.TRIMMED, trimmed_scale=Decimal(scale)) is code


def test_decide_when_trimmed_without_a_scale_halves() -> None:
    half, more = replace(BUY, quantity=Decimal("0.005")), replace(BUY, quantity=Decimal("0.0051"))
    assert decided(half, trading_state=TradingState.TRIMMED) == ADDS
    assert code_of(more, trading_state=TradingState.TRIMMED) is DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM


def test_decide_when_active_ignores_the_scale() -> None:
    assert decided(replace(BUY, quantity=Decimal("0.01")), trimmed_scale=Decimal("0.1")) == ADDS


@pytest.mark.parametrize(
    ("working", "entry", "leave"),
    [
        (3, None, None),
        (4, DenyCode.LIMIT_OPEN_ORDERS, None),
        (7, DenyCode.LIMIT_OPEN_ORDERS, None),
        (8, DenyCode.LIMIT_OPEN_ORDERS, DenyCode.LIMIT_OPEN_ORDERS),
        (900, DenyCode.LIMIT_OPEN_ORDERS, DenyCode.LIMIT_OPEN_ORDERS),
    ],
)
def test_decide_bounds_the_working_orders(working: int, entry: DenyCode | None, leave: DenyCode | None) -> None:
    account = replace(HELD_LONG, working_orders=working)
    assert code_of(BUY, account) is entry
    assert code_of(LONG, account) is entry
    assert code_of(SELL, account) is leave
    assert code_of(EXIT_LONG, account) is leave


def test_denials_say_what_was_found_and_what_was_permitted() -> None:
    result = decided(replace(BUY, quantity=Decimal("0.0101")))
    assert isinstance(result, Deny)
    assert result.detail == (("notional", "505.0000"), ("maximum", "500"))


_STATES = st.sampled_from(TradingState)
_QUANTITIES = st.integers(1, 40_000).map(lambda n: Decimal(n) * Decimal("0.0001"))
_PRICES = st.integers(1, 400_000).map(lambda n: Decimal(n) * Decimal("0.5"))
_INTENTS = st.builds(
    OrderIntent,
    category=st.sampled_from(Category),
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    side=st.sampled_from(Side),
    quantity=_QUANTITIES,
    price=_PRICES,
    reduce_only=st.booleans(),
    client_link_id=st.none(),
)
_ACCOUNTS = st.builds(
    AccountFacts,
    working_orders=st.integers(0, 10),
    unresolved_symbols=st.sampled_from([frozenset(), frozenset({(Category.SPOT, "BTCUSDT")})]),
    sellable_base=st.builds(lambda amount: {"BTC": amount}, _QUANTITIES),
    positions=st.builds(lambda amount, sign: {"BTCUSDT": amount * sign}, _QUANTITIES, st.sampled_from([-1, 0, 1])),
    leverage_unpinned_symbols=st.sampled_from([frozenset(), frozenset({"BTCUSDT"})]),
    is_trusted=st.booleans(),
)


@given(_INTENTS, _ACCOUNTS, _STATES)
def test_allowed_orders_keep_every_promise(intent: OrderIntent, account: AccountFacts, state: TradingState) -> None:
    result = decided(intent, account, trading_state=state)
    if isinstance(result, Deny):
        return
    assert state is not TradingState.KILLED
    assert POLICY.permits(intent.category, intent.symbol)
    assert account.working_orders < 2 * POLICY.max_open_orders
    if result.adds_risk:
        notional = intent.quantity * intent.price
        limit = POLICY.max_order_notional_usdt / (2 if state is TradingState.TRIMMED else 1)
        assert state <= TradingState.TRIMMED
        assert account.is_trusted
        assert POLICY.min_order_notional_usdt <= notional <= limit
        assert account.working_orders < POLICY.max_open_orders
    elif intent.category is Category.SPOT:
        assert intent.side is Side.SELL
        assert intent.quantity <= account.sellable_base["BTC"]
    else:
        assert intent.reduce_only
        position = account.positions["BTCUSDT"]
        assert not account.is_trusted or intent.quantity <= (position if intent.side is Side.SELL else -position)


@given(_INTENTS, _ACCOUNTS, _STATES, _STATES)
def test_a_more_restrictive_state_never_permits_more(
    intent: OrderIntent, account: AccountFacts, one: TradingState, other: TradingState
) -> None:
    freer, stricter = sorted([one, other])
    if isinstance(decided(intent, account, trading_state=stricter), Allow):
        assert isinstance(decided(intent, account, trading_state=freer), Allow)
