"""Synthetic participants of one book: makers that quote around the price, and takers that hit both sides.

They trade against members like anybody else, never run out, and have no account of their own: the house
stands behind them.
"""

import random
from typing import Final

from trade_simulator.book import OrderBook, Resting
from trade_simulator.matching import Matcher
from trade_simulator.orders import Side

LEVELS: Final = 50
# The first levels stand tick by tick, the others on a fixed grid so that a move changes few of them.
NEAR_LEVELS: Final = 5
GRID_FRACTION: Final = 2e-5
# The value of a unit of liquidity in quote coin; a level holds a few of them.
UNIT_VALUE: Final = 8_000
WIDE_SPREAD_PROBABILITY: Final = 0.2
TAKER_PROBABILITY: Final = 0.05
RESIZE_PROBABILITY: Final = 0.3


class Participants:
    """Makers and takers of one book."""

    def __init__(self, *, book: OrderBook, matcher: Matcher, seed: str) -> None:
        self._book = book
        self._key = book.instrument.key
        self._matcher = matcher
        self._random = random.Random(seed)  # noqa: S311 - a market that repeats is the point
        self._quotes: dict[Side, dict[int, Resting]] = {Side.BUY: {}, Side.SELL: {}}
        self._centre = 0
        self._spread = 1
        tick, step = book.instrument.tick_size, book.instrument.quantity_step
        self._unit_divisor = float(tick * step)

    def quote(self, centre: int) -> None:
        """Quote around a price in ticks; working orders that the price has passed are filled."""
        if centre != self._centre:
            self._move(centre)
        self._replenish()

    def take(self) -> None:
        """Perhaps hit one side or the other."""
        for side in (Side.BUY, Side.SELL):
            if self._random.random() < TAKER_PROBABILITY:
                self._matcher.synthetic_take(self._key, side, self._taker_lots())

    def print_trade(self, side: Side) -> None:
        """Trade a little at the best price, so that the last price follows a move."""
        self._matcher.synthetic_take(self._key, side, max(1, self._taker_lots() // 10))

    def _move(self, centre: int) -> None:
        rises = centre > self._centre
        is_first = self._centre == 0
        self._centre = centre
        self._spread = 2 if self._random.random() < WIDE_SPREAD_PROBABILITY else 1
        best_bid, best_ask = max(1, centre), max(1, centre) + self._spread
        wanted = {Side.BUY: self._levels(best_bid, -1), Side.SELL: self._levels(best_ask, 1)}
        for side, quotes in self._quotes.items():
            for ticks in [ticks for ticks in quotes if ticks not in wanted[side]]:
                self._withdraw(quotes, ticks)
        self._matcher.sweep(self._key, Side.SELL, best_bid)
        self._matcher.sweep(self._key, Side.BUY, best_ask)
        for side, levels in wanted.items():
            for ticks, weight in levels.items():
                if ticks not in self._quotes[side]:
                    self._add(side, ticks, weight)
        if not is_first:
            self.print_trade(Side.BUY if rises else Side.SELL)

    def _levels(self, best: int, direction: int) -> dict[int, int]:
        levels = {best + direction * i: 1 for i in range(NEAR_LEVELS)}
        step = max(1, round(self._centre * GRID_FRACTION))
        last = best + direction * (NEAR_LEVELS - 1)
        # The next grid line outside the near levels.
        ticks = (last // step + 1) * step if direction > 0 else (last - 1) // step * step
        for _ in range(LEVELS - NEAR_LEVELS):
            levels[ticks] = 3
            ticks += direction * step
        return {ticks: weight for ticks, weight in levels.items() if ticks > 0}

    def _replenish(self) -> None:
        for side, quotes in self._quotes.items():
            eaten = [ticks for ticks, entry in quotes.items() if not entry.lots]
            if eaten:
                # Whoever ate through the level may rest behind it; a maker who comes back trades with them first.
                self._matcher.sweep(self._key, side.opposite, max(eaten) if side is Side.BUY else min(eaten))
            for ticks in eaten:
                del quotes[ticks]
                self._add(side, ticks, 1)
            if quotes and self._random.random() < RESIZE_PROBABILITY:
                ticks = self._random.choice(list(quotes))
                self._book.resize(quotes[ticks], self._maker_lots(2))

    def _add(self, side: Side, ticks: int, weight: int) -> None:
        entry = Resting(side=side, ticks=ticks, lots=self._maker_lots(weight), order=None)
        self._book.add(entry)
        self._quotes[side][ticks] = entry

    def _withdraw(self, quotes: dict[int, Resting], ticks: int) -> None:
        entry = quotes.pop(ticks)
        if entry.lots:
            self._book.remove(entry)

    def _unit_lots(self) -> int:
        return max(1, int(UNIT_VALUE / (self._unit_divisor * self._centre)))

    def _maker_lots(self, weight: int) -> int:
        return max(1, int(self._unit_lots() * weight * (0.3 + self._random.random())))

    def _taker_lots(self) -> int:
        return max(1, int(self._unit_lots() * (0.05 + self._random.random())))
