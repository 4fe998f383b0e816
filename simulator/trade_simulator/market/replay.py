"""Replay of recorded bars as a price path.

Within a bar the price goes from the open to one extreme, to the other, and to the close: first the low when
the bar rises, first the high when it falls. A bar takes as long as bars of the file usually do, or until the next one
begins; in a gap, and at the end, its close holds.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median_low
from typing import Final

from trade_simulator.market.price_file import RecordedBar

STEP_MS: Final = 100
_SEGMENTS: Final = 3
_ONLY_BAR_MS: Final = 60_000


class ReplayPath:
    """Walks recorded bars; a jump shifts all that follows."""

    def __init__(self, *, bars: Sequence[RecordedBar]) -> None:
        self._bars = bars
        self._usual_ms = _usual_ms(bars)
        self._shift = 0
        self._enter(0)

    @property
    def ticks(self) -> int:
        """Return the price now."""
        return max(1, self._recorded() + self._shift)

    def advance(self, steps: int) -> list[int]:
        """Walk a number of steps of 100 ms of recorded time.

        Return the highest and the lowest turning point that lay on the way, in their order: a fast replay
        must not skip the extremes that filled orders and triggered stops.
        """
        passed: list[int] = []
        while steps > 0:
            if self._step >= self._lasts and not self._next_bar():
                break
            taken = min(steps, self._lasts - self._step)
            passed += self._turns(self._step, self._step + taken)
            self._step += taken
            steps -= taken
        if self._step >= self._lasts:
            self._next_bar()
        return [max(1, ticks + self._shift) for ticks in _extremes(passed)]

    def _next_bar(self) -> bool:
        if self._index + 1 >= len(self._bars):
            return False
        self._enter(self._index + 1)
        return True

    def _enter(self, index: int) -> None:
        """Begin a bar: it is walked through in `_length` steps and followed by the next after `_lasts`."""
        self._index = index
        self._step = 0
        self._points = _points_of(self._bars[index])
        until_next_ms = self._usual_ms
        if index + 1 < len(self._bars):
            until_next_ms = self._bars[index + 1].start_ms - self._bars[index].start_ms
        self._length = max(_SEGMENTS, min(self._usual_ms, until_next_ms) // STEP_MS)
        self._lasts = max(self._length, until_next_ms // STEP_MS)

    def _turns(self, before: int, after: int) -> list[int]:
        return [
            self._points[turn]
            for turn in range(1, _SEGMENTS + 1)
            if before < turn * self._length / _SEGMENTS < after or turn * self._length == after * _SEGMENTS
        ]

    def jump(self, ticks: int) -> None:
        """Continue from another price: the recorded moves go on from there."""
        self._shift = ticks - self._recorded()

    def _recorded(self) -> int:
        segment, within = divmod(self._step * _SEGMENTS, self._length)
        if segment >= _SEGMENTS:
            return self._points[_SEGMENTS]
        here, there = self._points[segment], self._points[segment + 1]
        return here + (there - here) * within // self._length


def _usual_ms(bars: Sequence[RecordedBar]) -> int:
    return median_low(later.start_ms - bar.start_ms for bar, later in pairwise(bars)) if len(bars) > 1 else _ONLY_BAR_MS


def _points_of(bar: RecordedBar) -> tuple[int, int, int, int]:
    first, second = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    return bar.open, first, second, bar.close


def _extremes(passed: list[int]) -> list[int]:
    if not passed:
        return []
    low, high = min(passed), max(passed)
    return [low, high] if passed.index(low) <= passed.index(high) else [high, low]
