"""Admission: whether an account can pay for an order, and what the order then holds of the wallet."""

from decimal import Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category, Instrument
from trade_simulator.margin import (
    COLLATERAL,
    margin_state,
    opening_margin,
    order_margins,
    working_linear_orders,
)
from trade_simulator.matching import to_lots
from trade_simulator.orders import MarketUnit, Order, OrderStatus, OrderType, Side
from trade_simulator.rejections import (
    BALANCE_INSUFFICIENT,
    POSITION_LIMIT,
    REDUCE_ONLY_NO_POSITION,
    REDUCE_ONLY_SAME_SIDE,
    TOO_MANY_ORDERS,
    TOO_MANY_STOP_ORDERS,
)

OPEN_ORDERS_MAX: Final = 500
# Derivatives take ten conditional orders a symbol.
LINEAR_STOP_ORDERS_MAX: Final = 10


def check_count(account: Account, order: Order) -> None:
    """Check that the account may have one more open order. Raises Rejected."""
    same_kind = [other for other in account.open_orders.values() if other.category is order.category]
    is_stop = order.status is OrderStatus.UNTRIGGERED
    if order.category is Category.LINEAR and is_stop:
        stops = [other for other in same_kind if other.status is OrderStatus.UNTRIGGERED]
        if sum(other.symbol == order.symbol for other in stops) >= LINEAR_STOP_ORDERS_MAX:
            raise TOO_MANY_STOP_ORDERS.error()
    if len(same_kind) >= OPEN_ORDERS_MAX:
        raise TOO_MANY_ORDERS.error(order.category)


def fit_reduce_only(account: Account, order: Order) -> None:
    """Cut a reduce-only order down to the position. Raises Rejected 110017 when there is nothing to reduce.

    A quantity of zero means the whole position.
    """
    size = account.position_size(order.symbol, order.position_idx)
    if not size:
        raise REDUCE_ONLY_NO_POSITION.error()
    if size * order.side.sign > 0:
        raise REDUCE_ONLY_SAME_SIDE.error()
    if not order.qty or order.qty > abs(size):
        order.qty = abs(size)
        order.leaves_qty = abs(size)


def admit(floor: Floor, account: Account, order: Order) -> None:
    """Check that the account can pay for an order, and lock what it then holds.

    Raises Rejected and changes nothing when it cannot.
    """
    instrument = floor.instruments[order.category, order.symbol]
    if order.category is Category.SPOT:
        coin, amount = _spot_need(floor, instrument, order)
        if amount > spot_free(floor, account, coin):
            raise BALANCE_INSUFFICIENT.error(order.category)
        # A market order trades at once; only one that waits for its trigger has to hold its coins.
        if order.order_type is OrderType.LIMIT or order.status is OrderStatus.UNTRIGGERED:
            account.lock_spot(order, coin, amount)
        return
    _admit_linear(floor, account, instrument, order)


def spot_free(floor: Floor, account: Account, coin: str) -> Decimal:
    """Return how much of a coin spot orders and transfers may use."""
    if coin == COLLATERAL:
        return margin_state(floor, account).spendable
    return account.balance(coin) - account.locked(coin)


def _spot_need(floor: Floor, instrument: Instrument, order: Order) -> tuple[str, Decimal]:
    if order.side is Side.SELL:
        if order.market_unit is MarketUnit.QUOTE:
            last = floor.quotes[instrument.key].last
            return instrument.base_coin, order.leaves_qty / last
        return instrument.base_coin, order.leaves_qty
    if order.market_unit is MarketUnit.QUOTE:
        return instrument.quote_coin, order.leaves_qty
    if order.order_type is OrderType.LIMIT:
        return instrument.quote_coin, order.leaves_qty * order.price
    lots = to_lots(instrument, order.leaves_qty)
    cost = floor.books[instrument.key].cost_ticks(Side.BUY, lots)
    return instrument.quote_coin, cost * instrument.tick_size * instrument.quantity_step


def _admit_linear(floor: Floor, account: Account, instrument: Instrument, order: Order) -> None:
    if order.reduce_only:
        return
    price = order.price if order.order_type is OrderType.LIMIT else _market_price(floor, instrument, order)
    exposure = abs(account.position_size(order.symbol, order.position_idx) + order.leaves_qty * order.side.sign)
    if exposure * price > instrument.risk_limit_value:
        raise POSITION_LIMIT.error()
    working = working_linear_orders(account, order.symbol)
    closing = _closing_quantity(account, working, order)
    needed = opening_margin(account, instrument, order.side, value=(order.leaves_qty - closing) * price)
    if needed > 0 and needed > margin_state(floor, account).free:
        raise BALANCE_INSUFFICIENT.error(order.category)
    if order.order_type is OrderType.LIMIT:
        order.locked_coin = COLLATERAL
        order.locked_amount = order_margins(account, instrument, [*working, order])[order.order_id]
        account.order_margin += order.locked_amount


def _closing_quantity(account: Account, working: list[Order], order: Order) -> Decimal:
    size = account.position_size(order.symbol, order.position_idx)
    if size * order.side.sign >= 0:
        return Decimal(0)
    older = sum(
        (
            other.leaves_qty
            for other in working
            if other.side is order.side and other.position_idx == order.position_idx and not other.reduce_only
        ),
        Decimal(0),
    )
    return min(max(abs(size) - older, Decimal(0)), order.leaves_qty)


def _market_price(floor: Floor, instrument: Instrument, order: Order) -> Decimal:
    lots = to_lots(instrument, order.leaves_qty)
    cost = floor.books[instrument.key].cost_ticks(order.side, lots)
    if not cost:
        return floor.quotes[instrument.key].mark
    # The book may hold less than is wanted; the average of what there is will do.
    available = floor.books[instrument.key].available_lots(order.side, limit_ticks=None, enough=lots)
    return cost * instrument.tick_size / available
