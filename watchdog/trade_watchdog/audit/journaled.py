"""The orders that the gateway's journal knows, by their tags. Pure; fed with rows in their order.

Guarantees
- A tag that two intent rows carry is remembered as repeated, whatever the rows say. The same row twice is one.
- It never grows beyond MAX_ORDERS and MAX_STOPS: the oldest are forgotten, and `covers_from_ms` says from when on it is
  complete. An order older than that cannot be called rogue for want of a row. It lies BORDER_MS behind the last row
  that is not known: a row is written before its order is made, by another clock than the exchange's. Stops, which may
  rest for months, are counted apart, so that no flood of orders makes them forgotten.

It believes the rows, which the witness has tied to the log's signed root; it does not judge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from trade_core.clock import NS_PER_MS
from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_journal.log.rows import RowKind

MAX_ORDERS: Final = 100_000
"""Some days of a busy futures bot; about 60 MB."""
MAX_STOPS: Final = 10_000
BORDER_MS: Final = 60_000
"""An order is made at most some seconds after its row: the commit, and the exchange's receive window with its clock."""
INTENT_KINDS: Final = frozenset({RowKind.ORDER_INTENT, RowKind.DISASTER_STOP_INTENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledOrder:
    """What one intent row says of its order."""

    seq: int
    at_ms: int
    category: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    is_reduce_only: bool
    trigger_price: Decimal | None


class JournaledOrders:
    """Intents by tag, and since when they are complete."""

    __slots__ = ("_covers_from_ms", "_orders", "_repeated", "_stops", "_unread")

    def __init__(self, *, covers_from_ms: int = 0) -> None:
        """Begin with no rows; `covers_from_ms` is above 0 when the rows to come leave out older ones.

        It is then the time of the first row to come, and orders made up to BORDER_MS later may have an older row.
        """
        self._orders: dict[str, JournaledOrder] = {}
        self._stops: dict[str, JournaledOrder] = {}
        self._repeated: dict[str, int] = {}
        self._covers_from_ms = covers_from_ms + BORDER_MS if covers_from_ms else 0
        self._unread = 0

    @property
    def covers_from_ms(self) -> int:
        """Say from which time on, UTC milliseconds, the intent of every order made is known."""
        return self._covers_from_ms

    @property
    def unread(self) -> int:
        """Count the intent rows that hold no order that can be read: their orders are without a row."""
        return self._unread

    def __len__(self) -> int:
        return len(self._orders) + len(self._stops)

    def take(self, *, seq: int, at_ns: int, kind: RowKind, fields: Mapping[str, Any]) -> None:
        """Take the next row; rows that are no intents are passed over."""
        if kind not in INTENT_KINDS:
            return
        tag = fields.get("tag")
        order = _journaled(fields, seq=seq, at_ms=at_ns // NS_PER_MS)
        if order is None or not isinstance(tag, str):
            self._unread += 1
            return
        known = self.find(tag)
        if known is not None:
            if known.seq != seq:
                self._repeated[tag] = seq
            return
        kept, most = (self._orders, MAX_ORDERS) if order.trigger_price is None else (self._stops, MAX_STOPS)
        if len(kept) >= most:
            self._forget_oldest(kept)
        kept[tag] = order

    def find(self, tag: str) -> JournaledOrder | None:
        """Find the order of a tag."""
        return self._orders.get(tag) or self._stops.get(tag)

    def repeats(self, tag: str) -> int | None:
        """Give the number of a second intent row of a tag, or None."""
        return self._repeated.get(tag)

    def _forget_oldest(self, kept: dict[str, JournaledOrder]) -> None:
        tag = next(iter(kept))
        self._covers_from_ms = max(self._covers_from_ms, kept.pop(tag).at_ms + BORDER_MS)
        self._repeated.pop(tag, None)


def _journaled(fields: Mapping[str, Any], *, seq: int, at_ms: int) -> JournaledOrder | None:
    try:
        trigger = fields.get("trigger_price")
        return JournaledOrder(
            seq=seq,
            at_ms=at_ms,
            category=str(fields["category"]),
            symbol=str(fields["symbol"]),
            side=str(fields["side"]),
            quantity=parse_decimal(fields["quantity"]),
            price=parse_decimal(fields["price"]),
            is_reduce_only=fields["reduce_only"] is True,
            trigger_price=None if trigger is None else parse_decimal(trigger),
        )
    except (KeyError, InvalidNumber):
        return None
