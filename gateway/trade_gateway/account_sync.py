"""Keeps the gateway's view of the account: what became of its orders, what coins are held, which positions stand.

Guarantees
- An order stops counting only when the exchange has shown it in a terminal state.
- Facts that are older than a bound are not used: the view is stale, and a stale view denies new risk.

It reads by REST every two seconds, and at once when something has just changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_core.money import parse_exchange_decimal
from trade_gateway.commands import AppendLater, AskOrder, CannotAsk, Found, NotFound
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import TERMINAL_STATUSES, report_unknown_fill
from trade_gateway.policy.decision import AccountFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.recorder import Recorder
from trade_gateway.upstream import ORDER_REALTIME_PATH, Upstream, order_items
from trade_gateway.wire.intents import Category
from trade_journal.rows import RowKind

SYNC_EVERY_S = 2.0
STALE_AFTER_NS = 10 * NS_PER_S
QUOTE_COIN = "USDT"
_READ_AGAIN_WITHIN_S = 2.0
_READ_AGAIN_APART_S = 0.25
_PAGE = 50
_MAX_PAGES = 20  # 1,000 open orders; the exchange permits 500 a symbol, the policy far fewer
_MAX_LOOKUPS = 50  # orders looked up one by one in one round
# Whatever the bot does, it sets off no more readings than this: they count against the exchange's request limits.
_SPACING_S = 0.25
log = logging.getLogger(__name__)


class AccountSync:
    """The view and the loop that keeps it."""

    def __init__(
        self,
        *,
        client: BybitClient,
        upstream: Upstream,
        ledger: OrderLedger,
        recorder: Recorder,
        clock: Clock,
        categories: frozenset[Category],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._ledger = ledger
        self._recorder = recorder
        self._clock = clock
        self._categories = categories
        self._holdings: dict[str, Decimal] = {}
        self._positions: dict[str, Decimal] = {}
        self._read_at_ns: int | None = None
        self._wanted = asyncio.Event()
        self._reading = asyncio.Lock()
        self._reading_again = asyncio.Lock()

    def is_stale(self) -> bool:
        """Tell whether the last complete reading is missing or too old."""
        return self._read_at_ns is None or self._clock.monotonic_ns() - self._read_at_ns > STALE_AFTER_NS

    def age_s(self) -> float | None:
        """Seconds since the last complete reading began."""
        return None if self._read_at_ns is None else (self._clock.monotonic_ns() - self._read_at_ns) / NS_PER_S

    def request(self) -> None:
        """Ask for a reading now: something has changed."""
        self._wanted.set()

    async def wait_for_turn(self) -> None:
        """Return when the next reading is due."""
        try:
            async with asyncio.timeout(SYNC_EVERY_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        else:
            await asyncio.sleep(_SPACING_S)
        self._wanted.clear()

    async def read(self) -> None:
        """Read everything once. Raises ExchangeUnavailable, ExchangeAnswerInvalid, InvalidNumber."""
        async with self._reading:
            try:
                await self._read_once()
            except (KeyError, TypeError, AttributeError) as error:
                raise ExchangeAnswerInvalid(
                    f"an answer about the account lacks its form ({type(error).__name__})"
                ) from error

    async def _read_once(self) -> None:
        began_ns = self._clock.monotonic_ns()
        for category in sorted(self._categories, key=lambda item: item.value):
            await self._read_orders(category)
        holdings = await self._read_holdings()
        positions = await self._read_positions() if Category.LINEAR in self._categories else {}
        self._holdings, self._positions = holdings, positions
        self._read_at_ns = began_ns

    async def read_again(self) -> bool:
        """Read out of turn, for a decision that hangs on it. Returns whether a reading began after this call.

        Calls share readings, and these begin at least _READ_AGAIN_APART_S apart, whoever asks.
        """
        asked_at_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(_READ_AGAIN_WITHIN_S), self._reading_again:
                if self._read_at_ns is None or self._read_at_ns < asked_at_ns:
                    await self._pause_since_last_reading()
                    await self.read()
        except (TimeoutError, TradeError, KeyError, TypeError, AttributeError):
            return False
        return True

    async def _pause_since_last_reading(self) -> None:
        if self._read_at_ns is not None:
            elapsed_s = (self._clock.monotonic_ns() - self._read_at_ns) / NS_PER_S
            await asyncio.sleep(max(0.0, _READ_AGAIN_APART_S - elapsed_s))

    def facts(self, instruments: Mapping[tuple[Category, str], Instrument], unpinned: frozenset[str]) -> AccountFacts:
        """Return what a decision needs to know of the account, worst case."""
        sellable: dict[str, Decimal] = {}
        for (category, symbol), instrument in instruments.items():
            if category is Category.SPOT:
                held = self._holdings.get(instrument.base_coin, Decimal(0))
                sellable[instrument.base_coin] = max(Decimal(0), held - self._ledger.working_sell_quantity(symbol))
        return AccountFacts(
            working_orders=self._ledger.open_count(),
            unresolved_symbols=self._ledger.unresolved_symbols(),
            sellable_base=sellable,
            positions=dict(self._positions),
            leverage_unpinned_symbols=unpinned,
            is_trusted=not self.is_stale(),
        )

    async def _read_orders(self, category: Category) -> None:
        tracked = [o for o in self._ledger.open_orders() if o.intent.category is category and o.phase is Phase.WORKING]
        if not tracked:
            return
        open_at_exchange = await self._open_orders(category)
        lookups = 0
        for order in tracked:
            item = open_at_exchange.get(order.tag)
            if item is not None:
                filled = parse_exchange_decimal(str(item.get("cumExecQty") or "0"))
                self._observe(order, status=str(item.get("orderStatus", "")), filled=filled)
            elif lookups < _MAX_LOOKUPS:
                lookups += 1
                await self._look_up(order)

    def _observe(self, order: TrackedOrder, *, status: str, filled: Decimal) -> None:
        self._ledger.observe(order.tag, status=status, filled=filled)
        for row in report_unknown_fill(order, filled=filled):
            if isinstance(row, AppendLater):
                self._recorder.append_later(row.kind, row.fields)

    async def _open_orders(self, category: Category) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        query = {"category": category.value, "openOnly": "0", "limit": str(_PAGE)}
        if category is Category.LINEAR:
            query["settleCoin"] = QUOTE_COIN
        for _ in range(_MAX_PAGES):
            answer = await self._client.get(ORDER_REALTIME_PATH, urlencode(query))
            items = order_items(answer)
            found.update(
                (str(item.get("orderLinkId")), item)
                for item in items
                if item.get("orderStatus") not in TERMINAL_STATUSES
            )
            cursor = answer.result.get("nextPageCursor")
            if not cursor or len(items) < _PAGE:
                return found
            query["cursor"] = str(cursor)
        raise ExchangeAnswerInvalid(f"more than {_MAX_PAGES * _PAGE} open orders")

    async def _look_up(self, order: TrackedOrder) -> None:
        """An order that is not among the open ones has ended, or the list was a moment behind: ask for it."""
        intent = order.intent
        asked = await self._upstream.ask_order(AskOrder(category=intent.category, symbol=intent.symbol, tag=order.tag))
        match asked:
            case Found() if asked.status in TERMINAL_STATUSES:
                self._observe(order, status=asked.status, filled=parse_exchange_decimal(asked.filled))
                self._ledger.finish(order.tag, status=asked.status)
                self._recorder.append_later(
                    RowKind.ORDER_RESOLVED,
                    {"tag": order.tag, "result": "ended", "status": asked.status, "filled": asked.filled},
                )
            case Found():
                self._observe(order, status=asked.status, filled=parse_exchange_decimal(asked.filled))
            case NotFound():
                # Acknowledged and now unknown there: it keeps counting until the exchange shows its end.
                log.warning("the exchange does not show the acknowledged order %s", order.tag)
            case CannotAsk(is_budget=True):
                pass  # it keeps counting, and the next reading asks again
            case CannotAsk():
                raise ExchangeUnavailable(asked.reason)

    async def _read_holdings(self) -> dict[str, Decimal]:
        answer = await self._client.get("/v5/account/wallet-balance", "accountType=UNIFIED")
        accounts = answer.result.get("list")
        if not answer.is_ok or not isinstance(accounts, list) or not accounts:
            raise ExchangeAnswerInvalid(f"no wallet in the exchange's answer (code {answer.ret_code})")
        holdings: dict[str, Decimal] = {}
        for item in accounts[0].get("coin", []):
            holdings[str(item["coin"])] = parse_exchange_decimal(item["walletBalance"])
        return holdings

    async def _read_positions(self) -> dict[str, Decimal]:
        answer = await self._client.get("/v5/position/list", f"category=linear&settleCoin={QUOTE_COIN}&limit=200")
        items = answer.result.get("list")
        if not answer.is_ok or not isinstance(items, list):
            raise ExchangeAnswerInvalid(f"no positions in the exchange's answer (code {answer.ret_code})")
        positions: dict[str, Decimal] = {}
        for item in items:
            size = parse_exchange_decimal(item["size"])
            if size != 0:
                positions[str(item["symbol"])] = size if item["side"] == "Buy" else -size
        return positions
