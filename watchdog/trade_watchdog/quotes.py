"""Whether a quote of the second venue may vouch for a price. Pure: a quote in, a price or the reason why not out.

The price is the middle of best bid and ask. The last trade is not asked for: one trade of any size makes it, at any
time since. A middle takes both sides of the book, which must stand for a moment, close together, under a fresh time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum, unique
from typing import Final

from trade_core.clock import NS_PER_MS, NS_PER_S

QUOTE_AGE_MAX_S: Final = 10
"""By the venue's own time. A book of a liquid coin moves every second; an older one is a venue that repeats itself."""
CLOCK_AHEAD_MAX_S: Final = 2
"""A time further in the future than clocks differ says nothing about age."""
SPREAD_MAX: Final = Decimal("0.01")
"""Between wider quotes lies no price: the middle of a thin book is wherever somebody left an order."""
_LOWEST: Final = Decimal("0.000000000001")
_HIGHEST: Final = Decimal(999_999_999_999)
_EXACT: Final = Context(prec=64, rounding=ROUND_HALF_EVEN)


@unique
class QuoteFinding(Enum):
    """What the last attempt to read a coin's quote found."""

    NEVER_ASKED = "never_asked"
    GOOD = "good"
    UNAVAILABLE = "unavailable"
    UNREADABLE = "unreadable"
    PAIR_REFUSED = "pair_refused"
    NOT_A_PRICE = "not_a_price"
    CROSSED = "crossed"
    WIDE = "wide"
    WITHOUT_TIME = "without_time"
    OLD = "old"
    AHEAD = "ahead"
    NOT_SIMULATED = "not_simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask with the venue's own time, and when we asked and were answered. None is what it did not say."""

    bid: Decimal | None
    ask: Decimal | None
    venue_time_ms: int | None
    asked_wall_ns: int
    asked_monotonic_ns: int
    answered_wall_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPrice:
    """A price in USDT and the moment, on the monotonic clock, that it is at most as old as."""

    price: Decimal
    seen_monotonic_ns: int


def examine_quote(quote: Quote) -> SeenPrice | QuoteFinding:
    """Return the price, or why there is none. A quote exactly at a bound is good."""
    bid, ask = quote.bid, quote.ask
    if not (_is_price(bid) and _is_price(ask)) or bid is None or ask is None:
        return QuoteFinding.NOT_A_PRICE
    if bid >= ask:
        return QuoteFinding.CROSSED
    if _EXACT.subtract(ask, bid) > _EXACT.multiply(bid, SPREAD_MAX):
        return QuoteFinding.WIDE
    if quote.venue_time_ms is None:
        return QuoteFinding.WITHOUT_TIME
    told_ns = quote.venue_time_ms * NS_PER_MS
    if told_ns - quote.answered_wall_ns > CLOCK_AHEAD_MAX_S * NS_PER_S:
        return QuoteFinding.AHEAD
    age_ns = max(0, quote.asked_wall_ns - told_ns)
    if age_ns > QUOTE_AGE_MAX_S * NS_PER_S:
        return QuoteFinding.OLD
    middle = _EXACT.divide(_EXACT.add(bid, ask), Decimal(2)).quantize(_LOWEST, context=_EXACT)
    # Asked for, not answered: whatever time the answer took, the price may be as old as the question.
    return SeenPrice(price=middle, seen_monotonic_ns=quote.asked_monotonic_ns - age_ns)


def _is_price(value: Decimal | None) -> bool:
    return value is not None and value.is_finite() and _LOWEST <= value <= _HIGHEST
