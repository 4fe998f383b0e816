"""Requests to the exchange with one credential, within a budget of its own.

Guarantees
- Every request waits for its turn in the budget, and ends within REQUEST_TIMEOUT_S after it.
- A list is read to its end or not at all: a page that is refused, odd or missing makes the whole list unread.
- A request that changes something is sent once: its effect is looked for, never taken for granted.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.clock import Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, UnknownOutcome
from trade_core.token_bucket import TokenBucket
from trade_killswitch.metrics import ExecutorMetrics, RequestKind, RequestResult

REQUEST_TIMEOUT_S: Final = 3.0
PAGES_MAX: Final = 60
TRIES_A_PAGE: Final = 2
AT_ONCE_MAX: Final = 16
_CURSOR: Final = re.compile(r"[A-Za-z0-9._~=,:;/%+-]{1,512}", re.ASCII)


class ExchangeCalls:
    """One credential's requests."""

    def __init__(self, *, client: BybitClient, requests_per_s: int, metrics: ExecutorMetrics, clock: Clock) -> None:
        self._client = client
        self._bucket = TokenBucket(rate=requests_per_s, clock=clock)
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._metrics = metrics

    async def get(self, path: str, query: str = "") -> Answer:
        """Read. Raises ExchangeUnavailable when it is refused or not answered, ExchangeAnswerInvalid."""
        answer = await self.ask(path, query)
        if not answer.is_ok:
            raise ExchangeUnavailable(f"{path}: the exchange answers {answer.ret_code}")
        return answer

    async def ask(self, path: str, query: str = "") -> Answer:
        """Read, whatever code the exchange answers with. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        async with self._at_once:
            await self._turn()
            try:
                answer = await self._client.get(path, query, timeout_s=REQUEST_TIMEOUT_S)
            except (ExchangeUnavailable, ExchangeAnswerInvalid):
                self._metrics.count(RequestKind.READ, RequestResult.UNANSWERED)
                raise
        self._metrics.count(RequestKind.READ, RequestResult.ANSWERED if answer.is_ok else RequestResult.REFUSED)
        return answer

    async def post(self, path: str, content: Mapping[str, Any], *, kind: RequestKind) -> Answer | None:
        """Send once; None when its effect is not known, which the next reading tells."""
        body = json.dumps(content, separators=(",", ":")).encode()
        async with self._at_once:
            await self._turn()
            try:
                answer = await self._client.post(path, body, timeout_s=REQUEST_TIMEOUT_S)
            except (ExchangeUnavailable, UnknownOutcome):
                self._metrics.count(kind, RequestResult.UNANSWERED)
                return None
        self._metrics.count(kind, RequestResult.ANSWERED if answer.is_ok else RequestResult.REFUSED)
        return answer

    async def pages(
        self, path: str, query: str, *, rows_name: str = "list", cursor_name: str = "nextPageCursor"
    ) -> list[Any]:
        """Read a list to its end. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        rows: list[Any] = []
        await self.each_page(path, query, rows.extend, rows_name=rows_name, cursor_name=cursor_name)
        return rows

    async def each_page(
        self,
        path: str,
        query: str,
        take: Callable[[list[Any]], None],
        *,
        rows_name: str = "list",
        cursor_name: str = "nextPageCursor",
    ) -> None:
        """Read a list to its end, a page at a time; what `take` raises ends it. Raises as `pages`."""
        cursor = ""
        for _ in range(PAGES_MAX):
            # Given back as it came, but for the one character of base64 that a query turns into a space.
            going_on = f"&cursor={cursor.replace('+', '%2B')}" if cursor else ""
            result = (await self._page(path, query + going_on)).result
            rows, cursor = result.get(rows_name), result.get(cursor_name) or ""
            if not isinstance(rows, list):
                raise ExchangeAnswerInvalid(f"{path}: a list is no list")
            take(rows)
            if not rows or not cursor:
                return
            if not isinstance(cursor, str) or _CURSOR.fullmatch(cursor) is None:
                raise ExchangeAnswerInvalid(f"{path}: the list goes on at an odd place")
        raise ExchangeAnswerInvalid(f"{path}: the list has more than {PAGES_MAX} pages")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _page(self, path: str, query: str) -> Answer:
        for _ in range(TRIES_A_PAGE - 1):
            try:
                return await self.get(path, query)
            except ExchangeUnavailable:
                continue
        return await self.get(path, query)

    async def _turn(self) -> None:
        while not self._bucket.take_now():  # noqa: ASYNC110 - a token comes with time, nobody sets an event
            await asyncio.sleep(max(0.005, self._bucket.seconds_to_next()))
