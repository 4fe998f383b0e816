"""One order book in price-time priority, counted in whole ticks and lots.

Integers keep matching exact and fast. An entry without an order belongs to a synthetic participant: at most
one such entry stands on a level, and whoever quotes it does not care about its place in the queue.
"""

from dataclasses import dataclass
from typing import Any

from sortedcontainers import SortedDict

from trade_simulator.instruments import Instrument
from trade_simulator.orders import Order, Side


@dataclass(slots=True, kw_only=True, eq=False)
class Resting:
    """An entry of the book: a working order, or synthetic liquidity when order is None."""

    side: Side
    ticks: int
    lots: int
    order: Order | None


class Level:
    """The entries of one price in time order."""

    __slots__ = ("entries", "lots")

    def __init__(self) -> None:
        # A dict keeps insertion order and removes in constant time.
        self.entries: dict[int, Resting] = {}
        self.lots = 0


class OrderBook:
    """Both sides of one instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.update_id = 1
        # Keys of bids are negated so that the best price comes first on both sides.
        self._levels: dict[Side, Any] = {Side.BUY: SortedDict(), Side.SELL: SortedDict()}
        self._changed: dict[Side, set[int]] = {Side.BUY: set(), Side.SELL: set()}

    def add(self, entry: Resting) -> None:
        """Put an entry at the back of its level's queue."""
        levels = self._levels[entry.side]
        key = -entry.ticks if entry.side is Side.BUY else entry.ticks
        level = levels.get(key)
        if level is None:
            level = levels[key] = Level()
        level.entries[id(entry)] = entry
        level.lots += entry.lots
        self._changed[entry.side].add(entry.ticks)

    def remove(self, entry: Resting) -> None:
        """Take an entry out."""
        levels = self._levels[entry.side]
        key = -entry.ticks if entry.side is Side.BUY else entry.ticks
        level = levels[key]
        del level.entries[id(entry)]
        level.lots -= entry.lots
        if not level.entries:
            del levels[key]
        self._changed[entry.side].add(entry.ticks)

    def resize(self, entry: Resting, lots: int) -> None:
        """Change the size of an entry in its place; zero takes it out."""
        if lots == 0:
            self.remove(entry)
            entry.lots = 0
            return
        key = -entry.ticks if entry.side is Side.BUY else entry.ticks
        self._levels[entry.side][key].lots += lots - entry.lots
        entry.lots = lots
        self._changed[entry.side].add(entry.ticks)

    def first(self, side: Side) -> Resting | None:
        """Return the entry that trades next on a side."""
        levels = self._levels[side]
        if not levels:
            return None
        level: Level = levels.peekitem(0)[1]
        return next(iter(level.entries.values()))

    def best_ticks(self, side: Side) -> int | None:
        """Return the best price of a side in ticks."""
        levels = self._levels[side]
        if not levels:
            return None
        return abs(int(levels.peekitem(0)[0]))

    def crosses(self, side: Side, ticks: int) -> bool:
        """Tell whether an order of that side and price would trade at once."""
        best = self.best_ticks(side.opposite)
        if best is None:
            return False
        return ticks >= best if side is Side.BUY else ticks <= best

    def available_lots(self, side: Side, *, limit_ticks: int | None, enough: int) -> int:
        """Return how much an order of that side could take now, counting no further than enough."""
        total = 0
        for key, level in self._levels[side.opposite].items():
            ticks = abs(key)
            if limit_ticks is not None and (ticks > limit_ticks if side is Side.BUY else ticks < limit_ticks):
                break
            total += level.lots
            if total >= enough:
                return enough
        return total

    def cost_ticks(self, side: Side, lots: int) -> int:
        """Return the value, in ticks times lots, of taking that many lots (or all there is)."""
        cost = 0
        for key, level in self._levels[side.opposite].items():
            taken = min(lots, level.lots)
            cost += taken * abs(key)
            lots -= taken
            if lots == 0:
                break
        return cost

    def orders_through(self, side: Side, ticks: int) -> list[Resting]:
        """Return the working orders of a side that a price has reached, in priority order."""
        found: list[Resting] = []
        for key, level in self._levels[side].items():
            price = abs(key)
            if price < ticks if side is Side.BUY else price > ticks:
                break
            found.extend(entry for entry in level.entries.values() if entry.order is not None)
        return found

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """Return the best levels as (ticks, lots)."""
        side_levels = self._levels[side]
        count = min(levels, len(side_levels))
        return [(abs(key), level.lots) for key, level in (side_levels.peekitem(i) for i in range(count))]

    def lots_at(self, side: Side, ticks: int) -> int:
        """Return the total size of a level."""
        level = self._levels[side].get(-ticks if side is Side.BUY else ticks)
        return 0 if level is None else level.lots

    def drain_changes(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return and forget the levels that changed, as (ticks, new lots) of bids and asks."""
        bids = [(ticks, self.lots_at(Side.BUY, ticks)) for ticks in sorted(self._changed[Side.BUY], reverse=True)]
        asks = [(ticks, self.lots_at(Side.SELL, ticks)) for ticks in sorted(self._changed[Side.SELL])]
        self._changed[Side.BUY].clear()
        self._changed[Side.SELL].clear()
        if bids or asks:
            self.update_id += 1
        return bids, asks
