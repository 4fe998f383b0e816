"""Exposure: the worst case of every symbol, no netting, and nothing that cannot be valued goes unnoticed."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Context, Decimal, getcontext, localcontext
from itertools import product
from typing import Any

import pytest
from gateway.policy.parts import ACCOUNT, LINEAR_BTC, LINEAR_ETH, MARKET, NO_PRICES, SPOT_BTC, coin, market
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.exact import EXACT
from trade_gateway.policy.exposure import Candidate, Exposures, exposures
from trade_gateway.policy.facts import AccountFacts, CoinMarket, MarketFacts
from trade_gateway.wire.intents import Category, Side

KNOWN = {SPOT_BTC, LINEAR_BTC, LINEAR_ETH}
FLAT = replace(ACCOUNT, held_base={}, sellable_base={})


def worst(account: AccountFacts, facts: MarketFacts = MARKET, candidate: Candidate | None = None) -> Exposures:
    return exposures(account, facts, known=KNOWN, candidate=candidate)


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
def test_exposure_counts_the_candidate_as_if_it_worked(key: tuple[Category, str], side: Side, expected: str) -> None:
    account = facts(
        held_base={"BTC": Decimal("0.01")},
        positions={"BTCUSDT": Decimal("0.01")},
        working_sells={LINEAR_BTC: Decimal("0.025")},
    )
    candidate = Candidate(key=key, side=side, quantity=Decimal("0.005"), price=Decimal(1))
    assert worst(account, candidate=candidate).by_symbol[key] == Decimal(expected) * 50_000
    assert account.working_sells == {LINEAR_BTC: Decimal("0.025")}


def test_exposure_of_the_candidate_takes_its_own_price_when_that_is_greater() -> None:
    candidate = Candidate(key=LINEAR_BTC, side=Side.BUY, quantity=Decimal("0.01"), price=Decimal(50_100))
    result = worst(facts(positions={"ETHUSDT": Decimal(1)}), candidate=candidate)
    assert result.by_symbol == {LINEAR_BTC: Decimal(501), LINEAR_ETH: Decimal(2000)}


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
def test_exposure_of_a_candidate_without_a_price_is_named_and_not_valued_at_its_own(key: tuple[Category, str]) -> None:
    candidate = Candidate(key=key, side=Side.BUY, quantity=Decimal(1), price=Decimal(50_000))
    assert worst(FLAT, NO_PRICES, candidate) == Exposures(by_symbol={}, gross=Decimal(0), unpriced=("BTC",))


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
