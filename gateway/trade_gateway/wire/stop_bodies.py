"""Parses order/create when protective stops are understood too.

A body is taken for a stop when it is linear, reduceOnly true and has a triggerPrice; whatever else it says, it is then
either a StopIntent or refused. Everything else is an ordinary order and goes through `order_bodies` unchanged.

A stop is Market without a price, or Limit with one. Its timeInForce may only be absent or say what the exchange would
assume. Its trigger direction must fit its side, and the price that triggers must be named: mark or index, since the
exchange would otherwise take the last trade, which anybody can make in a thin book.

Source of the fields: Bybit V5 "Place Order"; bodies recorded from freqtrade 2026.9 with ccxt 4.5.90.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.fields import (
    LINK_ID,
    SYMBOL,
    ZERO,
    invalid,
    member_of,
    optional_id_of,
    optional_text_of,
    positive_decimal_of,
    refuse_unknown_keys,
    require_keys,
    shown,
    text_of,
)
from trade_gateway.wire.flat_json import JsonNumber, Value, read_flat_object
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent, TriggerBy
from trade_gateway.wire.order_bodies import FORBIDDEN_KEYS, TRIGGER_KEYS, parse_order_fields
from trade_gateway.wire.refusal import Refusal, Refused, refuse

STOP_REQUIRED = (
    "category",
    "symbol",
    "side",
    "orderType",
    "qty",
    "triggerPrice",
    "triggerDirection",
    "triggerBy",
    "reduceOnly",
)
_POSITION_KEYS = ("positionIdx", "position_idx")
_STOP_KNOWN = frozenset(STOP_REQUIRED) | {"price", "timeInForce", "orderLinkId", *_POSITION_KEYS}
_DIRECTIONS = {Side.BUY: JsonNumber("1"), Side.SELL: JsonNumber("2")}
_ASSUMED_TIME_IN_FORCE = {"Market": "IOC", "Limit": "GTC"}


def parse_order_or_stop(body: bytes) -> OrderIntent | StopIntent | Refusal:
    """Parse the body of an order or a protective stop, or say which rule it breaks."""
    try:
        fields = read_flat_object(body)
        return _stop_intent(fields) if is_stop(fields) else parse_order_fields(fields)
    except Refused as error:
        return error.refusal


def stop_symbol(body: bytes) -> str | None:
    """Return the symbol that a body means a protective stop for, whatever else is wrong with it; None for others."""
    try:
        fields = read_flat_object(body)
        return optional_text_of(fields, "symbol", SYMBOL) if is_stop(fields) else None
    except Refused:
        return None


def is_stop(fields: Mapping[str, Value]) -> bool:
    """Tell whether a body means a protective stop."""
    is_linear_exit = fields.get("category") == Category.LINEAR.value and fields.get("reduceOnly") is True
    return is_linear_exit and "triggerPrice" in fields


def _stop_intent(fields: Mapping[str, Value]) -> StopIntent:
    for key, value in fields.items():
        if key in FORBIDDEN_KEYS - TRIGGER_KEYS:
            raise Refused(refuse(DenyCode.ORDER_FIELD_FORBIDDEN, key=key, value=shown(value)))
    refuse_unknown_keys(fields, _STOP_KNOWN)
    require_keys(fields, STOP_REQUIRED)
    for key in _POSITION_KEYS:
        if fields.get(key, ZERO) != ZERO:
            raise Refused(refuse(DenyCode.ORDER_FIELD_FORBIDDEN, key=key, value=shown(fields[key])))
    side = member_of(fields, "side", Side)
    if fields["triggerDirection"] != _DIRECTIONS[side]:
        direction = shown(fields["triggerDirection"])
        raise Refused(refuse(DenyCode.ORDER_STOP_DIRECTION, side=side.value, trigger_direction=direction))
    return StopIntent(
        symbol=text_of(fields, "symbol", SYMBOL),
        side=side,
        quantity=positive_decimal_of(fields, "qty", DenyCode.ORDER_NUMBER_INVALID),
        trigger_price=positive_decimal_of(fields, "triggerPrice", DenyCode.ORDER_NUMBER_INVALID),
        trigger_by=member_of(fields, "triggerBy", TriggerBy),
        limit_price=_limit_price(fields),
        client_link_id=optional_id_of(fields, "orderLinkId", LINK_ID),
    )


def _limit_price(fields: Mapping[str, Value]) -> Decimal | None:
    order_type = fields["orderType"]
    if not isinstance(order_type, str) or order_type not in _ASSUMED_TIME_IN_FORCE:
        raise invalid("orderType", order_type)
    assumed = _ASSUMED_TIME_IN_FORCE[order_type]
    if fields.get("timeInForce", assumed) != assumed:
        raise invalid("timeInForce", fields["timeInForce"])
    if order_type == "Limit":
        require_keys(fields, ("price",))
        return positive_decimal_of(fields, "price", DenyCode.ORDER_NUMBER_INVALID)
    if "price" in fields:
        raise invalid("price", fields["price"])
    return None
