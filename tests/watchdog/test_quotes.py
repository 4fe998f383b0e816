"""A quote vouches for a price only when every part of it does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_core.money import format_decimal, parse_decimal
from trade_watchdog.quotes import (
    CLOCK_AHEAD_MAX_S,
    QUOTE_AGE_MAX_S,
    SPREAD_MAX,
    Quote,
    QuoteFinding,
    SeenPrice,
    examine_quote,
)

WALL_NS = 1_700_000_000 * NS_PER_S
QUOTE = Quote(
    bid=Decimal("99.9"),
    ask=Decimal("100.1"),
    venue_time_ms=WALL_NS // NS_PER_MS,
    asked_wall_ns=WALL_NS,
    asked_monotonic_ns=77 * NS_PER_S,
    answered_wall_ns=WALL_NS + NS_PER_S,
)


def test_price_is_the_middle_and_as_old_as_the_question() -> None:
    assert examine_quote(QUOTE) == SeenPrice(price=Decimal(100), seen_monotonic_ns=77 * NS_PER_S)


def test_price_is_older_than_the_question_when_the_venue_says_so() -> None:
    found = examine_quote(replace(QUOTE, asked_wall_ns=WALL_NS + 3 * NS_PER_S, answered_wall_ns=WALL_NS + 4 * NS_PER_S))
    assert found == SeenPrice(price=Decimal(100), seen_monotonic_ns=74 * NS_PER_S)


def test_price_is_not_younger_than_the_question_when_the_venue_says_so() -> None:
    found = examine_quote(replace(QUOTE, venue_time_ms=WALL_NS // NS_PER_MS + 900))
    assert found == SeenPrice(price=Decimal(100), seen_monotonic_ns=77 * NS_PER_S)


@pytest.mark.parametrize(
    "value", [None, *(Decimal(text) for text in ("0", "-1", "NaN", "sNaN", "Infinity", "1e12", "1e-13", "1e999999"))]
)
@pytest.mark.parametrize("side", ["bid", "ask"])
def test_bid_or_ask_that_is_no_price_is_refused(side: str, value: Decimal | None) -> None:
    assert examine_quote(replace(QUOTE, **{side: value})) is QuoteFinding.NOT_A_PRICE  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", ["99.9", "99.8", "1"])
def test_book_that_is_crossed_or_locked_is_refused(ask: str) -> None:
    assert examine_quote(replace(QUOTE, ask=Decimal(ask))) is QuoteFinding.CROSSED


@pytest.mark.parametrize(("excess", "is_good"), [("0", True), ("0.000000000001", False), ("50", False)])
def test_spread_has_a_bound(excess: str, *, is_good: bool) -> None:
    bid = Decimal(100)
    found = examine_quote(replace(QUOTE, bid=bid, ask=bid + bid * SPREAD_MAX + Decimal(excess)))
    assert isinstance(found, SeenPrice) if is_good else found is QuoteFinding.WIDE


def test_quote_without_a_time_is_refused() -> None:
    assert examine_quote(replace(QUOTE, venue_time_ms=None)) is QuoteFinding.WITHOUT_TIME


@pytest.mark.parametrize(("late_ms", "is_good"), [(-1, True), (0, True), (1, False), (86_400_000, False)])
def test_age_has_a_bound(late_ms: int, *, is_good: bool) -> None:
    told_ms = WALL_NS // NS_PER_MS - QUOTE_AGE_MAX_S * 1000 - late_ms
    found = examine_quote(replace(QUOTE, venue_time_ms=told_ms))
    assert isinstance(found, SeenPrice) if is_good else found is QuoteFinding.OLD


@pytest.mark.parametrize(("early_ms", "is_good"), [(-1, True), (0, True), (1, False), (86_400_000, False)])
def test_time_ahead_of_ours_has_a_bound(early_ms: int, *, is_good: bool) -> None:
    told_ms = QUOTE.answered_wall_ns // NS_PER_MS + CLOCK_AHEAD_MAX_S * 1000 + early_ms
    found = examine_quote(replace(QUOTE, venue_time_ms=told_ms))
    assert isinstance(found, SeenPrice) if is_good else found is QuoteFinding.AHEAD


@given(bid=st.decimals(), ask=st.decimals(), told_ms=st.one_of(st.none(), st.integers(0, 2**53)))
def test_whatever_is_quoted_a_price_fits_a_lease(bid: Decimal, ask: Decimal, told_ms: int | None) -> None:
    found = examine_quote(replace(QUOTE, bid=bid, ask=ask, venue_time_ms=told_ms))
    if isinstance(found, SeenPrice):
        assert parse_decimal(format_decimal(found.price)) > 0


@given(bid=st.decimals("0.000000000001", "999999999999"), basis=st.decimals("0.0000001", "0.0099", places=7))
def test_middle_lies_between_bid_and_ask(bid: Decimal, basis: Decimal) -> None:
    ask = bid * (1 + basis)
    found = examine_quote(replace(QUOTE, bid=bid, ask=ask))
    if isinstance(found, SeenPrice):
        assert bid <= found.price <= ask or ask - bid < Decimal("0.000000000002")
        assert parse_decimal(format_decimal(found.price)) > 0
