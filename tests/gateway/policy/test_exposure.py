"""Exposure: the worst case of every symbol, no netting, and nothing that cannot be valued goes unnoticed."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Context, Decimal, getcontext, localcontext
from itertools import product
from typing import Any, NamedTuple

import pytest
from gateway.policy.full_exposure import Candidate, exposures
from gateway.policy.parts import ACCOUNT, LINEAR_BTC, LINEAR_ETH, MARKET, NO_PRICES, SPOT_BTC, coin, market
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_gateway.policy.exact import EXACT
from trade_gateway.policy.exposure import ValuedAccount, exposure_with, unpriced_coins
from trade_gateway.policy.facts import AccountFacts, CoinMarket, MarketFacts
from trade_gateway.policy.model import SymbolKey
from trade_gateway.wire.intents import Category, OrderIntent, Side

KNOWN = {SPOT_BTC, LINEAR_BTC, LINEAR_ETH}
FLAT = replace(ACCOUNT, held_base={}, sellable_base={})


class Exposures(NamedTuple):
    by_symbol: dict[SymbolKey, Decimal]
    gross: Decimal
    unpriced: tuple[str, ...]


def worst(account: AccountFacts, facts: MarketFacts = MARKET) -> Exposures:
    valued = ValuedAccount(account=account, market=facts)
    return Exposures(valued.by_symbol, valued.gross, unpriced_coins(valued, known=KNOWN))


def order(key: SymbolKey, side: Side, quantity: Decimal | str, price: Decimal | int) -> OrderIntent:
    return OrderIntent(
        category=key[0],
        symbol=key[1],
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reduce_only=False,
        client_link_id=None,
    )


def worst_with(
    account: AccountFacts, intent: OrderIntent, facts: MarketFacts = MARKET
) -> tuple[Decimal, Decimal] | None:
    with localcontext(EXACT):
        valued = ValuedAccount(account=account, market=facts)
        return exposure_with(valued, (intent.category, intent.symbol), intent)


def facts(**changes: Any) -> AccountFacts:
    return replace(FLAT, **changes)


def test_exposure_of_an_empty_account_is_nothing() -> None:
    assert worst(FLAT) == Exposures(by_symbol={}, gross=Decimal(0), unpriced=())
    zeros = facts(
        held_base={"BTC": Decimal(0)}, positions={"XRPUSDT": Decimal(0)}, working_sells={SPOT_BTC: Decimal(1)}
    )
    assert worst(zeros) == Exposures(by_symbol={}, gross=Decimal(0), unpriced=())


def test_exposure_of_spot_is_holdings_and_working_buys_never_less_sells() -> None:
    account = facts(
        held_base={"BTC": Decimal("0.01"), "USDT": Decimal(4000)},
        working_buys={SPOT_BTC: Decimal("0.02")},
        working_sells={SPOT_BTC: Decimal("0.01")},
    )
    assert worst(account).by_symbol == {SPOT_BTC: Decimal(1500)}


def test_exposure_is_exact_beyond_the_digits_of_the_callers_context_and_leaves_that_alone() -> None:
    held = Decimal("0.123456789012345678901234567890123456")
    with localcontext(Context(prec=5, rounding=ROUND_DOWN)) as outer:
        found = worst(facts(held_base={"BTC": held}))
        assert getcontext() is outer
    assert found.gross == EXACT.multiply(held, Decimal(50_000))


def test_exposure_of_spot_that_only_sells_is_nothing() -> None:
    assert worst(facts(working_sells={SPOT_BTC: Decimal(1)})).by_symbol == {}


@pytest.mark.parametrize(
    ("position", "buys", "sells", "quantity"),
    [
        ("0", "0.02", "0", "0.02"),
        ("0", "0", "0.03", "0.03"),
        ("0", "0.02", "0.03", "0.03"),
        ("0.01", "0.02", "0.03", "0.03"),
        ("0.01", "0.02", "0.05", "0.04"),
        ("-0.01", "0.02", "0.03", "0.04"),
        ("-0.05", "0.02", "0", "0.05"),
        ("-0.01", "0.09", "0", "0.08"),
    ],
)
def test_exposure_of_linear_is_the_worse_of_both_directions(
    position: str, buys: str, sells: str, quantity: str
) -> None:
    account = facts(
        positions={"BTCUSDT": Decimal(position)},
        working_buys={LINEAR_BTC: Decimal(buys)},
        working_sells={LINEAR_BTC: Decimal(sells)},
    )
    assert worst(account).by_symbol[LINEAR_BTC] == Decimal(quantity) * 50_000


def test_exposures_of_symbols_do_not_net() -> None:
    account = facts(
        held_base={"BTC": Decimal("0.01")}, positions={"BTCUSDT": Decimal("-0.01"), "ETHUSDT": Decimal("-0.25")}
    )
    assert worst(account).gross == 500 + 500 + 500


@pytest.mark.parametrize(
    ("key", "side", "expected"),
    [
        (SPOT_BTC, Side.BUY, "0.015"),
        (LINEAR_BTC, Side.BUY, "0.015"),
        (LINEAR_BTC, Side.SELL, "0.02"),
    ],
)
def test_exposure_counts_an_order_as_if_it_worked(key: tuple[Category, str], side: Side, expected: str) -> None:
    account = facts(
        held_base={"BTC": Decimal("0.01")},
        positions={"BTCUSDT": Decimal("0.01")},
        working_sells={LINEAR_BTC: Decimal("0.025")},
    )
    found = worst_with(account, order(key, side, "0.005", 1))
    value = Decimal(expected) * 50_000
    others = worst(account).gross - worst(account).by_symbol[key]
    assert found == (value, others + value)
    assert account.working_sells == {LINEAR_BTC: Decimal("0.025")}


def test_exposure_of_an_order_takes_its_own_price_when_that_is_greater() -> None:
    account = facts(positions={"ETHUSDT": Decimal(1)})
    assert worst_with(account, order(LINEAR_BTC, Side.BUY, "0.01", 50_100)) == (Decimal(501), Decimal(2501))
    assert worst_with(account, order(LINEAR_BTC, Side.BUY, "0.01", 50_000)) == (Decimal(500), Decimal(2500))
    assert worst_with(account, order(LINEAR_BTC, Side.BUY, "0.01", 49_900)) == (Decimal(500), Decimal(2500))


def test_exposure_with_an_order_that_makes_the_other_direction_the_worse_one() -> None:
    account = facts(positions={"BTCUSDT": Decimal("0.01")})
    assert worst_with(account, order(LINEAR_BTC, Side.SELL, "0.015", 1)) == (Decimal(500), Decimal(500))
    assert worst_with(account, order(LINEAR_BTC, Side.SELL, "0.025", 1)) == (Decimal(750), Decimal(750))


@pytest.mark.parametrize(
    ("seen", "price"),
    [
        (coin("100"), "100"),
        (coin("100", mark="101"), "101"),
        (coin("100", mark="99", last_good="500"), "100"),
        (coin(None, last_good="100"), "100"),
        (coin(None, last_good="100", mark="90"), "100"),
        (coin(None, last_good="100", mark="110"), "110"),
        (coin(None, mark="110"), "110"),
        (coin(None), None),
    ],
)
def test_price_of_exposure_is_the_greatest_that_is_known(seen: CoinMarket, price: str | None) -> None:
    assert seen.highest == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    "account",
    [
        facts(held_base={"BTC": Decimal(1)}),
        facts(positions={"BTCUSDT": Decimal(-1)}),
        facts(working_buys={SPOT_BTC: Decimal(1)}),
        facts(working_buys={LINEAR_BTC: Decimal(1)}),
        facts(working_sells={LINEAR_BTC: Decimal(1)}),
    ],
)
def test_exposure_without_a_price_is_named(account: AccountFacts) -> None:
    assert worst(account, NO_PRICES) == Exposures(by_symbol={}, gross=Decimal(0), unpriced=("BTC",))


def test_exposure_of_strange_coins_counts_with_a_price_and_is_left_out_without() -> None:
    account = facts(held_base={"ETH": Decimal(1), "JUNK": Decimal(10**9)})
    assert worst(account) == Exposures(
        by_symbol={(Category.SPOT, "ETHUSDT"): Decimal(2000)}, gross=Decimal(2000), unpriced=()
    )


def test_exposure_of_strange_positions_and_working_buys_is_never_left_out() -> None:
    assert worst(facts(positions={"JUNKUSDT": Decimal(1)})).unpriced == ("JUNK",)
    working = facts(held_base={"JUNK": Decimal(1)}, working_buys={(Category.SPOT, "JUNKUSDT"): Decimal(1)})
    assert worst(working).unpriced == ("JUNK",)


@pytest.mark.parametrize("key", [SPOT_BTC, LINEAR_BTC])
def test_exposure_with_an_order_without_a_price_is_none_and_not_valued_at_its_own(key: SymbolKey) -> None:
    assert worst_with(FLAT, order(key, Side.BUY, 1, 50_000), NO_PRICES) is None


def test_exposure_has_none_in_the_coin_that_everything_is_quoted_in() -> None:
    priced = market(USDT=coin("1"))
    assert worst(facts(held_base={"USDT": Decimal(4000)}), priced).gross == 0


_ORDERS = st.lists(st.tuples(st.sampled_from(["spot", "linear"]), st.sampled_from(Side), st.integers(1, 9)), max_size=6)


@given(_ORDERS, st.integers(-9, 9), st.integers(0, 9))
def test_exposure_is_at_least_that_of_every_subset_of_fills(
    orders: list[tuple[str, Side, int]], position: int, held: int
) -> None:
    buys: dict[tuple[Category, str], Decimal] = {}
    sells: dict[tuple[Category, str], Decimal] = {}
    for category, side, quantity in orders:
        book, key = (buys if side is Side.BUY else sells), (Category(category), "BTCUSDT")
        book[key] = book.get(key, Decimal(0)) + quantity
    account = facts(
        held_base={"BTC": Decimal(held)},
        positions={"BTCUSDT": Decimal(position)},
        working_buys=buys,
        working_sells=sells,
    )
    bound = worst(account).gross
    for filled in product([0, 1], repeat=len(orders)):
        coins, contracts = held, position
        for (category, side, quantity), share in zip(orders, filled, strict=True):
            signed = share * (quantity if side is Side.BUY else -quantity)
            coins, contracts = (coins + signed, contracts) if category == "spot" else (coins, contracts + signed)
        assert (max(coins, 0) + abs(contracts)) * 50_000 <= bound


_KEYS = [(category, f"{coin}USDT") for category in Category for coin in ("A", "B", "C", "D")]
_AMOUNTS = st.decimals("0.001", "900", places=3)
_STEPS = st.one_of(
    st.tuples(st.just("order"), st.sampled_from(_KEYS), st.sampled_from(Side), _AMOUNTS),
    st.tuples(st.just("fill"), st.sampled_from(_KEYS), st.sampled_from(Side), _AMOUNTS),
    st.tuples(st.just("end"), st.sampled_from(_KEYS), st.sampled_from(Side), _AMOUNTS),
    st.tuples(st.just("price"), st.sampled_from(_KEYS), st.none(), _AMOUNTS),
    st.tuples(st.just("silence"), st.sampled_from(_KEYS), st.none(), st.just(Decimal(0))),
)


class History:
    """What orders, fills, ends and prices have made of an account, in the plainest way."""

    def __init__(self) -> None:
        self.held: dict[str, Decimal] = {"USDT": Decimal(4000)}
        self.positions: dict[str, Decimal] = {}
        self.working: dict[Side, dict[SymbolKey, Decimal]] = {side: {} for side in Side}
        self.coins: dict[str, CoinMarket] = {name: coin("10", mark="11") for name in "ABC"}

    def take(self, step: tuple[str, SymbolKey, Side, Decimal]) -> None:
        what, key, side, amount = step
        name = key[1].removesuffix("USDT")
        if what == "price":
            self.coins[name] = coin(str(amount), mark=str(amount + 1))
        elif what == "silence":
            self.coins.pop(name, None)
        else:
            book = self.working[side]
            if what == "order":
                book[key] = book.get(key, Decimal(0)) + amount
                return
            amount = min(amount, book.get(key, Decimal(0)))
            book[key] = book.get(key, Decimal(0)) - amount
            if what == "fill":
                self._fill(key, amount if side is Side.BUY else -amount)

    def _fill(self, key: SymbolKey, signed: Decimal) -> None:
        if key[0] is Category.LINEAR:
            self.positions[key[1]] = self.positions.get(key[1], Decimal(0)) + signed
        else:
            name = key[1].removesuffix("USDT")
            self.held[name] = max(self.held.get(name, Decimal(0)) + signed, Decimal(0))

    def facts(self) -> AccountFacts:
        return facts(
            held_base=dict(self.held),
            positions=dict(self.positions),
            working_buys=dict(self.working[Side.BUY]),
            working_sells=dict(self.working[Side.SELL]),
        )


def agree(history: History, intent: OrderIntent, known: set[SymbolKey]) -> None:
    account, prices, key = history.facts(), MarketFacts(coins=dict(history.coins)), (intent.category, intent.symbol)
    valued = ValuedAccount(account=account, market=prices)
    before = exposures(account, prices, known=known)
    assert (valued.by_symbol, valued.gross) == (before.by_symbol, before.gross)
    assert unpriced_coins(valued, known=known) == before.unpriced
    if intent.category is Category.SPOT and intent.side is Side.SELL:
        return  # it adds no risk
    candidate = Candidate(key, intent.side, intent.quantity, intent.price)
    after = exposures(account, prices, known=known, candidate=candidate)
    with localcontext(EXACT):
        found = exposure_with(valued, key, intent)
    assert found == ((after.by_symbol[key], after.gross) if key in after.by_symbol else None)


@settings(max_examples=400)
@given(
    st.lists(_STEPS, min_size=10, max_size=40),
    st.builds(order, st.sampled_from(_KEYS), st.sampled_from(Side), _AMOUNTS, _AMOUNTS),
    st.sets(st.sampled_from(_KEYS)),
)
def test_exposure_after_any_history_is_what_is_added_up_from_nothing(
    steps: list[tuple[str, SymbolKey, Side, Decimal]], intent: OrderIntent, known: set[SymbolKey]
) -> None:
    history = History()
    for step in steps:
        history.take(step)
        agree(history, intent, known)
