"""What is asked of the exchange about the account, and answers as domain types: orders, executions, wallet, positions.

An answer is whole or it is an error: pages are followed to their end, and an end that does not come is refused.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

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
from trade_gateway.upstream import ORDER_REALTIME_PATH, order_items
from trade_gateway.wire.intents import Category

QUOTE_COIN = "USDT"
_PAGE = 50
_MAX_PAGES = 20  # 1,000 open orders; the exchange permits 500 a symbol, the policy far fewer
_EXECUTIONS_PAGE = 100


async def ask_open_orders(client: BybitClient, category: Category) -> list[OrderSeen]:
    """Read every open order of a category. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    found: dict[str, OrderSeen] = {}
    query = {"category": category.value, "openOnly": "0", "limit": str(_PAGE)}
    if category is Category.LINEAR:
        query["settleCoin"] = QUOTE_COIN
    for _ in range(_MAX_PAGES):
        answer = await client.get(ORDER_REALTIME_PATH, urlencode(query))
        items = order_items(answer)
        for item in items:
            seen = parse_order(item, category)
            if seen is not None and seen.status not in TERMINAL_STATUSES:
                found[seen.order_id] = seen
        cursor = answer.result.get("nextPageCursor")
        if not cursor or len(items) < _PAGE:
            return list(found.values())
        query["cursor"] = str(cursor)
    raise ExchangeAnswerInvalid(f"more than {_MAX_PAGES * _PAGE} open orders")


async def ask_executions(client: BybitClient, category: Category) -> list[ExecutionSeen]:
    """Read the latest executions of a category. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    answer = await client.get("/v5/execution/list", f"category={category.value}&limit={_EXECUTIONS_PAGE}")
    return [seen for item in _items(answer, "executions") if (seen := parse_execution(item, category)) is not None]


async def ask_wallet(client: BybitClient) -> WalletSeen:
    """Read the unified wallet. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    answer = await client.get("/v5/account/wallet-balance", "accountType=UNIFIED")
    accounts = _items(answer, "wallets")
    wallet = parse_wallet(accounts[0], at_ms=answer.time_ms) if accounts else None
    if wallet is None:
        raise ExchangeAnswerInvalid("no unified wallet in the exchange's answer")
    return wallet


async def ask_positions(client: BybitClient) -> list[PositionSeen]:
    """Read the linear positions. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
    answer = await client.get("/v5/position/list", f"category=linear&settleCoin={QUOTE_COIN}&limit=200")
    return [seen for item in _items(answer, "positions") if (seen := parse_position(item)) is not None]


def _items(answer: Answer, what: str) -> list[Any]:
    items = answer.result.get("list")
    if not answer.is_ok or not isinstance(items, list):
        raise ExchangeAnswerInvalid(f"no {what} in the exchange's answer (code {answer.ret_code})")
    return items
