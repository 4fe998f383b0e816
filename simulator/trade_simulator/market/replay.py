"""Replay of recorded candles as a price path.

A file has a header line, then timestamp (ISO 8601 or epoch milliseconds), open, high, low, close, volume.
Within a bar the price goes from the open to one extreme, to the other, and to the close: first the low when
the bar rises, first the high when it falls. At the end the last price holds.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from trade_simulator.market.series import Candle

STEP_MS: Final = 100
COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
# Four years of minutes; a file beyond that is a mistake and would fill the memory.
BARS_MAX: Final = 2_200_000
_SEGMENTS: Final = 3
# Times in seconds would make a minute of 60 ms, and a replay a thousand times as fast, without a word.
_EARLIEST_MS: Final = 100_000_000_000


class ReplayError(ValueError):
    """A replay file that cannot be used; the message names the line."""


def parse_bars(lines: Iterable[str]) -> tuple[Candle, ...]:
    """Read candles from the lines of a CSV file. Raises ReplayError."""
    rows = csv.reader(lines)
    try:
        return _bars_of(rows)
    except csv.Error as error:
        raise ReplayError(f"line {rows.line_num}: {error}") from error


def _bars_of(rows: Iterator[list[str]]) -> tuple[Candle, ...]:
    header = tuple(name.strip().lower() for name in next(rows, []))
    if header != COLUMNS:
        raise ReplayError(f"line 1: the header must be {','.join(COLUMNS)}, found {','.join(header)}")
    bars: list[Candle] = []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        bar = _parse_row(row, number)
        if bars and bar.start_ms <= bars[-1].start_ms:
            raise ReplayError(f"line {number}: the time does not advance")
        bars.append(bar)
        if len(bars) > BARS_MAX:
            raise ReplayError(f"line {number}: more than {BARS_MAX} bars")
    if not bars:
        raise ReplayError("line 2: no bars")
    return tuple(bars)


class ReplayPath:
    """Walks recorded bars; a jump shifts all that follows."""

    def __init__(self, *, bars: Sequence[Candle], tick_size: Decimal) -> None:
        self._tick_size = tick_size
        self._bars = bars
        self._index = 0
        self._step = 0
        self._shift = 0
        self._points = self._points_of(0)
        self._length = self._length_of(0)

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
            if self._step >= self._length and not self._next_bar():
                break
            taken = min(steps, self._length - self._step)
            passed += self._turns(self._step, self._step + taken)
            self._step += taken
            steps -= taken
        if self._step >= self._length:
            self._next_bar()
        return [max(1, ticks + self._shift) for ticks in _extremes(passed)]

    def _next_bar(self) -> bool:
        if self._index + 1 >= len(self._bars):
            return False
        self._index += 1
        self._step = 0
        self._points = self._points_of(self._index)
        self._length = self._length_of(self._index)
        return True

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

    def _points_of(self, index: int) -> tuple[int, int, int, int]:
        bar = self._bars[index]
        rises = bar.close >= bar.open
        first, second = (bar.low, bar.high) if rises else (bar.high, bar.low)
        a, b, c, d = (max(1, round(price / self._tick_size)) for price in (bar.open, first, second, bar.close))
        return a, b, c, d

    def _length_of(self, index: int) -> int:
        bars = self._bars
        if len(bars) == 1:
            return 60_000 // STEP_MS
        later = index + 1 if index + 1 < len(bars) else index
        return max(_SEGMENTS, (bars[later].start_ms - bars[later - 1].start_ms) // STEP_MS)


def _extremes(passed: list[int]) -> list[int]:
    if not passed:
        return []
    low, high = min(passed), max(passed)
    return [low, high] if passed.index(low) <= passed.index(high) else [high, low]


def _parse_row(row: list[str], number: int) -> Candle:
    if len(row) != len(COLUMNS):
        raise ReplayError(f"line {number}: {len(COLUMNS)} columns wanted, found {len(row)}")
    try:
        start_ms = _parse_time(row[0].strip())
        values = [Decimal(text.strip()) for text in row[1:]]
    except ReplayError as error:
        raise ReplayError(f"line {number}: {error}") from error
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise ReplayError(f"line {number}: not a time and five numbers") from error
    if not all(value.is_finite() for value in values):
        raise ReplayError(f"line {number}: a number is not finite")
    opened, high, low, close, volume = values
    if volume < 0:
        raise ReplayError(f"line {number}: the volume is negative")
    if low <= 0 or not low <= min(opened, close) <= max(opened, close) <= high:
        raise ReplayError(f"line {number}: prices must be positive with low <= open, close <= high")
    return Candle(
        start_ms=start_ms, open=opened, high=high, low=low, close=close, volume=volume, turnover=volume * close
    )


def _parse_time(text: str) -> int:
    if text.isascii() and text.isdigit():
        if int(text) < _EARLIEST_MS:
            raise ReplayError("a time in milliseconds before 1973: are these seconds?")
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
