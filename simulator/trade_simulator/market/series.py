"""Records of the market: candles, trades, tickers, funding and open interest."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from trade_simulator.instruments import Category
from trade_simulator.orders import Side

MINUTE_MS: Final = 60_000


class Interval(StrEnum):
    """The candle intervals of Bybit V5."""

    M1 = "1"
    M3 = "3"
    M5 = "5"
    M15 = "15"
    M30 = "30"
    H1 = "60"
    H2 = "120"
    H4 = "240"
    H6 = "360"
    H12 = "720"
    DAY = "D"
    WEEK = "W"
    MONTH = "M"


# Week and month are aligned to the calendar, so their length is handled apart.
INTERVAL_MINUTES: Final[Mapping[Interval, int]] = {
    Interval.M1: 1,
    Interval.M3: 3,
    Interval.M5: 5,
    Interval.M15: 15,
    Interval.M30: 30,
    Interval.H1: 60,
    Interval.H2: 120,
    Interval.H4: 240,
    Interval.H6: 360,
    Interval.H12: 720,
    Interval.DAY: 1440,
    Interval.WEEK: 10080,
}


class CandleKind(StrEnum):
    """What a candle is made of."""

    TRADE = "trade"
    MARK = "mark"
    INDEX = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One bar. Volume is in base coin, turnover in quote coin."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One public trade; side is the taker's."""

    trade_id: str
    category: Category
    symbol: str
    price: Decimal
    size: Decimal
    side: Side
    at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSnapshot:
    """The best levels of a book, best first."""

    category: Category
    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    update_id: int
    seq: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """The summary of one instrument; the last five fields are None on spot."""

    category: Category
    symbol: str
    last_price: Decimal
    mark_price: Decimal
    index_price: Decimal
    bid_price: Decimal
    bid_size: Decimal
    ask_price: Decimal
    ask_size: Decimal
    previous_price_24h: Decimal
    previous_price_1h: Decimal
    high_price_24h: Decimal
    low_price_24h: Decimal
    volume_24h: Decimal
    turnover_24h: Decimal
    change_24h_fraction: Decimal
    last_tick_direction: str
    at_ms: int
    seq: int
    open_interest: Decimal | None
    open_interest_value: Decimal | None
    funding_rate: Decimal | None
    next_funding_ms: int | None
    funding_interval_h: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPoint:
    """The rate that was settled at a time."""

    symbol: str
    funding_rate: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInterestPoint:
    """Open interest in base coin at the start of an interval."""

    open_interest: Decimal
    at_ms: int
