"""What the exchange tells its subscribers, in the order in which it happened."""

from dataclasses import dataclass
from decimal import Decimal

from trade_simulator.instruments import Category
from trade_simulator.market.series import Candle, Interval, Trade
from trade_simulator.orders import Execution, Order
from trade_simulator.positions import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """An order was made, filled, amended, triggered or ended. The order is a copy."""

    uid: str
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """An execution was booked."""

    uid: str
    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletChanged:
    """Some balance, lock or margin of the account changed; ask the exchange for the wallet."""

    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChanged:
    """A linear position or its settings changed."""

    uid: str
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """A trade happened."""

    category: Category
    symbol: str
    trade: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChanged:
    """Levels of a book changed: (price, new total size), a size of zero deletes the level.

    The deltas cover the whole book.
    """

    category: Category
    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    update_id: int
    seq: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerChanged:
    """Something of the ticker changed; ask the market for it."""

    category: Category
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleChanged:
    """A trade candle changed, or closed for good when is_confirmed."""

    category: Category
    symbol: str
    interval: Interval
    candle: Candle
    is_confirmed: bool


Event = (
    OrderChanged
    | Executed
    | WalletChanged
    | PositionChanged
    | PublicTrade
    | BookChanged
    | TickerChanged
    | CandleChanged
)
