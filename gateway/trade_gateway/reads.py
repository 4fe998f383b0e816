"""Forwards the bot's permitted reads and translates what comes back.

The upstream query is built from the parsed one. In lists of orders and executions our provenance tag is replaced by
the order link id that the bot itself gave, or by nothing: the tag is no business of the bot. Orders that the gateway
placed by itself are left out of every list of orders, whole or ended, but for one that has filled: the bot must be
able to find out how its position ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_gateway.egress import EgressBudget
from trade_gateway.ledger import OrderLedger
from trade_gateway.order_flow import TERMINAL_STATUSES
from trade_gateway.wire.intents import ReadIntent
from trade_gateway.wire.render import read_query
from trade_gateway.wire.routes import Kind, Route

READ_TIMEOUT_S = 7.0
ORDER_LINK_PARAMETER = "orderLinkId"
_ROUTES_WITH_LINK_IDS = frozenset({Route.ORDER_REALTIME, Route.ORDER_HISTORY, Route.EXECUTION_LIST})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDone:
    """What the exchange answered, ready for the bot. `is_local` says that the exchange was not asked."""

    ret_code: int
    ret_msg: str
    result: dict[str, Any]
    is_local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFailed:
    """The exchange could not be asked, or did not answer in its own protocol."""

    reason: str
    is_budget: bool = False


class Reads:
    """Asks the exchange what the bot asked, within the request budget."""

    def __init__(self, *, private: BybitClient, public: BybitClient, ledger: OrderLedger, budget: EgressBudget) -> None:
        self._private = private
        self._public = public
        self._ledger = ledger
        self._budget = budget

    async def forward(self, intent: ReadIntent) -> ReadDone | ReadFailed:
        """Forward one read. Never raises for what the exchange does."""
        translated = self._translate_question(intent)
        if translated is None:
            return ReadDone(ret_code=0, ret_msg="OK", result=_no_orders(intent), is_local=True)
        if not await self._budget.wait_for_read(is_public=intent.route.kind is Kind.PUBLIC_READ):
            return ReadFailed(reason="the gateway's own request budget is used up", is_budget=True)
        try:
            answer = await self._ask(translated)
            if intent.route in _ROUTES_WITH_LINK_IDS:
                self._translate_answer(answer)
        except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
            return ReadFailed(reason=str(error))
        return ReadDone(ret_code=answer.ret_code, ret_msg=answer.ret_msg, result=answer.result)

    async def _ask(self, intent: ReadIntent) -> Answer:
        path = intent.route.path
        query = read_query(intent)
        if intent.route.kind is Kind.PUBLIC_READ:
            return await self._public.get_public(path, query, timeout_s=READ_TIMEOUT_S)
        return await self._private.get(path, query, timeout_s=READ_TIMEOUT_S)

    def _translate_question(self, intent: ReadIntent) -> ReadIntent | None:
        """Put our tag in place of the bot's order link id; None when the bot asks for one that it never used."""
        given = dict(intent.parameters).get(ORDER_LINK_PARAMETER)
        if given is None:
            return intent
        order = self._ledger.find(order_id=None, client_link_id=given)
        if order is None:
            return None
        parameters = tuple(
            (name, order.tag if name == ORDER_LINK_PARAMETER else value) for name, value in intent.parameters
        )
        return replace(intent, parameters=parameters)

    def _translate_answer(self, answer: Answer) -> None:
        items = answer.result.get("list") or []
        if not isinstance(items, list):
            raise ExchangeAnswerInvalid("a list of orders that is none, in which a tag could hide")
        shown = [item for item in items if not self._is_hidden(item)]
        if len(shown) < len(items):
            answer.result["list"] = shown
        for item in shown:
            if isinstance(item, dict) and ORDER_LINK_PARAMETER in item:
                order = self._ledger.get(str(item[ORDER_LINK_PARAMETER]))
                alias = order.intent.client_link_id if order is not None else None
                item[ORDER_LINK_PARAMETER] = alias or ""

    def _is_hidden(self, item: object) -> bool:
        if not isinstance(item, dict) or not self._ledger.is_own_tag(str(item.get(ORDER_LINK_PARAMETER, ""))):
            return False
        if "orderStatus" not in item:
            return False  # an execution
        return str(item["orderStatus"]) not in TERMINAL_STATUSES or not _has_filled(item)


def _has_filled(item: dict[str, Any]) -> bool:
    try:
        return parse_exchange_decimal(item.get("cumExecQty")) > 0
    except InvalidNumber:
        return False


def _no_orders(intent: ReadIntent) -> dict[str, Any]:
    category = dict(intent.parameters).get("category", "")
    return {"category": category, "list": [], "nextPageCursor": ""}
