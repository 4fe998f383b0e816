"""The account as a sweep touches it: reads what works, cancels, and asks about its own key. It places nothing.

Guarantees
- Two paths are posted to: cancel and cancel-all. There is no code here that could place or amend an order.
- A whole reading and a whole round of cancels have bounds of their own, however the exchange hangs.
- A shelf is read to its end or not at all; see `exchange_calls`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, assert_never

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.clock import Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_killswitch.commands import Cancelled
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.metrics import ExecutorMetrics, RequestKind
from trade_killswitch.sweep_plan import Call, CancelOne, CancelPlain, Reading
from trade_killswitch.working_orders import SHELVES, Book, Category, OrderFilter, Shelf, WorkingOrder, parse_page

READING_TIMEOUT_S: Final = 10.0
CANCELS_TIMEOUT_S: Final = 10.0
PAGE_ORDERS: Final = 50  # the most that the exchange gives at once


class ExitExchange:
    """One account through the exit key."""

    def __init__(self, *, client: BybitClient, requests_per_s: int, metrics: ExecutorMetrics, clock: Clock) -> None:
        self.calls = ExchangeCalls(client=client, requests_per_s=requests_per_s, metrics=metrics, clock=clock)

    async def key_information(self) -> dict[str, Any]:
        """Ask what the exit key may do. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        return (await self.calls.get("/v5/user/query-api")).result

    async def read_shelves(self) -> list[Reading]:
        """Read every shelf, all at the same time; one that cannot be read to its end has no orders but None."""
        return list(await asyncio.gather(*(self._shelf(shelf) for shelf in SHELVES)))

    async def send_cancels(self, calls: Sequence[Call]) -> Cancelled:
        """Send each cancel once, within CANCELS_TIMEOUT_S; what was not sent by then counts as unanswered."""
        acknowledged = answered = 0
        refusals: Counter[int] = Counter()

        async def send(call: Call) -> None:
            nonlocal acknowledged, answered
            path, content = _request(call)
            answer = await self.calls.post(path, content, kind=RequestKind.CANCEL)
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
        await self.calls.close()

    async def _shelf(self, shelf: Shelf) -> Reading:
        try:
            async with asyncio.timeout(READING_TIMEOUT_S):
                return Reading(shelf=shelf, orders=tuple(await self._orders(shelf)))
        except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
            return Reading(shelf=shelf, orders=None, why=str(error))
        except TimeoutError:
            return Reading(shelf=shelf, orders=None, why=f"no answer within {READING_TIMEOUT_S:g} s")

    async def _orders(self, shelf: Shelf) -> list[WorkingOrder]:
        orders: list[WorkingOrder] = []
        await self.calls.each_page(
            "/v5/order/realtime", _query(shelf), lambda rows: orders.extend(parse_page(rows, shelf))
        )
        return orders


def _query(shelf: Shelf) -> str:
    book = shelf.book
    parts = [f"category={book.category.value}", f"limit={PAGE_ORDERS}"]
    if book.settle_coin:
        parts.append(f"settleCoin={book.settle_coin}")
    if shelf.order_filter is not None:
        parts.append(f"orderFilter={shelf.order_filter.value}")
    return "&".join(parts)


def _request(call: Call) -> tuple[str, dict[str, str]]:
    match call:
        case CancelPlain(book=book):
            return "/v5/order/cancel-all", _cancel_all(book)
        case CancelOne(order=order):
            return "/v5/order/cancel", _cancel_one(order)
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


def _cancelled_by(call: Call, answer: Answer) -> int:
    if isinstance(call, CancelOne):
        return 1
    listed = answer.result.get("list")
    return len(listed) if isinstance(listed, list) else 0
