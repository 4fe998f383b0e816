"""The demo's own eyes on the simulated exchange: its public protocol with a read-only key, and its control port.

Nothing here goes through the gateway, so the verdict does not rest on what the gateway says about itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from trade_core.bybit.signing import sign_request
from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_core.tls import tls_context
from trade_demo.view import Fill

RECV_WINDOW_MS = 5000
TIMEOUT_S = 10.0
# Executions between two looks; a page of the exchange holds at most 100.
PAGE_ROWS = 100
MAX_PAGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of the simulated exchange."""

    key: str
    secret: Secret


def http_client(base_url: str, *, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Return a client for one loopback service: short timeouts, no redirects, no proxy from the environment."""
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        verify=tls_context(),
        timeout=TIMEOUT_S,
        follow_redirects=False,
        trust_env=False,
    )


class ExchangeReader:
    """Reads executions and equity with signed requests."""

    def __init__(self, *, client: httpx.AsyncClient, api_key: ApiKey, clock: Clock) -> None:
        self._client = client
        self._api_key = api_key
        self._clock = clock

    async def equity_usdt(self) -> Decimal:
        """Return the account's total equity. Raises ExchangeUnavailable or ExchangeAnswerInvalid."""
        result = await self._get("/v5/account/wallet-balance", {"accountType": "UNIFIED"})
        try:
            return Decimal(result["list"][0]["totalEquity"])
        except (LookupError, TypeError, ArithmeticError) as error:
            raise ExchangeAnswerInvalid("wallet-balance holds no totalEquity") from error

    async def new_fills(self, category: str, seen: set[str]) -> list[Fill]:
        """Return the executions whose ids are not in `seen`, oldest first. Does not change `seen`.

        Pages back until a known one appears, at most MAX_PAGES. Raises as equity_usdt.
        """
        found: list[Fill] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            query = {"category": category, "limit": str(PAGE_ROWS)} | ({"cursor": cursor} if cursor else {})
            result = await self._get("/v5/execution/list", query)
            rows = _fills(result, category)
            fresh = [fill for fill in rows if fill.execution_id not in seen]
            found.extend(fresh)
            cursor = str(result.get("nextPageCursor") or "")
            if len(fresh) < PAGE_ROWS or not cursor:
                break
        return found[::-1]

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        text = urlencode(query)
        timestamp_ms = self._clock.wall_ns() // NS_PER_MS
        signature = sign_request(
            secret=self._api_key.secret.reveal().encode(),
            timestamp_ms=timestamp_ms,
            key=self._api_key.key,
            recv_window_ms=RECV_WINDOW_MS,
            payload=text.encode(),
        )
        headers = {
            "X-BAPI-API-KEY": self._api_key.key,
            "X-BAPI-TIMESTAMP": str(timestamp_ms),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS),
            "X-BAPI-SIGN": signature,
        }
        answer = await get_json(self._client, f"{path}?{text}", headers=headers)
        if answer.get("retCode") != 0 or not isinstance(answer.get("result"), dict):
            raise ExchangeAnswerInvalid(f"{path}: retCode {answer.get('retCode')!a}")
        return cast("dict[str, Any]", answer["result"])


async def get_json(client: httpx.AsyncClient, path: str, *, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object at a path of a service.

    Raises ExchangeUnavailable when it does not answer, ExchangeAnswerInvalid when it answers something else.
    """
    try:
        response = await client.get(path, headers=headers)
    except (httpx.HTTPError, OSError) as error:
        raise ExchangeUnavailable(f"{client.base_url}: {type(error).__name__}") from error
    if response.status_code != httpx.codes.OK:
        raise ExchangeAnswerInvalid(f"{client.base_url}{path.partition('?')[0]}: HTTP {response.status_code}")
    try:
        answer = response.json(parse_float=Decimal)
    except ValueError as error:
        raise ExchangeAnswerInvalid(f"{client.base_url}: the answer is not JSON") from error
    if not isinstance(answer, dict):
        raise ExchangeAnswerInvalid(f"{client.base_url}: the answer is not a JSON object")
    return cast("dict[str, Any]", answer)


def _fills(result: dict[str, Any], category: str) -> list[Fill]:
    try:
        return [_fill(row, category) for row in result["list"] if row["execType"] == "Trade"]
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ExchangeAnswerInvalid("execution/list: a row lacks a field") from error


def _fill(row: dict[str, Any], category: str) -> Fill:
    # The sample strategy is long only; on linear the exchange also says how much an execution closed.
    closed = Decimal(row.get("closedSize") or 0)
    return Fill(
        execution_id=str(row["execId"]),
        at_ns=int(row["execTime"]) * NS_PER_MS,
        order_link_id=str(row["orderLinkId"]),
        symbol=str(row["symbol"]),
        side=str(row["side"]),
        price=Decimal(row["execPrice"]),
        quantity=Decimal(row["execQty"]),
        is_exit=closed > 0 if category == "linear" else row["side"] == "Sell",
        is_maker=row["isMaker"] is True,
    )
