"""Looks after orders that nobody waits for: unknown outcomes, disowned ones, expired ones, stops whose position is
gone, and what adds risk when the state says that none may.

Guarantees
- While the trading state is REDUCE_ONLY or worse, every working order that adds risk is cancelled, begun at once and
  tried until it has ended; no order that adds risk works longer than its time to live, or on a symbol that the policy
  no longer permits.
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
# A burst of cancels stays within what the exchange takes from one account in a second.
MAX_CANCELS_AT_ONCE = 10
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
        reduced: asyncio.Event,
        time_to_live_s: Callable[[], int],
        is_flat: Callable[[str, int], bool],
        permits_symbol: Callable[[SymbolKey], bool],
        on_changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._conductor = conductor
        self._clock = clock
        self._reduced = reduced
        self._time_to_live_s = time_to_live_s
        self._is_flat = is_flat
        self._permits_symbol = permits_symbol
        self._on_changed = on_changed

    async def resolve_round(self) -> bool:
        """Ask for every unknown outcome once; True when none is left."""
        for order in self._ledger.unresolved():
            deadline_ns = self._clock.monotonic_ns() + RESOLVE_FOR_NS
            await self._conductor.run(resolve_order(order, ledger=self._ledger, deadline_ns=deadline_ns))
        return not self._ledger.unresolved()

    async def withdraw_round(self) -> int:
        """Cancel what must not work any longer; returns how many orders that were."""
        self._note_orphans()
        due = [(order, reason) for order in self._ledger.open_orders() if (reason := self._reason_to_withdraw(order))]
        for start in range(0, len(due), MAX_CANCELS_AT_ONCE):
            batch = due[start : start + MAX_CANCELS_AT_ONCE]
            await asyncio.gather(*(self._withdraw(order, reason) for order, reason in batch))
        if due:
            self._on_changed()
        return len(due)

    async def wait_for_round(self) -> None:
        """Return when the next round is due: after a while, or at once when the state becomes restrictive."""
        was_reduced = self._reduced.is_set()
        try:
            async with asyncio.timeout(ROUND_EVERY_S):
                if was_reduced:
                    await asyncio.sleep(ROUND_EVERY_S)
                await self._reduced.wait()
        except TimeoutError:
            pass

    def _note_orphans(self) -> None:
        """Mark the bot's stops whose position is gone; a position opened later is another one and lifts no mark."""
        for order in self._ledger.stops():
            is_settled = order.phase is Phase.WORKING and not order.is_gateways and order.orphaned_at_ns is None
            if is_settled and self._is_flat(order.intent.symbol, order.signed_at_ns):
                order.orphaned_at_ns = self._clock.monotonic_ns()

    async def _withdraw(self, order: TrackedOrder, reason: str) -> None:
        await self._conductor.run(withdraw_order(order, ledger=self._ledger, reason=reason))

    def _reason_to_withdraw(self, order: TrackedOrder) -> str | None:
        if order.phase is not Phase.WORKING:
            return None
        if order.is_disowned:
            return "the bot does not know it"
        if order.orphaned_at_ns is not None and self._clock.monotonic_ns() - order.orphaned_at_ns > ORPHAN_GRACE_NS:
            return "the position that it protected is gone"
        if not order.adds_risk:
            return None
        if self._reduced.is_set():
            return "it adds risk, which the trading state does not permit"
        if not self._permits_symbol((order.intent.category, order.intent.symbol)):
            return "the policy does not permit its symbol any more"
        age_ns = self._clock.monotonic_ns() - order.signed_at_ns
        if age_ns > self._time_to_live_s() * NS_PER_S:
            return "its time to live is over"
        return None
