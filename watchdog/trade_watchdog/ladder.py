"""The ladder: how far the unit price may fall within four windows, and what each rung demands then. Pure.

| rung | falls within | fires into | what ends it |
|---|---|---|---|
| daily | 24 h | a review: an alert until a person acknowledges it | the acknowledgement; arms again once recovered |
| weekly | 7 d | TRIMMED: new orders at a scale of their limits | recovery, with hysteresis |
| monthly | 30 d | HALTED | a release that names the rung |
| high_water | ever | HALTED, and a kill is asked for | nothing here |

Guarantees
- The first sample at or beyond a rung freezes new risk (REDUCE_ONLY); the third in a row, each at least
  SAMPLES_APART_S after the one counted before, fires. A loss exactly at a rung trips it.
- A high, too, counts as a peak only when three samples in a row have stood at or above it. So no single wild sample
  can fire a rung or raise the peak that later ones are measured from; samples that differ by WILD_FRACTION freeze.
- Windows are measured in observed time: what lies between two samples counts for at most STEP_MAX_MS. Neither a leap of
  the clock, nor midnight, nor days without a watchdog let a peak go that nobody has watched the account recover from.
- What has fired stays so over restarts, as far as `memory` is kept. A release re-bases windows, never the high-water
  mark.

It does not judge whether a sample can be believed: only believed ones are to be handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal
from enum import Enum, unique
from typing import Final, assert_never

from trade_core.clock import NS_PER_S
from trade_watchdog.ceiling import Ceiling, Verdict, tightest
from trade_watchdog.peaks import PeakWindow

SAMPLES_TO_FIRE: Final = 3
SAMPLES_APART_S: Final = 1
STEP_MAX_MS: Final = 10 * 60 * 1000
WILD_FRACTION: Final = Decimal("0.05")
HYSTERESIS: Final = Decimal("0.75")
"""A rung has recovered when the drawdown is back at this part of its fraction: -8 % clears at -6 %."""
PRICE_QUANTUM: Final = Decimal("1e-18")
"""Unit prices are rounded down to it; a peak counts as one quantum more, so that rounding never hides a breach."""
HOUR_MS: Final = 60 * 60 * 1000
_ONE: Final = Decimal(1)
_EXACT: Final = Context(prec=64)
_SHOWN: Final = Decimal("0.000001")


@unique
class Rung(Enum):
    """The rungs, in the order in which they are walked."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    HIGH_WATER = "high_water"


RELEASABLE: Final = (Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY)
"""What a release of a halt may re-base. The high-water mark is not among them: it takes two security keys."""


@unique
class Effect(Enum):
    """What a rung demands once it has fired."""

    REVIEW = "review"
    TRIM = "trim"
    HALT = "halt"
    KILL = "kill"


