"""The gateway's own orders, from before they are sent until their end is known.

Guarantees
- An order counts from `reserve`, before the first byte leaves, until a terminal state is known.
- What an order has filled never goes back, whatever arrives late; its fills stay claimed until a reading of holdings
  and positions that was asked for after they were known, so that nothing is missing in between.
- Names that the bot uses (exchange order id, its own order link id) lead to an order of its own or to nothing: what
  the gateway placed by itself is not found by them.
- A stop claims nothing that it has not filled: it may wait for ever, and must not stand in the way of an exit.

Pure bookkeeping: no clock, no network. What is finished is kept for translation, up to a bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from trade_gateway.policy.facts import OrderKey, order_key
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.turnover import turnover_share
from trade_gateway.wire.intents import OrderIntent, Side, StopIntent

_ZERO = Decimal(0)
# Finished orders are kept so that a late question of the bot can be translated; a day of a busy bot is about 10,000.
MAX_FINISHED = 20_000
# Tags of orders that the gateway placed by itself, so that answers to the bot leave them out.
MAX_OWN_TAGS = 20_000


class Phase(Enum):
    """Where an order is on its way."""

    UNRESOLVED = "unresolved"  # sent or about to be, and its effect at the exchange is not known
    WORKING = "working"  # the exchange acknowledged it and no terminal state has been seen
    FINISHED = "finished"


_UNRESOLVED = Phase.UNRESOLVED  # looked up for every order in every decision otherwise


class Weight(NamedTuple):
    """What one order takes of the limits: its claim in base coin, and in USDT what it may still add to the turnover."""

    claim: Decimal
    pending_usdt: Decimal


@dataclass(slots=True, kw_only=True)
class TrackedOrder:
    """One order or stop. `signed_at_ns` is monotonic time; `is_disowned` means that the bot was told it does not exist.

    `is_gateways` marks what the gateway placed by itself: the bot is never told of it and cannot cancel it.
    """

    tag: str
    intent: OrderIntent | StopIntent
    adds_risk: bool
    is_gateways: bool = False
    phase: Phase = Phase.UNRESOLVED
    order_id: str | None = None
    signed_at_ns: int = 0
    is_disowned: bool = False
    policy_hash: str | None = None  # of the policy that decided; None when it was read back from the journal
    is_in_flow: bool = True  # a request is still working on it: the resolver keeps its hands off
    is_outcome_unknown: bool = False  # sent, and the answer was lost or ambiguous
    fill_reported: Decimal = field(default_factory=Decimal)  # of it an incident has told already
    status: str = ""
    filled: Decimal = field(default_factory=Decimal)
    notional_usdt: Decimal | None = None  # what the whole order uses of the turnover; its own price when not given
    reference_price: Decimal | None = None  # at acceptance; of a stop its trigger price
    orphaned_at_ns: int | None = None  # a stop: since when its position is gone
    counted: Decimal = field(default_factory=Decimal)  # fills that turnover and throttles have counted
    filled_value: Decimal = field(default_factory=Decimal)  # quote coin that the fills took, as far as it was told
    executed: Decimal = field(default_factory=Decimal)  # sum of the executions that were seen one by one
    settled: Decimal = field(default_factory=Decimal)  # fills that the last reading of holdings contains
    told: Decimal = field(default_factory=Decimal)  # fills that the stream has told
    is_end_told: bool = False
    is_end_shown: bool = False  # the exchange itself showed a terminal state: nothing that is late revives it
    is_stop: bool = field(init=False)  # it waits, or waited, for a trigger
    is_buy: bool = field(init=False)
    symbol: SymbolKey = field(init=False)
    key: OrderKey = field(init=False)  # what another order would be a duplicate of this one by
    _memo: tuple[Phase, Decimal, Decimal, Decimal, Decimal | None, Weight] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Find out once what the intent says for good."""
        self.is_stop = isinstance(self.intent, StopIntent)
        self.is_buy = self.intent.side is Side.BUY
        self.symbol = (self.intent.category, self.intent.symbol)
        self.key = order_key(self.intent)

    @property
    def is_unresolved(self) -> bool:
        """Whether its unknown outcome blocks new risk on its symbol, whoever is asking for it at the moment."""
        return self.phase is _UNRESOLVED and (self.is_outcome_unknown or not self.is_in_flow)

    @property
    def expected_price(self) -> Decimal:
        """The price of a fill that is told without one: the limit, of a market stop its trigger."""
        intent = self.intent
        return intent.trigger_price if isinstance(intent, StopIntent) and not intent.price else intent.price

    def disown(self) -> None:
        """Note that the bot does not know of it. It need not know what the gateway placed by itself."""
        self.is_disowned = not self.is_gateways

    @property
    def turnover_usdt(self) -> Decimal:
        """What the whole order uses of the turnover."""
        if self.notional_usdt is not None:
            return self.notional_usdt
        return self.intent.quantity * self.expected_price

    @property
    def uncounted(self) -> Decimal:
        """The quantity that the turnover has still to reckon with: what may fill, and fills not counted yet."""
        total = self.filled if self.phase is Phase.FINISHED else max(self.intent.quantity, self.filled)
        return max(total - self.counted, Decimal(0))

    @property
    def claim(self) -> Decimal:
        """Base coin that may still change hands, or did and is in no reading yet."""
        is_all = self.phase is Phase.FINISHED or self.is_stop
        total = self.filled if is_all else max(self.intent.quantity, self.filled)
        return max(total - self.settled, Decimal(0))

    def weight(self) -> Weight:
        """Weigh the order; remembered until something changes that its weight depends on."""
        memo = self._memo
        # Numbers are never changed in place: the same objects are the same values.
        if (
            memo is not None
            and memo[0] is self.phase
            and memo[1] is self.filled
            and memo[2] is self.settled
            and memo[3] is self.counted
            and memo[4] is self.notional_usdt
        ):
            return memo[5]
        weight = self._weighed()
        self._memo = (self.phase, self.filled, self.settled, self.counted, self.notional_usdt, weight)
        return weight

    def _weighed(self) -> Weight:
        pending = _ZERO
        if self.adds_risk:
            pending = turnover_share(
                self.uncounted, whole=self.intent.quantity, notional=self.turnover_usdt, price=self.intent.price
            )
        return Weight(claim=self.claim, pending_usdt=pending)


