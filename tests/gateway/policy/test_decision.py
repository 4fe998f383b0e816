"""The decision: each limit inside, at, just past and far past; exits are never trapped; nothing passes when killed."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Context, Decimal, getcontext, localcontext
from itertools import product
from typing import Any

import pytest
from gateway.policy.parts import (
    ACCOUNT,
    LINEAR,
    LINEAR_BTC,
    LINEAR_ETH,
    MARKET,
    NO_PRICES,
    POLICY,
    SPOT,
    SPOT_BTC,
    STALE,
    SYMBOL_LIMITS,
    coin,
    market,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_gateway.policy import decision
from trade_gateway.policy.decision import (
    ADDING,
    DEFAULT_TRIMMED_SCALE,
    REDUCING,
    REDUCING_ORDERS_FACTOR,
    Check,
    Question,
    ask,
    decide,
)
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.exact import EXACT
from trade_gateway.policy.exposure import ValuedAccount
from trade_gateway.policy.facts import AccountFacts, MarketFacts, order_key
from trade_gateway.policy.model import Policy
from trade_gateway.policy.references import Flaw, Source, Unusable
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Allow, Deny, deny
from trade_gateway.wire.intents import Category, OrderIntent, Side

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
SHORT = replace(LONG, side=Side.SELL)
EXIT_LONG = replace(LONG, side=Side.SELL, reduce_only=True)
EXIT_SHORT = replace(LONG, side=Side.BUY, reduce_only=True)
HELD_LONG = replace(ACCOUNT, positions={"BTCUSDT": Decimal("0.004")})
HELD_SHORT = replace(ACCOUNT, positions={"BTCUSDT": Decimal("-0.004")})
WIDE = replace(POLICY, symbols=dict.fromkeys(POLICY.symbols, replace(SYMBOL_LIMITS, max_notional_usdt=Decimal(10**9))))


def decided(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> Allow | Deny:
    facts: dict[str, Any] = {
        "policy": POLICY,
        "instrument": SPOT if intent.category is Category.SPOT else LINEAR,
        "market": MARKET,
        "trading_state": TradingState.ACTIVE,
        "scale": DEFAULT_TRIMMED_SCALE,
        **changes,
    }
    return decide(ask(intent, valued=ValuedAccount(account=account, market=facts.pop("market")), **facts))


def code_of(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> DenyCode | None:
    result = decided(intent, account, **changes)
    return result.code if isinstance(result, Deny) else None


def reduces(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> bool:
    result = decided(intent, account, **changes)
    return isinstance(result, Allow) and not result.adds_risk


def adds(intent: OrderIntent, account: AccountFacts = ACCOUNT, **changes: Any) -> bool:
    result = decided(intent, account, **changes)
    return isinstance(result, Allow) and result.adds_risk


def test_decide_on_plain_orders() -> None:
    assert adds(BUY)
    assert reduces(SELL)
    assert adds(LONG)
    assert adds(SHORT)
    assert reduces(EXIT_LONG, HELD_LONG)
    assert reduces(EXIT_SHORT, HELD_SHORT)


def test_allowed_order_carries_reference_and_notional_of_acceptance() -> None:
    assert decided(BUY) == Allow(adds_risk=True, reference_price=Decimal(50_000), notional=Decimal(200))
    cheap = replace(BUY, price=Decimal(49_000))
    assert decided(cheap) == Allow(adds_risk=True, reference_price=Decimal(50_000), notional=Decimal(200))
    dear = replace(BUY, price=Decimal(50_100))
    assert decided(dear) == Allow(adds_risk=True, reference_price=Decimal(50_000), notional=Decimal("200.4"))
    stale = decided(SELL, market=STALE)
    assert stale == Allow(adds_risk=False, reference_price=Decimal(50_000), notional=Decimal(200))


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
    assert reduces(SELL, trading_state=state)
    assert reduces(EXIT_LONG, HELD_LONG, trading_state=state)


@pytest.mark.parametrize("intent", [BUY, LONG, SELL, EXIT_LONG])
def test_decide_on_an_unlisted_symbol_denies_entries_and_exits(intent: OrderIntent) -> None:
    assert code_of(replace(intent, symbol="XRPUSDT")) is DenyCode.SYMBOL_NOT_PERMITTED


def test_decide_on_a_symbol_listed_in_the_other_category_denies() -> None:
    policy = replace(POLICY, symbols={SPOT_BTC: SYMBOL_LIMITS})
    assert code_of(LONG, policy=policy) is DenyCode.SYMBOL_NOT_PERMITTED
    assert adds(BUY, policy=policy)


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
    assert adds(SHORT, HELD_LONG)
    assert code_of(SHORT, HELD_LONG, trading_state=TradingState.REDUCE_ONLY) is DenyCode.STATE_REDUCE_ONLY


def test_decide_on_a_spot_buy_that_calls_itself_reducing_counts_as_adding() -> None:
    liar = replace(BUY, reduce_only=True)
    assert adds(liar)
    assert code_of(liar, trading_state=TradingState.HALTED) is DenyCode.STATE_HALTED


def test_decide_with_an_untrusted_account_adds_nothing_and_traps_nothing() -> None:
    blind = replace(ACCOUNT, is_trusted=False)
    assert code_of(BUY, blind) is DenyCode.ACCOUNT_VIEW_UNTRUSTED
    assert code_of(LONG, blind) is DenyCode.ACCOUNT_VIEW_UNTRUSTED
    assert reduces(SELL, blind)
    assert reduces(EXIT_LONG, blind)


@pytest.mark.parametrize("equity", [None, Decimal(0), Decimal("-0.01"), Decimal("NaN"), Decimal("Infinity")])
def test_decide_without_equity_adds_nothing_and_traps_nothing(equity: Decimal | None) -> None:
    poor = replace(HELD_LONG, equity_usdt=equity)
    assert code_of(BUY, poor) is DenyCode.EQUITY_UNKNOWN
    assert code_of(LONG, poor) is DenyCode.EQUITY_UNKNOWN
    assert reduces(SELL, poor)
    assert reduces(EXIT_LONG, poor)


def test_decide_on_an_unresolved_symbol_denies_entries_of_that_category_only() -> None:
    account = replace(HELD_LONG, unresolved_symbols=frozenset({SPOT_BTC}))
    assert code_of(BUY, account) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
    assert adds(LONG, account)
    assert reduces(SELL, account)
    both = replace(account, unresolved_symbols=frozenset({LINEAR_BTC}))
    assert code_of(LONG, both) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
    assert reduces(EXIT_LONG, both)


def test_decide_after_repeated_execution_denies_entries_of_that_symbol_only() -> None:
    account = replace(HELD_LONG, repeated_execution_symbols=frozenset({LINEAR_BTC}))
    assert code_of(LONG, account) is DenyCode.LIMIT_REPEATED_EXECUTION
    assert code_of(SHORT, account) is DenyCode.LIMIT_REPEATED_EXECUTION
    assert reduces(EXIT_LONG, account)
    assert adds(BUY, account)


def test_decide_on_the_message_levels() -> None:
    slow = replace(HELD_LONG, message_level=MessageLevel.DENY)
    assert code_of(BUY, slow) is DenyCode.LIMIT_MESSAGES
    assert code_of(EXIT_LONG, slow) is DenyCode.LIMIT_MESSAGES
    assert code_of(SELL, slow) is DenyCode.LIMIT_MESSAGES
    wild = replace(HELD_LONG, message_level=MessageLevel.TERMINATE)
    assert code_of(BUY, wild) is DenyCode.LIMIT_MESSAGES_TERMINATED
    assert code_of(EXIT_LONG, wild) is DenyCode.LIMIT_MESSAGES


def test_decide_after_termination_denies_entries_only() -> None:
    latched = replace(HELD_LONG, is_terminated=True)
    assert code_of(BUY, latched) is DenyCode.LIMIT_MESSAGES_TERMINATED
    assert code_of(LONG, latched) is DenyCode.LIMIT_MESSAGES_TERMINATED
    assert reduces(SELL, latched)
    assert reduces(EXIT_LONG, latched)


@pytest.mark.parametrize(
    "changes",
    [
        {"side": Side.SELL},
        {"quantity": Decimal("0.005")},
        {"price": Decimal("49999.5")},
        {"category": Category.SPOT},
    ],
)
def test_decide_denies_a_duplicate_and_nothing_that_differs(changes: dict[str, Any]) -> None:
    account = replace(ACCOUNT, working_keys=frozenset({order_key(LONG)}))
    assert code_of(LONG, account) is DenyCode.ORDER_DUPLICATE
    assert code_of(replace(LONG, quantity=Decimal("0.0040")), account) is DenyCode.ORDER_DUPLICATE
    assert code_of(replace(LONG, client_link_id="again"), account) is DenyCode.ORDER_DUPLICATE
    assert adds(replace(LONG, **changes), account)


def test_decide_lets_an_exit_be_repeated() -> None:
    account = replace(HELD_LONG, working_keys=frozenset({order_key(EXIT_LONG), order_key(SELL)}))
    assert reduces(EXIT_LONG, account)
    assert reduces(SELL, account)


@pytest.mark.parametrize("intent", [EXIT_LONG, SELL])
def test_decide_denies_the_copy_of_an_exit_whose_outcome_is_open_and_no_other_exit(intent: OrderIntent) -> None:
    account = replace(HELD_LONG, unresolved_keys=(order_key(intent),))
    assert code_of(intent, account) is DenyCode.ORDER_DUPLICATE
    assert code_of(replace(intent, client_link_id="again"), account) is DenyCode.ORDER_DUPLICATE
    assert reduces(replace(intent, price=intent.price + 1), account)
    assert reduces(replace(intent, quantity=intent.quantity / 2), account)
    assert adds(BUY, replace(ACCOUNT, unresolved_keys=(order_key(intent),)))


def test_decide_with_unpinned_leverage_denies_linear_entries_only() -> None:
    account = replace(HELD_LONG, leverage_unpinned_symbols=frozenset({"BTCUSDT"}))
    assert code_of(LONG, account) is DenyCode.SYMBOL_LEVERAGE_UNPINNED
    assert reduces(EXIT_LONG, account)
    assert adds(BUY, account)


def test_decide_without_instrument_facts_lets_only_linear_exits_pass() -> None:
    assert code_of(BUY, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert code_of(LONG, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert code_of(SELL, instrument=None) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert reduces(EXIT_LONG, HELD_LONG, instrument=None)


def test_decide_with_facts_of_another_coin_denies() -> None:
    assert code_of(BUY, instrument=replace(SPOT, base_coin="WBTC")) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
    assert code_of(SELL, instrument=replace(SPOT, base_coin="WBTC")) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN


@pytest.mark.parametrize("price", ["50000.1", "50000.25", "49999.000000000001"])
def test_decide_off_the_tick_denies(price: str) -> None:
    for intent, account in ((BUY, ACCOUNT), (SELL, ACCOUNT), (LONG, ACCOUNT), (EXIT_LONG, HELD_LONG)):
        assert code_of(replace(intent, price=Decimal(price)), account) is DenyCode.ORDER_PRICE_OFF_TICK


@pytest.mark.parametrize("quantity", ["0.00405", "0.000000000001", "0.0040000001"])
def test_decide_off_the_step_denies(quantity: str) -> None:
    for intent, account in ((BUY, ACCOUNT), (SELL, ACCOUNT), (LONG, ACCOUNT)):
        assert code_of(replace(intent, quantity=Decimal(quantity)), account) is DenyCode.ORDER_QUANTITY_OFF_STEP


@pytest.mark.parametrize(
    ("quantity", "code"),
    [("0.0003", None), ("0.0002", None), ("0.0001", DenyCode.ORDER_QUANTITY_BELOW_MINIMUM)],
)
def test_decide_bounds_the_quantity_from_below_for_entries_only(quantity: str, code: DenyCode | None) -> None:
    assert code_of(replace(BUY, quantity=Decimal(quantity))) is code
    assert reduces(replace(SELL, quantity=Decimal(quantity)))


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("1.9999", None),
        ("2", None),
        ("2.0001", DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM),
        ("900", DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM),
    ],
)
def test_decide_bounds_the_quantity_by_the_instrument(quantity: str, code: DenyCode | None) -> None:
    account = replace(ACCOUNT, sellable_base={"BTC": Decimal(1_000)})
    cheap = {"market": market(BTC=coin("100"))}
    assert code_of(replace(BUY, quantity=Decimal(quantity), price=Decimal(100)), account, **cheap) is code
    assert code_of(replace(SELL, quantity=Decimal(quantity), price=Decimal(100)), account, **cheap) is code


@pytest.mark.parametrize(
    ("limit", "scale", "code"),
    [
        ("0.0041", "1", None),
        ("0.004", "1", None),
        ("0.0039", "1", DenyCode.LIMIT_ORDER_QUANTITY),
        ("0.0001", "1", DenyCode.LIMIT_ORDER_QUANTITY),
        ("0.008", "0.5", None),
        ("0.0079", "0.5", DenyCode.LIMIT_ORDER_QUANTITY),
    ],
)
def test_decide_bounds_the_quantity_of_entries_by_the_policy(limit: str, scale: str, code: DenyCode | None) -> None:
    limits = replace(SYMBOL_LIMITS, max_order_quantity=Decimal(limit))
    policy = replace(POLICY, symbols=dict.fromkeys(POLICY.symbols, limits))
    state = TradingState.ACTIVE if scale == "1" else TradingState.TRIMMED
    for intent in (BUY, LONG, SHORT):
        assert code_of(intent, policy=policy, trading_state=state, scale=Decimal(scale)) is code
    assert reduces(EXIT_LONG, HELD_LONG, policy=policy)
    assert reduces(SELL, policy=policy)


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.0002", "50000", None),
        ("0.0002", "50000.5", None),
        ("0.0002", "49999.5", DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM),
        ("0.0099", "50000", None),
        ("0.01", "50000", None),
        ("0.01", "49000", None),
        ("0.01", "50000.5", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("0.0101", "50000", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        # Priced low enough to look small, but worth 505 by the reference.
        ("0.0101", "45000", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
        ("2", "50000", DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM),
    ],
)
def test_decide_bounds_the_notional_of_entries(quantity: str, price: str, code: DenyCode | None) -> None:
    assert code_of(replace(BUY, quantity=Decimal(quantity), price=Decimal(price))) is code


def test_decide_takes_the_greater_minimum_of_policy_and_instrument() -> None:
    small = replace(BUY, quantity=Decimal("0.0002"))
    above = replace(SPOT, min_notional=Decimal("10.01"))
    assert code_of(small, instrument=above) is DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM
    assert adds(small, instrument=replace(SPOT, min_notional=Decimal(10)))


def test_decide_on_an_exit_ignores_the_limits_of_entries() -> None:
    account = replace(
        ACCOUNT,
        sellable_base={"BTC": Decimal(2)},
        held_base={"BTC": Decimal(2)},
        positions={"BTCUSDT": Decimal(2)},
        turnover_used_usdt=Decimal(10**9),
    )
    assert reduces(replace(SELL, quantity=Decimal(2)), account)
    assert reduces(replace(EXIT_LONG, quantity=Decimal(2)), account)
    assert reduces(replace(SELL, quantity=Decimal("0.0001")), account)


def test_decide_computes_the_notional_exactly() -> None:
    policy = replace(POLICY, max_order_notional_usdt=Decimal(1), min_order_notional_usdt=Decimal(1))
    fine = replace(SPOT, tick_size=Decimal("0.000000000001"), quantity_step=Decimal("0.000000000001"),
                   min_quantity=Decimal("0.000000000001"), min_notional=Decimal("0.1"))  # fmt: skip
    at_one = {"policy": policy, "instrument": fine, "market": market(BTC=coin("1"))}
    # 1.000000000001 x 0.999999999999 = 0.999999999999999999999999, 24 digits below one
    intent = replace(BUY, quantity=Decimal("1.000000000001"), price=Decimal("0.999999999999"))
    assert code_of(intent, **at_one) is DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM
    above = replace(BUY, quantity=Decimal("1.000000000001"), price=Decimal(1))
    assert code_of(above, **at_one) is DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM


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
    intent, empty = replace(BUY, quantity=Decimal(quantity)), replace(ACCOUNT, held_base={})
    assert code_of(intent, empty, trading_state=TradingState.TRIMMED, scale=Decimal(scale)) is code


def test_decide_when_trimmed_without_a_scale_halves() -> None:
    half, more = replace(BUY, quantity=Decimal("0.005")), replace(BUY, quantity=Decimal("0.0051"))
    assert adds(half, trading_state=TradingState.TRIMMED)
    assert code_of(more, trading_state=TradingState.TRIMMED) is DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM


def test_decide_when_active_ignores_the_scale() -> None:
    assert adds(replace(BUY, quantity=Decimal("0.01")), scale=Decimal("0.1"))


@pytest.mark.parametrize(
    ("intent", "price", "code"),
    [
        (BUY, "50149.5", None),
        (BUY, "50150", None),
        (BUY, "50150.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (BUY, "90000", DenyCode.PRICE_OUTSIDE_COLLAR),
        (BUY, "40000", None),
        (BUY, "39999.5", DenyCode.PRICE_FAT_FINGER),
        (LONG, "50150", None),
        (LONG, "50150.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (SHORT, "49850", None),
        (SHORT, "49849.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (SHORT, "5000", DenyCode.PRICE_OUTSIDE_COLLAR),
        (SHORT, "60000", None),
        (SHORT, "60000.5", DenyCode.PRICE_FAT_FINGER),
        (SELL, "49800", None),
        (SELL, "49799.5", DenyCode.PRICE_OUTSIDE_COLLAR),
        (SELL, "60000.5", DenyCode.PRICE_FAT_FINGER),
        (EXIT_LONG, "49800", None),
        (EXIT_LONG, "49799.5", DenyCode.PRICE_OUTSIDE_COLLAR),
    ],
)
def test_decide_holds_prices_near_the_reference(intent: OrderIntent, price: str, code: DenyCode | None) -> None:
    assert code_of(replace(intent, price=Decimal(price)), HELD_LONG) is code


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (STALE, DenyCode.REFERENCE_STALE),
        (
            market(
                BTC=replace(coin("1", last_good="50000"), reference=Unusable(flaw=Flaw.DIVERGES, source=Source.MARK))
            ),
            DenyCode.REFERENCE_DIVERGES,
        ),
        (
            market(
                BTC=replace(coin("1", last_good="50000"), reference=Unusable(flaw=Flaw.MISSING, source=Source.INDEX))
            ),
            DenyCode.REFERENCE_MISSING,
        ),
    ],
)
def test_decide_without_a_usable_reference_adds_nothing_and_traps_nothing(facts: MarketFacts, code: DenyCode) -> None:
    assert code_of(BUY, market=facts) is code
    assert code_of(LONG, market=facts) is code
    assert reduces(SELL, market=facts)
    assert reduces(EXIT_LONG, HELD_LONG, market=facts)


@pytest.mark.parametrize("intent", [BUY, SELL, LONG, EXIT_LONG])
def test_decide_where_there_never_was_a_reference_permits_nothing(intent: OrderIntent) -> None:
    assert code_of(intent, HELD_LONG, market=NO_PRICES) is DenyCode.REFERENCE_MISSING


@pytest.mark.parametrize(
    ("used", "code"),
    [
        ("0", None),
        ("5799.99", None),
        ("5800", None),
        ("5800.01", DenyCode.LIMIT_TURNOVER),
        ("1000000", DenyCode.LIMIT_TURNOVER),
    ],
)
def test_decide_bounds_the_turnover_of_entries(used: str, code: DenyCode | None) -> None:
    account = replace(HELD_LONG, turnover_used_usdt=Decimal(used))
    assert code_of(BUY, account) is code
    assert code_of(LONG, account) is code
    assert reduces(SELL, account)
    assert reduces(EXIT_LONG, account)


def test_decide_does_not_scale_the_turnover() -> None:
    account = replace(ACCOUNT, turnover_used_usdt=Decimal(5800))
    assert adds(BUY, account, trading_state=TradingState.TRIMMED)


@pytest.mark.parametrize(
    ("equity", "used", "code"),
    [
        ("2000", "2800", None),
        ("2000", "2800.01", DenyCode.LIMIT_TURNOVER),
        ("9000", "5800", None),
        ("9000", "5800.01", DenyCode.LIMIT_TURNOVER),
    ],
)
def test_decide_takes_multiples_of_the_smaller_of_equity_and_capital(
    equity: str, used: str, code: DenyCode | None
) -> None:
    account = replace(ACCOUNT, equity_usdt=Decimal(equity), turnover_used_usdt=Decimal(used))
    assert code_of(BUY, account) is code


@pytest.mark.parametrize(
    ("held", "working", "code"),
    [
        ("0.036", "0", None),
        ("0.026", "0.01", None),
        ("0.0361", "0", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        ("0.026", "0.0101", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        ("9", "9", DenyCode.LIMIT_SYMBOL_EXPOSURE),
    ],
)
def test_decide_bounds_holdings_and_working_buys_of_a_symbol(held: str, working: str, code: DenyCode | None) -> None:
    account = replace(ACCOUNT, held_base={"BTC": Decimal(held)}, working_buys={SPOT_BTC: Decimal(working)})
    assert code_of(BUY, account) is code
    assert reduces(SELL, account)


@pytest.mark.parametrize(
    ("intent", "position", "buys", "sells", "code"),
    [
        (LONG, "0.036", "0", "0", None),
        (LONG, "0.0361", "0", "0", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        (LONG, "-0.04", "0", "0", None),
        (LONG, "-0.0401", "0", "0", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        (LONG, "0.03", "0.006", "0.07", None),
        (LONG, "0.03", "0.0061", "0", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        (LONG, "0.03", "0", "0.0701", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        (SHORT, "0.03", "0", "0.066", None),
        (SHORT, "0.03", "0", "0.0661", DenyCode.LIMIT_SYMBOL_EXPOSURE),
        (SHORT, "-0.036", "0", "0", None),
        (SHORT, "-0.0361", "0", "0", DenyCode.LIMIT_SYMBOL_EXPOSURE),
    ],
)
def test_decide_bounds_position_and_working_orders_of_a_symbol(
    intent: OrderIntent, position: str, buys: str, sells: str, code: DenyCode | None
) -> None:
    account = replace(
        ACCOUNT,
        held_base={},
        positions={"BTCUSDT": Decimal(position)},
        working_buys={LINEAR_BTC: Decimal(buys)},
        working_sells={LINEAR_BTC: Decimal(sells)},
    )
    assert code_of(intent, account) is code


def test_decide_when_trimmed_scales_the_symbol_exposure() -> None:
    account = replace(ACCOUNT, held_base={"BTC": Decimal("0.016")})
    assert adds(BUY, account, trading_state=TradingState.TRIMMED)
    more = replace(account, held_base={"BTC": Decimal("0.0161")})
    assert code_of(BUY, more, trading_state=TradingState.TRIMMED) is DenyCode.LIMIT_SYMBOL_EXPOSURE
    assert adds(BUY, more)


@pytest.mark.parametrize(
    ("eth", "state", "code"),
    [
        ("1.65", TradingState.ACTIVE, None),  # 3300 + 500 held + 200 in question
        ("-1.65", TradingState.ACTIVE, None),
        ("1.6501", TradingState.ACTIVE, DenyCode.LIMIT_GROSS_EXPOSURE),
        ("-1.6501", TradingState.ACTIVE, DenyCode.LIMIT_GROSS_EXPOSURE),
        ("100", TradingState.ACTIVE, DenyCode.LIMIT_GROSS_EXPOSURE),
        ("0.65", TradingState.TRIMMED, None),
        ("0.6501", TradingState.TRIMMED, DenyCode.LIMIT_GROSS_EXPOSURE),
    ],
)
def test_decide_bounds_gross_exposure_without_netting(eth: str, state: TradingState, code: DenyCode | None) -> None:
    account = replace(ACCOUNT, positions={"ETHUSDT": Decimal(eth)})
    assert code_of(LONG, account, trading_state=state) is code
    assert code_of(SHORT, account, trading_state=state) is code


def test_decide_counts_other_symbols_working_orders_in_gross_exposure() -> None:
    account = replace(ACCOUNT, working_sells={LINEAR_ETH: Decimal("1.65")})
    assert adds(LONG, account)
    more = replace(account, working_sells={LINEAR_ETH: Decimal("1.6501")})
    assert code_of(LONG, more) is DenyCode.LIMIT_GROSS_EXPOSURE


def test_decide_with_a_position_that_cannot_be_valued_adds_nothing() -> None:
    account = replace(HELD_LONG, positions={"BTCUSDT": Decimal("0.004"), "XRPUSDT": Decimal(1)})
    result = decided(LONG, account)
    assert isinstance(result, Deny)
    assert (result.code, result.detail) == (DenyCode.REFERENCE_MISSING, (("coins", "XRP"),))
    assert reduces(EXIT_LONG, account)


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
    result = decided(replace(BUY, price=Decimal(50_200)))
    assert isinstance(result, Deny)
    assert dict(result.detail) == {"price": "50200", "reference": "50000", "bound": "50150.000"}


@pytest.mark.parametrize(("more", "code"), [("0", None), ("0." + "0" * 30 + "1", DenyCode.LIMIT_TURNOVER)])
def test_decide_is_exact_beyond_the_digits_of_the_callers_context_and_leaves_that_alone(
    more: str, code: DenyCode | None
) -> None:
    used = EXACT.add(Decimal(5800), Decimal(more))
    with localcontext(Context(prec=5, rounding=ROUND_DOWN)) as outer:
        assert code_of(BUY, replace(ACCOUNT, turnover_used_usdt=used)) is code
        assert getcontext() is outer


@pytest.mark.parametrize(("intent", "checks"), [(BUY, ADDING), (EXIT_LONG, REDUCING)])
def test_decide_asks_what_explain_tells_in_the_same_order(
    intent: OrderIntent, checks: dict[str, Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pass_as(name: str) -> Check:
        return lambda _: asked.append(name)

    for name, check in checks.items():
        monkeypatch.setattr(decision, check.__name__, pass_as(name))
    assert isinstance(decide(question(intent)), Allow)
    assert asked == list(checks)


@pytest.mark.parametrize(("intent", "checks"), [(BUY, ADDING), (EXIT_LONG, REDUCING)])
def test_decide_ends_at_the_first_check_that_denies(
    intent: OrderIntent, checks: dict[str, Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(intent, instrument=SPOT if intent is BUY else LINEAR, account=HELD_LONG)
    assert isinstance(decide(asked), Allow)
    for check in reversed(checks.values()):
        denied = deny(DenyCode.GATEWAY_FAULT, check=check.__name__)
        monkeypatch.setattr(decision, check.__name__, lambda _, denied=denied: denied)
        assert decide(asked) is denied


def test_checks_run_alone_never_raise_on_a_symbol_that_is_not_permitted() -> None:
    for intent in (replace(BUY, symbol="XRPUSDT"), replace(EXIT_LONG, symbol="XRPUSDT")):
        for check in (*ADDING.values(), *REDUCING.values()):
            decided_alone = check(question(intent))
            assert decided_alone is None or isinstance(decided_alone, Deny)


def test_exposure_check_run_alone_denies_a_symbol_that_is_not_permitted_at_any_price() -> None:
    denied = ADDING["exposure limits"](question(replace(BUY, symbol="XRPUSDT"), market=market(XRP=coin("1"))))
    assert denied is not None
    assert denied.code is DenyCode.SYMBOL_NOT_PERMITTED


def test_exposure_check_run_alone_names_the_coin_of_an_order_without_a_price() -> None:
    flat = replace(ACCOUNT, held_base={})
    denied = ADDING["exposure limits"](question(BUY, account=flat, market=NO_PRICES))
    assert denied is not None
    assert (denied.code, denied.detail) == (DenyCode.REFERENCE_MISSING, (("coins", "BTC"),))


@pytest.mark.parametrize("step", [Decimal(0), Decimal("-0.5")])
@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("tick_size", DenyCode.ORDER_PRICE_OFF_TICK),
        ("quantity_step", DenyCode.ORDER_QUANTITY_OFF_STEP),
    ],
)
def test_decide_on_a_grid_of_no_or_negative_steps_denies(field: str, code: DenyCode, step: Decimal) -> None:
    grid: dict[str, Any] = {field: step}
    assert code_of(BUY, instrument=replace(SPOT, **grid)) is code


def test_checks_that_need_equity_deny_without_it() -> None:
    asked = question(BUY, account=replace(ACCOUNT, equity_usdt=None))
    for name, code in (
        ("turnover budget", DenyCode.LIMIT_TURNOVER),
        ("exposure limits", DenyCode.LIMIT_GROSS_EXPOSURE),
    ):
        denied = ADDING[name](asked)
        assert denied is not None
        assert denied.code is code


def question(intent: OrderIntent, **changes: Any) -> Question:
    facts: dict[str, Any] = {
        "policy": POLICY,
        "instrument": None,
        "account": ACCOUNT,
        "market": MARKET,
        "trading_state": TradingState.ACTIVE,
        "scale": Decimal(1),
        **changes,
    }
    return ask(intent, valued=ValuedAccount(account=facts.pop("account"), market=facts.pop("market")), **facts)


_STATES = st.sampled_from(TradingState)
_QUANTITIES = st.integers(1, 40_000).map(lambda n: Decimal(n) * Decimal("0.0001"))
_SMALL = st.integers(1, 120).map(lambda n: Decimal(n) * Decimal("0.0001"))
_PRICES = st.integers(99_000, 101_000).map(lambda n: Decimal(n) * Decimal("0.5"))
_INTENTS = st.builds(
    OrderIntent,
    category=st.sampled_from(Category),
    symbol=st.sampled_from(["BTCUSDT", "BTCUSDT", "BTCUSDT", "XRPUSDT"]),
    side=st.sampled_from(Side),
    quantity=_SMALL | _QUANTITIES,
    price=_PRICES,
    reduce_only=st.booleans(),
    client_link_id=st.none(),
)
_OPEN = st.fixed_dictionaries({}, optional=dict.fromkeys([SPOT_BTC, LINEAR_BTC, LINEAR_ETH], _SMALL))
_ACCOUNTS = st.builds(
    AccountFacts,
    is_trusted=st.sampled_from([True, True, True, False]),
    equity_usdt=st.sampled_from([Decimal(4000), Decimal(1500), Decimal(90_000), None]),
    working_orders=st.integers(0, 9),
    working_stops=st.just({"BTCUSDT": 5}),
    unresolved_symbols=st.sampled_from([frozenset(), frozenset(), frozenset({SPOT_BTC})]),
    held_base=st.builds(lambda amount: {"BTC": amount}, _SMALL),
    sellable_base=st.builds(lambda amount: {"BTC": amount}, _SMALL),
    positions=st.builds(lambda amount, sign: {"BTCUSDT": amount * sign}, _SMALL, st.sampled_from([-1, 0, 1])),
    working_buys=_OPEN,
    working_sells=_OPEN,
    turnover_used_usdt=st.sampled_from([Decimal(0), Decimal(1000), Decimal(5700)]),
    working_keys=st.just(frozenset()),
    unresolved_keys=st.just(()),
    leverage_unpinned_symbols=st.sampled_from([frozenset(), frozenset(), frozenset({"BTCUSDT"})]),
    message_level=st.sampled_from([MessageLevel.FREE, MessageLevel.FREE, *MessageLevel]),
    is_terminated=st.sampled_from([False, False, True]),
    repeated_execution_symbols=st.sampled_from([frozenset(), frozenset(), frozenset({LINEAR_BTC})]),
)
_MARKETS = st.sampled_from([MARKET, MARKET, STALE, NO_PRICES])


@settings(max_examples=400)
@given(_INTENTS, _ACCOUNTS, _STATES, _MARKETS)
def test_allowed_orders_keep_every_promise(
    intent: OrderIntent, account: AccountFacts, state: TradingState, facts: MarketFacts
) -> None:
    result = decided(intent, account, trading_state=state, market=facts)
    if isinstance(result, Deny):
        return
    assert state is not TradingState.KILLED
    assert POLICY.permits(intent.category, intent.symbol)
    assert account.working_orders < 2 * POLICY.max_open_orders
    assert account.message_level is MessageLevel.FREE
    assert facts is not NO_PRICES
    if result.adds_risk:
        scale = Decimal("0.5") if state is TradingState.TRIMMED else Decimal(1)
        assert state <= TradingState.TRIMMED
        assert account.is_trusted
        assert not account.is_terminated
        assert facts is MARKET
        assert result.notional == intent.quantity * max(intent.price, Decimal(50_000))
        assert intent.quantity * intent.price >= POLICY.min_order_notional_usdt
        assert result.notional <= POLICY.max_order_notional_usdt * scale
        assert account.working_orders < POLICY.max_open_orders
        assert account.equity_usdt is not None
        base = min(account.equity_usdt, POLICY.allocated_capital_usdt)
        assert account.turnover_used_usdt + result.notional <= POLICY.turnover_budget_24h * base
        give = intent.price / 50_000 - 1 if intent.side is Side.BUY else 1 - intent.price / 50_000
        assert give <= POLICY.collar
    elif intent.category is Category.SPOT:
        assert intent.side is Side.SELL
        assert intent.quantity <= account.sellable_base["BTC"]
    else:
        assert intent.reduce_only
        position = account.positions["BTCUSDT"]
        assert not account.is_trusted or intent.quantity <= (position if intent.side is Side.SELL else -position)


@given(_INTENTS, _ACCOUNTS, _MARKETS, _STATES, _STATES)
def test_a_more_restrictive_state_never_permits_more(
    intent: OrderIntent, account: AccountFacts, facts: MarketFacts, one: TradingState, other: TradingState
) -> None:
    freer, stricter = sorted([one, other])
    if isinstance(decided(intent, account, market=facts, trading_state=stricter), Allow):
        assert isinstance(decided(intent, account, market=facts, trading_state=freer), Allow)


@given(_INTENTS, _ACCOUNTS, st.decimals("0.01", "1", places=2), st.decimals("0.01", "1", places=2))
def test_a_smaller_scale_never_permits_more(
    intent: OrderIntent, account: AccountFacts, one: Decimal, other: Decimal
) -> None:
    smaller, greater = sorted([one, other])
    if isinstance(decided(intent, account, trading_state=TradingState.TRIMMED, scale=smaller), Allow):
        assert isinstance(decided(intent, account, trading_state=TradingState.TRIMMED, scale=greater), Allow)


@settings(max_examples=300)
@given(_INTENTS, _ACCOUNTS, _MARKETS, st.data())
def test_a_tighter_policy_never_permits_what_a_looser_one_denies(
    intent: OrderIntent, account: AccountFacts, facts: MarketFacts, data: st.DataObject
) -> None:
    tighter = data.draw(_tightened(POLICY))
    if isinstance(decided(intent, account, market=facts, policy=tighter), Allow):
        assert isinstance(decided(intent, account, market=facts, policy=POLICY), Allow)


def _tightened(policy: Policy) -> st.SearchStrategy[Policy]:
    shrink = st.sampled_from([Decimal(1), Decimal("0.9"), Decimal("0.5"), Decimal("0.1")])
    factors = st.fixed_dictionaries(
        dict.fromkeys(
            [
                "allocated_capital_usdt",
                "max_order_notional_usdt",
                "max_gross_exposure",
                "turnover_budget_24h",
                "collar",
                "fat_finger",
                "exit_collar",
            ],
            shrink,
        )
    )

    def tighten(chosen: dict[str, Decimal], symbol: Decimal, orders: int, minimum: Decimal) -> Policy:
        limits = {
            key: replace(
                value,
                max_order_quantity=value.max_order_quantity * symbol,
                max_notional_usdt=value.max_notional_usdt * symbol,
            )
            for key, value in policy.symbols.items()
        }
        changes: dict[str, Any] = {name: getattr(policy, name) * factor for name, factor in chosen.items()}
        return replace(policy, symbols=limits, max_open_orders=orders, min_order_notional_usdt=minimum, **changes)

    return st.builds(
        tighten,
        factors,
        shrink,
        st.integers(1, policy.max_open_orders),
        st.sampled_from([policy.min_order_notional_usdt, policy.min_order_notional_usdt * 3]),
    )


_FLOODS = st.lists(
    st.builds(
        OrderIntent,
        category=st.sampled_from(Category),
        symbol=st.just("BTCUSDT"),
        side=st.sampled_from(Side),
        quantity=st.integers(2, 10).map(lambda n: Decimal(n) * Decimal("0.001")),
        price=_PRICES,
        reduce_only=st.just(False),
        client_link_id=st.none(),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=120)
@given(_FLOODS, st.sampled_from(["-0.02", "0", "0.02"]))
def test_allowed_orders_keep_exposure_below_its_limits_whatever_fills(flood: list[OrderIntent], position: str) -> None:
    policy = replace(POLICY, max_open_orders=100, max_gross_exposure=Decimal("0.6"), turnover_budget_24h=Decimal(20))
    account = replace(ACCOUNT, positions={"BTCUSDT": Decimal(position)}, held_base={"BTC": Decimal("0.003")})
    allowed: list[OrderIntent] = []
    for intent in flood:
        result = decided(intent, account, policy=policy)
        if isinstance(result, Allow) and result.adds_risk:
            allowed.append(intent)
            account = working(account, intent)
    for filled in product([False, True], repeat=len(allowed)):
        after = replace(account, working_buys={}, working_sells={})
        for intent, is_filled in zip(allowed, filled, strict=True):
            after = fill(after, intent) if is_filled else after
        worst = ValuedAccount(account=after, market=MARKET)
        assert worst.gross <= Decimal("0.6") * 4000
        assert all(value <= Decimal(2000) for value in worst.by_symbol.values())


def working(account: AccountFacts, intent: OrderIntent) -> AccountFacts:
    key = (intent.category, intent.symbol)
    if intent.side is Side.BUY:
        buys = dict(account.working_buys)
        return replace(account, working_buys={**buys, key: buys.get(key, Decimal(0)) + intent.quantity})
    sells = dict(account.working_sells)
    return replace(account, working_sells={**sells, key: sells.get(key, Decimal(0)) + intent.quantity})


def fill(account: AccountFacts, intent: OrderIntent) -> AccountFacts:
    if intent.category is Category.SPOT:
        return replace(account, held_base={"BTC": account.held_base["BTC"] + intent.quantity})
    signed = intent.quantity if intent.side is Side.BUY else -intent.quantity
    return replace(account, positions={"BTCUSDT": account.positions["BTCUSDT"] + signed})


def test_factors_of_the_decision_are_those_that_were_decided() -> None:
    assert (Decimal("0.5"), 2) == (DEFAULT_TRIMMED_SCALE, REDUCING_ORDERS_FACTOR)


@pytest.mark.parametrize(("equity", "shown"), [(None, "unknown"), (Decimal(-1), "-1")])
def test_denial_for_want_of_equity_says_what_is_known(equity: Decimal | None, shown: str) -> None:
    denied = decided(BUY, replace(ACCOUNT, equity_usdt=equity))
    assert isinstance(denied, Deny)
    assert (denied.code, denied.detail) == (DenyCode.EQUITY_UNKNOWN, (("equity", shown),))


def test_equity_of_less_than_a_coin_is_known() -> None:
    denied = decided(BUY, replace(ACCOUNT, equity_usdt=Decimal("0.5")))
    assert isinstance(denied, Deny)
    assert denied.code is not DenyCode.EQUITY_UNKNOWN


FORMER = (Category.SPOT, "XRPUSDT"), (Category.LINEAR, "XRPUSDT")


@pytest.mark.parametrize("intent", [BUY, LONG])
def test_decide_on_a_symbol_that_was_permitted_once_denies_entries(intent: OrderIntent) -> None:
    denied = code_of(replace(intent, symbol="XRPUSDT"), former_symbols=frozenset(FORMER))
    assert denied is DenyCode.SYMBOL_NOT_PERMITTED


def test_decide_on_a_symbol_that_was_permitted_once_lets_its_exits_pass() -> None:
    account = replace(ACCOUNT, sellable_base={"XRP": Decimal(1)}, positions={"XRPUSDT": Decimal(1)})
    prices = market(XRP=coin("50000", last_good="50000", mark="50000"))
    facts = {"instrument": replace(SPOT, symbol="XRPUSDT", base_coin="XRP"), "market": prices}
    for intent in (replace(SELL, symbol="XRPUSDT"), replace(EXIT_LONG, symbol="XRPUSDT")):
        assert reduces(intent, account, former_symbols=frozenset(FORMER), **facts)
        assert code_of(intent, account, **facts) is DenyCode.SYMBOL_NOT_PERMITTED
