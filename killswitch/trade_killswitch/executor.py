"""The executor: checks its exit key, sweeps on request, and says what it is ready for.

Guarantees
- A key with more power than it needs ends the process, whenever the exchange says so.
- An exchange that does not answer delays nothing but that: the executor takes requests from its first moment, and a
  sweep is begun with a key that could not be asked about yet. It can only take risk away.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.settings import shown_settings
from trade_core.trust.ring import KeyRing, ring_hash
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.key_check import excess_power
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.recorder import Recorder
from trade_killswitch.settings import ExecutorSettings
from trade_killswitch.socket_app import KillRequest
from trade_killswitch.sweeper import Sweeper

KEY_ASK_FIRST_S: Final = 0.5
KEY_ASK_LAST_S: Final = 5.0
KEY_ASK_AGAIN_S: Final = 300.0
"""Readiness is proved every five minutes: a key may have been changed meanwhile."""
NOT_ARMED: Final = "this version keeps no standing warrant: a kill is a sweep, and a person is called"
log = logging.getLogger(__name__)


class Executor:
    """One executor, between its socket, its journal and the exchange."""

    def __init__(
        self,
        *,
        settings: ExecutorSettings,
        ring: KeyRing,
        journal: JournalWriter,
        exchange: ExitExchange,
        outbox: Outbox,
        metrics: ExecutorMetrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._ring = ring
        self._journal = journal
        self._exchange = exchange
        self._metrics = metrics
        self._recorder = Recorder(journal=journal, metrics=metrics, clock=clock)
        self._outbox = outbox
        self._sweeper = Sweeper(exchange=exchange, recorder=self._recorder, outbox=outbox, metrics=metrics, clock=clock)
        self._key = "not verified yet"
        self._kill_requests: dict[str, str] = {}

    async def start(self) -> None:
        """Say in the journal that it began, and go on with a sweep that was not proved. Raises JournalError."""
        await self._recorder.record(
            RowKind.PROCESS_STARTED, {"process": "executor", "ring_hash": ring_hash(self._ring)}
        )
        await self._recorder.record(RowKind.CONFIG_LOADED, shown_settings(self._settings))
        await self._sweeper.resume(self._journal)

    async def stop(self) -> None:
        """End in order; a sweep under way goes on at the next start."""
        await self._sweeper.stop()
        await self._recorder.record(RowKind.PROCESS_STOPPED, {"process": "executor"})

    async def keep_verifying_key(self) -> None:
        """Ask the exchange about the exit key now and every five minutes. Raises ConfigurationError for a wrong one."""
        pause_s = KEY_ASK_FIRST_S
        while True:
            try:
                await self._verify_key()
                pause_s = KEY_ASK_AGAIN_S
            except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
                self._note_key(f"not verified: {error}")
                self._metrics.key_verified.set(0)
                pause_s = min(pause_s * 2, KEY_ASK_LAST_S)
            await asyncio.sleep(pause_s)

    async def _verify_key(self) -> None:
        wrong = excess_power(await self._exchange.key_information(), account=self._settings.account)
        if wrong:
            await self._recorder.record(RowKind.KEY_REFUSED, {"why": "; ".join(wrong)[:500]})
            raise ConfigurationError("the exit key is refused: " + "; ".join(wrong))
        if self._key != "verified":
            await self._recorder.record(RowKind.KEY_VERIFIED, {"account": self._settings.account})
        self._note_key("verified")
        self._metrics.key_verified.set(1)

    def _note_key(self, words: str) -> None:
        if words != self._key:
            log.log(logging.INFO if words == "verified" else logging.WARNING, "exit key %s", words)
        self._key = words

    @property
    def recorder(self) -> Recorder:
        """What writes the rows of this executor's journal."""
        return self._recorder

    def status(self) -> dict[str, Any]:
        """Say what the executor is ready for and what it does."""
        self._recorder.update_gauges()
        return {
            "environment": self._settings.environment,
            "deployment": self._ring.deployment,
            "account": self._settings.account,
            "ring_hash": ring_hash(self._ring),
            "exit_key": self._key,
            "armed": {"is_armed": False, "reason": NOT_ARMED},
            "sweep": self._sweeper.status(),
            "kill_requests": dict(self._kill_requests),
            "unacknowledged": list(self._outbox.unacknowledged),
            "journal": {
                "size": self._journal.size,
                "is_writable": self._journal.is_writable,
                "last_failure": self._journal.last_failure,
            },
        }

    async def sweep(self, reason: str, *, by: str) -> dict[str, Any]:
        """Begin a sweep, or join the one that goes on."""
        begun = await self._sweeper.begin(reason, by=by)
        return {"sweep_id": begun.sweep_id, "is_new": begun.is_new}

    async def kill(self, request: KillRequest, *, by: str) -> dict[str, Any]:
        """Take a request to kill: record it once with its evidence, and sweep."""
        if self._kill_requests.get(request.request_id) is None:
            while len(self._kill_requests) >= MAX_KILL_REQUESTS:
                del self._kill_requests[next(iter(self._kill_requests))]
            self._kill_requests[request.request_id] = request.condition
            text = f"a kill was asked for ({request.condition}): {request.reason}; {NOT_ARMED}"
            self._outbox.alert(
                Alert(
                    subject=f"kill:{request.condition}",
                    severity=Severity.CRITICAL,
                    text=text[:TEXT_CHARACTERS_MAX],
                    needs_acknowledgement=True,
                )
            )
            await self._recorder.record(
                RowKind.KILL_REQUESTED,
                {
                    "request_id": request.request_id,
                    "condition": request.condition,
                    "reason": request.reason,
                    "asked_by": by,
                    "evidence": dict(request.evidence),
                },
            )
        begun = await self._sweeper.begin(f"a kill was asked for: {request.condition}", by=by)
        return {"kill": "not_armed", "reason": NOT_ARMED, "sweep_id": begun.sweep_id}

    def acknowledge(self, subject: str) -> None:
        """Stop repeating the alerts of a subject."""
        self._outbox.acknowledge(subject)

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows. Raises JournalError."""
        return [rendered_row(row) for row in await self._journal.read(from_seq, limit)]

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """The bytes of durable rows, a line each. Raises JournalError."""
        return b"".join(row.body + b"\n" for row in await self._journal.stored(from_seq, limit))

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint. Raises JournalError."""
        return await self._journal.checkpoint()


MAX_KILL_REQUESTS: Final = 64
