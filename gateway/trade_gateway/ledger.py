"""The gateway's own orders, from before they are sent until their end is known.

Guarantees
- An order counts from `reserve`, before the first byte leaves, until a terminal state is known.
- Names that the bot uses (exchange order id, its own order link id) lead to an order of ours or to nothing.

Pure bookkeeping: no clock, no network. What is finished is kept for translation, up to a bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from trade_gateway.wire.intents import Category, OrderIntent, Side

# Finished orders are kept so that a late question of the bot can be translated; a day of a busy bot is about 10,000.
MAX_FINISHED = 20_000


class Phase(Enum):
    """Where an order is on its way."""

    UNRESOLVED = "unresolved"  # sent or about to be, and its effect at the exchange is not known
    WORKING = "working"  # the exchange acknowledged it and no terminal state has been seen
    FINISHED = "finished"


@dataclass(slots=True, kw_only=True)
class TrackedOrder:
    """One order. `signed_at_ns` is monotonic time; `is_disowned` means that the bot was told it does not exist."""

    tag: str
    intent: OrderIntent
    adds_risk: bool
    phase: Phase = Phase.UNRESOLVED
    order_id: str | None = None
    signed_at_ns: int = 0
    is_disowned: bool = False
    is_in_flow: bool = True  # a request is still working on it: the resolver keeps its hands off
    is_outcome_unknown: bool = False  # sent, and the answer was lost or ambiguous
    fill_reported: Decimal = field(default_factory=Decimal)  # of it an incident has told already
    status: str = ""
    filled: Decimal = field(default_factory=Decimal)

    @property
    def remaining(self) -> Decimal:
        """The quantity that may still fill."""
        return max(self.intent.quantity - self.filled, Decimal(0))


class OrderLedger:
    """All tracked orders, found by tag, by exchange order id and by the bot's own order link id."""

    def __init__(self) -> None:
        self._open: dict[str, TrackedOrder] = {}
        self._finished: OrderedDict[str, TrackedOrder] = OrderedDict()
        self._by_order_id: dict[str, str] = {}
        self._by_alias: dict[str, str] = {}

    def reserve(self, order: TrackedOrder) -> None:
        """Count an order that is about to be journaled and sent."""
        self._open[order.tag] = order
        if order.intent.client_link_id is not None:
            self._by_alias[order.intent.client_link_id] = order.tag

    def release(self, tag: str) -> None:
        """Forget an order that never left: its row could not be written."""
        order = self._open.pop(tag, None)
        if order is not None:
            self._forget_names(order)

    def acknowledge(self, tag: str, order_id: str) -> None:
        """Note the exchange's id of an order that it has taken."""
        order = self._open.get(tag)
        if order is None:
            return
        order.order_id = order_id
        order.phase = Phase.WORKING
        self._by_order_id[order_id] = tag

    def observe(self, tag: str, *, status: str, filled: Decimal) -> None:
        """Note what the exchange says of a working order."""
        order = self._open.get(tag)
        if order is not None:
            order.status = status
            order.filled = filled

    def finish(self, tag: str, *, status: str) -> None:
        """Stop counting an order whose terminal state is known."""
        order = self._open.pop(tag, None)
        if order is None:
            return
        order.phase = Phase.FINISHED
        order.status = status
        self._finished[tag] = order
        while len(self._finished) > MAX_FINISHED:
            self._forget_names(self._finished.popitem(last=False)[1])

    def get(self, tag: str) -> TrackedOrder | None:
        """Find an order by its tag, open or finished."""
        return self._open.get(tag) or self._finished.get(tag)

    def find(self, *, order_id: str | None, client_link_id: str | None) -> TrackedOrder | None:
        """Find an order by the names that the bot knows; the exchange's id wins when both are given."""
        tag = self._by_order_id.get(order_id) if order_id is not None else self._by_alias.get(client_link_id or "")
        return self.get(tag) if tag is not None else None

    def is_alias_used(self, client_link_id: str) -> bool:
        """Tell whether the bot has used this order link id before."""
        return client_link_id in self._by_alias

    def open_orders(self) -> Iterator[TrackedOrder]:
        """Iterate over a copy of what counts now."""
        return iter(list(self._open.values()))

    def open_count(self) -> int:
        """The number of working and unresolved orders."""
        return len(self._open)

    def unresolved(self) -> list[TrackedOrder]:
        """The orders whose effect at the exchange is not known and that no request works on."""
        return [o for o in self._open.values() if o.phase is Phase.UNRESOLVED and not o.is_in_flow]

    def unresolved_symbols(self) -> frozenset[tuple[Category, str]]:
        """The symbols on which an unknown outcome blocks new risk, whoever is asking for it at the moment."""
        return frozenset(
            (o.intent.category, o.intent.symbol)
            for o in self._open.values()
            if o.phase is Phase.UNRESOLVED and (o.is_outcome_unknown or not o.is_in_flow)
        )

    def working_sell_quantity(self, symbol: str) -> Decimal:
        """Base coin that spot sells of a symbol may still use up."""
        return sum(
            (
                o.remaining
                for o in self._open.values()
                if o.intent.category is Category.SPOT and o.intent.side is Side.SELL and o.intent.symbol == symbol
            ),
            Decimal(0),
        )

    def _forget_names(self, order: TrackedOrder) -> None:
        if order.order_id is not None:
            self._by_order_id.pop(order.order_id, None)
        alias = order.intent.client_link_id
        if alias is not None and self._by_alias.get(alias) == order.tag:
            self._by_alias.pop(alias)
