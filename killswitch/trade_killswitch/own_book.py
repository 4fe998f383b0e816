"""Equity in units, as the executor's own samples show it. Pure.

Guarantees
- A flow trades units at the price before it, and is no result: a deposit hides no loss, a withdrawal makes none.
- The highest point is what three samples in a row, a second apart, stood at or above. One wild sample makes none, the
  first one is no exception, and before there are three there is no drawdown to speak of.
- A flow that the exchange's log shows late is put where it belongs: what was sampled since is counted again with it, as
  long as samples are kept (KEPT_MS). It leaves no false highest point behind.

It does not know why a price moved, nor whether the exchange tells the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

APART_MS: Final = 1_000
SETTLED_SAMPLES: Final = 3
KEPT_MS: Final = 600_000
"""As long as an unexplained step of the equity is held to be untrusted at most."""
KEPT_SAMPLES_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFlow:
    """Money that came in (positive) or went out at a moment, in USD."""

    at_ms: int
    worth: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the account was worth at a moment, and in how many units."""

    at_ms: int
    equity: Decimal
    units: Decimal

    @property
    def price(self) -> Decimal:
        """Return what a unit was worth."""
        return self.equity / self.units


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBook:
    """The last samples, oldest first and never none, and the highest point of those that are kept no more."""

    began_ms: int
    past_peak: Decimal | None
    samples: tuple[Sample, ...]

    @property
    def last(self) -> Sample:
        """Return the newest sample."""
        return self.samples[-1]

    @property
    def peak(self) -> Decimal | None:
        """Return the highest point; None before three samples have shown one."""
        runs = range(len(self.samples) - SETTLED_SAMPLES + 1)
        peaks = [_lowest(self.samples[start : start + SETTLED_SAMPLES]) for start in runs if _is_apart(self, start)]
        peaks += [] if self.past_peak is None else [self.past_peak]
        return max((peak for peak in peaks if peak > 0), default=None)

    @property
    def drawdown(self) -> Decimal | None:
        """Return how far the newest price is below the highest point, as a fraction; None before there is one."""
        peak = self.peak
        return None if peak is None else max(Decimal(0), 1 - self.last.price / peak)

    def content(self) -> dict[str, Any]:
        """Return the book as plain values, to be kept."""
        return {
            "began_ms": self.began_ms,
            "past_peak": None if self.past_peak is None else str(self.past_peak),
            "samples": [[one.at_ms, str(one.equity), str(one.units)] for one in self.samples],
        }


def sampled(book: OwnBook | None, *, equity: Decimal, at_ms: int, flows: Sequence[OwnFlow]) -> OwnBook | None:
    """Return the book after one more sample; `flows` are those not counted before. None without any equity."""
    if book is None:
        made = Sample(at_ms=at_ms, equity=equity, units=equity)
        return OwnBook(began_ms=at_ms, past_peak=None, samples=(made,)) if equity > 0 else None
    samples, units = book.samples, book.last.units
    for flow in sorted(flows, key=lambda one: one.at_ms):
        # What came before the first sample was in it.
        if flow.at_ms > book.began_ms:
            bought = _units_of(flow, samples)
            samples, units = _with_units(samples, bought, since_ms=flow.at_ms), units + bought
            if any(one.units <= 0 for one in samples):
                return None  # all of it was out before those samples: what comes later is a new book
    if units <= 0:
        return None
    return _kept(replace(book, samples=samples), Sample(at_ms=at_ms, equity=equity, units=units))


def rebased(book: OwnBook) -> OwnBook:
    """Return the book with its newest price as the highest point."""
    price = book.last.price
    return replace(book, past_peak=price if price > 0 else None, samples=(book.last,))


def book_of(content: Mapping[str, Any]) -> OwnBook | None:
    """Read a kept book; None for what is none."""
    try:
        began_ms, past = content["began_ms"], content["past_peak"]
        past_peak = None if past is None else Decimal(str(past))
        samples = tuple(
            Sample(at_ms=at_ms, equity=Decimal(str(equity)), units=Decimal(str(units)))
            for at_ms, equity, units in content["samples"]
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    numbers = [number for one in samples for number in (one.equity, one.units)]
    times = [began_ms, *(one.at_ms for one in samples)]
    is_sound = (
        0 < len(samples) <= KEPT_SAMPLES_MAX
        and all(type(time) is int for time in times)
        and all(number.is_finite() for number in numbers)
        and all(one.units > 0 for one in samples)
        and (past_peak is None or (past_peak.is_finite() and past_peak > 0))
    )
    return OwnBook(began_ms=began_ms, past_peak=past_peak, samples=samples) if is_sound else None


def _kept(book: OwnBook, sample: Sample) -> OwnBook:
    """Add a sample, and let go of those that are old; what they showed stays in the highest point."""
    samples = book.samples
    if len(samples) > 1 and not _are_apart(samples[-2], samples[-1]):
        samples = samples[:-1]  # it was too soon to count: this one stands in its place
    samples = (*samples, sample)
    old = sum(sample.at_ms - one.at_ms > KEPT_MS for one in samples)
    surplus = max(old, len(samples) - KEPT_SAMPLES_MAX)
    # The last two that go are the first of a run that goes on in what stays.
    first = min(surplus, len(samples) - SETTLED_SAMPLES)
    if first <= 0:
        return replace(book, samples=samples)
    gone = replace(book, samples=samples[: first + SETTLED_SAMPLES - 1])
    return replace(book, past_peak=gone.peak, samples=samples[first:])


def _units_of(flow: OwnFlow, samples: Sequence[Sample]) -> Decimal:
    """Return the units that a flow trades, at the price just before it; of what is worth nothing, none."""
    before = [one for one in samples if one.at_ms < flow.at_ms] or [samples[0]]
    price = before[-1].price
    return flow.worth / price if price > 0 else Decimal(0)


def _with_units(samples: Sequence[Sample], units: Decimal, *, since_ms: int) -> tuple[Sample, ...]:
    return tuple(replace(one, units=one.units + units) if one.at_ms >= since_ms else one for one in samples)


def _lowest(samples: Sequence[Sample]) -> Decimal:
    return min(one.price for one in samples)


def _is_apart(book: OwnBook, start: int) -> bool:
    one, two, three = book.samples[start : start + SETTLED_SAMPLES]
    return _are_apart(one, two) and _are_apart(two, three)


def _are_apart(one: Sample, two: Sample) -> bool:
    return two.at_ms - one.at_ms >= APART_MS
