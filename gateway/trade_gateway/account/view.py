"""The account as the gateway believes it to be: its own orders, orders of others, coins, positions, equity. Pure.

Guarantees
- Worst case: an order counts from `reserve` until the exchange has shown its end; what it filled counts beside the
  holdings and positions until a reading that was asked for later contains it.
- Nothing goes back: fills only grow, a shown end is final, older wallets and positions are ignored. So duplicates, and
  messages that are late or out of order, change nothing.
- A complete reading by REST replaces coins, positions and orders of others; what the stream said meanwhile and is
  newer by the exchange's own clock or sequence stays. One that names no equity above zero leaves none.
- What contradicts itself makes the view untrusted; see `trust` for how it becomes trusted again.

It has no clock and does no I/O: times are passed in, what must be journaled is returned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from typing import assert_never

from trade_core.records import record
from trade_gateway.account.messages import ExecutionSeen, OrderSeen, PositionSeen, Seen, WalletSeen
from trade_gateway.account.trust import Trust, TrustKeeper
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import TERMINAL_STATUSES
from trade_gateway.wire.intents import Category

MAX_FOREIGN_ORDERS = 1_000
MAX_REMEMBERED = 20_000  # executions, and ended orders of others
_ZERO = Decimal(0)


class Source(Enum):
    """Who said it."""

    STREAM = "stream"
    READING = "reading"


@record(frozen=True, slots=True, kw_only=True)
class Filled:
    """More of an order filled: `quantity` at `price`, `total` altogether."""

    order: TrackedOrder
    quantity: Decimal
    price: Decimal
    total: Decimal


@record(frozen=True, slots=True, kw_only=True)
class Ended:
    """The exchange has shown an order's end."""

    order: TrackedOrder
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appeared:
    """An order whose outcome was unknown, or that was taken for ended, is live."""

    order: TrackedOrder
    status: str


Change = Filled | Ended | Appeared


@record(frozen=True, slots=True, kw_only=True)
class OwnOrderShown:
    """What anybody at the exchange said of one of our orders."""

    order_id: str
    status: str
    filled: Decimal
    value: Decimal | None
    source: Source


@dataclass(slots=True, kw_only=True)
class Reading:
    """One reading by REST under way: whether it differed from the view, and what the stream has told meanwhile."""

    began_ns: int
    has_differed: bool = False
    has_heard_wallet: bool = False
    heard_equity_at_ms: int | None = None
    heard_positions: dict[str, PositionSeen] = field(default_factory=dict)
    heard_orders: set[str] = field(default_factory=set)


