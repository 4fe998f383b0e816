"""Working orders as the exchange lists them, as far as a sweep needs to know them. Pure.

Guarantees
- An order is believed to reduce or to wait for a trigger only when the exchange says so in so many words; a field that
  is missing or odd makes it an order that adds risk, and so one to cancel.
- A list that holds a row without id or symbol is unreadable as a whole: what cannot be named cannot be cancelled, and
  must not be taken for nothing.

Source: Bybit V5 "Get Open & Closed Orders": orderFilter, stopOrderType, reduceOnly, isLeverage, orderStatus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from trade_core.errors import ExchangeAnswerInvalid

ID_CHARACTERS_MAX: Final = 64
# An order with one of these has ended; every other word, known or not, is of an order that works.
_ENDED: Final = frozenset({"Filled", "Cancelled", "Rejected", "PartiallyFilledCanceled", "Deactivated"})
_NO_TRIGGER: Final = frozenset({"", "UNKNOWN"})


@unique
class Category(StrEnum):
    """Where an order of ours could be. Options are missing: no key that is accepted may trade them."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


@unique
class OrderFilter(StrEnum):
    """The kinds of order that the exchange lists apart. Derivatives know the first two."""

    ORDER = "Order"
    STOP = "StopOrder"
    TPSL = "tpslOrder"
    OCO = "OcoOrder"
    BIDIRECTIONAL_TPSL = "BidirectionalTpslOrder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What one cancel-all can name: a category, and of linear contracts the coin in which they settle."""

    category: Category
    settle_coin: str = ""

    @property
    def name(self) -> str:
        """Name it in rows and reports."""
        return f"{self.category.value}/{self.settle_coin}" if self.settle_coin else self.category.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """One list of a book: of every kind (None), or of one."""

    book: Book
    order_filter: OrderFilter | None = None

    @property
    def kind(self) -> str:
        """Name the kind of order that it lists; the list of every kind stands for the plain ones."""
        return f"{self.book.name}:{(self.order_filter or OrderFilter.ORDER).value}"


SPOT: Final = Book(category=Category.SPOT)
BOOKS: Final = (
    SPOT,
    Book(category=Category.LINEAR, settle_coin="USDT"),
    Book(category=Category.LINEAR, settle_coin="USDC"),
    Book(category=Category.INVERSE),
)
# Read without a filter and with each: an order that either list shows is there.
_FILTERS: Final[Mapping[Category, tuple[OrderFilter | None, ...]]] = {
    Category.SPOT: (None, *OrderFilter),
    Category.LINEAR: (None, OrderFilter.STOP),
    Category.INVERSE: (None, OrderFilter.STOP),
}
SHELVES: Final = tuple(
    Shelf(book=book, order_filter=order_filter) for book in BOOKS for order_filter in _FILTERS[book.category]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """One working order. `order_filter` is the kind under which spot must be asked to cancel it."""

    book: Book
    symbol: str
    order_id: str
    order_filter: OrderFilter
    is_conditional: bool
    is_reducing: bool
    is_waiting: bool  # for its trigger

    @property
    def is_protective(self) -> bool:
        """Tell whether it is a stop that only reduces, which a sweep leaves where it is, triggered or not."""
        return self.is_conditional and self.is_reducing


def parse_page(rows: object, shelf: Shelf) -> list[WorkingOrder]:
    """Read one page of a shelf. Raises ExchangeAnswerInvalid when a row cannot be named."""
    if not isinstance(rows, list):
        raise ExchangeAnswerInvalid("a list of orders is no list")
    return [order for row in rows if (order := _order(row, shelf)) is not None]


def merged(lists: Sequence[Sequence[WorkingOrder]]) -> list[WorkingOrder]:
    """Join the lists of one book, each order once; what a list of one kind says of an order wins."""
    known: dict[str, WorkingOrder] = {}
    for orders in lists:
        for order in orders:
            before = known.get(order.order_id)
            if before is None or before.order_filter is OrderFilter.ORDER:
                known[order.order_id] = order
    return list(known.values())


def _order(row: object, shelf: Shelf) -> WorkingOrder | None:
    if not isinstance(row, dict):
        raise ExchangeAnswerInvalid("a list of orders holds something else")
    if row.get("orderStatus") in _ENDED:
        return None
    stop_type = row.get("stopOrderType")
    is_of_kind = shelf.order_filter not in {None, OrderFilter.ORDER}
    is_conditional = is_of_kind or (isinstance(stop_type, str) and stop_type not in _NO_TRIGGER)
    return WorkingOrder(
        book=shelf.book,
        symbol=_name(row, "symbol"),
        order_id=_name(row, "orderId"),
        order_filter=shelf.order_filter or OrderFilter.ORDER,
        is_conditional=is_conditional,
        is_reducing=_is_reducing(row, shelf.book.category),
        is_waiting=row.get("orderStatus") == "Untriggered",
    )


def _is_reducing(row: Mapping[str, Any], category: Category) -> bool:
    if category is Category.SPOT:
        # Spot has no reduce-only: a sale of what is held, not of what would be borrowed.
        return row.get("side") == "Sell" and row.get("isLeverage") == "0"
    return row.get("reduceOnly") is True


def _name(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= ID_CHARACTERS_MAX or not value.isascii():
        raise ExchangeAnswerInvalid(f"a listed order has no {key}")
    return value