class OrderLedger:
    """All tracked orders, found by tag, by exchange order id and by the bot's own order link id."""

    def __init__(self) -> None:
        self._open: dict[str, TrackedOrder] = {}
        self._finished: OrderedDict[str, TrackedOrder] = OrderedDict()
        self._unsettled: dict[str, TrackedOrder] = {}  # finished, with fills that no reading contains yet
        self._by_order_id: dict[str, str] = {}
        self._by_alias: dict[str, str] = {}
        self._own_tags: OrderedDict[str, None] = OrderedDict()
        self._keys: dict[OrderKey, int] = {}  # of open orders, stops left out, and how many have each
        self.on_working: Callable[[TrackedOrder], object] = lambda _: None  # told of each order that begins to work

    def reserve(self, order: TrackedOrder) -> None:
        """Count an order that is about to be journaled and sent."""
        self._enter(order)
        if order.is_gateways:
            self.note_own_tag(order.tag)
        if order.intent.client_link_id is not None:
            self._by_alias[order.intent.client_link_id] = order.tag

    def release(self, tag: str) -> None:
        """Forget an order that never left: its row could not be written."""
        order = self._leave(tag)
        if order is not None:
            self._forget_names(order)

    def acknowledge(self, tag: str, order_id: str) -> None:
        """Note the exchange's id of an order that it has taken."""
        order = self._open.get(tag)
        if order is None:
            return
        was_working = order.phase is Phase.WORKING
        order.order_id = order_id
        order.phase = Phase.WORKING
        self._by_order_id[order_id] = tag
        if not was_working:
            self.on_working(order)

    def observe(self, tag: str, *, status: str, filled: Decimal) -> None:
        """Note what the exchange says of an order; what it filled never goes back, and may rise after its end."""
        order = self.get(tag)
        if order is None:
            return
        if order.phase is not Phase.FINISHED:
            order.status = status
        order.filled = max(order.filled, filled)
        if order.phase is Phase.FINISHED and order.claim > 0:
            self._unsettled[tag] = order

    def finish(self, tag: str, *, status: str) -> None:
        """Stop counting an order whose terminal state is known."""
        order = self._leave(tag)
        if order is None:
            return
        order.phase = Phase.FINISHED
        order.status = status
        self._finished[tag] = order
        if order.claim > 0:
            self._unsettled[tag] = order
        while len(self._finished) > MAX_FINISHED:
            self._forget_names(self._finished.popitem(last=False)[1])

    def remember(self, order: TrackedOrder) -> None:
        """Know an order that had ended before this start: its names stay its own, and it claims nothing."""
        order.settled = order.filled  # the next reading of holdings, the first of this start, contains its fills
        self._finished[order.tag] = order
        if order.order_id is not None:
            self._by_order_id[order.order_id] = order.tag
        if order.intent.client_link_id is not None:
            self._by_alias[order.intent.client_link_id] = order.tag
        while len(self._finished) > MAX_FINISHED:
            self._forget_names(self._finished.popitem(last=False)[1])

    def revive(self, tag: str, order_id: str) -> bool:
        """Count an order again that was taken for ended and that the exchange shows live. Returns whether it did."""
        order = self._finished.get(tag)
        if order is None or order.is_end_shown:
            return False
        del self._finished[tag]
        self._unsettled.pop(tag, None)
        order.phase = Phase.UNRESOLVED
        order.disown()
        order.is_in_flow = False
        self._enter(order)
        self.acknowledge(tag, order_id)
        return True

    def fill_marks(self) -> dict[str, Decimal]:
        """Return what every order has filled by now, to be settled by a reading that is asked for from now on."""
        return {o.tag: o.filled for o in self.claims() if o.filled > o.settled}

    def settle(self, marks: Mapping[str, Decimal]) -> None:
        """Note that a reading of holdings and positions contains these fills."""
        for tag, filled in marks.items():
            order = self.get(tag) or self._unsettled.get(tag)
            if order is None:
                continue
            order.settled = max(order.settled, filled)
            if order.claim == 0:
                self._unsettled.pop(tag, None)

    def claims(self) -> Iterator[TrackedOrder]:
        """Iterate over all that may still change holdings or positions: open orders, and fills in no reading yet."""
        return iter([*self._open.values(), *self._unsettled.values()])

    def get(self, tag: str) -> TrackedOrder | None:
        """Find an order by its tag, open or finished."""
        return self._open.get(tag) or self._finished.get(tag)

    def find(self, *, order_id: str | None, client_link_id: str | None) -> TrackedOrder | None:
        """Find an order by the names that the bot knows; the exchange's id wins when both are given."""
        tag = self._by_order_id.get(order_id) if order_id is not None else self._by_alias.get(client_link_id or "")
        order = self.get(tag) if tag is not None else None
        return None if order is None or order.is_gateways else order

    def note_own_tag(self, tag: str) -> None:
        """Remember the tag of an order that the gateway placed by itself, also of one from before a restart."""
        self._own_tags[tag] = None
        while len(self._own_tags) > MAX_OWN_TAGS:
            self._own_tags.popitem(last=False)

    def is_own_tag(self, tag: str) -> bool:
        """Tell whether the gateway placed the order of this tag by itself."""
        return tag in self._own_tags

    def is_alias_used(self, client_link_id: str) -> bool:
        """Tell whether the bot has used this order link id before."""
        return client_link_id in self._by_alias

    def open_orders(self) -> Iterator[TrackedOrder]:
        """Iterate over a copy of what counts now."""
        return iter(list(self._open.values()))

    def working_keys(self) -> frozenset[OrderKey]:
        """What an order would be a duplicate by: the keys of working and unresolved orders, without stops."""
        return frozenset(self._keys)  # of a dict, whose hashes are known: fifty numbers are not hashed for a decision

    def open_count(self) -> int:
        """The number of working and unresolved orders; stops are counted apart."""
        return sum(1 for order in self._open.values() if not order.is_stop)

    def stops(self) -> list[TrackedOrder]:
        """The working and unresolved stops, the bot's and the gateway's own, oldest first."""
        return [order for order in self._open.values() if order.is_stop]

    def unresolved(self) -> list[TrackedOrder]:
        """The orders whose effect at the exchange is not known and that no request works on."""
        return [o for o in self._open.values() if o.phase is Phase.UNRESOLVED and not o.is_in_flow]

    def _enter(self, order: TrackedOrder) -> None:
        self._leave(order.tag)
        self._open[order.tag] = order
        if not order.is_stop:
            self._keys[order.key] = self._keys.get(order.key, 0) + 1

    def _leave(self, tag: str) -> TrackedOrder | None:
        order = self._open.pop(tag, None)
        if order is not None and not order.is_stop:
            # A key is hashed at each use, and two numbers are in it.
            left = self._keys.pop(order.key) - 1
            if left:
                self._keys[order.key] = left
        return order

    def _forget_names(self, order: TrackedOrder) -> None:
        if order.order_id is not None:
            self._by_order_id.pop(order.order_id, None)
        alias = order.intent.client_link_id
        if alias is not None and self._by_alias.get(alias) == order.tag:
            self._by_alias.pop(alias)
