"""What anybody may read of the market."""

from collections.abc import Callable
from decimal import Decimal

from trade_simulator.instruments import Category
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


class MarketData:
    """Prices, books, candles and trades of every instrument. Unknown instruments raise Rejected."""

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def last_price(self, category: Category, symbol: str) -> Decimal:
        """Return the price of the last trade."""
        raise NotImplementedError

    def mark_price(self, category: Category, symbol: str) -> Decimal:
        """Return the mark price."""
        raise NotImplementedError

    def index_price(self, category: Category, symbol: str) -> Decimal:
        """Return the index price."""
        raise NotImplementedError

    def ticker(self, category: Category, symbol: str) -> Ticker:
        """Return the summary of an instrument."""
        raise NotImplementedError

    def book(self, category: Category, symbol: str, *, depth: int) -> BookSnapshot:
        """Return the best levels of a book."""
        raise NotImplementedError

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
        """Return candles, newest first; the first may still be open."""
        raise NotImplementedError

    def trades(self, category: Category, symbol: str, *, limit: int) -> list[Trade]:
        """Return the last public trades, newest first."""
        raise NotImplementedError

    def funding_history(
        self, symbol: str, *, start_ms: int | None = None, end_ms: int | None = None, limit: int = 200
    ) -> list[FundingPoint]:
        """Return settled funding rates of a linear symbol, newest first."""
        raise NotImplementedError

    def open_interest(
        self, symbol: str, *, interval_ms: int, start_ms: int | None = None, end_ms: int | None = None, limit: int = 50
    ) -> list[OpenInterestPoint]:
        """Return open interest of a linear symbol at the start of intervals, newest first."""
        raise NotImplementedError
