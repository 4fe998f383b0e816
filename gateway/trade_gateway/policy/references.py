"""Judges the price reference of one base coin. Pure: prices and ages in, Usable or Unusable out.

Rules
- The reference is the index price of the linear contract of the same coins, for spot too. The book and the last trade
  are never asked: who owns the thin side of a book would own the reference.
- The mark price stands beside the index and must be as fresh and near; it is never the reference itself.
- A second venue's price, read by the watchdog and brought by the lease, is compared when it is there and fresh. A coin
  without an index lives on it alone, so that its absence denies.
- An age below zero comes from a clock that went back, and counts as stale.
- Exits: while the reference is usable it counts; otherwise the last one that was usable, however old; see `collar`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from enum import Enum

from trade_core.clock import NS_PER_S

SECOND_MAX_AGE_S = 30
"""A lease lives 30 s; a second price that came with an older one belongs to a watchdog that is not there."""
_EXACT = Context(prec=64)


class Flaw(Enum):
    """Why a reference cannot be used."""

    MISSING = "missing"
    STALE = "stale"
    DIVERGES = "diverges"
    INVALID = "invalid"


class Source(Enum):
    """Where a price comes from."""

    INDEX = "index"
    MARK = "mark"
    SECOND = "second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One price in USDT and how long ago it was seen, on the monotonic clock."""

    price: Decimal
    age_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInputs:
    """What is known of one base coin. `has_index` tells whether the exchange has a linear contract of the coin."""

    has_index: bool
    index: Observation | None
    mark: Observation | None
    second: Observation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """A price that new risk may be measured against."""

    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Why there is none, and whose price is to blame."""

    flaw: Flaw
    source: Source


Reference = Usable | Unusable


def judge_reference(inputs: ReferenceInputs, *, max_age_s: int, max_divergence: Decimal) -> Reference:
    """Judge one coin's reference. An age exactly at the bound is fresh, a divergence exactly at it is near."""
    second = _seen(inputs.second, Source.SECOND, max_age_s=SECOND_MAX_AGE_S)
    if not inputs.has_index:
        return second
    index = _seen(inputs.index, Source.INDEX, max_age_s=max_age_s)
    mark = _seen(inputs.mark, Source.MARK, max_age_s=max_age_s)
    if isinstance(index, Unusable):
        return index
    if isinstance(mark, Unusable):
        return mark
    if _diverges(mark.price, index.price, max_divergence):
        return Unusable(flaw=Flaw.DIVERGES, source=Source.MARK)
    if isinstance(second, Usable) and _diverges(second.price, index.price, max_divergence):
        return Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)
    return index


def last_good_after(previous: Decimal | None, judged: Reference) -> Decimal | None:
    """Return the last good reference once this judgement is known."""
    return judged.price if isinstance(judged, Usable) else previous


def _seen(seen: Observation | None, source: Source, *, max_age_s: int) -> Reference:
    if seen is None:
        return Unusable(flaw=Flaw.MISSING, source=source)
    if not seen.price.is_finite() or seen.price <= 0:
        return Unusable(flaw=Flaw.INVALID, source=source)
    if not 0 <= seen.age_ns <= max_age_s * NS_PER_S:
        return Unusable(flaw=Flaw.STALE, source=source)
    return Usable(price=seen.price)


def _diverges(price: Decimal, index: Decimal, max_divergence: Decimal) -> bool:
    return abs(_EXACT.subtract(price, index)) > _EXACT.multiply(index, max_divergence)
