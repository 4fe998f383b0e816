"""The account as a closing touches it, with the exit key: reads what is open, and sends orders that reduce.

Guarantees
- An order of a contract is always sent with reduceOnly; one of spot is always a sale without borrowing. No caller can
  have it otherwise: these words are written here, and a purchase of coins is refused.
- Each order has an order link id of the kill, and is sent once.
- What is open is read as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.money import format_decimal
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.flatten_plan import ExitOrder, OpenFacts, Style
from trade_killswitch.metrics import RequestKind
from trade_killswitch.open_book import (
    Coin,
    Market,
    Position,
    parse_coins,
    parse_market,
    parse_positions,
    reference_of,
)
from trade_killswitch.sweep_plan import Reading
from trade_killswitch.working_orders import BOOKS, Book, Category, WorkingOrder, merged

READING_TIMEOUT_S: Final = 8.0
PLACING_TIMEOUT_S: Final = 5.0
PAGE_POSITIONS: Final = 200
MARKETS_MAX: Final = 60
Symbol = tuple[Category, str]


class ExitOrders:
    """One kill's closing of one account."""

    def __init__(self, *, exchange: ExitExchange, kill_id: str, quote_coin: str) -> None:
        self._exchange = exchange
        self._calls: ExchangeCalls = exchange.calls
        self._kill_id = kill_id
        self._quote_coin = quote_coin
        self._numbers = itertools.count(1)
        self._infos: dict[Symbol, dict[str, Any] | None] = {}
        self.sent = 0

    async def read_open(self) -> OpenFacts | None:
        """Read everything that is open; None when a part of it cannot be read."""
        try:
            async with asyncio.timeout(READING_TIMEOUT_S):
                return await self._read_open()
        except* (ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError):
            pass
        return None

    async def place(self, orders: Sequence[ExitOrder]) -> None:
        """Send each order once, within PLACING_TIMEOUT_S; the next reading tells what came of them."""
        tasks = [asyncio.create_task(self._place(order)) for order in orders]
        _, late = await asyncio.wait(tasks, timeout=PLACING_TIMEOUT_S) if tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_open(self) -> OpenFacts:
        books = [book for book in BOOKS if book.category is not Category.SPOT]
        async with asyncio.TaskGroup() as group:
            wallet = group.create_task(self._calls.get("/v5/account/wallet-balance", "accountType=UNIFIED"))
            readings = group.create_task(self._exchange.read_shelves())
            lists = [group.create_task(self._positions(book)) for book in books]
        positions = tuple(itertools.chain.from_iterable(task.result() for task in lists))
        coins = tuple(parse_coins(wallet.result().result))
        symbols: list[Symbol] = [(position.category, position.symbol) for position in positions]
        symbols += [(Category.SPOT, coin.coin + self._quote_coin) for coin in coins if self._may_be_sold(coin)]
        known = list(dict.fromkeys(symbols))[:MARKETS_MAX]
        markets = await asyncio.gather(*(self._market(*symbol) for symbol in known))
        return OpenFacts(
            positions=positions,
            coins=coins,
            markets={symbol: market for symbol, market in zip(known, markets, strict=True) if market is not None},
            orders=_orders(readings.result()),
        )

    async def _positions(self, book: Book) -> list[Position]:
        query = f"category={book.category.value}&limit={PAGE_POSITIONS}"
        if book.settle_coin:
            query += f"&settleCoin={book.settle_coin}"
        return parse_positions(await self._calls.pages("/v5/position/list", query), book.category)

    def _may_be_sold(self, coin: Coin) -> bool:
        return coin.coin != self._quote_coin and coin.total > 0

    async def _market(self, category: Category, symbol: str) -> Market | None:
        """Read what it takes to price an order; None for a symbol that is not there, or not readable now."""
        with contextlib.suppress(ExchangeUnavailable, ExchangeAnswerInvalid):
            info = await self._info(category, symbol)
            if info is None:
                return None
            ticker = await self._row("/v5/market/tickers", category, symbol)
            return (
                None if ticker is None else parse_market(ticker, info, reference=await self._reference(ticker, symbol))
            )
        return None

    async def _reference(self, ticker: dict[str, Any], symbol: str) -> Decimal | None:
        """Return the index price: of spot, that of the linear contract of the same coins."""
        if "indexPrice" in ticker:
            return reference_of(ticker)
        with contextlib.suppress(ExchangeUnavailable, ExchangeAnswerInvalid):
            contract = await self._row("/v5/market/tickers", Category.LINEAR, symbol)
            if contract is not None:
                return reference_of(contract)
        return reference_of(ticker)

    async def _info(self, category: Category, symbol: str) -> dict[str, Any] | None:
        if (category, symbol) not in self._infos:
            row = await self._row("/v5/market/instruments-info", category, symbol)
            self._infos[category, symbol] = row
        return self._infos[category, symbol]

    async def _row(self, path: str, category: Category, symbol: str) -> dict[str, Any] | None:
        """Read the one row about a symbol; None when the exchange knows none. Raises as the calls do."""
        answer = await self._calls.ask(path, f"category={category.value}&symbol={symbol}")
        rows = answer.result.get("list")
        if not answer.is_ok or not isinstance(rows, list):
            return None
        return next((row for row in rows if isinstance(row, dict) and row.get("symbol") == symbol), None)

    async def _place(self, order: ExitOrder) -> None:
        await self._calls.post("/v5/order/create", self._body(order), kind=RequestKind.REDUCE)
        self.sent += 1

    def _body(self, order: ExitOrder) -> dict[str, Any]:
        content: dict[str, Any] = {
            "category": order.category.value,
            "symbol": order.symbol,
            "side": "Sell" if order.is_sale else "Buy",
            "qty": format_decimal(order.quantity),
            "orderLinkId": f"kill-{self._kill_id}-{next(self._numbers)}",
        }
        if order.category is Category.SPOT:
            if not order.is_sale:
                raise ValueError("a closing buys no coins")
            content["isLeverage"] = 0
        else:
            content |= {"reduceOnly": True, "positionIdx": order.position_idx}
        match order.style:
            case Style.STOP:
                # Directions: Bybit V5 "Place Order", 1 when the price rises to the trigger, 2 when it falls to it.
                direction = 2 if order.is_sale else 1
                trigger = {"triggerPrice": format_decimal(order.price), "triggerDirection": direction}
                return content | {"orderType": "Market", "timeInForce": "IOC", "triggerBy": "MarkPrice"} | trigger
            case Style.POST_ONLY | Style.TAKE:
                time_in_force = "PostOnly" if order.style is Style.POST_ONLY else "IOC"
                return content | {
                    "orderType": "Limit",
                    "price": format_decimal(order.price),
                    "timeInForce": time_in_force,
                }


def _orders(readings: Sequence[Reading]) -> tuple[WorkingOrder, ...]:
    """Join the lists of each book. Raises ExchangeUnavailable when one could not be read."""
    if any(reading.orders is None for reading in readings):
        raise ExchangeUnavailable("not every list of working orders can be read")
    found: list[WorkingOrder] = []
    for book in BOOKS:
        found += merged([reading.orders or () for reading in readings if reading.shelf.book == book])
    return tuple(found)
