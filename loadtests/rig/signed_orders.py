"""Orders signed ahead, as raw HTTP requests in one file, each as long as the others, for the loader to feed.

A POST signature is accepted once and for ten seconds, so every round has a file of its own, and each order a quantity
and price that no other order of the round has.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

LONGEST_AHEAD_S = 8.0
_RECV_WINDOW = "10000"
_QUANTITIES = 400
_BELOW_MARKET = Decimal("0.97")  # post-only buys that would rest
_LEAST_USDT = Decimal(20)
_TIMESTAMPS_MS = 900  # the exchange's rule allows less than a second ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose signature the orders carry."""

    key: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Where orders on a symbol begin, and the steps from one to the next."""

    symbol: str
    price: Decimal
    price_step: Decimal
    quantity: Decimal
    quantity_step: Decimal

    def step(self, number: int) -> tuple[Decimal, Decimal]:
        """Return the price and quantity of an order."""
        price_steps, quantity_steps = divmod(number, _QUANTITIES)
        return self.price - price_steps * self.price_step, self.quantity + quantity_steps * self.quantity_step


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFile:
    """The requests of one round."""

    path: Path
    count: int
    length: int


def read_ladders(exchange_url: str, symbols: Sequence[str]) -> list[Ladder]:
    """Ask the exchange what the symbols trade at, and in which steps."""
    with httpx.Client(base_url=exchange_url, timeout=5) as http:
        return [_read_ladder(http, symbol) for symbol in symbols]


def _read_ladder(http: httpx.Client, symbol: str) -> Ladder:
    query = {"category": "spot", "symbol": symbol}
    ticker = _first(http, "/v5/market/tickers", query)
    instrument = _first(http, "/v5/market/instruments-info", query)
    price_step = Decimal(instrument["priceFilter"]["tickSize"])
    quantity_step = Decimal(instrument["lotSizeFilter"]["basePrecision"])
    price = _down_to(Decimal(ticker["lastPrice"]) * _BELOW_MARKET, price_step)
    quantity = _down_to(_LEAST_USDT / price, quantity_step) + quantity_step
    return Ladder(symbol=symbol, price=price, price_step=price_step, quantity=quantity, quantity_step=quantity_step)


def _first(http: httpx.Client, path: str, query: dict[str, str]) -> dict[str, Any]:
    item: dict[str, Any] = http.get(path, params=query).raise_for_status().json()["result"]["list"][0]
    return item


def _down_to(value: Decimal, step: Decimal) -> Decimal:
    return (value // step) * step


def write_orders(path: Path, *, count: int, key: Key, ladders: Sequence[Ladder], host: str) -> OrderFile:
    """Sign so many orders now. Raises ValueError when they could not all be of one length."""
    now_ms = time.time_ns() // 1_000_000
    secret = key.secret.encode()
    head = (
        f"POST /v5/order/create HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nX-BAPI-API-KEY: {key.key}\r\nX-BAPI-RECV-WINDOW: {_RECV_WINDOW}\r\n"
    )
    length = 0
    with path.open("wb") as file:
        for number in range(count):
            body = _body(ladders[number % len(ladders)], number // len(ladders))
            timestamp = now_ms + number % _TIMESTAMPS_MS
            text = f"{timestamp}{key.key}{_RECV_WINDOW}{body}"
            signature = hmac.digest(secret, text.encode(), hashlib.sha256).hex()
            request = (
                f"{head}X-BAPI-TIMESTAMP: {timestamp}\r\nX-BAPI-SIGN: {signature}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
            length = length or len(request)
            if len(request) != length:
                raise ValueError(f"order {number} has {len(request)} bytes, others {length}: {body}")
            file.write(request)
    return OrderFile(path=path, count=count, length=length)


def _body(ladder: Ladder, number: int) -> str:
    price, quantity = ladder.step(number)
    # Spaces after the value make all bodies of one length; they are as good JSON as any.
    return (
        f'{{"category":"spot","symbol":"{ladder.symbol}","side":"Buy","orderType":"Limit","timeInForce":"PostOnly",'
        f'"price":"{price:f}"{" " * (14 - len(f"{price:f}"))},"qty":"{quantity:f}"{" " * (14 - len(f"{quantity:f}"))}}}'
    )
