"""An exchange under a hand-driven clock, and short ways to give it commands."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from trade_simulator.events import Event
from trade_simulator.exchange import Exchange
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, Category
from trade_simulator.orders import (
    ZERO,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Execution,
    ExecutionQuery,
    Order,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)
from trade_simulator.rejections import Rejected

START_MS = 1_763_900_000_000


class Venue:
    """One exchange with a master ("1"), its sub-account ("2") and a stranger ("3")."""

    def __init__(self, *, seed: int = 7, **options: Any) -> None:
        self.now_ms = START_MS
        self.exchange = Exchange(now_ms=lambda: self.now_ms, seed=seed, instruments=DEFAULT_INSTRUMENTS, **options)
        self.events: list[Event] = []
        self.exchange.subscribe(self.events.append)
        for uid, parent in (("1", None), ("2", "1"), ("3", None)):
            self.exchange.create_account(
                uid=uid, parent_uid=parent, balances={"USDT": Decimal(100_000), "BTC": Decimal(1)}
            )

    def tick(self, count: int = 1) -> None:
        """Let time and the market go on."""
        for _ in range(count):
            self.now_ms += 100
            self.exchange.tick()

    def best(self, side: Side, *, category: Category = Category.LINEAR, symbol: str = "BTCUSDT") -> Decimal:
        """Return the best price of a side of the book."""
        book = self.exchange.market.book(category, symbol, depth=1)
        return (book.bids if side is Side.BUY else book.asks)[0][0]

    def command(
        self, side: Side = Side.BUY, qty: str = "0.010", price: str | Decimal | None = None, **fields: Any
    ) -> PlaceOrder:
        """Make a linear BTCUSDT order command; without a price a market order."""
        values: dict[str, Any] = {
            "category": Category.LINEAR,
            "symbol": "BTCUSDT",
            "side": side,
            "order_type": OrderType.MARKET if price is None else OrderType.LIMIT,
            "qty": Decimal(qty),
            "price": None if price is None else Decimal(price),
        }
        return PlaceOrder(**{**values, **fields})

    def place(
        self,
        side: Side = Side.BUY,
        qty: str = "0.010",
        price: str | Decimal | None = None,
        *,
        uid: str = "1",
        **fields: Any,
    ) -> Order:
        """Place an order."""
        return self.exchange.place(uid, self.command(side, qty, price, **fields))

    def spot(
        self, side: Side = Side.BUY, qty: str = "0.010", price: str | Decimal | None = None, **fields: Any
    ) -> Order:
        """Place a spot BTCUSDT order."""
        return self.place(side, qty, price, category=Category.SPOT, **fields)

    def rest(self, side: Side = Side.BUY, qty: str = "0.010", *, away: str = "500", **fields: Any) -> Order:
        """Place a post-only order well away from the market."""
        category = fields.get("category", Category.LINEAR)
        price = self.best(side, category=category) - Decimal(away) * side.sign
        return self.place(side, qty, price, time_in_force=TimeInForce.POST_ONLY, **fields)

    def cancel(self, order: Order) -> Order:
        """Cancel an order."""
        return self.exchange.cancel(
            order.uid, CancelOrder(category=order.category, symbol=order.symbol, order_id=order.order_id)
        )

    def amend(self, order: Order, **fields: Any) -> Order:
        """Amend an order."""
        return self.exchange.amend(
            order.uid, AmendOrder(category=order.category, symbol=order.symbol, order_id=order.order_id, **fields)
        )

    def cancel_all(self, uid: str = "1", category: Category = Category.LINEAR, **fields: Any) -> list[Order]:
        """Cancel by filter."""
        return self.exchange.cancel_all(uid, CancelAll(category=category, **fields))

    def order(self, order: Order) -> Order:
        """Return what an order is now."""
        return self.exchange.accounts[order.uid].known_orders[order.order_id]

    def size(self, uid: str = "1", symbol: str = "BTCUSDT", position_idx: int = 0) -> Decimal:
        """Return the signed size of a position."""
        return self.exchange.accounts[uid].position_size(symbol, position_idx)

    def balance(self, coin: str = "USDT", uid: str = "1") -> Decimal:
        """Return a unified balance."""
        return self.exchange.accounts[uid].balance(coin)

    def executions(self, uid: str = "1", category: Category = Category.LINEAR) -> tuple[Execution, ...]:
        """Return the last executions, newest first."""
        return self.exchange.executions(uid, ExecutionQuery(category=category, limit=100)).items

    def jump(self, price: str | Decimal, symbol: str = "BTCUSDT") -> None:
        """Set the price of a symbol."""
        self.exchange.set_price(symbol, Decimal(price))

    def refused(self, action: Callable[[], object]) -> tuple[int, str]:
        """Do something that must be refused without any change; return the code and the message."""
        before = self.state()
        with pytest.raises(Rejected) as caught:
            action()
        assert self.state() == before
        return caught.value.code, caught.value.message

    def state(self) -> object:
        """Describe everything a refusal must not change."""
        accounts = self.exchange.accounts.values()
        return [
            (
                dict(one.balances),
                dict(one.funding_balances),
                {coin: amount for coin, amount in one.spot_locked.items() if amount},
                one.order_margin,
                {key: repr(order) for key, order in one.open_orders.items()},
                len(one.closed_orders),
                len(one.executions),
                len(one.ledger),
                repr(one.positions),
                dict(one.leverage),
                one.margin_mode,
                one.is_hedge_mode,
                one.is_frozen,
                len(one.transfers),
                dict(one.algos),
            )
            for one in accounts
        ] + [self.exchange.keys.all()]

    def totals(self) -> dict[str, Decimal]:
        """Sum up all there is of each coin: members, house, fees, and open results at the mark."""
        floor = self.exchange._floor
        sums: dict[str, Decimal] = {}

        def add(coin: str, amount: Decimal) -> None:
            sums[coin] = sums.get(coin, ZERO) + amount

        for account in floor.accounts.values():
            for wallet in (account.balances, account.funding_balances):
                for coin, amount in wallet.items():
                    add(coin, amount)
            for state in account.positions.values():
                if state.size:
                    add("USDT", state.unrealised(floor.quotes[Category.LINEAR, state.symbol].mark))
        for purse in (floor.house.balances, floor.house.fees):
            for coin, amount in purse.items():
                add(coin, amount)
        for symbol, size in floor.house.linear_sizes.items():
            add("USDT", size * floor.quotes[Category.LINEAR, symbol].mark)
        return sums

    def assert_sound(self) -> None:
        """Check what must hold at any time."""
        for coin, amount in self.exchange.treasury.net_inflow.items():
            assert self.totals()[coin] == amount, coin
        for key, book in self.exchange._floor.books.items():
            bid, ask = book.best_ticks(Side.BUY), book.best_ticks(Side.SELL)
            assert bid is None or ask is None or bid < ask, key
        for account in self.exchange.accounts.values():
            self._assert_locks(account)

    def _assert_locks(self, account: Any) -> None:
        held: dict[str, Decimal] = {}
        margin = ZERO
        for order in account.open_orders.values():
            if order.category is Category.LINEAR:
                margin += order.locked_amount
            elif order.locked_coin:
                held[order.locked_coin] = held.get(order.locked_coin, ZERO) + order.locked_amount
        assert margin == account.order_margin
        for coin, amount in account.spot_locked.items():
            assert amount == held.get(coin, ZERO), coin
            assert amount >= 0