class AccountView:
    """The view. All times are monotonic ns."""

    def __init__(self, *, ledger: OrderLedger) -> None:
        self._ledger = ledger
        self.trust_keeper = TrustKeeper()
        self.equity_usdt: Decimal | None = None
        self.coins: dict[str, Decimal] = {}
        self._coins_at_ms = 0
        self._positions: dict[str, PositionSeen] = {}
        self._foreign: dict[str, OrderSeen] = {}
        self._foreign_ended: OrderedDict[str, None] = OrderedDict()
        self._executions: OrderedDict[str, None] = OrderedDict()
        self._reading: Reading | None = None

    @property
    def positions(self) -> dict[str, Decimal]:
        """The open positions, signed."""
        return {symbol: held.size for symbol, held in self._positions.items() if held.size}

    @property
    def held_positions(self) -> tuple[PositionSeen, ...]:
        """The open positions with their entry prices."""
        return tuple(held for held in self._positions.values() if held.size)

    @property
    def foreign_orders(self) -> tuple[OrderSeen, ...]:
        """Working orders at the exchange that are none of the ledger's."""
        return tuple(self._foreign.values())

    def trust(self, *, now_ns: int) -> Trust:
        """Tell whether the view may be believed now."""
        is_unknown = any(order.is_unresolved for order in self._ledger.open_orders())
        return self.trust_keeper.judge(now_ns=now_ns, has_unknown_outcome=is_unknown)

    def hear(self, seen: Seen, *, now_ns: int) -> list[Change]:
        """Take in one message of the private stream."""
        match seen:
            case OrderSeen():
                return self._order(seen, Source.STREAM, now_ns=now_ns)
            case ExecutionSeen():
                return self._execution(seen, Source.STREAM, now_ns=now_ns)
            case WalletSeen():
                self._hear_wallet(seen)
            case PositionSeen():
                self._hear_position(seen)
            case _:
                assert_never(seen)
        return []

    # A reading: begin, orders and executions of each category, mark, then end with wallet and positions.

    def begin_reading(self, *, now_ns: int) -> Reading:
        """Begin a complete reading by REST; a reading that was begun before and not ended is forgotten."""
        self._reading = Reading(began_ns=now_ns)
        return self._reading

    def read_open_orders(
        self, category: Category, orders: Iterable[OrderSeen], reading: Reading, *, now_ns: int
    ) -> list[Change]:
        """Take in the complete list of a category's open orders."""
        changes: list[Change] = []
        listed: set[str] = set()
        for seen in orders:
            listed.add(seen.order_id)
            changes += self._order(seen, Source.READING, now_ns=now_ns)
        # Whatever the stream has brought since the reading began is newer than the list.
        for order_id, held in list(self._foreign.items()):
            if held.category is category and order_id not in listed and order_id not in reading.heard_orders:
                del self._foreign[order_id]
                self._differ(f"the end of order {order_id}", now_ns=now_ns)
        return changes

    def read_order(
        self, order: TrackedOrder, *, order_id: str, status: str, filled: Decimal, now_ns: int
    ) -> list[Change]:
        """Take in what a question about one of our orders was answered."""
        shown = OwnOrderShown(order_id=order_id, status=status, filled=filled, value=None, source=Source.READING)
        return self._own(order, shown, now_ns=now_ns)

    def read_execution(self, seen: ExecutionSeen, *, now_ns: int) -> list[Change]:
        """Take in one execution of the exchange's list."""
        return self._execution(seen, Source.READING, now_ns=now_ns)

    def count_fills(self, *, now_ns: int) -> list[Change]:
        """Count what the flows of orders have found out by asking for them."""
        changes: list[Change] = []
        for order in self._ledger.claims():
            changes += self._fill(order, order.filled, value=None, price=None, now_ns=now_ns)
        return changes

    def end_reading(
        self,
        reading: Reading,
        *,
        wallet: WalletSeen,
        positions: Iterable[PositionSeen] | None,
        marks: Mapping[str, Decimal],
        now_ns: int,
    ) -> None:
        """Take in wallet and positions, asked for after `marks` were taken from the ledger, and judge the whole."""
        self._read_wallet(wallet, reading, now_ns=now_ns)
        if positions is not None:
            self._read_positions(positions, reading, now_ns=now_ns)
        self._ledger.settle(marks)
        self.trust_keeper.reading_completed(began_ns=reading.began_ns, has_differed=reading.has_differed)
        self._reading = None

    def _order(self, seen: OrderSeen, source: Source, *, now_ns: int) -> list[Change]:
        order = self._ledger.get(seen.tag)
        if order is None:
            self._foreign_order(seen, source, now_ns=now_ns)
            return []
        if not seen.is_as_sent(order.intent):
            self.trust_keeper.distrust("the exchange shows an order of ours otherwise than it was sent", at_ns=now_ns)
        shown = OwnOrderShown(
            order_id=seen.order_id, status=seen.status, filled=seen.filled, value=seen.value, source=source
        )
        return self._own(order, shown, now_ns=now_ns)

    def _own(self, order: TrackedOrder, shown: OwnOrderShown, *, now_ns: int) -> list[Change]:
        is_end = shown.status in TERMINAL_STATUSES
        is_live_or_was = not is_end or shown.filled > 0
        changes = self._appear(order, shown.order_id, status=shown.status) if is_live_or_was else []
        if order.phase is Phase.UNRESOLVED:
            self._ledger.acknowledge(order.tag, shown.order_id)  # so that the bot finds it by its id
        changes += self._fill(order, shown.filled, value=shown.value, price=None, now_ns=now_ns)
        if is_end:
            changes += self._end(order, shown.status)
        else:
            self._ledger.observe(order.tag, status=shown.status, filled=shown.filled)
        if shown.source is Source.STREAM:
            order.told = max(order.told, shown.filled)
            order.is_end_told = order.is_end_told or is_end
        self._compare_own(order, shown.source, has_changed=bool(changes), now_ns=now_ns)
        return changes

    def _appear(self, order: TrackedOrder, order_id: str, *, status: str) -> list[Change]:
        """Note that the exchange knows an order: it counts as working, whatever was believed before."""
        if order.phase is Phase.UNRESOLVED:
            was_awaited = order.is_in_flow
            self._ledger.acknowledge(order.tag, order_id)
            return [] if was_awaited else [Appeared(order=order, status=status)]
        if self._ledger.revive(order.tag, order_id):
            return [Appeared(order=order, status=status)]
        return []

    def _fill(
        self, order: TrackedOrder, total: Decimal, *, value: Decimal | None, price: Decimal | None, now_ns: int
    ) -> list[Change]:
        if total > order.intent.quantity:
            self.trust_keeper.distrust("an order filled more than its quantity", at_ns=now_ns)
        self._ledger.observe(order.tag, status=order.status, filled=total)
        more = total - order.counted
        if more <= 0:
            return []
        if price is None:
            took = _ZERO if value is None else value - order.filled_value
            price = took / more if took > 0 else order.expected_price
        order.counted = total
        order.filled_value += price * more
        return [Filled(order=order, quantity=more, price=price, total=total)]

    def _end(self, order: TrackedOrder, status: str) -> list[Change]:
        order.is_end_shown = True
        if order.phase is Phase.FINISHED:
            return []
        self._ledger.finish(order.tag, status=status)
        return [Ended(order=order, status=status)]

    def _execution(self, seen: ExecutionSeen, source: Source, *, now_ns: int) -> list[Change]:
        order = self._ledger.get(seen.tag) if seen.is_trade else None
        if order is None or (seen.category, seen.symbol) != (order.intent.category, order.intent.symbol):
            return []
        is_news = seen.execution_id not in self._executions
        if is_news:
            _remember(self._executions, seen.execution_id)
            order.executed += seen.quantity
        changes = self._appear(order, seen.order_id, status=order.status) if seen.order_id else []
        changes += self._fill(order, order.executed, value=None, price=seen.price, now_ns=now_ns)
        if order.filled >= order.intent.quantity and order.phase is Phase.WORKING:
            changes += self._end(order, "Filled")
        if source is Source.STREAM and is_news:
            order.told = max(order.told, order.executed)
        self._compare_own(order, source, has_changed=bool(changes), now_ns=now_ns)
        return changes

    def _compare_own(self, order: TrackedOrder, source: Source, *, has_changed: bool, now_ns: int) -> None:
        what = f"order {order.tag}"
        has_end_come = order.phase is not Phase.FINISHED or order.is_end_told or order.told >= order.intent.quantity
        if order.told >= order.filled and has_end_come:
            self.trust_keeper.explained(what)
        elif source is Source.READING and has_changed:
            self._differ(what, now_ns=now_ns)

    def _foreign_order(self, seen: OrderSeen, source: Source, *, now_ns: int) -> None:
        what = f"order {seen.order_id}"
        if source is Source.STREAM:
            self.trust_keeper.explained(what)
            self.trust_keeper.explained(f"the end of {what}")
            if self._reading is not None:
                self._reading.heard_orders.add(seen.order_id)
        if seen.status in TERMINAL_STATUSES:
            _remember(self._foreign_ended, seen.order_id)
            self._foreign.pop(seen.order_id, None)
            return
        if seen.order_id in self._foreign_ended:
            return
        held = self._foreign.get(seen.order_id)
        if held is not None and seen.filled < held.filled:
            return
        if source is Source.READING and (held is None or seen.filled > held.filled):
            self._differ(what, now_ns=now_ns)
        if held is None and len(self._foreign) >= MAX_FOREIGN_ORDERS:
            self.trust_keeper.distrust("too many orders of others", at_ns=now_ns)
            return
        self._foreign[seen.order_id] = seen

    def _hear_wallet(self, seen: WalletSeen) -> None:
        # Of the same millisecond as a reading, a message is as new or newer; a later reading settles what is not.
        if seen.at_ms >= self._coins_at_ms:
            self._coins_at_ms = seen.at_ms
            if self._reading is not None:
                self._reading.has_heard_wallet = True
            self.coins.update(seen.coins)
            if seen.equity_usdt is not None:
                self._take_equity(seen)
                if self._reading is not None:
                    self._reading.heard_equity_at_ms = seen.at_ms
        for coin, amount in seen.coins.items():
            if self.coins.get(coin) == amount:
                self.trust_keeper.explained(f"coin {coin}")

    def _read_wallet(self, seen: WalletSeen, reading: Reading, *, now_ns: int) -> None:
        if reading.heard_equity_at_ms is None or reading.heard_equity_at_ms <= seen.at_ms:
            self._take_equity(seen)
        if reading.has_heard_wallet and self._coins_at_ms > seen.at_ms:
            return  # the stream has said something newer while we asked
        if not reading.has_heard_wallet:
            for coin in self.coins.keys() | seen.coins.keys():
                if self.coins.get(coin, _ZERO) != seen.coins.get(coin, _ZERO):
                    self._differ(f"coin {coin}", now_ns=now_ns)
        self.coins = dict(seen.coins)
        self._coins_at_ms = seen.at_ms

    def _take_equity(self, seen: WalletSeen) -> None:
        is_some = seen.equity_usdt is not None and seen.equity_usdt > 0
        self.equity_usdt = seen.equity_usdt if is_some else None

    def _hear_position(self, seen: PositionSeen) -> None:
        held = self._positions.get(seen.symbol)
        if held is None or seen.sequence >= held.sequence:
            self._positions[seen.symbol] = held = seen
            if self._reading is not None:
                self._reading.heard_positions[seen.symbol] = seen
        if held.size == seen.size:
            self.trust_keeper.explained(f"position {seen.symbol}")

    def _read_positions(self, positions: Iterable[PositionSeen], reading: Reading, *, now_ns: int) -> None:
        latest = {seen.symbol: seen for seen in positions}
        for symbol, heard in reading.heard_positions.items():
            if symbol not in latest or heard.sequence > latest[symbol].sequence:
                latest[symbol] = heard
        for symbol in self._positions.keys() | latest.keys():
            held, seen = self._positions.get(symbol), latest.get(symbol)
            size = _ZERO if seen is None else seen.size
            if symbol not in reading.heard_positions and size != (_ZERO if held is None else held.size):
                self._differ(f"position {symbol}", now_ns=now_ns)
            self._positions[symbol] = replace(self._positions[symbol], size=_ZERO) if seen is None else seen

    def _differ(self, what: str, *, now_ns: int) -> None:
        """Note that a reading says otherwise than the view, which the stream has kept."""
        if not self.trust_keeper.has_baseline:
            return
        if self._reading is not None:
            self._reading.has_differed = True
        self.trust_keeper.surprise(what, at_ns=now_ns)


def _remember(memory: OrderedDict[str, None], name: str) -> None:
    memory[name] = None
    while len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
