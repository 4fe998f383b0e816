"""What the control interface shows of the exchange: orders, positions, wallets, keys and prices."""

from __future__ import annotations

from collections.abc import Callable

from trade_simulator.accounts import Account
from trade_simulator.api.account import wallet_shape
from trade_simulator.api.positions import position_shape
from trade_simulator.api.shapes import Shape, number, order_message
from trade_simulator.bootstrap import Opening
from trade_simulator.exchange import Exchange
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.orders import Order, OrderQuery
from trade_simulator.paging import Page

PAGE = 50
# Per account and category; what is older is in the histories of the exchange itself.
MAX_ORDERS = 1_000
_SETTLE_COIN = "USDT"


def describe(exchange: Exchange, opening: Opening) -> Shape:
    """Show the whole exchange."""
    accounts = list(exchange.accounts.values())
    return {
        "environment": "SIMULATED",
        "accounts": [_account(account) for account in accounts],
        "orders": [row for account in accounts for row in _orders(account, exchange.working_orders)],
        "closed_orders": [row for account in accounts for row in _orders(account, exchange.order_history)],
        "positions": [row for account in accounts for row in _positions(exchange, account)],
        "wallets": {account.uid: wallet_shape(exchange.wallet(account.uid)) for account in accounts},
        "keys": [_key(key, opening) for key in exchange.keys.all()],
        "prices": {str(category): _prices(exchange, category) for category in Category},
    }


def _account(account: Account) -> Shape:
    return {
        "uid": account.uid,
        "parent_uid": account.parent_uid,
        "name": account.name,
        "is_frozen": account.is_frozen,
    }


def _orders(account: Account, ask: Callable[[str, OrderQuery], Page[Order]]) -> list[Shape]:
    rows: list[Shape] = []
    for category in Category:
        settle_coin = _SETTLE_COIN if category is Category.LINEAR else ""
        cursor = ""
        for _ in range(MAX_ORDERS // PAGE):
            page = ask(
                account.uid,
                OrderQuery(category=category, settle_coin=settle_coin, limit=PAGE, cursor=cursor),
            )
            rows.extend(order_message(order) | {"uid": account.uid} for order in page.items)
            cursor = page.next_cursor
            if not cursor:
                break
    return rows


def _positions(exchange: Exchange, account: Account) -> list[Shape]:
    positions = exchange.positions(account.uid, category=Category.LINEAR, settle_coin=_SETTLE_COIN)
    return [position_shape(position) | {"uid": account.uid} for position in positions if position.side]


def _key(key: ApiKey, opening: Opening) -> Shape:
    roles = [role for role, made in opening.keys.items() if made.api_key == key.api_key]
    return {
        "key": key.api_key,
        "uid": key.uid,
        "role": roles[0] if roles else "",
        "note": key.note,
        "read_only": key.read_only,
        "permissions": {group: list(names) for group, names in key.permissions.items()},
        "ips": list(key.ips),
    }


def _prices(exchange: Exchange, category: Category) -> Shape:
    prices: Shape = {}
    for instrument in exchange.instruments.values():
        if instrument.category is not category:
            continue
        market, symbol = exchange.market, instrument.symbol
        book = market.book(category, symbol, depth=1)
        prices[symbol] = {
            "last": number(market.last_price(category, symbol)),
            "mark": number(market.mark_price(category, symbol)),
            "index": number(market.index_price(category, symbol)),
            "bid": number(book.bids[0][0]) if book.bids else "",
            "ask": number(book.asks[0][0]) if book.asks else "",
        }
    return prices
