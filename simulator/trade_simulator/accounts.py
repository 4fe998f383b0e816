"""Accounts: who they are, what they own, what is locked, and what they remember.

Every history is bounded, so that a run of days stays in memory; the bounds are far above what a page of the
API or a test looks back on.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from trade_simulator.algos import Algo
from trade_simulator.instruments import Category
from trade_simulator.orders import ZERO, Execution, Order
from trade_simulator.positions import ClosedPnl, PositionState
from trade_simulator.records import Deposit, MarginMode, TransactionLog, Transfer, Withdrawal

# Closed orders stay known (also to refuse their link ids) until this many newer ones have closed.
CLOSED_ORDERS_MAX: Final = 5_000
# An order may have several executions, and each writes up to two ledger entries.
EXECUTIONS_MAX: Final = 10_000
LEDGER_MAX: Final = 20_000
CLOSED_RESULTS_MAX: Final = 2_000
# Moves of money are rare acts of people and tests.
MONEY_RECORDS_MAX: Final = 2_000

DEFAULT_LEVERAGE: Final = Decimal(10)


@dataclass(slots=True, kw_only=True)
class Account:
    """One member: a master (parent_uid "") or a sub-account."""

    uid: str
    parent_uid: str
    name: str
    created_at_ms: int
    is_frozen: bool = False
    margin_mode: MarginMode = MarginMode.REGULAR
    is_hedge_mode: bool = False
    # Unified and funding wallets: coin to balance.
    balances: dict[str, Decimal] = field(default_factory=dict)
    funding_balances: dict[str, Decimal] = field(default_factory=dict)
    # What working spot orders hold of each coin, and what working linear orders hold as initial margin.
    spot_locked: dict[str, Decimal] = field(default_factory=dict)
    order_margin: Decimal = ZERO
    cum_realised: Decimal = ZERO
    open_orders: dict[str, Order] = field(default_factory=dict)
    known_orders: dict[str, Order] = field(default_factory=dict)
    link_ids: dict[tuple[Category, str], Order] = field(default_factory=dict)
    closed_orders: deque[Order] = field(default_factory=deque)
    executions: deque[Execution] = field(default_factory=lambda: deque(maxlen=EXECUTIONS_MAX))
    ledger: deque[TransactionLog] = field(default_factory=lambda: deque(maxlen=LEDGER_MAX))
    closed_results: OrderedDict[str, ClosedPnl] = field(default_factory=OrderedDict)
    transfers: deque[Transfer] = field(default_factory=lambda: deque(maxlen=MONEY_RECORDS_MAX))
    withdrawals: deque[Withdrawal] = field(default_factory=lambda: deque(maxlen=MONEY_RECORDS_MAX))
    deposits: deque[Deposit] = field(default_factory=lambda: deque(maxlen=MONEY_RECORDS_MAX))
    positions: dict[tuple[str, int], PositionState] = field(default_factory=dict)
    # Symbol to the leverage of buys and of sells.
    leverage: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    algos: OrderedDict[str, Algo] = field(default_factory=OrderedDict)

    @property
    def is_master(self) -> bool:
        """Tell whether this is a master account."""
        return not self.parent_uid

    @property
    def family(self) -> str:
        """Return the uid of the master of this account."""
        return self.parent_uid or self.uid

    def balance(self, coin: str) -> Decimal:
        """Return the unified balance of a coin."""
        return self.balances.get(coin, ZERO)

    def locked(self, coin: str) -> Decimal:
        """Return what working spot orders hold of a coin."""
        return self.spot_locked.get(coin, ZERO)

    def add(self, coin: str, amount: Decimal) -> Decimal:
        """Change a unified balance and return the new one."""
        balance = self.balance(coin) + amount
        self.balances[coin] = balance
        return balance

    def remember(self, order: Order) -> None:
        """File a new order as open."""
        self.open_orders[order.order_id] = order
        self.known_orders[order.order_id] = order
        if order.order_link_id:
            self.link_ids[order.category, order.order_link_id] = order

    def close(self, order: Order) -> None:
        """File an order that has ended, and forget the oldest closed one when there are too many."""
        del self.open_orders[order.order_id]
        self.closed_orders.append(order)
        if len(self.closed_orders) > CLOSED_ORDERS_MAX:
            oldest = self.closed_orders.popleft()
            del self.known_orders[oldest.order_id]
            self.link_ids.pop((oldest.category, oldest.order_link_id), None)

    def record_close(self, result: ClosedPnl) -> None:
        """File the result of a closing order, replacing the one of its earlier fills."""
        self.closed_results[result.order_id] = result
        self.closed_results.move_to_end(result.order_id)
        if len(self.closed_results) > CLOSED_RESULTS_MAX:
            self.closed_results.popitem(last=False)

    def lock_spot(self, order: Order, coin: str, amount: Decimal) -> None:
        """Set what a spot order holds."""
        self.spot_locked[coin] = self.locked(coin) - order.locked_amount + amount
        order.locked_coin = coin
        order.locked_amount = amount

    def leverage_of(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the leverage of buys and of sells."""
        return self.leverage.get(symbol, (DEFAULT_LEVERAGE, DEFAULT_LEVERAGE))

    def position(self, symbol: str, position_idx: int) -> PositionState | None:
        """Return a position if there ever was one."""
        return self.positions.get((symbol, position_idx))

    def position_size(self, symbol: str, position_idx: int) -> Decimal:
        """Return the signed size of a position."""
        state = self.positions.get((symbol, position_idx))
        return state.size if state else ZERO
