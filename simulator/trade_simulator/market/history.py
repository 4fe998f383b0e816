"""Candles from before the exchange started, invented backwards from the seed when first asked for.

Three layers of growing bars reach far enough back for a thousand bars of every interval up to a week;
months reach back twenty years.
"""

import random
from typing import Final

from trade_simulator.market.candles import Bar, aggregate, bar_start_ms
from trade_simulator.market.series import MINUTE_MS, Interval

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
# 1000 bars of 30 minutes need 21 days, of 12 hours 500 days, of a week 7000 days; the layers carry more.
MINUTE_DAYS: Final = 31
HOUR_DAYS: Final = 800
DAY_DAYS: Final = 7_300
# As many as the live series keep; the layers themselves are forgotten.
KEPT_BARS_MAX: Final = 2_000
_MINUTE_SIGMA: Final = 4e-4
_HOUR_SIGMA: Final = 3e-3
_DAY_SIGMA: Final = 8e-3
# Volume of a minute, in the coarsest lots of the symbol.
_MINUTE_LOTS: Final = 4_000
_MINUTE_INTERVALS: Final = frozenset({Interval.M1, Interval.M3, Interval.M5, Interval.M15, Interval.M30})
_HOUR_INTERVALS: Final = frozenset({Interval.H1, Interval.H2, Interval.H4, Interval.H6, Interval.H12})


class History:
    """The past of one symbol, ending where the market started."""

    def __init__(self, *, seed: str, start_ms: int, start_ticks: int, lots_scale: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a past that repeats is the point
        self._start_ms = start_ms // MINUTE_MS * MINUTE_MS
        self._start_ticks = start_ticks
        self._lots_scale = lots_scale
        self._bars: dict[Interval, list[Bar]] = {}

    @property
    def is_ready(self) -> bool:
        """Tell whether the past was invented already."""
        return bool(self._bars)

    def bars(self, interval: Interval) -> list[Bar]:
        """Return the bars of an interval, oldest first; the last one may reach into the live time."""
        if not self._bars:
            self._bars = self._invent()
        return self._bars[interval]

    def _invent(self) -> dict[Interval, list[Bar]]:
        midnight_ms = bar_start_ms(Interval.DAY, self._start_ms)
        minutes_from_ms = midnight_ms - MINUTE_DAYS * _DAY_MS
        hours_from_ms = minutes_from_ms - HOUR_DAYS * _DAY_MS
        days_from_ms = max(0, hours_from_ms - DAY_DAYS * _DAY_MS)
        minutes = self._layer(minutes_from_ms, self._start_ms, MINUTE_MS, _MINUTE_SIGMA, self._start_ticks)
        older_hours = self._layer(hours_from_ms, minutes_from_ms, _HOUR_MS, _HOUR_SIGMA, minutes[0].open)
        older_days = self._layer(days_from_ms, hours_from_ms, _DAY_MS, _DAY_SIGMA, older_hours[0].open)
        hours = [*older_hours, *aggregate(minutes, Interval.H1)]
        days = [*older_days, *aggregate(hours, Interval.DAY)]
        made: dict[Interval, list[Bar]] = {}
        for interval in Interval:
            longer = hours if interval in _HOUR_INTERVALS else days
            source = minutes if interval in _MINUTE_INTERVALS else longer
            made[interval] = aggregate(source, interval)[-KEPT_BARS_MAX:]
        return made

    def _layer(self, from_ms: int, to_ms: int, length_ms: int, sigma: float, close: int) -> list[Bar]:
        """Invent bars backwards from a closing price, pulled towards the price of today."""
        draw, anchor = self._random.random, self._start_ticks
        lots = _MINUTE_LOTS * (length_ms // MINUTE_MS)
        bars: list[Bar] = []
        for start_ms in range(to_ms - length_ms, from_ms - 1, -length_ms):
            pull = 1e-3 * (anchor - close) / anchor
            # The sum of two uniform draws has a variance of 1/6; times the root of 6 it is one.
            opened = max(2, round(close * (1 + 2.45 * sigma * (draw() + draw() - 1) + pull)))
            reach = sigma * close
            high = max(opened, close) + int(reach * draw())
            low = max(1, min(opened, close) - int(reach * draw()))
            volume = self._lots_scale * (1 + int(lots * (draw() + draw())))
            bars.append(Bar(start_ms, opened, high, low, close, volume, volume * ((high + low) // 2)))
            close = opened
        bars.reverse()
        return bars
