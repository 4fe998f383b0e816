"""Candles of every interval, folded from what each tick traded.

Bars count prices in ticks and volumes in lots; they become Decimal only when somebody reads them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from trade_simulator.market.series import INTERVAL_MINUTES, MINUTE_MS, Interval

# Clients ask for 1000 at a time; twice that leaves room for a second page.
LIVE_BARS_MAX: Final = 2_000
_DAY_MS: Final = 86_400_000
_WEEK_MS: Final = 7 * _DAY_MS
# The epoch was a Thursday; weeks begin on Monday.
_WEEK_OFFSET_MS: Final = 4 * _DAY_MS


@dataclass(slots=True)
class Bar:
    """One candle in ticks and lots; turnover in ticks times lots."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int

    def fold(self, other: "Bar") -> None:
        """Add a later bar. Every tick folds into every interval of every symbol."""
        self.high = other.high if other.high > self.high else self.high
        self.low = other.low if other.low < self.low else self.low
        self.close = other.close
        self.volume += other.volume
        self.turnover += other.turnover


def bar_start_ms(interval: Interval, at_ms: int) -> int:
    """Return the start of the bar that a time lies in."""
    if interval is Interval.WEEK:
        return (at_ms - _WEEK_OFFSET_MS) // _WEEK_MS * _WEEK_MS + _WEEK_OFFSET_MS
    if interval is Interval.MONTH:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * 1000
    length_ms = INTERVAL_MINUTES[interval] * MINUTE_MS
    return at_ms // length_ms * length_ms


def bar_end_ms(interval: Interval, start_ms: int) -> int:
    """Return the start of the next bar."""
    if interval is Interval.MONTH:
        first = datetime.fromtimestamp(start_ms / 1000, UTC)
        return int((first + timedelta(days=32)).replace(day=1).timestamp()) * 1000
    return start_ms + INTERVAL_MINUTES[interval] * MINUTE_MS


def aggregate(bars: Sequence[Bar], interval: Interval) -> list[Bar]:
    """Join bars in time order into bars of a longer interval."""
    joined: list[Bar] = []
    end_ms = 0
    for bar in bars:
        if joined and bar.start_ms < end_ms:
            joined[-1].fold(bar)
            continue
        start_ms = bar_start_ms(interval, bar.start_ms)
        end_ms = bar_end_ms(interval, start_ms)
        joined.append(Bar(start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover))
    return joined


class LiveSeries:
    """The bars of one interval since the exchange started."""

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.closed: deque[Bar] = deque(maxlen=LIVE_BARS_MAX)
        self.current: Bar | None = None
        self._end_ms = 0

    def fold(self, bar: Bar) -> list[Bar]:
        """Add what a tick traded; return the bars that this closed.

        A clock that leapt leaves flat bars behind, no more of them than the series keeps.
        """
        if self.current is not None and bar.start_ms < self._end_ms:
            self.current.fold(bar)
            return []
        closed = self._roll(bar.start_ms) if self.current is not None else []
        start_ms = bar_start_ms(self.interval, bar.start_ms)
        self._end_ms = bar_end_ms(self.interval, start_ms)
        self.current = Bar(start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover)
        return closed

    def _roll(self, at_ms: int) -> list[Bar]:
        assert self.current is not None
        closed = [self.current]
        start_ms = self._end_ms
        while len(closed) <= LIVE_BARS_MAX:
            end_ms = bar_end_ms(self.interval, start_ms)
            if at_ms < end_ms:
                break
            close = self.current.close
            closed.append(Bar(start_ms, close, close, close, close, 0, 0))
            start_ms = end_ms
        self.closed.extend(closed)
        return closed
