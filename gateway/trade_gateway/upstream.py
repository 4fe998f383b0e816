"""The gateway's side of the exchange: requests with the order key, and what each answer means.

It never sends an order twice. An answer that leaves open whether the order exists is reported as Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber, UnknownOutcome
from trade_core.money import parse_exchange_decimal
from trade_core.token_bucket import TokenBucket
from trade_gateway.commands import (
    Acknowledged,
    AskOrder,
    AskResult,
    CannotAsk,
    Found,
    NotFound,
    NotSent,
    Rejected,
    SendResult,
    Unknown,
)

ORDER_CREATE_PATH = "/v5/order/create"
ORDER_CANCEL_PATH = "/v5/order/cancel"
ORDER_REALTIME_PATH = "/v5/order/realtime"
ORDER_HISTORY_PATH = "/v5/order/history"
# Leaves room, within the bot's 10 s, to find out what became of an order whose answer is late.
SEND_TIMEOUT_S = 3.5
CANCEL_TIMEOUT_S = 2.0
ASK_TIMEOUT_S = 2.0
# Questions about orders, in requests: many unknown outcomes at once must not get the address banned.
ASKS_PER_S = 20
# Server timeout, server error, restart; duplicate order (link) id; and spot's internal error, back-end timeout,
# network error, creation timeout and cancellation timeout: the order may well exist.
AMBIGUOUS_CODES = frozenset({10000, 10016, 10019, 110030, 110072, 170001, 170007, 170032, 170141, 170146, 170147})
_ORDER_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Upstream:
    """Sends orders and cancels, and asks what became of them."""

    def __init__(self, *, client: BybitClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._asks = TokenBucket(rate=ASKS_PER_S, clock=clock)

    async def send_order(self, body: bytes, *, may_send: Callable[[], bool]) -> SendResult:
        """Send a new order once; `may_send` is the last thing asked before the write."""
        if not may_send():
            return NotSent(reason="trading state", is_withheld=True)
        result = await self._send(ORDER_CREATE_PATH, body, timeout_s=SEND_TIMEOUT_S, may_send=may_send)
        if isinstance(result, Rejected) and result.ret_code in AMBIGUOUS_CODES:
            return Unknown(reason=f"exchange answered {result.ret_code}", signed_at_ns=self._clock.monotonic_ns())
        return result

    async def send_cancel(self, body: bytes) -> SendResult:
        """Send a cancel. Sending it again is safe."""
        result = await self._send(ORDER_CANCEL_PATH, body, timeout_s=CANCEL_TIMEOUT_S, may_send=None)
        if isinstance(result, Rejected) and result.ret_code in AMBIGUOUS_CODES:
            return Unknown(reason=f"exchange answered {result.ret_code}", signed_at_ns=self._clock.monotonic_ns())
        return result

    async def _send(
        self, path: str, body: bytes, *, timeout_s: float, may_send: Callable[[], bool] | None
    ) -> SendResult:
        signed_at_ns = self._clock.monotonic_ns()
        try:
            answer = await self._client.post(path, body, timeout_s=timeout_s, may_send=may_send)
        except ExchangeUnavailable as error:
            is_withheld = may_send is not None and not may_send()
            return NotSent(reason=str(error), is_withheld=is_withheld)
        except UnknownOutcome as error:
            return Unknown(reason=str(error), signed_at_ns=signed_at_ns)
        if not answer.is_ok:
            return Rejected(ret_code=answer.ret_code, ret_msg=answer.ret_msg)
        order_id = answer.result.get("orderId")
        if not isinstance(order_id, str) or _ORDER_WORD.fullmatch(order_id) is None:
            return Unknown(reason="acknowledged without an order id", signed_at_ns=signed_at_ns)
        return Acknowledged(order_id=order_id, signed_at_ns=signed_at_ns)

    async def ask_order(self, question: AskOrder) -> AskResult:
        """Look for an order by tag: open and recent orders first, then the history."""
        asked_at_ns = self._clock.monotonic_ns()
        query = urlencode({"category": question.category.value, "symbol": question.symbol, "orderLinkId": question.tag})
        for path in (ORDER_REALTIME_PATH, ORDER_HISTORY_PATH):
            timeout_s = self._ask_timeout_s(question.deadline_ns)
            if timeout_s <= 0:
                return CannotAsk(reason="no time is left to ask")
            if not self._asks.take_now():
                return CannotAsk(reason="the budget for questions is used up", is_budget=True)
            try:
                answer = await self._client.get(path, query, timeout_s=timeout_s)
                found = _find_tag(answer, question.tag, asked_at_ns=asked_at_ns)
            except (ExchangeUnavailable, ExchangeAnswerInvalid, InvalidNumber) as error:
                return CannotAsk(reason=str(error))
            if found is not None:
                return found
        return NotFound(asked_at_ns=asked_at_ns)

    def _ask_timeout_s(self, deadline_ns: int | None) -> float:
        if deadline_ns is None:
            return ASK_TIMEOUT_S
        return min(ASK_TIMEOUT_S, (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S)


def order_items(answer: Answer) -> list[dict[str, Any]]:
    """Take the list of orders out of an answer. Raises ExchangeAnswerInvalid when it is not one."""
    if not answer.is_ok:
        raise ExchangeAnswerInvalid(f"the exchange answered {answer.ret_code} to a question about orders")
    items = answer.result.get("list")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ExchangeAnswerInvalid("an answer about orders has no list of orders")
    return items


def _find_tag(answer: Answer, tag: str, *, asked_at_ns: int) -> Found | None:
    for item in order_items(answer):
        if item.get("orderLinkId") == tag:
            filled = str(item.get("cumExecQty") or "0")
            if parse_exchange_decimal(filled) < 0:
                raise ExchangeAnswerInvalid("an order with a negative fill")
            return Found(
                order_id=_order_word(item.get("orderId")),
                status=_order_word(item.get("orderStatus")),
                filled=filled,
                asked_at_ns=asked_at_ns,
            )
    return None


def _order_word(value: object) -> str:
    """Take an id or status; anything else would leave an order that cannot be cancelled or a row that is refused."""
    if not isinstance(value, str) or _ORDER_WORD.fullmatch(value) is None:
        raise ExchangeAnswerInvalid("an order without a proper id or status")
    return value