WINDOW_MS: Final[Mapping[Rung, int | None]] = {
    Rung.DAILY: 24 * HOUR_MS,
    Rung.WEEKLY: 7 * 24 * HOUR_MS,
    Rung.MONTHLY: 30 * 24 * HOUR_MS,
    Rung.HIGH_WATER: None,
}
EFFECTS: Final[Mapping[Rung, Effect]] = {
    Rung.DAILY: Effect.REVIEW,
    Rung.WEEKLY: Effect.TRIM,
    Rung.MONTHLY: Effect.HALT,
    Rung.HIGH_WATER: Effect.KILL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Each rung's fraction of the peak, above 0 and below 1, and the scale of the limits while TRIMMED."""

    fractions: Mapping[Rung, Decimal]
    trim_scale: Decimal


@unique
class Stage(Enum):
    """Where a rung stands."""

    ARMED = "armed"
    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"


@unique
class Move(Enum):
    """What happened to a rung."""

    FIRED = "fired"
    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"
    REBASED = "rebased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One move of one rung, with the figures of that moment; None where there is no sample or no peak yet."""

    rung: Rung
    move: Move
    price: Decimal | None
    peak: Decimal | None
    drawdown: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReading:
    """A rung as it stands, for people: fractions, unit prices, and the time (UTC ms) of its last change."""

    rung: Rung
    stage: Stage
    fraction: Decimal
    peak: Decimal | None
    drawdown: Decimal | None
    breaching_samples: int
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderMemory:
    """What must outlive the process, beside the peaks: the observed time, the mark, and where each rung stands."""

    observed_ms: int
    at_ms: int
    high_water: Decimal | None
    stages: Mapping[Rung, Stage]
    since_ms: Mapping[Rung, int]


@dataclass(slots=True)
class _RungState:
    stage: Stage = Stage.ARMED
    since_ms: int = 0
    in_a_row: int = 0
    """Samples that breach while the rung is armed, and that have recovered while it is not."""
    counted_at_ns: int = 0

    def count(self, *, holds: bool, at_ns: int) -> None:
        if not holds:
            self.in_a_row = 0
        elif self.in_a_row == 0 or _is_apart(self.counted_at_ns, at_ns):
            self.in_a_row += 1
            self.counted_at_ns = at_ns

    def enter(self, stage: Stage, *, at_ms: int) -> None:
        self.stage = stage
        self.since_ms = at_ms
        self.in_a_row = 0


@dataclass(slots=True)
class _Samples:
    """The last samples that count as ones apart, to confirm a high and to see a wild one."""

    apart: deque[tuple[int, Decimal]] = field(default_factory=lambda: deque(maxlen=SAMPLES_TO_FIRE))
    last: Decimal | None = None

    def take(self, price: Decimal, at_ns: int) -> None:
        self.last = price
        if not self.apart or _is_apart(self.apart[-1][0], at_ns):
            self.apart.append((at_ns, price))

    @property
    def confirmed(self) -> Decimal | None:
        if len(self.apart) < SAMPLES_TO_FIRE:
            return None
        return min(price for _, price in self.apart)

    @property
    def is_wild(self) -> bool:
        prices = [price for _, price in self.apart]
        if self.last is not None:
            prices.append(self.last)
        return bool(prices) and min(prices) < _EXACT.multiply(max(prices), _ONE - WILD_FRACTION)


class Ladder:
    """The rungs and what they remember. Used by one task."""

    def __init__(self, thresholds: Thresholds) -> None:
        """Begin with every rung armed and no peak."""
        self._thresholds = thresholds
        self._windows = {rung: PeakWindow(ms) for rung, ms in WINDOW_MS.items() if ms is not None}
        self._states = {rung: _RungState() for rung in Rung}
        self._samples = _Samples()
        self._observed_ms = 0
        self._at_ms = 0
        self._high_water: Decimal | None = None

    # What it is told

    def take(self, *, price: Decimal, at_ms: int, monotonic_ns: int) -> tuple[Change, ...]:
        """Take in a believed unit price, at an exchange time (UTC ms); answers what it moved, in the rungs' order."""
        self._observe(at_ms)
        self._samples.take(price, monotonic_ns)
        if (high := self._samples.confirmed) is not None:
            self._note(high)
        moved = (self._walk(rung, price, monotonic_ns) for rung in Rung)
        return tuple(change for change in moved if change is not None)

    def acknowledge(self, rung: Rung) -> Change | None:
        """A person has reviewed; answers None for a rung that waits for nobody."""
        state = self._states[rung]
        if EFFECTS[rung] is not Effect.REVIEW or state.stage is not Stage.FIRED:
            return None
        return self._enter(rung, Stage.ACKNOWLEDGED, Move.ACKNOWLEDGED)

    def rebase(self, rung: Rung) -> Change | None:
        """A release names this rung: its window, or the mark, begins anew at the last price. None without a price."""
        price = self._samples.last
        if price is None:
            return None
        self.recall_rebase(rung, price, observed_ms=self._observed_ms)
        return self._enter(rung, Stage.ARMED, Move.REBASED)

    def raise_peaks(self, peaks: Mapping[Rung, Decimal]) -> None:
        """Take in peaks that somebody else remembers. They count as of now, and never lower anything.

        A rung that the last sample reaches now freezes at once, as a first breaching sample does.
        """
        for rung, window in self._windows.items():
            if rung in peaks:
                window.note(peaks[rung], at_ms=self._observed_ms)
        if Rung.HIGH_WATER in peaks:
            self._raise_mark(peaks[Rung.HIGH_WATER])
        for rung, state in self._states.items():
            last, peak = self._samples.last, self._peak(rung)
            if state.stage is Stage.ARMED and last is not None and peak is not None:
                reached = is_down(last, peak, self._thresholds.fractions[rung])
                state.in_a_row = max(state.in_a_row, int(reached))

    # What it remembers

    def memory(self) -> LadderMemory:
        """Return what must be kept, with the peaks that were noted along the way, to be `restore`d."""
        return LadderMemory(
            observed_ms=self._observed_ms,
            at_ms=self._at_ms,
            high_water=self._high_water,
            stages={rung: state.stage for rung, state in self._states.items()},
            since_ms={rung: state.since_ms for rung, state in self._states.items()},
        )

    def recall_peak(self, high: Decimal, *, observed_ms: int) -> None:
        """Note a peak that is remembered from then; to be told in order, before `restore`."""
        for window in self._windows.values():
            window.note(high, at_ms=observed_ms)
        self._raise_mark(high)

    def recall_rebase(self, rung: Rung, price: Decimal, *, observed_ms: int) -> None:
        """Re-base a window, or the mark, as a release did then; to be told in order with the peaks."""
        if rung is Rung.HIGH_WATER:
            self._high_water = price
        else:
            self._windows[rung].rebase(price, at_ms=observed_ms)

    def restore(self, memory: LadderMemory) -> None:
        """Take over where everything stood."""
        self._observed_ms = memory.observed_ms
        self._at_ms = memory.at_ms
        if memory.high_water is not None:
            self._raise_mark(memory.high_water)
        for rung, state in self._states.items():
            state.stage = memory.stages[rung]
            state.since_ms = memory.since_ms[rung]

    # What it says

    def demand(self) -> Verdict:
        """Say what is permitted now: the most restrictive of what the rungs and the samples demand."""
        demands = [self._rung_demand(rung) for rung in Rung]
        if self._samples.is_wild:
            words = f"samples differ by more than {_percent(WILD_FRACTION)}; three in a row must agree"
            demands.append(self._at(Ceiling.REDUCE_ONLY, words))
        if any(window.peak is None for window in self._windows.values()):
            demands.append(self._at(Ceiling.REDUCE_ONLY, f"{SAMPLES_TO_FIRE} samples are needed to begin"))
        return tightest(*demands)

    def readings(self) -> tuple[RungReading, ...]:
        """Describe every rung at the last sample."""
        return tuple(self._reading(rung) for rung in Rung)

    def peaks(self) -> dict[Rung, Decimal]:
        """Return the peak of each rung that has one."""
        found = {rung: self._peak(rung) for rung in Rung}
        return {rung: peak for rung, peak in found.items() if peak is not None}

    @property
    def observed_ms(self) -> int:
        """How much time has been observed in all."""
        return self._observed_ms

    @property
    def confirmed_high(self) -> Decimal | None:
        """The highest price at or above which the last three samples stood; None before three."""
        return self._samples.confirmed

    # How it decides

    def _observe(self, at_ms: int) -> None:
        self._observed_ms += min(max(at_ms - self._at_ms, 0), STEP_MAX_MS)
        self._at_ms = at_ms

    def _note(self, high: Decimal) -> None:
        for window in self._windows.values():
            window.note(high, at_ms=self._observed_ms)
        self._raise_mark(high)

    def _raise_mark(self, price: Decimal) -> None:
        self._high_water = price if self._high_water is None else max(price, self._high_water)

    def _walk(self, rung: Rung, price: Decimal, at_ns: int) -> Change | None:
        state = self._states[rung]
        peak = self._peak(rung)
        if peak is None:
            return None
        state.count(holds=self._moves_on(rung, state.stage, price, peak), at_ns=at_ns)
        if state.in_a_row < SAMPLES_TO_FIRE:
            return None
        if state.stage is Stage.ARMED:
            return self._enter(rung, Stage.FIRED, Move.FIRED)
        return self._enter(rung, Stage.ARMED, Move.CLEARED)

    def _moves_on(self, rung: Rung, stage: Stage, price: Decimal, peak: Decimal) -> bool:
        """Tell whether this sample speaks for the rung's next stage: breached, or recovered where that clears it."""
        fraction = self._thresholds.fractions[rung]
        if stage is Stage.ARMED:
            return is_down(price, peak, fraction)
        return self._clears_itself(rung, stage) and not is_down(price, peak, _EXACT.multiply(fraction, HYSTERESIS))

    @staticmethod
    def _clears_itself(rung: Rung, stage: Stage) -> bool:
        match EFFECTS[rung]:
            case Effect.REVIEW:
                return stage is Stage.ACKNOWLEDGED
            case Effect.TRIM:
                return True
            case Effect.HALT | Effect.KILL:
                return False
            case _ as never:
                assert_never(never)

    def _enter(self, rung: Rung, stage: Stage, move: Move) -> Change:
        self._states[rung].enter(stage, at_ms=self._at_ms)
        peak = self._peak(rung)
        price = self._samples.last
        return Change(rung=rung, move=move, price=price, peak=peak, drawdown=drawdown(price, peak))

    def _rung_demand(self, rung: Rung) -> Verdict:
        state = self._states[rung]
        if state.stage is Stage.ARMED:
            if state.in_a_row == 0:
                return self._at(Ceiling.ACTIVE, "")
            words = f"the {rung.value} rung is reached, {state.in_a_row} of {SAMPLES_TO_FIRE} samples"
            return self._at(Ceiling.REDUCE_ONLY, words)
        match EFFECTS[rung]:
            case Effect.REVIEW:
                return self._at(Ceiling.ACTIVE, "")
            case Effect.TRIM:
                return self._at(Ceiling.TRIMMED, f"the {rung.value} rung has fired")
            case Effect.HALT | Effect.KILL:
                return self._at(Ceiling.HALTED, f"the {rung.value} rung has fired")
            case _ as never:
                assert_never(never)

    def _at(self, ceiling: Ceiling, reason: str) -> Verdict:
        scale = self._thresholds.trim_scale if ceiling is Ceiling.TRIMMED else _ONE
        return Verdict(ceiling=ceiling, scale=scale, reason=reason)

    def _peak(self, rung: Rung) -> Decimal | None:
        return self._high_water if rung is Rung.HIGH_WATER else self._windows[rung].peak

    def _reading(self, rung: Rung) -> RungReading:
        state, peak = self._states[rung], self._peak(rung)
        return RungReading(
            rung=rung,
            stage=state.stage,
            fraction=self._thresholds.fractions[rung],
            peak=peak,
            drawdown=drawdown(self._samples.last, peak),
            breaching_samples=state.in_a_row if state.stage is Stage.ARMED else 0,
            since_ms=state.since_ms,
        )


def is_down(price: Decimal, peak: Decimal, fraction: Decimal) -> bool:
    """Tell whether a price is down from a peak by this fraction of it, or by more. Exactly so counts."""
    return price <= _EXACT.multiply(peak + PRICE_QUANTUM, _ONE - fraction)


def drawdown(price: Decimal | None, peak: Decimal | None) -> Decimal | None:
    """Return the drawdown for people: a fraction of the peak, rounded up to six digits, 0 above the peak."""
    if price is None or peak is None:
        return None
    fallen = _EXACT.divide(max(peak - price, Decimal(0)), peak)
    return fallen.quantize(_SHOWN, rounding=ROUND_CEILING)


def _is_apart(before_ns: int, now_ns: int) -> bool:
    return now_ns - before_ns >= SAMPLES_APART_S * NS_PER_S


def _percent(fraction: Decimal) -> str:
    return f"{(fraction * 100).normalize():f} %"
