"""Orders that the exchange's own engine makes, to close a position of which nobody asked it."""

from __future__ import annotations

from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category
from trade_simulator.orders import (
    ZERO,
    CreateType,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from trade_simulator.positions import PositionState


def closing_order(
    floor: Floor,
    account: Account,
    state: PositionState,
    *,
    quantity: Decimal,
    create_type: CreateType,
    limit: Decimal | None = None,
) -> Order:
    """Make a reducing order on a position: at its limit, or at the market without one."""
    instrument = floor.instruments[Category.LINEAR, state.symbol]
    now_ms = floor.now_ms()
    return Order(
        uid=account.uid,
        category=Category.LINEAR,
        symbol=state.symbol,
        base_coin=instrument.base_coin,
        settle_coin=instrument.settle_coin,
        order_id=floor.new_order_id(Category.LINEAR),
        order_link_id="",
        side=Side.SELL if state.size > 0 else Side.BUY,
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        qty=quantity,
        price=limit or ZERO,
        time_in_force=TimeInForce.GTC if limit else TimeInForce.IOC,
        status=OrderStatus.NEW,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        seq=floor.next_sequence(),
        leaves_qty=quantity,
        position_idx=state.position_idx,
        reduce_only=True,
        create_type=create_type,
        last_price_on_created=floor.quotes[instrument.key].last,
    )
