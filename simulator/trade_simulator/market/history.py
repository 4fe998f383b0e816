"""Candles from before the exchange started, invented backwards from the seed when first asked for.

Layers of growing bars reach far enough back for two thousand bars of every interval up to twelve hours; days, weeks and
months reach back twenty years. A layer is invented only when an interval of it is asked for: all of them would stop the
market for a second an instrument.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trade_simulator.market.candles import Bar, aggregate, bar_start_ms
from trade_simulator.market.series import MINUTE_MS, Interval

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
# As many as the live series keep.
KEPT_BARS_MAX: Final = 2_000
# Volume of a minute, in the coarsest lots of the symbol.
_MINUTE_LOTS: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """Bars of one length over some days, and the intervals that are joined from them, its own length first."""

    length_ms: int
    days: int
    sigma: float
    intervals: tuple[Interval, ...]


_LAYERS: Final = (
    _Layer(length_ms=MINUTE_MS, days=7, sigma=4e-4, intervals=(Interval.M1, Interval.M3, Interval.M5)),
    _Layer(length_ms=15 * MINUTE_MS, days=42, sigma=1.5e-3, intervals=(Interval.M15, Interval.M30)),
    _Layer(length_ms=_HOUR_MS, days=340, sigma=3e-3, intervals=(Interval.H1, Interval.H2, Interval.H4)),
    _Layer(length_ms=6 * _HOUR_MS, days=1_000, sigma=5e-3, intervals=(Interval.H6, Interval.H12)),
    _Layer(length_ms=_DAY_MS, days=7_300, sigma=8e-3, intervals=(Interval.DAY, Interval.WEEK, Interval.MONTH)),
)
_LAYER_OF: Final = {interval: number for number, layer in enumerate(_LAYERS) for interval in layer.intervals}


class History:
    """The past of one symbol, ending where the market started."""

    def __init__(self, *, seed: str, start_ms: int, start_ticks: int, lots_scale: int) -> None:
        self._start_ms = start_ms // MINUTE_MS * MINUTE_MS
        self._start_ticks = start_ticks
        self._lots_scale = lots_scale
        self._layers = self._invent(random.Random(seed))  # noqa: S311 - a past that repeats is the point
        self._known: list[list[Bar]] = []
        self._bars: dict[Interval, list[Bar]] = {}

    def knows(self, interval: Interval) -> bool:
        """Tell whether the past of an interval was invented already."""
        return interval in self._bars

    def bars(self, interval: Interval) -> list[Bar]:
        """Return the bars of an interval, oldest first; the last one may reach into the live time."""
        known = self._bars.get(interval)
        if known is None:
            number = _LAYER_OF[interval]
            while len(self._known) <= number:
                self._known.append(next(self._layers))
            layer = self._known[number]
            # A layer's own interval needs no joining, and that of minutes is made for every symbol at the start.
            joined = layer if interval is _LAYERS[number].intervals[0] else aggregate(layer, interval)
            known = self._bars[interval] = joined[-KEPT_BARS_MAX:]
        return known

    def _invent(self, chance: random.Random) -> Iterator[list[Bar]]:
        """Give layer after layer, each with what the ones before it hold of its days joined to its end."""
        midnight_ms = bar_start_ms(Interval.DAY, self._start_ms)
        to_ms, close, later = self._start_ms, self._start_ticks, list[Bar]()
        for layer in _LAYERS:
            from_ms = max(0, midnight_ms - layer.days * _DAY_MS)
            older = self._layer(chance, layer, from_ms=from_ms, to_ms=to_ms, close=close)
            later = [*older, *aggregate(later, layer.intervals[0])]
            to_ms, close = from_ms, later[0].open
            yield later

    def _layer(self, chance: random.Random, layer: _Layer, *, from_ms: int, to_ms: int, close: int) -> list[Bar]:
        """Invent bars backwards from a closing price, pulled towards the price of today."""
        draw, anchor, sigma = chance.random, self._start_ticks, layer.sigma
        lots = _MINUTE_LOTS * (layer.length_ms // MINUTE_MS)
        bars: list[Bar] = []
        for start_ms in range(to_ms - layer.length_ms, from_ms - 1, -layer.length_ms):
            pull = 1e-3 * (anchor - close) / anchor
            # The sum of two uniform draws has a variance of 1/6; times the root of 6 it is one.
            opened = round(close * (1 + 2.45 * sigma * (draw() + draw() - 1) + pull))
            opened = opened if opened > 2 else 2  # ten thousand bars a symbol: a call of max costs as much as a draw
            reach = sigma * close
            bottom, top = (opened, close) if opened < close else (close, opened)
            high = top + int(reach * draw())
            low = bottom - int(reach * draw())
            low = low if low > 1 else 1
            volume = self._lots_scale * (1 + int(lots * (draw() + draw())))
            bars.append(Bar(start_ms, opened, high, low, close, volume, volume * ((high + low) // 2)))
            close = opened
        bars.reverse()
        return bars
