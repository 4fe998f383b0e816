"""A bot of a few lines: signs requests as Bybit documents, with the gateway's virtual key."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import httpx

PASSING = frozenset(
    {"STATE_REDUCE_ONLY", "REFERENCE_STALE", "REFERENCE_MISSING", "ACCOUNT_VIEW_UNTRUSTED", "SYMBOL_OUTCOME_UNRESOLVED"}
)
"""Denials that a busy machine may cause for a moment: a lease, a price or a reading came late."""
PASSED_WITHIN_S = 120
AGAIN_AFTER_S = 0.2
CREATE = "/v5/order/create"
PRICE_DIGITS = {"BTCUSDT": 0, "ETHUSDT": 1, "XRPUSDT": 3}
QUANTITY_DIGITS = {"BTCUSDT": 3, "ETHUSDT": 2, "XRPUSDT": 0}


class Bot:
    """Sends signed requests to the gateway over one kept connection."""

    def __init__(self, gateway: dict[str, Any]) -> None:
        self.key: str = gateway["key"]
        self.secret: str = gateway["secret"]
        self.http = httpx.Client(base_url=gateway["url"], timeout=30)

    def headers(self, payload: str, *, at_ms: int | None = None, recv_window: str = "5000") -> dict[str, str]:
        """The authentication headers of a payload."""
        timestamp = str(at_ms if at_ms is not None else time.time_ns() // 1_000_000)
        text = timestamp + self.key + recv_window + payload
        return {
            "X-BAPI-API-KEY": self.key,
            "X-BAPI-TIMESTAMP": timestamp,
            "X-BAPI-RECV-WINDOW": recv_window,
            "X-BAPI-SIGN": hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
            "Content-Type": "application/json",
        }

    def post(self, path: str, body: dict[str, Any] | str) -> dict[str, Any]:
        """Send a signed POST and return the envelope."""
        text = body if isinstance(body, str) else json.dumps(body)
        return self.http.post(path, content=text, headers=self.headers(text)).json()

    def create(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order, again for as long as only something that passes denies it; returns the envelope."""
        deadline = time.monotonic() + PASSED_WITHIN_S
        while is_passing(answer := self.post(CREATE, order)) and time.monotonic() < deadline:
            time.sleep(AGAIN_AFTER_S)
        return answer

    def get(self, path: str, query: str = "") -> dict[str, Any]:
        """Send a signed GET and return the envelope."""
        headers = self.headers(query)
        del headers["Content-Type"]
        return self.http.get(f"{path}?{query}" if query else path, headers=headers).json()

    def close(self) -> None:
        """Close the connection."""
        self.http.close()


def is_passing(answer: dict[str, Any]) -> bool:
    """Tell whether an answer is a denial that passes by itself."""
    return str(answer["retMsg"]).partition(":")[0] in PASSING


def resting_order(stack: Any, *, category: str = "spot", symbol: str = "XRPUSDT", usdt: float = 20) -> dict[str, Any]:
    """A post-only buy far enough below the market to rest, of about `usdt`."""
    query = {"category": category, "symbol": symbol}
    ticker = httpx.get(stack.simulator["url"] + "/v5/market/tickers", params=query, timeout=30).json()["result"][
        "list"
    ][0]
    price = round(float(ticker["lastPrice"]) * 0.97, PRICE_DIGITS[symbol])
    return {
        "category": category,
        "symbol": symbol,
        "side": "Buy",
        "orderType": "Limit",
        "timeInForce": "PostOnly",
        "price": str(price),
        "qty": str(round(usdt / price, QUANTITY_DIGITS[symbol])),
    }
