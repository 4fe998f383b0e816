"""What a bot asked for, in domain types. An intent exists only when every byte of the request was understood."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from trade_core.records import record
from trade_gateway.wire.routes import Route


class Category(Enum):
    """The product classes that may be traded; the value is the exchange's own word."""

    SPOT = "spot"
    LINEAR = "linear"

    # Members are singletons and equal only to themselves. Enum's own hash is a call into Python, and every decision
    # looks up dozens of keys that contain a category and a side.
    __hash__ = object.__hash__


class Side(Enum):
    """The side of an order; the value is the exchange's own word."""

    BUY = "Buy"
    SELL = "Sell"

    __hash__ = object.__hash__


class OrderFilter(Enum):
    """The kinds of order that a cancel may name; the value is the exchange's own word."""

    ORDER = "Order"
    STOP_ORDER = "StopOrder"
    TPSL_ORDER = "tpslOrder"


class MarginMode(Enum):
    """The account's margin modes; the value is the exchange's own word."""

    ISOLATED = "ISOLATED_MARGIN"
    CROSS = "REGULAR_MARGIN"
    PORTFOLIO = "PORTFOLIO_MARGIN"


@record(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """A Limit, PostOnly order. Nothing else can be expressed. Quantity is in base coin, price in quote coin."""

    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    client_link_id: str | None


class TriggerBy(Enum):
    """The prices that may trigger a stop. The last trade is none of them: a thin book makes it whatever it wants."""

    MARK = "MarkPrice"
    INDEX = "IndexPrice"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopIntent:
    """A linear, reduce-only stop: once the trigger price is reached, sell a long position or buy back a short one.

    `limit_price` is None for a market order. Buys trigger on a rise, sells on a fall.
    """

    symbol: str
    side: Side
    quantity: Decimal
    trigger_price: Decimal
    trigger_by: TriggerBy
    limit_price: Decimal | None
    client_link_id: str | None

    @property
    def category(self) -> Category:
        """Stops are linear."""
        return Category.LINEAR

    @property
    def price(self) -> Decimal:
        """The price that the exchange shows and the tag binds: the limit, 0 of a market order."""
        return Decimal(0) if self.limit_price is None else self.limit_price

    @property
    def reduce_only(self) -> bool:
        """Stops only reduce."""
        return True


@record(frozen=True, slots=True, kw_only=True)
class CancelIntent:
    """A cancel of one order, named by exactly one of the two ids (the exchange's wins when the bot sent both)."""

    category: Category
    symbol: str
    order_id: str | None
    client_link_id: str | None
    order_filter: OrderFilter | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadIntent:
    """A read with its checked parameters, in the order in which they were asked."""

    route: Route
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLeverageIntent:
    """A wish for the leverage of a linear symbol, which the gateway compares with the pinned one."""

    symbol: str
    buy_leverage: Decimal
    sell_leverage: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionModeIntent:
    """A wish for a position mode: 0 is one-way, 3 is hedge. It names a coin or a symbol."""

    mode: int
    coin: str | None
    symbol: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginModeIntent:
    """A wish for the account's margin mode."""

    margin_mode: MarginMode


PinIntent = SetLeverageIntent | PositionModeIntent | MarginModeIntent
