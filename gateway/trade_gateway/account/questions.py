"""What is asked of the exchange about the account, and answers as domain types: orders, executions, wallet, positions.

An answer is whole or it is an error: pages are followed to their end, and an end that does not come is refused. Of
executions, which go back for years, the end is what the last reading saw; the first reading takes the latest page, and
what the orders of before have filled is told by the orders themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.errors import ExchangeAnswerInvalid
from trade_gateway.account.messages import (
    ExecutionSeen,
    OrderSeen,
    PositionSeen,
    WalletSeen,
    parse_execution,
    parse_order,
    parse_position,
    parse_wallet,
)
from trade_gateway.order_flow import TERMINAL_STATUSES
from trade_gateway.upstream import ORDER_REALTIME_PATH
from trade_gateway.wire.intents import Category

QUOTE_COIN = "USDT"
_PAGE = 50
_MAX_PAGES = 20  # 1,000 open orders; the exchange permits 500 a symbol, the policy far fewer
_EXECUTIONS_PAGE = 100
_POSITIONS_PAGE = 200
_CURSOR = re.compile(r"[A-Za-z0-9._~=,:;/%+-]{1,512}", re.ASCII)


async def ask_open_orders(client: BybitClient, category: Category) -> list[OrderSeen]:
    """Read every open order of a category. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    found: dict[str, OrderSeen] = {}
    settled = f"&settleCoin={QUOTE_COIN}" if category is Category.LINEAR else ""
    query = f"category={category.value}&openOnly=0&limit={_PAGE}{settled}"

    def take(items: list[Any]) -> bool:
        for item in items:
            seen = parse_order(item, category)
            if seen is not None and seen.status not in TERMINAL_STATUSES:
                found[seen.order_id] = seen
        return True

    await _each_page(client, ORDER_REALTIME_PATH, query, take, what="open orders")
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """What was read, newest first, and the ids of the newest page: back to one of them the next reading goes."""

    seen: list[ExecutionSeen]
    newest: frozenset[str]


async def ask_executions(client: BybitClient, category: Category, *, back_to: Set[str] | None) -> Executions:
    """Read executions back to one of these ids or to the first of all; of None, the newest page alone.

    Raises ExchangeUnavailable, ExchangeAnswerInvalid.
    """
    seen: list[ExecutionSeen] = []
    pages: list[frozenset[str]] = []

    def take(items: list[Any]) -> bool:
        seen.extend(one for item in items if (one := parse_execution(item, category)) is not None)
        pages.append(frozenset(str(item.get("execId")) for item in items))
        return back_to is not None and not pages[-1] & back_to

    query = f"category={category.value}&limit={_EXECUTIONS_PAGE}"
    await _each_page(client, "/v5/execution/list", query, take, what="executions")
    return Executions(seen=seen, newest=pages[0])


async def ask_wallet(client: BybitClient) -> WalletSeen:
    """Read the unified wallet. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    answer = await client.get("/v5/account/wallet-balance", "accountType=UNIFIED")
    accounts = _items(answer, "wallets")
    wallet = parse_wallet(accounts[0], at_ms=answer.time_ms, is_whole=True) if accounts else None
    if wallet is None:
        raise ExchangeAnswerInvalid("no unified wallet in the exchange's answer")
    return wallet


async def ask_positions(client: BybitClient) -> list[PositionSeen]:
    """Read the linear positions. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    found: list[PositionSeen] = []

    def take(items: list[Any]) -> bool:
        found.extend(seen for item in items if (seen := parse_position(item)) is not None)
        return True

    query = f"category=linear&settleCoin={QUOTE_COIN}&limit={_POSITIONS_PAGE}"
    await _each_page(client, "/v5/position/list", query, take, what="positions")
    return found


async def _each_page(
    client: BybitClient, path: str, query: str, take: Callable[[list[Any]], bool], *, what: str
) -> None:
    """Follow a list to its end, a page without a cursor to the next or an empty one, or until `take` wants no more."""
    cursor = ""
    for _ in range(_MAX_PAGES):
        # Given back as it came, but for the one character of base64 that a query turns into a space.
        answer = await client.get(path, f"{query}&cursor={cursor.replace('+', '%2B')}" if cursor else query)
        items, following = _items(answer, what), answer.result.get("nextPageCursor") or ""
        if not take(items) or not items or not following:
            return
        if not isinstance(following, str) or _CURSOR.fullmatch(following) is None or following == cursor:
            raise ExchangeAnswerInvalid(f"the list of {what} goes on at an odd place")
        cursor = following
    raise ExchangeAnswerInvalid(f"more than {_MAX_PAGES} pages of {what}")


def _items(answer: Answer, what: str) -> list[Any]:
    items = answer.result.get("list")
    if not answer.is_ok or not isinstance(items, list):
        raise ExchangeAnswerInvalid(f"no {what} in the exchange's answer (code {answer.ret_code})")
    return items
