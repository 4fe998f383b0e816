"""The trading floor: the state that every part of the engine shares, and the way events leave it.

Wallet, position and book events are collected and sent once at the end of a command or tick, so that a
subscriber never sees the middle of one.
"""

import copy
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.book import OrderBook
from trade_simulator.events import Event, OrderChanged
from trade_simulator.instruments import Category, Instrument
from trade_simulator.orders import ZERO, Order, TriggerBy
from trade_simulator.rejections import ACCOUNT_FROZEN, SYMBOL_INVALID, parameter_error

InstrumentKey = tuple[Category, str]


@dataclass(slots=True, kw_only=True)
class Quote:
    """The three prices of an instrument."""

    last: Decimal
    mark: Decimal
    index: Decimal

    def by(self, trigger: TriggerBy) -> Decimal:
        """Return the price that a trigger watches; the last price unless told otherwise."""
        if trigger is TriggerBy.MARK:
            return self.mark
        return self.index if trigger is TriggerBy.INDEX else self.last


@dataclass(slots=True, kw_only=True)
class House:
    """The counterparty of everybody: synthetic participants, fees and the insurance of bankrupt accounts.

    Linear trades are kept on a cash basis (what was paid and received) so that nothing is rounded.
    """

    balances: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)
    linear_sizes: dict[str, Decimal] = field(default_factory=dict)

    def add(self, coin: str, amount: Decimal) -> None:
        """Change a balance; the house may owe without limit."""
        self.balances[coin] = self.balances.get(coin, ZERO) + amount

    def collect_fee(self, coin: str, amount: Decimal) -> None:
        """Take a fee."""
        self.fees[coin] = self.fees.get(coin, ZERO) + amount


class Floor:
    """Everything shared."""

    def __init__(self, *, now_ms: Callable[[], int], seed: int, instruments: Sequence[Instrument]) -> None:
        self.now_ms = now_ms
        self.instruments: dict[InstrumentKey, Instrument] = {one.key: one for one in instruments}
        self.books: dict[InstrumentKey, OrderBook] = {one.key: OrderBook(one) for one in instruments}
        self.quotes: dict[InstrumentKey, Quote] = {
            one.key: Quote(last=one.start_price, mark=one.start_price, index=one.start_price) for one in instruments
        }
        self.accounts: dict[str, Account] = {}
        self.house = House()
        self._random = random.Random(f"{seed}/ids")  # noqa: S311 - ids must repeat with the seed
        self._sequence = 1_000_000_000
        self._spot_order_number = 1_800_000_000_000_000_000
        self._listeners: list[Callable[[Event], None]] = []
        self._touched_wallets: dict[str, None] = {}
        self._touched_positions: dict[tuple[str, str, int], None] = {}

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Send every event from now on to a listener."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Send an event at once."""
        for listener in self._listeners:
            listener(event)

    def emit_order(self, order: Order) -> None:
        """Send a copy of an order."""
        if self._listeners:
            self.emit(OrderChanged(uid=order.uid, order=snapshot(order)))

    def touch_wallet(self, uid: str) -> None:
        """Note that a wallet changed."""
        self._touched_wallets[uid] = None

    def touch_position(self, uid: str, symbol: str, position_idx: int) -> None:
        """Note that a position changed."""
        self._touched_positions[uid, symbol, position_idx] = None

    def drain_touched(self) -> tuple[list[tuple[str, str, int]], list[str]]:
        """Return and forget the positions and wallets that changed."""
        positions, wallets = list(self._touched_positions), list(self._touched_wallets)
        self._touched_positions.clear()
        self._touched_wallets.clear()
        return positions, wallets

    def next_sequence(self) -> int:
        """Return the next number of the sequence that orders all records."""
        self._sequence += 1
        return self._sequence

    def new_id(self) -> str:
        """Return a random id that repeats with the seed."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def new_order_id(self, category: Category) -> str:
        """Return an order id: a number of 19 digits on spot, otherwise like a UUID."""
        if category is Category.SPOT:
            self._spot_order_number += self._random.randrange(1, 1000)
            return str(self._spot_order_number)
        return self.new_id()

    def new_number(self) -> int:
        """Return a number of nine digits for the ids of flows."""
        return self._random.randrange(100_000_000, 1_000_000_000)

    def account(self, uid: str) -> Account:
        """Return a member. Raises Rejected 10001."""
        account = self.accounts.get(uid)
        if account is None:
            raise parameter_error("member does not exist")
        return account

    def acting_account(self, uid: str) -> Account:
        """Return a member who may act. Raises Rejected 10027 for a frozen one."""
        account = self.account(uid)
        if account.is_frozen:
            raise ACCOUNT_FROZEN.error()
        return account

    def instrument(self, category: Category, symbol: str) -> Instrument:
        """Return an instrument. Raises Rejected with the category's code."""
        found = self.instruments.get((category, symbol))
        if found is None:
            raise SYMBOL_INVALID.error(category)
        return found

    def index_price(self, coin: str) -> Decimal:
        """Return the value of a coin in USD: one for USDT, zero for a coin without a market."""
        if coin == "USDT":
            return Decimal(1)
        for category in (Category.SPOT, Category.LINEAR):
            quote = self.quotes.get((category, f"{coin}USDT"))
            if quote is not None:
                return quote.index
        return ZERO


def snapshot(order: Order) -> Order:
    """Return a copy that later changes of the order do not touch."""
    copied = copy.copy(order)
    copied.cum_fee_detail = dict(order.cum_fee_detail)
    return copied
