"""Builds what leaves the gateway: upstream bodies and queries from intents, and answers to the bot.

Guarantees: an upstream body has exactly the fields written here, built from domain types; no byte of the client's
request is ever copied, but for the grammar-checked values of a read. Numbers are plain decimals without exponent.
Answers to the bot avoid the phrases that ccxt looks for anywhere in a body before it looks at the code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from trade_core.money import format_decimal
from trade_gateway.policy.deny_codes import RET_LEVERAGE_NOT_MODIFIED, RET_ORDER_NOT_FOUND_SPOT, DenyCode
from trade_gateway.wire.intents import Category, OrderIntent, ReadIntent, Side, StopIntent
from trade_gateway.wire.refusal import Detail
from trade_gateway.wire.routes import Kind, Route

DENIED_HTTP_STATUS = 200
_ENCODER = msgspec.json.Encoder()
_CCXT_PHRASES = (
    "Not supported symbols",
    "Request timeout",
    "unknown orderInfo",
    "invalid api_key",
    "oc_diff",
    "new_oc",
    "openapi sign params error!",
    "Withdraw address chain or destination tag are not equal",
)


def order_body(intent: OrderIntent, *, link_id: str) -> bytes:
    """Return the body of order/create: always Limit and PostOnly, always with our own order link id."""
    fields: dict[str, Any] = {
        "category": intent.category._value_,
        "symbol": intent.symbol,
        "side": intent.side._value_,
        "orderType": "Limit",
        "qty": format_decimal(intent.quantity),
        "price": format_decimal(intent.price),
        "timeInForce": "PostOnly",
        "orderLinkId": link_id,
    }
    if intent.reduce_only:
        fields["reduceOnly"] = True
    if intent.category is Category.LINEAR:
        fields["positionIdx"] = 0
    return _plain(fields)


def stop_body(stop: StopIntent, *, link_id: str) -> bytes:
    """Return the body of a protective stop: always reduce-only, with our own order link id.

    A limit stop is GTC and so takes once triggered; a market stop, which only the gateway's own disaster stop is, has
    no price.
    """
    fields: dict[str, Any] = {
        "category": Category.LINEAR.value,
        "symbol": stop.symbol,
        "side": stop.side.value,
        "orderType": "Market" if stop.limit_price is None else "Limit",
        "qty": format_decimal(stop.quantity),
    }
    if stop.limit_price is not None:
        fields |= {"price": format_decimal(stop.limit_price), "timeInForce": "GTC"}
    fields |= {
        "triggerPrice": format_decimal(stop.trigger_price),
        "triggerDirection": 1 if stop.side is Side.BUY else 2,
        "triggerBy": stop.trigger_by.value,
        "reduceOnly": True,
        "positionIdx": 0,
        "orderLinkId": link_id,
    }
    return _compact(fields)


def cancel_body(*, category: Category, symbol: str, order_id: str | None = None, link_id: str | None = None) -> bytes:
    """Return the body of order/cancel by the exchange's id, else by our link id. Raises ValueError without either."""
    fields = {"category": category.value, "symbol": symbol}
    if order_id is not None:
        fields["orderId"] = order_id
    elif link_id is not None:
        fields["orderLinkId"] = link_id
    else:
        raise ValueError("a cancel names one order")
    return _compact(fields)


def read_query(intent: ReadIntent) -> str:
    """Return the upstream query. Every grammar of `queries` consists of characters that need no encoding."""
    return "&".join(f"{key}={value}" for key, value in intent.parameters)


def envelope(ret_code: int, ret_msg: str, result: Mapping[str, Any], *, now_ms: int) -> bytes:
    """Return the exchange's envelope. The result is the exchange's own JSON, or ours."""
    return _compact({"retCode": ret_code, "retMsg": ret_msg, "result": result, "retExtInfo": {}, "time": now_ms})


def order_answer(order_id: str, client_link_id: str, *, now_ms: int) -> bytes:
    """Answer that the exchange took an order or a cancel: the envelope with the two names."""
    names = {"orderId": order_id, "orderLinkId": client_link_id}
    return _plain({"retCode": 0, "retMsg": "OK", "result": names, "retExtInfo": {}, "time": now_ms})


def denied_message(code: DenyCode, detail: Detail) -> str:
    """Return `CODE: key=value, key=value`, without the details when they would mislead ccxt."""
    values = ", ".join(f"{key}={value}" for key, value in detail)
    if not values or any(phrase in values for phrase in _CCXT_PHRASES):
        return code.name
    return f"{code.name}: {values}"


def denied_answer(
    code: DenyCode, detail: Detail, route: Route | None, *, now_ms: int, category: Category | None = None
) -> tuple[int, bytes]:
    """Return HTTP status and body of a denial. `category` tells the two exchange codes of an unknown order apart."""
    ret_code = _ret_code(code, route, category)
    return DENIED_HTTP_STATUS, envelope(ret_code, denied_message(code, detail), {}, now_ms=now_ms)


def local_read_answer(route: Route, *, now_ms: int) -> bytes:
    """Answer a LOCAL_READ: what clients need to start, and nothing about keys, users or addresses.

    Raises KeyError for a route that is not answered locally.
    """
    return envelope(0, "OK", _LOCAL_RESULTS[route], now_ms=now_ms)


def pinned_answer(route: Route, *, now_ms: int) -> bytes:
    """Answer a request for the very setting that is pinned.

    freqtrade swallows "leverage not modified", but ends at start when the position mode answers anything but 0.
    """
    if route.kind is Kind.PIN_LEVERAGE:
        return envelope(RET_LEVERAGE_NOT_MODIFIED, "leverage not modified", {}, now_ms=now_ms)
    return envelope(0, "OK", {}, now_ms=now_ms)


_LOCAL_RESULTS: Mapping[Route, Mapping[str, Any]] = {
    Route.QUERY_API: {
        "id": "0",
        "note": "virtual key of the gateway",
        "apiKey": "",
        "secret": "",
        "readOnly": 0,
        "permissions": {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"], "Wallet": []},
        "ips": ["*"],
        "type": 1,
        "unified": 0,
        "uta": 1,
        "isMaster": False,
    },
    Route.ACCOUNT_INFO: {
        "unifiedMarginStatus": 6,
        "marginMode": "ISOLATED_MARGIN",
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    },
    Route.COIN_INFO: {"rows": []},
}


def _ret_code(code: DenyCode, route: Route | None, category: Category | None) -> int:
    if code is DenyCode.ORDER_UNKNOWN and category is Category.SPOT:
        return RET_ORDER_NOT_FOUND_SPOT
    if route is Route.ORDER_CANCEL and code.name.startswith("BODY_"):
        # A temporary class would put the whole bot to sleep for 30 s; an order that cannot be named is not found.
        return DenyCode.ORDER_UNKNOWN.ret_code
    return code.ret_code


def _plain(fields: Mapping[str, Any]) -> bytes:
    """Write what is made of plain ASCII texts, whole numbers and flags: the same bytes as `_compact`, much faster."""
    return _ENCODER.encode(fields)


def _compact(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
