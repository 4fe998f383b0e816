"""The loops that keep a gateway's parts true to the exchange, the policy file and the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from trade_core.errors import ExchangeUnavailable
from trade_gateway.baseline import stranger_fields
from trade_gateway.journal_guard import JournalGuard
from trade_gateway.loss_guard import LossGuard
from trade_gateway.parts import Parts
from trade_gateway.policy_keeper import LOOK_EVERY_S
from trade_gateway.startup import EXPECTED_TROUBLE, KeyRefused
from trade_gateway.states import Fault
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import RowKind

_RETRY_S = 1.0
_WATCH_STATE_EVERY_S = 0.25
_CHECKPOINT_EVERY_S = 5
_WARM_EVERY_S = 5
log = logging.getLogger(__name__)


class Loops:
    """Every loop of one gateway, each kept alive until `stop`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.fatal: KeyRefused | None = None

    def start(self, *, stop: asyncio.Event) -> None:
        """Begin them all. `stop` is set when the process must end, and `fatal` then says why."""
        parts = self._parts
        self._stop = stop
        loss_guard = LossGuard(
            losses_now=parts.losses_now, clock=parts.clock, recorder=parts.recorder, faults=parts.states
        )
        loops: list[Callable[[], Awaitable[None]]] = [
            parts.proof.run,
            parts.fees.run,
            loss_guard.run,
            parts.private_stream.run,
            parts.ticker_stream.run,
            parts.references.keep_reading,
            parts.memory.keep,
            self._keep_account,
            self._keep_resolving,
            self._keep_withdrawing,
            self._keep_disaster_stops,
            self._keep_policy,
            self._watch_state,
            self._keep_counts,
            self._keep_checkpoints,
            self._keep_warm,
        ]
        self.tasks = [asyncio.create_task(self._supervised(loop)) for loop in loops]

    async def stop(self) -> None:
        """End them all."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _supervised(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep one loop alive: what it did not expect is logged, and it begins again."""
        while not self._stop.is_set():
            try:
                await loop()
                return
            except KeyRefused as error:
                self.fatal = error
                self._stop.set()
                return
            except Exception:
                log.exception("a background loop failed and begins again")
                await asyncio.sleep(_RETRY_S)

    async def _keep_policy(self) -> None:
        while not self._stop.is_set():
            await self._parts.policies.work()
            await self._parts.rings.work()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _keep_account(self) -> None:
        was_down = False
        while not self._stop.is_set():
            try:
                await self._parts.account.read()
            except (*EXPECTED_TROUBLE, KeyError, TypeError, AttributeError) as error:
                if not was_down:
                    log.warning("the account cannot be read: %s", error)
                was_down = True
            else:
                if was_down:
                    log.info("the account can be read again")
                was_down = False
            self._note_account()
            await self._parts.account.wait_for_turn()

    async def _keep_resolving(self) -> None:
        while not self._stop.is_set():
            is_all_known = await self._parts.care.resolve_round()
            self._parts.states.set_fault(Fault.ORDERS_UNRECONCILED, is_there=not is_all_known)
            await asyncio.sleep(_RETRY_S)

    async def _keep_withdrawing(self) -> None:
        parts = self._parts
        parts.states.on_reduced = parts.care.want_round
        parts.ledger.on_working = parts.care.look_at
        while not self._stop.is_set():
            parts.care.withdraw_round()
            await parts.care.wait_for_round()

    async def _keep_disaster_stops(self) -> None:
        while not self._stop.is_set():
            await self._parts.disaster.run_round()
            await self._parts.disaster.wait_for_round()

    def _note_account(self) -> None:
        """Raise or clear what streams and readings are the cause of. An unknown outcome denies, it is no fault."""
        parts = self._parts
        parts.keeper.note_trust()
        for seen in parts.strangers.news(parts.keeper.view.foreign_orders):
            parts.recorder.append_later(RowKind.INCIDENT_OPENED, stranger_fields(seen))
        parts.states.set_fault(Fault.ACCOUNT_UNTRUSTED, is_there=parts.keeper.is_blind())
        parts.states.set_fault(Fault.REFERENCES_STALE, is_there=parts.references.is_stale())

    async def _watch_state(self) -> None:
        parts = self._parts
        guard = JournalGuard(journal=parts.journal, recorder=parts.recorder, latch=parts.states.latch)
        while not self._stop.is_set():
            self._note_account()
            await guard.look()
            await parts.states.work(is_journal_writable=parts.journal.is_writable)
            await asyncio.sleep(_WATCH_STATE_EVERY_S)

    async def _keep_checkpoints(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
            with suppress(JournalUnavailable):  # the fault is raised elsewhere; the next round tries again
                await self._parts.checkpoint()

    async def _keep_warm(self) -> None:
        """Hold a connection ready, so that an order does not wait for one to be made."""
        while not self._stop.is_set():
            with suppress(ExchangeUnavailable):  # said elsewhere; an order would be told so by itself
                await self._parts.private.warm()
            await asyncio.sleep(_WARM_EVERY_S)

    async def _keep_counts(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(1.0)
            self._parts.recorder.flush_due_counts()
