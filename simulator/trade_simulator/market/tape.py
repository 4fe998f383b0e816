"""The tape of one instrument: its public trades, candles and day's summary."""

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import Final

from trade_simulator.events import CandleChanged, PublicTrade
from trade_simulator.floor import Floor, InstrumentKey
from trade_simulator.instruments import Category, Instrument
from trade_simulator.market.candles import Bar, LiveSeries
from trade_simulator.market.history import History
from trade_simulator.market.series import Candle, CandleKind, Interval, Trade
from trade_simulator.orders import Side

# The recent-trade page of the API shows at most a thousand.
TRADES_MAX: Final = 1_000
# An open candle is told once a second, not on every tick; a closed one at once.
CANDLE_EVENT_MS: Final = 1_000


class Tape:
    """Trades and candles of one instrument."""

    def __init__(self, floor: Floor, instrument: Instrument, history: History) -> None:
        self._floor = floor
        self._instrument = instrument
        self._history = history
        self.trades: deque[Trade] = deque(maxlen=TRADES_MAX)
        kinds = [CandleKind.TRADE]
        if instrument.category is Category.LINEAR:
            kinds += [CandleKind.MARK, CandleKind.INDEX]
        self._series = {kind: {interval: LiveSeries(interval) for interval in Interval} for kind in kinds}
        self._last_ticks = int(instrument.start_price / instrument.tick_size)
        self._pending: Bar | None = None
        self._told_at_ms = 0
        self.last_direction = "ZeroPlusTick"

    def record(self, *, ticks: int, lots: int, side: Side) -> None:
        """Write down a trade, and tell it."""
        floor, instrument = self._floor, self._instrument
        price = instrument.tick_size * ticks
        sequence = floor.next_sequence()
        is_spot = instrument.category is Category.SPOT
        trade = Trade(
            trade_id=str(2_100_000_000_000_000_000 + sequence) if is_spot else floor.new_id(),
            category=instrument.category,
            symbol=instrument.symbol,
            price=price,
            size=instrument.quantity_step * lots,
            side=side,
            at_ms=floor.now_ms(),
            seq=sequence,
        )
        self.trades.append(trade)
        floor.quotes[instrument.key].last = price
        self._note_direction(ticks)
        bar = Bar(trade.at_ms, ticks, ticks, ticks, ticks, lots, lots * ticks)
        if self._pending is None:
            self._pending = bar
        else:
            self._pending.fold(bar)
        floor.emit(PublicTrade(category=instrument.category, symbol=instrument.symbol, trade=trade))

    def fold(self, now_ms: int) -> bool:
        """Fold what was traded since the last call into the candles; tell whether there was any trade."""
        pending, self._pending = self._pending, None
        last = self._last_ticks
        trade_bar = pending or Bar(now_ms, last, last, last, last, 0, 0)
        trade_bar.start_ms = now_ms
        closed: list[tuple[Interval, Bar]] = []
        for interval, series in self._series[CandleKind.TRADE].items():
            closed += [(interval, bar) for bar in series.fold(trade_bar)]
        if self._instrument.category is Category.LINEAR:
            self._fold_price(CandleKind.MARK, now_ms, self._floor.quotes[self._instrument.key].mark)
            self._fold_price(CandleKind.INDEX, now_ms, self._floor.quotes[self._instrument.key].index)
        self._tell(now_ms, closed)
        return pending is not None

    def raw(self, kind: CandleKind, interval: Interval) -> list[Bar]:
        """Return all bars of an interval, oldest first, the past joined with the live ones."""
        series = self._series[kind][interval]
        live = [*series.closed, *([series.current] if series.current else [])]
        past = self._history.bars(interval)
        if live and past and past[-1].start_ms == live[0].start_ms:
            return [*past[:-1], self._joined(interval, live[0]), *live[1:]]
        return [*past, *live]

    def candle(self, bar: Bar) -> Candle:
        """Return a bar in prices and quantities."""
        tick, step = self._instrument.tick_size, self._instrument.quantity_step
        return Candle(
            start_ms=bar.start_ms,
            open=tick * bar.open,
            high=tick * bar.high,
            low=tick * bar.low,
            close=tick * bar.close,
            volume=step * bar.volume,
            turnover=tick * step * bar.turnover,
        )

    def current(self, interval: Interval) -> Bar | None:
        """Return the open trade bar of an interval, joined with its part in the past if that is known."""
        current = self._series[CandleKind.TRADE][interval].current
        return None if current is None else self._joined(interval, current)

    def _joined(self, interval: Interval, bar: Bar) -> Bar:
        if not self._history.knows(interval):
            return bar
        past = self._history.bars(interval)
        if not past or past[-1].start_ms != bar.start_ms:
            return bar
        joined = replace(past[-1])
        joined.fold(bar)
        return joined

    def _fold_price(self, kind: CandleKind, now_ms: int, price: Decimal) -> None:
        ticks = int(price / self._instrument.tick_size)
        for series in self._series[kind].values():
            series.fold(Bar(now_ms, ticks, ticks, ticks, ticks, 0, 0))

    def _note_direction(self, ticks: int) -> None:
        if ticks != self._last_ticks:
            self.last_direction = "PlusTick" if ticks > self._last_ticks else "MinusTick"
        elif not self.last_direction.startswith("Zero"):
            self.last_direction = f"Zero{self.last_direction}"
        self._last_ticks = ticks

    def _tell(self, now_ms: int, closed: list[tuple[Interval, Bar]]) -> None:
        for interval, bar in closed:
            self._emit(interval, self._joined(interval, bar), is_confirmed=True)
        # A clock that was set back must not silence the candles.
        if not closed and 0 <= now_ms - self._told_at_ms < CANDLE_EVENT_MS:
            return
        self._told_at_ms = now_ms
        for interval in Interval:
            current = self.current(interval)
            if current is not None:
                self._emit(interval, current, is_confirmed=False)

    def _emit(self, interval: Interval, bar: Bar, *, is_confirmed: bool) -> None:
        self._floor.emit(
            CandleChanged(
                category=self._instrument.category,
                symbol=self._instrument.symbol,
                interval=interval,
                candle=self.candle(bar),
                is_confirmed=is_confirmed,
            )
        )


class Tapes:
    """The tapes of all instruments, as the matcher writes them."""

    def __init__(self) -> None:
        self.by_key: dict[InstrumentKey, Tape] = {}

    def record(self, key: InstrumentKey, *, ticks: int, lots: int, side: Side) -> None:
        """Write down one trade; side is the taker's."""
        self.by_key[key].record(ticks=ticks, lots=lots, side=side)
