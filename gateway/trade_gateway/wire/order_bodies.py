"""Parses the bodies of order/create and order/cancel.

Guarantees
- An OrderIntent is a Limit, PostOnly order of plain numbers above zero; a body with any other word, or with any field
  outside the list, is refused. Fields that are known ways out of maker-only, size or price control are refused by
  name, so that the journal says which one was tried.
- What is tolerated and dropped can only have one value, the harmless one: isLeverage 0, orderFilter "Order",
  positionIdx and position_idx 0 (the last is how freqtrade spells it).
- An empty id is an id that was not sent. To refuse it would tell the client of a cancel that its order is gone.

Source of the fields: Bybit V5 "Place Order" and "Cancel Order"; what clients really send was recorded from freqtrade
2026.9, ccxt 4.5.90 and pybit 5.17.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.fields import (
    LINK_ID,
    ORDER_ID,
    SYMBOL,
    ZERO,
    flag_of,
    member_of,
    optional_id_of,
    positive_decimal_of,
    refuse_unknown_keys,
    require_keys,
    shown,
    text_of,
)
from trade_gateway.wire.flat_json import JsonNumber, Value, read_flat_object
from trade_gateway.wire.intents import CancelIntent, Category, OrderFilter, OrderIntent, Side
from trade_gateway.wire.refusal import Refusal, Refused, refuse

CREATE_REQUIRED = ("category", "symbol", "side", "orderType", "timeInForce", "qty", "price")
_CREATE_KNOWN = frozenset(CREATE_REQUIRED) | {
    "orderLinkId",
    "isLeverage",
    "orderFilter",
    "positionIdx",
    "position_idx",
    "reduceOnly",
}
_CONSTANT: Mapping[str, JsonNumber | str] = {
    "isLeverage": ZERO,
    "orderFilter": OrderFilter.ORDER.value,
    "positionIdx": ZERO,
    "position_idx": ZERO,
}
TRIGGER_KEYS = frozenset({"triggerPrice", "triggerDirection", "triggerBy"})
FORBIDDEN_KEYS = TRIGGER_KEYS | {
    "activePrice",
    "bboLevel",
    "bboSideType",  # the exchange would choose the price
    "closeOnTrigger",  # closes whole positions, with quantity 0 too
    "marketUnit",  # turns the quantity into a quote amount
    "mmp",
    "orderIv",  # overrides the price
    "rpiTakerAccess",
    "slLimitPrice",
    "slOrderType",
    "slTriggerBy",
    "slippageTolerance",
    "slippageToleranceType",
    "smpType",
    "stopLoss",  # attached child orders are market orders by default
    "takeProfit",
    "tpLimitPrice",
    "tpOrderType",
    "tpTriggerBy",
    "tpslMode",
    "trailingStop",
}

_CANCEL_REQUIRED = ("category", "symbol")
_CANCEL_KNOWN = frozenset(_CANCEL_REQUIRED) | {"orderId", "orderLinkId", "orderFilter"}


def parse_order_create(body: bytes) -> OrderIntent | Refusal:
    """Parse the body of an order, or say which rule it breaks."""
    try:
        return parse_order_fields(read_flat_object(body))
    except Refused as error:
        return error.refusal


def parse_order_fields(fields: Mapping[str, Value]) -> OrderIntent:
    """Turn the fields of a body into an order. Raises Refused."""
    _refuse_stops(fields)
    _refuse_takers(fields)
    _refuse_forbidden_fields(fields)
    refuse_unknown_keys(fields, _CREATE_KNOWN)
    require_keys(fields, CREATE_REQUIRED)
    return _order_intent(fields)


def parse_order_cancel(body: bytes) -> CancelIntent | Refusal:
    """Parse the body of a cancel, or say which rule it breaks."""
    try:
        fields = read_flat_object(body)
        refuse_unknown_keys(fields, _CANCEL_KNOWN)
        require_keys(fields, _CANCEL_REQUIRED)
        return _cancel_intent(fields)
    except Refused as error:
        return error.refusal


def _order_intent(fields: Mapping[str, Value]) -> OrderIntent:
    for key, value in _CONSTANT.items():
        if fields.get(key, value) != value:
            raise Refused(refuse(DenyCode.ORDER_FIELD_FORBIDDEN, key=key, value=shown(fields[key])))
    category = member_of(fields, "category", Category)
    reduce_only = flag_of(fields, "reduceOnly")
    if reduce_only and category is Category.SPOT:
        raise Refused(refuse(DenyCode.ORDER_FIELD_FORBIDDEN, key="reduceOnly", category=category.value))
    return OrderIntent(
        category=category,
        symbol=text_of(fields, "symbol", SYMBOL),
        side=member_of(fields, "side", Side),
        quantity=positive_decimal_of(fields, "qty", DenyCode.ORDER_NUMBER_INVALID),
        price=positive_decimal_of(fields, "price", DenyCode.ORDER_NUMBER_INVALID),
        reduce_only=reduce_only,
        client_link_id=optional_id_of(fields, "orderLinkId", LINK_ID),
    )


def _cancel_intent(fields: Mapping[str, Value]) -> CancelIntent:
    category = member_of(fields, "category", Category)
    symbol = text_of(fields, "symbol", SYMBOL)
    order_filter = member_of(fields, "orderFilter", OrderFilter) if "orderFilter" in fields else None
    order_id = optional_id_of(fields, "orderId", ORDER_ID)
    client_link_id = optional_id_of(fields, "orderLinkId", LINK_ID)
    if order_id is None and client_link_id is None:
        raise Refused(refuse(DenyCode.BODY_KEY_MISSING, key="orderId"))
    return CancelIntent(
        category=category,
        symbol=symbol,
        order_id=order_id,
        client_link_id=client_link_id if order_id is None else None,  # the exchange's own rule when both are sent
        order_filter=order_filter,
    )


def _refuse_stops(fields: Mapping[str, Value]) -> None:
    """Name a protective stop as such: a denied one on an open position is an incident, not a nuisance."""
    is_stop = fields.get("category") == Category.LINEAR.value and fields.get("reduceOnly") is True
    if is_stop and "triggerPrice" in fields:
        raise Refused(refuse(DenyCode.ORDER_STOP_NOT_PERMITTED, symbol=shown(fields.get("symbol"))))


def _refuse_takers(fields: Mapping[str, Value]) -> None:
    if fields.get("orderType") != "Limit":
        raise Refused(refuse(DenyCode.ORDER_NOT_MAKER, order_type=shown(fields.get("orderType"))))
    if fields.get("timeInForce") != "PostOnly":
        raise Refused(refuse(DenyCode.ORDER_NOT_MAKER, time_in_force=shown(fields.get("timeInForce"))))


def _refuse_forbidden_fields(fields: Mapping[str, Value]) -> None:
    for key, value in fields.items():
        if key in FORBIDDEN_KEYS:
            raise Refused(refuse(DenyCode.ORDER_FIELD_FORBIDDEN, key=key, value=shown(value)))
