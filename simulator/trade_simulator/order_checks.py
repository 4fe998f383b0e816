"""What makes an order request acceptable, before anybody asks for its money. Pure: facts in, refusal out."""

import re
from decimal import Decimal
from typing import Final

from trade_simulator.floor import Quote
from trade_simulator.instruments import Category, Instrument
from trade_simulator.orders import (
    UNOFFERED_FILTERS,
    ZERO,
    MarketUnit,
    OrderFilter,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)
from trade_simulator.rejections import (
    MARKET_AMOUNT_PRECISION,
    NOTIONAL_TOO_SMALL,
    PRICE_ABOVE_MAXIMUM,
    PRICE_BELOW_MINIMUM,
    PRICE_TICK,
    PRICE_TOO_HIGH,
    PRICE_TOO_LOW,
    QUANTITY_STEP,
    QUANTITY_TOO_LARGE,
    QUANTITY_TOO_SMALL,
    SPOT_MARGIN_OFF,
    SPOT_STOPS_UNSUPPORTED,
    TRIGGER_NOT_FALLING,
    TRIGGER_NOT_RISING,
    parameter_error,
)

# The documentation: at most 36 characters of letters, digits, dashes and underscores.
_LINK_ID: Final = re.compile(r"^[A-Za-z0-9_-]{1,36}$")
RISING: Final = 1
FALLING: Final = 2


def check_placement(instrument: Instrument, command: PlaceOrder, quote: Quote) -> None:
    """Check everything of a new order that needs neither the book nor the account. Raises Rejected."""
    if command.order_link_id and not _LINK_ID.match(command.order_link_id):
        raise parameter_error("orderLinkId invalid")
    _check_type(command)
    if command.price is not None and command.order_type is OrderType.LIMIT:
        check_price(instrument, command.price)
        if command.trigger_price is None:
            check_price_limit(instrument, command.side, command.price, quote)
    if not is_close_all(command):
        check_quantity(instrument, command)
        _check_notional(instrument, command, quote)
    _check_trigger(instrument, command, quote)
    _check_stops(instrument, command, quote)


def is_close_all(command: PlaceOrder) -> bool:
    """Tell whether the request is the documented way to close a whole position."""
    return command.category is Category.LINEAR and command.qty == 0 and command.reduce_only and command.close_on_trigger


def counts_quote(command: PlaceOrder) -> bool:
    """Tell whether the quantity is an amount of quote coin, as a spot market buy is unless told otherwise."""
    if command.category is not Category.SPOT or command.order_type is not OrderType.MARKET:
        return False
    if command.market_unit is MarketUnit.NONE:
        return command.side is Side.BUY
    return command.market_unit is MarketUnit.QUOTE


def check_price(instrument: Instrument, price: Decimal) -> None:
    """Check a price against the filters of the instrument."""
    if price <= 0 or price < instrument.min_price:
        raise PRICE_BELOW_MINIMUM.error(instrument.category)
    if price > instrument.max_price:
        raise PRICE_ABOVE_MAXIMUM.error(instrument.category)
    if price % instrument.tick_size:
        raise PRICE_TICK.error(instrument.category)


def check_price_limit(instrument: Instrument, side: Side, price: Decimal, quote: Quote) -> None:
    """Check that an order is not priced through the market by more than the price limit."""
    reference = quote.mark if instrument.category is Category.LINEAR else quote.last
    if side is Side.BUY and price > reference * (1 + instrument.price_limit_fraction):
        raise PRICE_TOO_HIGH.error(instrument.category)
    if side is Side.SELL and price < reference * (1 - instrument.price_limit_fraction):
        raise PRICE_TOO_LOW.error(instrument.category)


def check_quantity(instrument: Instrument, command: PlaceOrder) -> None:
    """Check a quantity against the lot filters."""
    if counts_quote(command):
        if command.qty <= 0:
            raise QUANTITY_TOO_SMALL.error(instrument.category)
        if command.qty % instrument.quote_precision:
            raise MARKET_AMOUNT_PRECISION.error()
        return
    check_base_quantity(instrument, command.qty, maximum=_maximum(instrument, command))


