"""Judges the price reference of one base coin. Pure: prices and ages in, Usable or Unusable out.

Rules
- The reference is the index price of the linear contract of the same coins, for spot too. The book and the last trade
  are never it: who owns the thin side of a book would own the reference.
- The mark price stands beside the index and must be as fresh and near; it is never the reference itself.
- A second venue's price, read by the watchdog and brought by the lease, can only deny: a fresh one must be near the
  index. Its absence alone does not deny a coin that has an index, but once it was seen to diverge, only a fresh one
  that is near ends the denial. Silence is no agreement.
- A coin without an index lives on the second price, so that its absence denies. The middle of the exchange's own spot
  book must be as fresh and near; it is never the reference itself. So neither a watchdog nor the owner of a thin book
  can move such a reference alone.
- An age below zero comes from a clock that went back, and counts as stale.
- Exits: while the reference is usable it counts; otherwise the last own one that was usable, however old, before a
  restart too; see `collar`. A second venue that diverges takes nothing from an exit: index and mark are as good as
  without it.
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
    SPOT = "spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One price in USDT and how long ago it was seen, on the monotonic clock."""

    price: Decimal
    age_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceInputs:
    """What is known of one base coin. `has_index` tells whether the exchange has a linear contract of the coin.

    `spot` is the middle of the exchange's own spot book; only a coin without an index needs it. `second_disagreed` is
    what the last judgement said of `second_disagrees`.
    """

    has_index: bool
    index: Observation | None
    mark: Observation | None
    second: Observation | None
    spot: Observation | None
    second_disagreed: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReference:
    """A reference as the journal has it: the last good one lay at most `within` from it, as a fraction of it."""

    price: Decimal
    within: Decimal

    @property
    def lowest(self) -> Decimal:
        """The least that the last good reference can have been."""
        return _EXACT.subtract(self.price, _EXACT.multiply(self.price, self.within))

    @property
    def highest(self) -> Decimal:
        """The most that it can have been."""
        return _EXACT.add(self.price, _EXACT.multiply(self.price, self.within))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one coin's prices are worth: to new risk, to an exit, and whether the second venue stands against them."""

    reference: Reference
    own: Reference
    second_disagrees: bool


def judge_reference(inputs: ReferenceInputs, *, max_age_s: int, max_divergence: Decimal) -> Judgement:
    """Judge one coin's reference. An age exactly at the bound is fresh, a divergence exactly at it is near."""
    second = see_second(inputs.second)
    if not inputs.has_index:
        alone = _judge_alone(inputs, second, max_age_s=max_age_s, max_divergence=max_divergence)
        return Judgement(reference=alone, own=alone, second_disagrees=False)
    own = _judge_index(inputs, max_age_s=max_age_s, max_divergence=max_divergence)
    if isinstance(own, Unusable):
        return Judgement(reference=own, own=own, second_disagrees=inputs.second_disagreed)
    disagrees = inputs.second_disagreed
    if isinstance(second, Usable):
        disagrees = _diverges(second.price, own.price, max_divergence)
    reference = Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND) if disagrees else own
    return Judgement(reference=reference, own=own, second_disagrees=disagrees)


def see_second(second: Observation | None) -> Reference:
    """Judge a second price by itself: there, sensible and fresh."""
    return _seen(second, Source.SECOND, max_age_s=SECOND_MAX_AGE_S)


def divergence_of(price: Decimal, reference: Decimal) -> Decimal | None:
    """Return how far a price is from a reference, as a fraction of it; None without a positive reference."""
    if not (price.is_finite() and reference.is_finite()) or reference <= 0:
        return None
    return _EXACT.divide(abs(_EXACT.subtract(price, reference)), reference)


def _judge_index(inputs: ReferenceInputs, *, max_age_s: int, max_divergence: Decimal) -> Reference:
    index = _seen(inputs.index, Source.INDEX, max_age_s=max_age_s)
    mark = _seen(inputs.mark, Source.MARK, max_age_s=max_age_s)
    if isinstance(index, Unusable):
        return index
    if isinstance(mark, Unusable):
        return mark
    if _diverges(mark.price, index.price, max_divergence):
        return Unusable(flaw=Flaw.DIVERGES, source=Source.MARK)
    return index


def _judge_alone(inputs: ReferenceInputs, second: Reference, *, max_age_s: int, max_divergence: Decimal) -> Reference:
    spot = _seen(inputs.spot, Source.SPOT, max_age_s=max_age_s)
    if isinstance(second, Unusable):
        return second
    if isinstance(spot, Unusable):
        return spot
    if _diverges(second.price, spot.price, max_divergence):
        return Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)
    return second


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
