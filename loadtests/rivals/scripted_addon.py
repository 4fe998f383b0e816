"""An addon for mitmproxy that does a part of what the gateway does: authenticate, a few rules, sign anew. No journal.

Keys stand in the file named by the environment variable SCRIPTED_ADDON_KEYS. It runs in mitmproxy's own environment
and imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path

from mitmproxy import http

KEYS = json.loads(Path(os.environ["SCRIPTED_ADDON_KEYS"]).read_text())
SYMBOLS = {"BTCUSDT", "ETHUSDT"}
MAX_NOTIONAL_USDT = Decimal(250)


def request(flow: http.HTTPFlow) -> None:
    """Deny an order, or send it on with the exchange's key."""
    problem = _problem(flow.request)
    if problem is not None:
        flow.response = http.Response.make(403, json.dumps({"retCode": 10005, "retMsg": problem}))
        return
    body = flow.request.get_text() or ""
    timestamp = str(time.time_ns() // 1_000_000)
    headers = flow.request.headers
    headers["X-BAPI-API-KEY"], headers["X-BAPI-TIMESTAMP"] = KEYS["exchange_key"], timestamp
    headers["X-BAPI-RECV-WINDOW"] = "2000"
    text = timestamp + KEYS["exchange_key"] + "2000" + body
    headers["X-BAPI-SIGN"] = _sign(KEYS["exchange_secret"], text)


def _sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _problem(order: http.Request) -> str | None:
    headers, body = order.headers, order.get_text() or ""
    if order.path != "/v5/order/create" or headers.get("X-BAPI-API-KEY") != KEYS["key"]:
        return "path or key"
    text = headers["X-BAPI-TIMESTAMP"] + KEYS["key"] + headers["X-BAPI-RECV-WINDOW"] + body
    if not hmac.compare_digest(_sign(KEYS["secret"], text), headers.get("X-BAPI-SIGN", "")):
        return "signature"
    try:
        intent = json.loads(body)
        price, quantity = Decimal(intent["price"]), Decimal(intent["qty"])
    except (ValueError, KeyError, InvalidOperation):
        return "body"
    is_maker = intent.get("orderType") == "Limit" and intent.get("timeInForce") == "PostOnly"
    if not is_maker or intent.get("symbol") not in SYMBOLS or price * quantity > MAX_NOTIONAL_USDT:
        return "rule"
    return None
