"""Looks after orders that nobody waits for: unknown outcomes, disowned ones, expired ones, stops whose position is
gone, and what adds risk when the state says that none may.

Guarantees
- While the trading state is REDUCE_ONLY or worse, every working order that adds risk is cancelled: begun at once when
  the state becomes so and when an order begins to work meanwhile, and tried until it has ended. No withdrawal waits
  for another, for a round or for the disk; how many cancels go out together is `cancel_room`'s affair.
- No order that adds risk works longer than its time to live, or on a symbol that the policy no longer permits.
- A protective stop outlives every state and has no time to live. It is cancelled only when the bot does not know it, or
  when its position is surely gone and the bot has had ORPHAN_GRACE_NS to cancel it itself: one that stayed could close
  a later position at an old price.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.conductor import Conductor
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import resolve_order, withdraw_order
from trade_gateway.policy.model import SymbolKey

ROUND_EVERY_S = 1.0
RESOLVE_FOR_NS = 5 * NS_PER_S
# Of the questions that may be asked a second this is less than all: readings look orders up from the same budget.
RESOLVED_AT_ONCE = 4
# Three loops of freqtrade, which cancels the stop itself once it has noticed that its exit filled.
ORPHAN_GRACE_NS = 15 * NS_PER_S
log = logging.getLogger(__name__)


class OrderCare:
    """The rounds that are made over the ledger."""

    def __init__(
        self,
        *,
        ledger: OrderLedger,
        conductor: Conductor,
        clock: Clock,
        is_reduced: Callable[[], bool],
        time_to_live_s: Callable[[], int],
        is_flat: Callable[[str, int], bool],
        permits_symbol: Callable[[SymbolKey], bool],
        on_changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._conductor = conductor
        self._clock = clock
        self._is_reduced = is_reduced
        self._time_to_live_s = time_to_live_s
        self._is_flat = is_flat
        self._permits_symbol = permits_symbol
        self._on_changed = on_changed
        self._under_way: set[str] = set()  # tags, so that an order is withdrawn once at a time
        self._wanted = asyncio.Event()

    async def resolve_round(self) -> bool:
        """Ask for every unknown outcome once, a few at a time; True when none is left.

        Each has RESOLVE_FOR_NS from when its turn comes, so that one that hangs keeps a place and nobody waiting.
        """
        places = asyncio.Semaphore(RESOLVED_AT_ONCE)
        asked = [self._resolve(order, places) for order in self._ledger.unresolved()]
        failed = [one for one in await asyncio.gather(*asked, return_exceptions=True) if one is not None]
        if failed:
            raise failed[0]
        return not self._ledger.unresolved()

    async def _resolve(self, order: TrackedOrder, places: asyncio.Semaphore) -> None:
        async with places:
            deadline_ns = self._clock.monotonic_ns() + RESOLVE_FOR_NS
            await self._conductor.run(resolve_order(order, ledger=self._ledger, deadline_ns=deadline_ns))

    def withdraw_round(self) -> int:
        """Begin to cancel what must not work any longer; returns how many orders that were."""
        self._note_orphans()
        return sum(self.look_at(order) for order in self._ledger.open_orders())

    def look_at(self, order: TrackedOrder) -> bool:
        """Begin to cancel an order that must not work any longer, unless that is under way; True when it was begun."""
        reason = self._reason_to_withdraw(order)
        if reason is None or order.tag in self._under_way:
            return False
        self._under_way.add(order.tag)
        task = self._conductor.start(withdraw_order(order, ledger=self._ledger, reason=reason))
        task.add_done_callback(lambda ended: self._note_end(order.tag, ended))
        return True

    def want_round(self) -> None:
        """Let the next round begin at once: the state has become restrictive."""
        self._wanted.set()

    async def wait_for_round(self) -> None:
        """Return when the next round is due: after a while, or at once when one is wanted."""
        try:
            async with asyncio.timeout(ROUND_EVERY_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()

    def _note_orphans(self) -> None:
        """Mark the bot's stops whose position is gone; a position opened later is another one and lifts no mark."""
        for order in self._ledger.stops():
            is_settled = order.phase is Phase.WORKING and not order.is_gateways and order.orphaned_at_ns is None
            if is_settled and self._is_flat(order.intent.symbol, order.signed_at_ns):
                order.orphaned_at_ns = self._clock.monotonic_ns()

    def _note_end(self, tag: str, ended: asyncio.Task[None]) -> None:
        self._under_way.discard(tag)
        self._on_changed()
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.error("the withdrawal of %s failed; the next round tries again", tag, exc_info=error)

    def _reason_to_withdraw(self, order: TrackedOrder) -> str | None:
        if order.phase is not Phase.WORKING:
            return None
        if order.is_disowned:
            return "the bot does not know it"
        if order.orphaned_at_ns is not None and self._clock.monotonic_ns() - order.orphaned_at_ns > ORPHAN_GRACE_NS:
            return "the position that it protected is gone"
        if not order.adds_risk:
            return None
        if self._is_reduced():
            return "it adds risk, which the trading state does not permit"
        if not self._permits_symbol((order.intent.category, order.intent.symbol)):
            return "the policy does not permit its symbol any more"
        age_ns = self._clock.monotonic_ns() - order.signed_at_ns
        if age_ns > self._time_to_live_s() * NS_PER_S:
            return "its time to live is over"
        return None
