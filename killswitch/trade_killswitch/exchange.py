"""The account as the executor touches it: reads what works, cancels, and asks about its own key. It places nothing.

Guarantees
- Two paths are posted to: cancel and cancel-all. There is no code here that could place or amend an order.
- Every request waits for its turn in the executor's own budget, and ends within REQUEST_TIMEOUT_S; a whole reading and
  a whole round of cancels have bounds of their own, however the exchange hangs.
- A shelf is read to its end or not at all: a page that is refused, odd or missing makes the whole shelf unread.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, assert_never

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.clock import Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, UnknownOutcome
from trade_core.token_bucket import TokenBucket
from trade_killswitch.commands import Cancelled
from trade_killswitch.metrics import ExecutorMetrics, RequestKind, RequestResult
from trade_killswitch.sweep_plan import Call, CancelOne, CancelPlain, Reading
from trade_killswitch.working_orders import SHELVES, Book, Category, OrderFilter, Shelf, WorkingOrder, parse_page

REQUEST_TIMEOUT_S: Final = 3.0
READING_TIMEOUT_S: Final = 10.0
CANCELS_TIMEOUT_S: Final = 10.0
PAGE_ORDERS: Final = 50  # the most that the exchange gives at once
PAGES_MAX: Final = 60
TRIES_A_PAGE: Final = 2
AT_ONCE_MAX: Final = 16
_CURSOR: Final = re.compile(r"[A-Za-z0-9._~=,:;/%-]{1,512}", re.ASCII)


class ExitExchange:
    """One account through the exit key."""

    def __init__(self, *, client: BybitClient, requests_per_s: int, metrics: ExecutorMetrics, clock: Clock) -> None:
        self._client = client
        self._bucket = TokenBucket(rate=requests_per_s, clock=clock)
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._metrics = metrics

    async def key_information(self) -> dict[str, Any]:
        """Ask what the exit key may do. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        return (await self._get("/v5/user/query-api", "")).result

    async def read_shelves(self) -> list[Reading]:
        """Read every shelf, all at the same time; one that cannot be read to its end has no orders but None."""
        return list(await asyncio.gather(*(self._shelf(shelf) for shelf in SHELVES)))

    async def send_cancels(self, calls: Sequence[Call]) -> Cancelled:
        """Send each cancel once, within CANCELS_TIMEOUT_S; what was not sent by then counts as unanswered."""
        acknowledged = answered = 0
        refusals: Counter[int] = Counter()

        async def send(call: Call) -> None:
            nonlocal acknowledged, answered
            path, body = _request(call)
            answer = await self._post(path, body)
            if answer is None:
                return
            answered += 1
            if answer.is_ok:
                acknowledged += _cancelled_by(call, answer)
            else:
                refusals[answer.ret_code] += 1

        tasks = [asyncio.create_task(send(call)) for call in calls]
        _, late = await asyncio.wait(tasks, timeout=CANCELS_TIMEOUT_S) if tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return Cancelled(
            acknowledged=acknowledged,
            refusals=tuple(sorted(refusals.items())),
            unanswered=len(calls) - answered,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _shelf(self, shelf: Shelf) -> Reading:
        try:
            async with asyncio.timeout(READING_TIMEOUT_S):
                return Reading(shelf=shelf, orders=tuple(await self._pages(shelf)))
        except (ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError):
            return Reading(shelf=shelf, orders=None)

    async def _pages(self, shelf: Shelf) -> list[WorkingOrder]:
        orders: list[WorkingOrder] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            answer = await self._page(_query(shelf) + (f"&cursor={cursor}" if cursor else ""))
            rows, cursor = answer.result.get("list"), answer.result.get("nextPageCursor") or ""
            orders += parse_page(rows, shelf)
            if not rows or not cursor:
                return orders
            if not isinstance(cursor, str) or _CURSOR.fullmatch(cursor) is None:
                raise ExchangeAnswerInvalid("the list of orders goes on at an odd place")
        raise ExchangeAnswerInvalid(f"the list of orders has more than {PAGES_MAX} pages")

    async def _page(self, query: str) -> Answer:
        for _ in range(TRIES_A_PAGE - 1):
            try:
                return await self._get("/v5/order/realtime", query)
            except ExchangeUnavailable:
                continue
        return await self._get("/v5/order/realtime", query)

    async def _get(self, path: str, query: str) -> Answer:
        async with self._at_once:
            await self._turn()
            try:
                answer = await self._client.get(path, query, timeout_s=REQUEST_TIMEOUT_S)
            except (ExchangeUnavailable, ExchangeAnswerInvalid):
                self._metrics.count(RequestKind.READ, RequestResult.UNANSWERED)
                raise
        if not answer.is_ok:
            self._metrics.count(RequestKind.READ, RequestResult.REFUSED)
            raise ExchangeUnavailable(f"{path}: the exchange answers {answer.ret_code}")
        self._metrics.count(RequestKind.READ, RequestResult.ANSWERED)
        return answer

    async def _post(self, path: str, body: bytes) -> Answer | None:
        """Send a cancel; None when its effect is not known, which the next reading tells."""
        async with self._at_once:
            await self._turn()
            try:
                answer = await self._client.post(path, body, timeout_s=REQUEST_TIMEOUT_S)
            except (ExchangeUnavailable, UnknownOutcome):
                self._metrics.count(RequestKind.CANCEL, RequestResult.UNANSWERED)
                return None
        result = RequestResult.ANSWERED if answer.is_ok else RequestResult.REFUSED
        self._metrics.count(RequestKind.CANCEL, result)
        return answer

    async def _turn(self) -> None:
        while not self._bucket.take_now():  # noqa: ASYNC110 - a token comes with time, nobody sets an event
            await asyncio.sleep(max(0.005, self._bucket.seconds_to_next()))


def _query(shelf: Shelf) -> str:
    book = shelf.book
    parts = [f"category={book.category.value}", f"limit={PAGE_ORDERS}"]
    if book.settle_coin:
        parts.append(f"settleCoin={book.settle_coin}")
    if shelf.order_filter is not None:
        parts.append(f"orderFilter={shelf.order_filter.value}")
    return "&".join(parts)


def _request(call: Call) -> tuple[str, bytes]:
    match call:
        case CancelPlain(book=book):
            return "/v5/order/cancel-all", _body(_cancel_all(book))
        case CancelOne(order=order):
            return "/v5/order/cancel", _body(_cancel_one(order))
        case _:
            assert_never(call)


def _cancel_all(book: Book) -> dict[str, str]:
    content = {"category": book.category.value, "orderFilter": OrderFilter.ORDER.value}
    return {**content, "settleCoin": book.settle_coin} if book.settle_coin else content


def _cancel_one(order: WorkingOrder) -> dict[str, str]:
    content = {"category": order.book.category.value, "symbol": order.symbol, "orderId": order.order_id}
    if order.book.category is Category.SPOT:
        content["orderFilter"] = order.order_filter.value  # without it spot looks among plain orders alone
    return content


def _body(content: dict[str, str]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _cancelled_by(call: Call, answer: Answer) -> int:
    if isinstance(call, CancelOne):
        return 1
    listed = answer.result.get("list")
    return len(listed) if isinstance(listed, list) else 0
