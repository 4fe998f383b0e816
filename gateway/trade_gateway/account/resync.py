"""Reads the whole account by REST, every two seconds and at once when something has just changed.

Guarantees
- An order stops counting only when the exchange has shown it in a terminal state.
- A reading is complete or none: what fails half-way leaves the last complete one, which ages.
- Holdings and positions are asked for after the orders, so that every fill known by then is in them.

Whatever asks for readings, they keep a distance: they count against the exchange's request limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_core.money import parse_exchange_decimal
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.questions import ask_executions, ask_open_orders, ask_positions, ask_wallet
from trade_gateway.account.trust import STALE_AFTER_NS, Trusted
from trade_gateway.account.view import Reading
from trade_gateway.commands import AskOrder, CannotAsk, Found, NotFound
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.policy.facts import AccountFacts
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.upstream import Upstream
from trade_gateway.wire.intents import Category

SYNC_EVERY_S = 2.0
_READ_AGAIN_WITHIN_S = 2.0
_READ_AGAIN_APART_S = 0.25
_MAX_LOOKUPS = 50  # orders looked up one by one in one round
# Fills are told by orders too; the list of executions is read when trust is at stake, and now and then.
_EXECUTIONS_EVERY_NS = 10 * NS_PER_S
_SPACING_S = 0.25
log = logging.getLogger(__name__)


class AccountSync:
    """The readings and their rhythm."""

    def __init__(
        self,
        *,
        client: BybitClient,
        upstream: Upstream,
        ledger: OrderLedger,
        keeper: AccountKeeper,
        clock: Clock,
        categories: frozenset[Category],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._ledger = ledger
        self._clock = clock
        self._categories: list[Category] = []
        self.follow(categories)
        self._executions_read_at_ns: int | None = None
        self._executions_seen: dict[Category, frozenset[str]] = {}  # by the last reading
        self._wanted = asyncio.Event()
        self._reading = asyncio.Lock()
        self._reading_again = asyncio.Lock()
        self.keeper = keeper
        keeper.on_news = self.request

    def follow(self, categories: Iterable[Category]) -> None:
        """Read these categories too from now on. None is ever left out again: something of it may be held."""
        self._categories = sorted({*self._categories, *categories}, key=lambda item: item.value)

    @property
    def _read_at_ns(self) -> int | None:
        return self.keeper.view.trust_keeper.read_at_ns

    def is_stale(self) -> bool:
        """Tell whether the last complete reading is missing or too old."""
        return self._read_at_ns is None or self._clock.monotonic_ns() - self._read_at_ns > STALE_AFTER_NS

    def age_s(self) -> float | None:
        """Seconds since the last complete reading began."""
        return self.keeper.age_s()

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
        self.keeper.note_trust()

    async def _read_once(self) -> None:
        view = self.keeper.view
        reading = view.begin_reading(now_ns=self._clock.monotonic_ns())
        for category in self._categories:
            await self._read_orders(category, reading)
        await self._read_executions()
        self.keeper.apply(view.count_fills(now_ns=self._clock.monotonic_ns()))
        marks = self._ledger.fill_marks()
        wallet = await ask_wallet(self._client)
        positions = await ask_positions(self._client) if Category.LINEAR in self._categories else None
        view.end_reading(reading, wallet=wallet, positions=positions, marks=marks, now_ns=self._clock.monotonic_ns())

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

    def facts(self, unpinned: frozenset[str], message_level: MessageLevel) -> AccountFacts:
        """Return what the policy needs to know of the account, worst case."""
        return self.keeper.facts(unpinned=unpinned, message_level=message_level)

    async def _read_orders(self, category: Category, reading: Reading) -> None:
        tracked = [o for o in self._ledger.open_orders() if o.intent.category is category and o.phase is Phase.WORKING]
        listed = await ask_open_orders(self._client, category)
        view = self.keeper.view
        self.keeper.apply(view.read_open_orders(category, listed, reading, now_ns=self._clock.monotonic_ns()))
        tags = {seen.tag for seen in listed}
        missing = [order for order in tracked if order.tag not in tags and order.phase is Phase.WORKING]
        for order in missing[:_MAX_LOOKUPS]:
            await self._look_up(order)

    async def _look_up(self, order: TrackedOrder) -> None:
        """An order that is not among the open ones has ended, or the list was a moment behind: ask for it."""
        intent = order.intent
        asked = await self._upstream.ask_order(AskOrder(category=intent.category, symbol=intent.symbol, tag=order.tag))
        match asked:
            case Found():
                changes = self.keeper.view.read_order(
                    order,
                    order_id=asked.order_id,
                    status=asked.status,
                    filled=parse_exchange_decimal(asked.filled),
                    now_ns=self._clock.monotonic_ns(),
                )
                self.keeper.apply(changes)
            case NotFound():
                # Acknowledged and now unknown there: it keeps counting until the exchange shows its end.
                log.warning("the exchange does not show the acknowledged order %s", order.tag)
            case CannotAsk(is_budget=True):
                pass  # it keeps counting, and the next reading asks again
            case CannotAsk():
                raise ExchangeUnavailable(asked.reason)

    async def _read_executions(self) -> None:
        now_ns = self._clock.monotonic_ns()
        last_ns = self._executions_read_at_ns
        if last_ns is not None and now_ns - last_ns < _EXECUTIONS_EVERY_NS and isinstance(self.keeper.trust(), Trusted):
            return
        for category in self._categories:
            # Forgotten first: when more has happened than pages are followed, the next reading begins anew.
            back_to = self._executions_seen.pop(category, None)
            executions = await ask_executions(self._client, category, back_to=back_to)
            for seen in executions.seen:
                self.keeper.apply(self.keeper.view.read_execution(seen, now_ns=self._clock.monotonic_ns()))
            self._executions_seen[category] = executions.newest
        self._executions_read_at_ns = now_ns
