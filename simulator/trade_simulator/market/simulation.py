"""The moving market: paths, mark prices, participants and candles, one step a tick."""

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from trade_simulator.events import TickerChanged
from trade_simulator.floor import Floor
from trade_simulator.instruments import PRICE_MAX, Category, Instrument, symbol_tick_size
from trade_simulator.market.history import History
from trade_simulator.market.participants import Participants
from trade_simulator.market.path import Pace, Path, WalkPath
from trade_simulator.market.price_file import RecordedBar
from trade_simulator.market.replay import ReplayPath
from trade_simulator.market.tape import Tape, Tapes
from trade_simulator.matching import Matcher
from trade_simulator.rejections import parameter_error

# The mark price strays from the index by a few hundredths of a per mille.
BASIS_MAX: Final = 3e-4
BASIS_SIGMA: Final = 1e-5
BASIS_REVERSION: Final = 0.02


class SymbolMarket:
    """The price of one symbol, shared by its spot and its linear instrument."""

    def __init__(self, *, path: Path, tick_size: Decimal, seed: str) -> None:
        self.path = path
        self.tick_size = tick_size
        self._random = random.Random(seed)  # noqa: S311 - a market that repeats is the point
        self._basis = 0.0
        self._last_ticks = path.ticks

    def step(self, steps: int) -> list[int]:
        """Walk on, and return what was passed by; the basis moves only when the price does."""
        passed = self.path.advance(steps)
        if self.path.ticks != self._last_ticks:
            self._last_ticks = self.path.ticks
            drift = self._random.gauss(0.0, BASIS_SIGMA) - self._basis * BASIS_REVERSION
            self._basis = max(-BASIS_MAX, min(BASIS_MAX, self._basis + drift))
        return passed

    def mark_ticks(self, index_ticks: int) -> int:
        """Return the mark price, in ticks of the symbol, that belongs to an index price."""
        return max(1, round(index_ticks * (1.0 + self._basis)))


class Market:
    """All symbols and their books."""

    def __init__(self, *, floor: Floor, seed: int, speed: Decimal, replay: Mapping[str, Sequence[RecordedBar]]) -> None:
        unknown = set(replay) - {symbol for _, symbol in floor.instruments}
        if unknown:
            raise ValueError(f"replay names symbols that are not listed: {', '.join(sorted(unknown))}")
        self._floor = floor
        self._pace = Pace(speed)
        self.tapes = Tapes()
        self._symbols: dict[str, SymbolMarket] = {}
        self._participants: dict[tuple[Category, str], Participants] = {}
        by_symbol: dict[str, list[Instrument]] = {}
        for instrument in floor.instruments.values():
            by_symbol.setdefault(instrument.symbol, []).append(instrument)
        for symbol, instruments in by_symbol.items():
            self._add_symbol(symbol, instruments, seed, replay.get(symbol))

    def open(self, matcher: Matcher, seed: int) -> None:
        """Bring the participants, and let them quote for the first time."""
        for key, book in self._floor.books.items():
            self._participants[key] = Participants(
                book=book, matcher=matcher, seed=f"{seed}/participants/{key[0].value}/{key[1]}"
            )
        for symbol, market in self._symbols.items():
            self._quote(symbol, market.path.ticks)

    def step(self, check: Callable[[], None]) -> None:
        """Walk all prices on, requote all books, and let takers trade.

        Stops and margins are checked (by what is given) at every price that a fast replay passes by; the
        caller checks them at the last one.
        """
        steps = self._pace.next_steps()
        for symbol, market in self._symbols.items():
            for ticks in market.step(steps):
                self._quote(symbol, ticks)
                check()
            self._quote(symbol, market.path.ticks)
        for participants in self._participants.values():
            participants.take()

    def fold(self) -> None:
        """End the tick: fold its trades into the candles, and tell the tickers."""
        now_ms = self._floor.now_ms()
        for (category, symbol), tape in self.tapes.by_key.items():
            tape.fold(now_ms)
            self._floor.emit(TickerChanged(category=category, symbol=symbol))

    def jump(self, symbol: str, price: Decimal) -> None:
        """Continue a path from another price, rounded to a tick. Raises Rejected."""
        market = self._symbols.get(symbol)
        if market is None:
            raise parameter_error("symbol invalid")
        if not price.is_finite() or not 0 < price <= PRICE_MAX:
            raise parameter_error("price invalid")
        market.path.jump(max(1, round(price / market.tick_size)))
        self._quote(symbol, market.path.ticks)

    def _add_symbol(
        self, symbol: str, instruments: list[Instrument], seed: int, bars: Sequence[RecordedBar] | None
    ) -> None:
        floor = self._floor
        tick_size = symbol_tick_size(instruments, symbol)
        path: Path
        if bars is None:
            start_ticks = int(instruments[0].start_price / tick_size)
            path = WalkPath(seed=f"{seed}/path/{symbol}", start_ticks=start_ticks)
        else:
            path = ReplayPath(bars=bars)
        self._symbols[symbol] = SymbolMarket(path=path, tick_size=tick_size, seed=f"{seed}/basis/{symbol}")
        coarse_step = max(instrument.quantity_step for instrument in instruments)
        for instrument in instruments:
            history = History(
                seed=f"{seed}/history/{symbol}",
                start_ms=floor.now_ms(),
                start_ticks=int(tick_size * path.ticks / instrument.tick_size),
                lots_scale=int(coarse_step / instrument.quantity_step),
            )
            self.tapes.by_key[instrument.key] = Tape(floor, instrument, history)

    def _quote(self, symbol: str, index_ticks: int) -> None:
        market = self._symbols[symbol]
        index = market.tick_size * index_ticks
        for category in (Category.SPOT, Category.LINEAR):
            participants = self._participants.get((category, symbol))
            if participants is None:
                continue
            instrument = self._floor.instruments[category, symbol]
            quote = self._floor.quotes[category, symbol]
            mark = index if category is Category.SPOT else market.tick_size * market.mark_ticks(index_ticks)
            quote.index, quote.mark = index, mark
            participants.quote(max(1, int(mark / instrument.tick_size)))
