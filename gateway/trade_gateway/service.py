"""The gateway as one running thing: its parts put together, and the loops that keep them true.

It starts in REDUCE_ONLY with every fault raised; each fault is cleared by the loop that has proved it gone. The
exchange may be down at start or later: the process stays up, denies with a reason, and recovers by itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from trade_core.closing import close_all
from trade_core.settings import shown_settings
from trade_gateway.baseline import baseline_rows
from trade_gateway.limits_view import (
    losses,
    shown_loss,
)
from trade_gateway.loops import Loops
from trade_gateway.parts import Parts
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy_keeper import is_policy_warrant
from trade_gateway.recovery import Recovered, recover
from trade_gateway.replay import Replay
from trade_gateway.startup import KeyRefused
from trade_gateway.state_view import described
from trade_gateway.states import Fault
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import RowKind

_STOP_FLOWS_WITHIN_S = 2.0
log = logging.getLogger(__name__)


class Gateway:
    """One gateway. `start` begins its loops, `stop` ends them; between them it hears the bot and the admin listener."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.loops = Loops(parts)
        self.metrics, self.recorder = parts.metrics, parts.recorder
        self.states, self.judge, self.relay = parts.states, parts.judge, parts.relay

    @property
    def fatal(self) -> KeyRefused | None:
        """Why the process must end; None while it need not."""
        return self.loops.fatal

    async def start(self, *, stop: asyncio.Event) -> None:
        """Recover from the journal and begin the loops. `stop` is set when the process must end.

        Raises ConfigurationError when no policy can be in force: the gateway then has nothing to trade by.
        """
        parts = self.parts
        replay = Replay(parts)
        recovered = await recover(
            parts.journal,
            parts.ledger,
            activity=parts.activity,
            started_at_ns=parts.clock.monotonic_ns(),
            is_release=parts.states.is_release,
            on_row=replay.take,
        )
        parts.adopt_ring(parts.rings.ring)
        if len(parts.rings.book.rings) > 1:  # the first stands in the ring file itself
            parts.publish_rings()
        in_force = replay.begin_policy()
        parts.recorder.policy_hash = in_force.policy_hash
        parts.states.restore(recovered)
        await self._record_start(recovered)
        await parts.policies.anchor()
        parts.put_in_force(in_force)
        self._restore(recovered)
        for fault in Fault:
            if fault not in {Fault.JOURNAL_UNWRITABLE, Fault.CLOCK_LEAPT}:
                parts.states.set_fault(fault, is_there=True)
        hostile, stress = losses(parts.policy, equity_usdt=None)
        log.info(
            "at %s USDT a hostile bot loses at most %s USDT a day, and one market gap %s USDT",
            parts.policy.allocated_capital_usdt,
            shown_loss(hostile)["usdt"],
            shown_loss(stress)["usdt"],
        )
        self.loops.start(stop=stop)

    async def stop(self) -> None:
        """End the loops, let flows under way finish, and close the journal with its last row."""
        parts = self.parts
        try:
            await parts.conductor.drain(within_s=_STOP_FLOWS_WITHIN_S)
            await self.loops.stop()
            parts.recorder.flush_counts()
            if self.loops.tasks:  # a start that was refused leaves no row: an empty journal must stay one to begin
                await parts.memory.finish()
                await parts.recorder.append_durable(RowKind.PROCESS_STOPPED, {"open_orders": parts.ledger.open_count()})
        finally:
            await close_all(parts.private.aclose, parts.public.aclose, parts.journal.close)

    def is_ready(self) -> bool:
        """Tell whether orders that add risk would be considered."""
        return self.parts.states.trading_state() <= TradingState.TRIMMED

    def is_quiet(self) -> bool:
        """Tell whether no order is under way."""
        return not self.parts.conductor.orders_under_way

    def ring_halt(self) -> None:
        """Halt at once, before `hear_halt` latches it. The one thing here that another thread may call."""
        self.parts.states.bell.ring()

    def hear_halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> None:
        """Latch the halt that was rung for."""
        self.parts.states.hear_bell(reason=reason, by=by, trigger_value=trigger_value)

    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]:
        """Latch HALTED at once; name what is still on the wire, and say whether a restart would know of the halt."""
        parts = self.parts
        await parts.states.latch(TradingState.HALTED, reason=reason, by=by, trigger_value=trigger_value)
        in_flight = [o.tag for o in parts.ledger.open_orders() if o.is_in_flow]
        return {
            "trading_state": parts.states.trading_state().name,
            "in_flight": in_flight,
            "is_recorded": parts.states.is_latch_recorded,
        }

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Verify and hold a lease. Raises NotTrusted."""
        return await self.parts.states.accept_lease(raw)

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Verify and announce a release of the latch, or of a looser policy. Raises NotTrusted."""
        parts = self.parts
        if is_policy_warrant(raw, ring=parts.ring):
            return await parts.policies.accept(raw)
        return await parts.states.accept_release(raw)

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        """Latch KILLED by a kill warrant. Raises NotTrusted."""
        return await self.parts.states.accept_kill(raw)

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Take the next key ring, or the warrant that cancels one that waits. Raises NotTrusted."""
        parts = self.parts
        answer = await parts.rings.accept(raw)
        waiting = parts.rings.book.waiting
        when = "counts now" if waiting is None else "counts in 72 h, unless a security key cancels it"
        ring = parts.rings.ring if waiting is None else waiting.ring
        labels = ", ".join(credential.label for credential in ring.credentials)
        parts.announce("ring", raw, f"a key ring with the security keys {labels} {when}")
        return answer

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows as the admin listener shows them."""
        return [rendered_row(row) for row in await self.parts.journal.read(from_seq, limit)]

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """The bytes of durable rows, a line each: what the journal's tree is over."""
        return b"".join(row.body + b"\n" for row in await self.parts.journal.stored(from_seq, limit))

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over all rows. Raises JournalError."""
        return await self.parts.checkpoint()

    def cosigned(self) -> bytes:
        """Return the last checkpoint of this run that the witness has cosigned; empty before the first lease."""
        return self.parts.cosigned

    def state(self) -> dict[str, Any]:
        """Everything a person or the watchdog wants to know; also brings the gauges up to date."""
        return described(self.parts)

    async def _record_start(self, recovered: Recovered) -> None:
        parts = self.parts
        await parts.recorder.append_durable(
            RowKind.PROCESS_STARTED,
            {
                "boot_nonce": parts.boot_nonce,
                "ring_hash": parts.ring_hash,
                "unfinished_orders": len(recovered.orders),
                "latch": parts.states.latched().name,
            },
        )
        parts.recorder.append_later(RowKind.CONFIG_LOADED, {"settings": shown_settings(parts.settings)})
        if not recovered.has_baseline:
            # A crash between these rows writes them again: the last one says that they are all there.
            for fields in baseline_rows(parts.ring):
                await parts.recorder.append_durable(RowKind.BASELINE_TAKEN, fields)

    def _restore(self, recovered: Recovered) -> None:
        """Give every part what it knew before, so that none waits for the exchange to know it again."""
        parts = self.parts
        parts.keeper.on_fee = parts.fees.note_charged
        parts.filters.restore(recovered.instruments)
        parts.proof.remember(recovered.instruments)
        parts.memory.restore(recovered.references)
        parts.references.restore(recovered.references)  # of the coins that the policy makes it follow
