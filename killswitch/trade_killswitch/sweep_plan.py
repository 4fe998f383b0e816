"""What a sweep does next, from what the exchange lists. Pure: readings in, calls out.

A sweep takes away every working order but protective stops: those that wait for a trigger, or waited for one, and can
only reduce. It reads, calls, and reads again, until a whole reading shows nothing else: that reading is the proof.

Rules
- Plain orders of a book go with one cancel-all. Resting exits go with them: nobody manages them while the gateway is
  silent, and telling them apart would make thousands of hostile orders cost thousands of requests.
- What waits for a trigger is cancelled one by one, by its id, so that a stop that was placed a moment ago is never
  swept along. So are the plain orders of a book in which a triggered stop rests: it is a plain order by then.
- A book whose list of all kinds cannot be read is cancelled unread: its plain orders only, but a stop that has
  triggered may be lost with them. An order that adds risk is worse.
- Nothing is proved by a list that could not be read.

It never places an order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trade_killswitch.working_orders import BOOKS, SHELVES, Book, Category, Shelf, WorkingOrder, merged

CALLS_A_ROUND: Final = 60
"""Some seconds of the budget: then the book is read again, since much may have ended meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One shelf as it was read; `orders` is None when it could not be read to its end, for the reason `why`."""

    shelf: Shelf
    orders: tuple[WorkingOrder, ...] | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPlain:
    """Cancel every plain order of a book with one request."""

    book: Book


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOne:
    """Cancel one order by its id."""

    order: WorkingOrder


Call = CancelPlain | CancelOne


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to call next, and what the reading showed.

    `working` counts the orders that must go, `by_kind` does for each kind of each book that was read, by its name.
    """

    calls: tuple[Call, ...]
    working: int
    by_kind: Mapping[str, int]
    kept: tuple[WorkingOrder, ...]
    unread: tuple[Shelf, ...]

    @property
    def is_proved(self) -> bool:
        """Tell whether everything was read and nothing but protective stops works."""
        return not self.working and not self.unread


def plan(readings: Sequence[Reading]) -> Plan:
    """Decide from the readings of all shelves; a shelf without a reading counts as unread."""
    lists = {reading.shelf: reading.orders for reading in readings if reading.orders is not None}
    unread = tuple(shelf for shelf in SHELVES if shelf not in lists)
    at_once: list[Call] = []
    one_by_one: list[Call] = []
    kept: list[WorkingOrder] = []
    by_kind: dict[str, int] = {shelf.kind: 0 for shelf in SHELVES if shelf in lists}
    working = 0
    for book in BOOKS:
        orders = merged([lists[shelf] for shelf in SHELVES if shelf.book == book and shelf in lists])
        stops = [order for order in orders if order.is_protective]
        going = [order for order in orders if not order.is_protective]
        kept += stops
        working += len(going)
        for order in going:
            kind = Shelf(book=book, order_filter=order.order_filter).kind
            by_kind[kind] = by_kind.get(kind, 0) + 1
        is_unread = Shelf(book=book) not in lists
        if _goes_at_once(book, going, stops, is_unread=is_unread):
            at_once.append(CancelPlain(book=book))
            going = [order for order in going if order.is_conditional]
        one_by_one += [CancelOne(order=order) for order in going]
    calls = (*at_once, *one_by_one)[:CALLS_A_ROUND]
    return Plan(calls=calls, working=working, by_kind=by_kind, kept=tuple(kept), unread=unread)


def _goes_at_once(book: Book, going: Sequence[WorkingOrder], stops: Sequence[WorkingOrder], *, is_unread: bool) -> bool:
    """Tell whether one request shall cancel a book's plain orders."""
    if book.category is Category.INVERSE:
        return False  # each contract settles in a coin of its own: no request names them all
    if is_unread:
        return True
    has_triggered_stop = any(not stop.is_waiting for stop in stops)
    return not has_triggered_stop and any(not order.is_conditional for order in going)