def check_base_quantity(instrument: Instrument, quantity: Decimal, *, maximum: Decimal) -> None:
    """Check a quantity in base coin."""
    if quantity < instrument.min_quantity:
        raise QUANTITY_TOO_SMALL.error(instrument.category)
    if quantity > maximum:
        raise QUANTITY_TOO_LARGE.error(instrument.category)
    if quantity % instrument.quantity_step:
        raise QUANTITY_STEP.error(instrument.category)


def check_value(instrument: Instrument, value: Decimal) -> None:
    """Check a value against the smallest one that may be ordered."""
    if value < instrument.min_notional:
        raise NOTIONAL_TOO_SMALL.error(instrument.category)


def check_trigger_price(trigger_price: Decimal, *, direction: int, current: Decimal) -> None:
    """Check that a trigger lies ahead of the price and not behind it."""
    if direction == RISING and trigger_price <= current:
        raise TRIGGER_NOT_RISING.error()
    if direction == FALLING and trigger_price >= current:
        raise TRIGGER_NOT_FALLING.error()


def check_position_stops(
    side: Side, *, take_profit: Decimal | None, stop_loss: Decimal | None, base_price: Decimal
) -> None:
    """Check that a take profit lies on the winning side of a price, and a stop loss on the losing side."""
    word = side.value
    if take_profit and (take_profit - base_price) * side.sign <= 0:
        raise parameter_error(f"TakeProfit:{take_profit} set for {word} position is on the wrong side of {base_price}")
    if stop_loss and (base_price - stop_loss) * side.sign <= 0:
        raise parameter_error(f"StopLoss:{stop_loss} set for {word} position is on the wrong side of {base_price}")


def _maximum(instrument: Instrument, command: PlaceOrder) -> Decimal:
    if command.order_type is OrderType.MARKET:
        return instrument.max_market_quantity
    if command.time_in_force is TimeInForce.POST_ONLY:
        return instrument.max_post_only_quantity
    return instrument.max_limit_quantity


def _check_type(command: PlaceOrder) -> None:
    if command.order_type is OrderType.LIMIT and command.price is None:
        raise parameter_error("price is required for a Limit order")
    if command.order_filter in UNOFFERED_FILTERS:
        raise parameter_error("orderFilter is not offered")
    if command.category is not Category.SPOT:
        if command.order_filter is not OrderFilter.ORDER and command.trigger_price is None:
            raise parameter_error("triggerPrice is required")
        return
    if command.is_leverage:
        raise SPOT_MARGIN_OFF.error()
    if command.position_idx:
        raise parameter_error("position idx not match position mode")
    if command.take_profit is not None or command.stop_loss is not None:
        raise SPOT_STOPS_UNSUPPORTED.error()
    if (command.order_filter is OrderFilter.ORDER) != (command.trigger_price is None):
        raise parameter_error("triggerPrice and orderFilter do not belong together")


def _check_notional(instrument: Instrument, command: PlaceOrder, quote: Quote) -> None:
    # What reduces a position may be smaller than the minimum, or its remainder could never be closed.
    if command.category is Category.LINEAR and command.reduce_only:
        return
    if counts_quote(command):
        check_value(instrument, command.qty)
        return
    price = command.price if command.order_type is OrderType.LIMIT else command.trigger_price or quote.last
    check_value(instrument, command.qty * (price or ZERO))


def _check_trigger(instrument: Instrument, command: PlaceOrder, quote: Quote) -> None:
    if command.trigger_price is None:
        return
    check_price(instrument, command.trigger_price)
    if command.category is Category.SPOT:
        return
    if command.trigger_direction not in {RISING, FALLING}:
        raise parameter_error("triggerDirection invalid")
    check_trigger_price(
        command.trigger_price, direction=command.trigger_direction, current=quote.by(command.trigger_by)
    )


def _check_stops(instrument: Instrument, command: PlaceOrder, quote: Quote) -> None:
    for price in (command.take_profit, command.stop_loss, command.tp_limit_price, command.sl_limit_price):
        if price:
            check_price(instrument, price)
    if (command.take_profit or command.stop_loss) and command.reduce_only:
        raise parameter_error("reduceOnly order can not set takeProfit or stopLoss")
    limit = command.price if command.order_type is OrderType.LIMIT else None
    base = limit or command.trigger_price or quote.last
    check_position_stops(command.side, take_profit=command.take_profit, stop_loss=command.stop_loss, base_price=base)
