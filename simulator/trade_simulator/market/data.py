"""What anybody may read of the market."""

from decimal import Decimal
from typing import Final

from trade_simulator.floor import Floor, InstrumentKey
from trade_simulator.instruments import Category, Instrument
from trade_simulator.market.candles import Bar, bar_start_ms
from trade_simulator.market.reference import (
    funding_points,
    funding_rate,
    next_funding_ms,
    open_interest,
    open_interest_points,
)
from trade_simulator.market.series import (
    BookSnapshot,
    Candle,
    CandleKind,
    FundingPoint,
    Interval,
    OpenInterestPoint,
    Ticker,
    Trade,
)
from trade_simulator.market.tape import Tapes
from trade_simulator.orders import ZERO, Side
from trade_simulator.rejections import parameter_error

_HOUR_MS: Final = 3_600_000
_DAY_QUARTERS: Final = 96
CANDLES_MAX: Final = 1_000
CHANGE_QUANTUM: Final = Decimal("0.000001")


class MarketData:
    """Prices, books, candles and trades of every instrument. Unknown instruments raise Rejected."""

    def __init__(self, *, floor: Floor, tapes: Tapes, seed: int) -> None:
        self._floor = floor
        self._tapes = tapes
        self._seed = seed
        # The day's summary of closed quarter hours, and the quarter for which it holds.
        self._day: dict[InstrumentKey, tuple[int, list[Bar]]] = {}

    def last_price(self, category: Category, symbol: str) -> Decimal:
        """Return the price of the last trade."""
        return self._floor.quotes[self._key(category, symbol)].last

    def mark_price(self, category: Category, symbol: str) -> Decimal:
        """Return the mark price; on spot that is the index."""
        return self._floor.quotes[self._key(category, symbol)].mark

    def index_price(self, category: Category, symbol: str) -> Decimal:
        """Return the index price."""
        return self._floor.quotes[self._key(category, symbol)].index

    def ticker(self, category: Category, symbol: str) -> Ticker:
        """Return the summary of an instrument."""
        instrument = self._floor.instrument(category, symbol)
        floor, tape = self._floor, self._tapes.by_key[instrument.key]
        quote, now_ms = floor.quotes[instrument.key], floor.now_ms()
        book = self.book(category, symbol, depth=1)
        bid_price, bid_size = book.bids[0] if book.bids else (ZERO, ZERO)
        ask_price, ask_size = book.asks[0] if book.asks else (ZERO, ZERO)
        bars = self._day_bars(instrument, now_ms)
        previous = instrument.tick_size * bars[0].open
        hour_ago = next((bar for bar in bars if bar.start_ms >= now_ms - _HOUR_MS), bars[-1])
        is_linear = category is Category.LINEAR
        interest = open_interest(self._seed, instrument, now_ms) if is_linear else None
        due_ms = next_funding_ms(instrument, now_ms) if is_linear else None
        return Ticker(
            category=category,
            symbol=symbol,
            last_price=quote.last,
            mark_price=quote.mark,
            index_price=quote.index,
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            previous_price_24h=previous,
            previous_price_1h=instrument.tick_size * hour_ago.open,
            high_price_24h=instrument.tick_size * max(bar.high for bar in bars),
            low_price_24h=instrument.tick_size * min(bar.low for bar in bars),
            volume_24h=instrument.quantity_step * sum(bar.volume for bar in bars),
            turnover_24h=instrument.tick_size * instrument.quantity_step * sum(bar.turnover for bar in bars),
            change_24h_fraction=((quote.last - previous) / previous).quantize(CHANGE_QUANTUM),
            last_tick_direction=tape.last_direction,
            at_ms=now_ms,
            seq=book.seq,
            open_interest=interest,
            open_interest_value=None if interest is None else interest * quote.mark,
            funding_rate=None if due_ms is None else funding_rate(self._seed, instrument, due_ms),
            next_funding_ms=due_ms,
            funding_interval_h=instrument.funding_interval_min // 60 if is_linear else None,
        )

    def book(self, category: Category, symbol: str, *, depth: int) -> BookSnapshot:
        """Return the best levels of a book."""
        instrument = self._floor.instrument(category, symbol)
        book = self._floor.books[instrument.key]
        tick, step = instrument.tick_size, instrument.quantity_step
        bids, asks = (
            tuple((tick * ticks, step * lots) for ticks, lots in book.depth(side, depth))
            for side in (Side.BUY, Side.SELL)
        )
        return BookSnapshot(
            category=category,
            symbol=symbol,
            bids=bids,
            asks=asks,
            update_id=book.update_id,
            # Both numbers grow with every change of the book, which is all that a reader may rely on.
            seq=book.update_id,
            at_ms=self._floor.now_ms(),
        )

    def candles(
        self,
        category: Category,
        symbol: str,
        interval: Interval,
        *,
        kind: CandleKind = CandleKind.TRADE,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 200,
    ) -> list[Candle]:
        """Return candles that start within the given times, newest first; the first may still be open.

        With a start but no end, the bars that follow the start are meant. Raises Rejected for kinds that
        spot does not have.
        """
        tape = self._tapes.by_key[self._key(category, symbol)]
        if kind is not CandleKind.TRADE and category is Category.SPOT:
            raise parameter_error("category invalid")
        bars = [
            bar
            for bar in tape.raw(kind, interval)
            if (start_ms is None or bar.start_ms >= start_ms) and (end_ms is None or bar.start_ms <= end_ms)
        ]
        limit = min(limit, CANDLES_MAX)
        chosen = bars[:limit] if start_ms is not None and end_ms is None else bars[-limit:]
        return [tape.candle(bar) for bar in reversed(chosen)]

    def trades(self, category: Category, symbol: str, *, limit: int) -> list[Trade]:
        """Return the last public trades, newest first."""
        trades = self._tapes.by_key[self._key(category, symbol)].trades
        return list(trades)[: -limit - 1 : -1]

    def funding_history(
        self, symbol: str, *, start_ms: int | None = None, end_ms: int | None = None, limit: int = 200
    ) -> list[FundingPoint]:
        """Return settled funding rates of a linear symbol, newest first."""
        instrument = self._floor.instrument(Category.LINEAR, symbol)
        now_ms = self._floor.now_ms()
        return funding_points(
            self._seed, instrument, start_ms=start_ms, end_ms=min(end_ms or now_ms, now_ms), limit=limit
        )

    def open_interest(
        self,
        symbol: str,
        *,
        interval_ms: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 50,
    ) -> list[OpenInterestPoint]:
        """Return open interest of a linear symbol at the start of intervals, newest first."""
        instrument = self._floor.instrument(Category.LINEAR, symbol)
        now_ms = self._floor.now_ms()
        return open_interest_points(
            self._seed, instrument, interval_ms=interval_ms, start_ms=start_ms,
            end_ms=min(end_ms or now_ms, now_ms), limit=limit,
        )  # fmt: skip

    def _key(self, category: Category, symbol: str) -> InstrumentKey:
        return self._floor.instrument(category, symbol).key

    def _day_bars(self, instrument: Instrument, now_ms: int) -> list[Bar]:
        """Return the quarter hours of the last day; the closed ones are kept until the next quarter."""
        tape = self._tapes.by_key[instrument.key]
        known = self._day.get(instrument.key)
        quarter_ms = bar_start_ms(Interval.M15, now_ms)
        if known is None or known[0] != quarter_ms:
            bars = tape.raw(CandleKind.TRADE, Interval.M15)[-_DAY_QUARTERS:]
            has_current = tape.current(Interval.M15) is not None
            known = (quarter_ms, bars[:-1] if has_current else bars)
            self._day[instrument.key] = known
        current = tape.current(Interval.M15)
        return [*known[1], *([current] if current else [])]
