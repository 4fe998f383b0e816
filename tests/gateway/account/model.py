"""A small exchange without a network: it knows the truth, and says it in messages that may be lost or late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from trade_gateway.account.messages import ExecutionSeen, OrderSeen, PositionSeen, Seen, WalletSeen
from trade_gateway.ledger import TrackedOrder
from trade_gateway.wire.intents import Category, OrderIntent, Side

SPOT, LINEAR = (Category.SPOT, "BTCUSDT"), (Category.LINEAR, "ETHUSDT")
LIVE = ("New", "PartiallyFilled")
ZERO = Decimal(0)


def seen_of(intent: OrderIntent, tag: str, order_id: str) -> OrderSeen:
    return OrderSeen(
        category=intent.category,
        symbol=intent.symbol,
        order_id=order_id,
        tag=tag,
        side=intent.side,
        status="New",
        quantity=intent.quantity,
        price=intent.price,
        filled=ZERO,
        value=ZERO,
        is_reducing=intent.reduce_only,
        is_conditional=False,
    )


@dataclass
class ModelExchange:
    """Orders, one coin and one position. Each change takes a millisecond and leaves its messages in `said`."""

    orders: dict[str, OrderSeen] = field(default_factory=dict)
    coins: dict[str, Decimal] = field(default_factory=lambda: {"BTC": Decimal(5), "USDT": Decimal(4000)})
    position: Decimal = ZERO
    now_ms: int = 1_000
    said: list[Seen] = field(default_factory=list)
    executions: list[ExecutionSeen] = field(default_factory=list)
    deposited: Decimal = ZERO
    moved_by_others: Decimal = ZERO
    bought: Decimal = ZERO  # what adding orders of ours took, at their price

    def working(self) -> list[OrderSeen]:
        return [order for order in self.orders.values() if order.status in LIVE]

    def place(self, order: TrackedOrder | None, intent: OrderIntent, tag: str) -> str:
        self.now_ms += 1
        order_id = f"x{len(self.orders)}"
        self._show(seen_of(intent, tag, order_id))
        return order_id

    def cancel(self, order_id: str) -> None:
        self.now_ms += 1
        order = self.orders[order_id]
        if order.status in LIVE:
            self._show(replace(order, status="Cancelled"))

    def fill(self, order_id: str, quantity: Decimal) -> None:
        self.now_ms += 1
        order = self.orders[order_id]
        quantity = min(quantity, order.quantity - order.filled)
        if order.status not in LIVE or quantity <= 0:
            return
        filled = order.filled + quantity
        status = "Filled" if filled == order.quantity else "PartiallyFilled"
        execution = ExecutionSeen(
            execution_id=f"e{len(self.executions)}",
            category=order.category,
            symbol=order.symbol,
            order_id=order_id,
            tag=order.tag,
            quantity=quantity,
            price=order.price,
            is_trade=True,
        )
        self.executions.append(execution)
        if order.tag:
            self.bought += quantity * order.price
        else:
            self.moved_by_others += quantity
        signed = quantity if order.side is Side.BUY else -quantity
        self._show(replace(order, status=status, filled=filled, value=filled * order.price))
        self.said.append(execution)
        if order.category is Category.SPOT:
            self.coins["BTC"] += signed
            self.coins["USDT"] -= signed * order.price
            self.said.append(self.wallet())
        else:
            self.position += signed
            self.said.append(self.position_seen())

    def flow(self, amount: Decimal) -> None:
        self.now_ms += 1
        self.coins["BTC"] += amount
        self.deposited += amount
        self.said.append(self.wallet())

    def wallet(self) -> WalletSeen:
        return WalletSeen(coins=dict(self.coins), equity_usdt=Decimal(4000), at_ms=self.now_ms)

    def position_seen(self) -> PositionSeen:
        return PositionSeen(symbol=LINEAR[1], size=self.position, sequence=self.now_ms)

    def _show(self, order: OrderSeen) -> None:
        self.orders[order.order_id] = order
        self.said.append(order)
