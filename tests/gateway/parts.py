"""Small real parts that the tests of the gateway share."""

from __future__ import annotations

from decimal import Decimal

from trade_gateway.ledger import TrackedOrder
from trade_gateway.wire.intents import Category, OrderIntent, Side

ACCOUNT = "1002"


def order_intent(
    *,
    category: Category = Category.SPOT,
    symbol: str = "BTCUSDT",
    side: Side = Side.BUY,
    quantity: str = "0.01",
    price: str = "30000",
    reduce_only: bool = False,
    client_link_id: str | None = None,
) -> OrderIntent:
    return OrderIntent(
        category=category,
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reduce_only=reduce_only,
        client_link_id=client_link_id,
    )


def tracked(tag: str = "T1tag", *, adds_risk: bool = True, intent: OrderIntent | None = None) -> TrackedOrder:
    return TrackedOrder(tag=tag, intent=intent or order_intent(), adds_risk=adds_risk)
