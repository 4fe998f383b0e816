"""The executor: proves that it is ready, sweeps and kills on request, and says how it stands.

Guarantees
- A key with more power than it needs ends the process, whenever the exchange says so; see `readiness`.
- An exchange that does not answer delays nothing but that: the executor takes requests from its first moment, and a
  sweep or a kill is begun with keys that could not be asked about yet. They can only take risk away.
- A kill takes a warrant that was verified here, whoever brought it. What takes none only tightens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_MS, Clock
from trade_core.ring_keeper import RingKeeper
from trade_core.settings import shown_settings
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import ring_hash
from trade_core.trust.statement import open_statement
from trade_core.trust.warrant import MAX_ARMED_MS, MAX_LIFETIME_MS
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import Fields, RowKind, Value
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.authorisation import Authorisation
from trade_killswitch.authorised import AUDIENCE, AuthorisedKill
from trade_killswitch.automatic import Automatic
from trade_killswitch.drill_watch import DrillWatch
from trade_killswitch.halt_closing import HaltClosing
from trade_killswitch.kill_order import REASON_CHARACTERS_MAX, KillRefused, kill_subject
from trade_killswitch.kill_report import printed
from trade_killswitch.kill_steps import Parts
from trade_killswitch.kill_words import kill_words
from trade_killswitch.killer import KillBegun, Killer
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.readiness import Readiness
from trade_killswitch.recorder import Recorder
from trade_killswitch.settings import ExecutorSettings
from trade_killswitch.socket_app import FlattenRequest, KillRequest
from trade_killswitch.standing import Condition

EVIDENCE_PURPOSE: Final = "kill-evidence/v1"
FLATTEN_PURPOSE: Final = "flatten-request/v1"
REQUEST_AGE_MS_MAX: Final = 60_000
CLOCKS_APART_MS_MAX: Final = 5_000
"""How far ahead the watchdog's clock may be; the two need not run on one machine."""


class Executor:
    """One executor, between its socket, its journal and the exchange."""

    def __init__(
        self,
        *,
        settings: ExecutorSettings,
        rings: RingKeeper,
        journal: JournalWriter,
        parts: Parts,
        readiness: Readiness,
        drills: DrillWatch,
        authorisation: Authorisation,
        automatic: Automatic,
        closing: HaltClosing,
        outbox: Outbox,
        metrics: ExecutorMetrics,
        clock: Clock,
        is_clock_trusted: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self.rings = rings
        self._journal = journal
        self._recorder = parts.recorder
        self._readiness = readiness
        self._drills = drills
        self._authorisation = authorisation
        self._automatic = automatic
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._is_clock_trusted = is_clock_trusted
        self._sweeper = parts.sweeper
        self._secret_names = () if parts.secrets is None else tuple(parts.secrets.names)
        self._killer = Killer(parts=parts, outbox=outbox, metrics=metrics)
        self._closing = closing
        closing.is_killing = lambda: self._killer.is_running
        authorisation.is_known = automatic.is_used = self._killer.is_known
        self._kill_requests: dict[str, str] = {}

    async def start(self) -> None:
        """Say in the journal that it began, and go on with a kill or a sweep that was not over.

        Raises JournalError, and ConfigurationError when no warrant could say all that a kill destroys.
        """
        self._kill_words(is_drill=True)  # of all its words the longest
        await self._recorder.record(
            RowKind.PROCESS_STARTED, {"process": "executor", "ring_hash": ring_hash(self.rings.ring)}
        )
        await self._recorder.record(RowKind.CONFIG_LOADED, {"settings": shown_settings(self._settings)})
        if not await self._killer.resume(self._journal):
            await self._sweeper.resume(self._journal)

    async def stop(self) -> None:
        """End in order; a kill or a sweep under way goes on at the next start."""
        await self._killer.stop()
        await self._closing.stop()
        await self._sweeper.stop()
        await self._recorder.record(RowKind.PROCESS_STOPPED, {"process": "executor"})

    @property
    def recorder(self) -> Recorder:
        """What writes the rows of this executor's journal."""
        return self._recorder

    def status(self) -> dict[str, Any]:
        """Say what the executor is ready for and what it does."""
        self._recorder.update_gauges()
        armed = self._automatic.status()
        self._metrics.armed.set(armed["is_armed"])
        return {
            "environment": self._settings.environment,
            "deployment": self.rings.ring.deployment,
            "account": self._settings.account,
            "ring_hash": ring_hash(self.rings.ring),
            "ring": self.rings.describe(),
            "exit_key": self._readiness.exit_key_words,
            "exit_key_id": self._readiness.exit_key,
            "ready": self._readiness.status(),
            "armed": armed,
            "kill": self._killer.status(),
            "drill": self._drills.status(),
            "on_halt": self._closing.status(),
            "sweep": self._sweeper.status(),
            "kill_requests": dict(self._kill_requests),
            "unacknowledged": list(self._outbox.unacknowledged),
            "journal": {
                "size": self._journal.size,
                "is_writable": self._journal.is_writable,
                "last_failure": self._journal.last_failure,
                "foreign_writes": self._journal.foreign_writes,
            },
        }

    async def sweep(self, reason: str, *, by: str) -> dict[str, Any]:
        """Begin a sweep, or join the one that goes on."""
        begun = await self._sweeper.begin(reason, by=by)
        return {"sweep_id": begun.sweep_id, "is_new": begun.is_new}

    async def kill(self, raw: bytes, *, by: str) -> dict[str, Any]:
        """Begin the kill that a warrant orders, or join the one that goes on. Raises NotTrusted, KillRefused."""
        authorised = self._authorisation.kill(raw)
        if authorised.order.is_drill:
            self._check_drill()
        for alarm in authorised.alarms:
            self._alarm("kill:alarm", alarm)
        begun = self._begin(authorised, by=by)
        return {"kill": "begun" if begun.is_new else "joined", "kill_id": begun.kill_id}

    def _begin(self, authorised: AuthorisedKill, *, by: str) -> KillBegun:
        begun = self._killer.begin(authorised.order, authorisation=authorised.fields, by=by)
        self._closing.give_way()
        return begun

    async def flatten(self, raw: bytes, *, by: str) -> dict[str, Any]:
        """Close what a halt closes, if the watchdog signed it. Raises NotTrusted, FlattenRefused, ValidationError."""
        content = open_statement(raw, what="request", purpose=FLATTEN_PURPOSE, public_key=self.rings.ring.lease_key)
        request = FlattenRequest.model_validate(content)
        self._check_account(request.account)
        self._check_time(request.at_ms)
        return await self._closing.ask(request_id=request.request_id, reason=request.reason, by=by)

    def _check_drill(self) -> None:
        """Check that this account is one on which to practise. Raises KillRefused."""
        if not (self._settings.is_simulated or self._settings.drill_allowed):
            raise KillRefused(
                f"a drill destroys as a kill does, and account {self._settings.account} is not said to be a spare one "
                "(setting drill_allowed)"
            )

    def take_up_again(self) -> dict[str, Any]:
        """Try again at once what of the last kill has not succeeded. Raises KillRefused without one."""
        return {"kill": "taken up again", "kill_id": self._killer.take_up_again()}

    def report_text(self) -> str:
        """Write the report of the kill that goes on, or of the last one, for a person."""
        status = self._killer.status()
        content = status["running"] or status["last"]
        return "There has been no kill.\n" if content is None else printed(content)

    def kill_draft(self, *, is_drill: bool) -> dict[str, Any]:
        """Say what a warrant for a kill must name, and the words in which a person is shown what it does.

        Raises ConfigurationError when the names of the secrets are longer than a warrant takes, and KillRefused for a
        drill where none is allowed.
        """
        if is_drill:
            self._check_drill()
        endings = self._settings.endings
        return {
            "purpose": "drill" if is_drill else "kill",
            "audience": AUDIENCE,
            "subject": kill_subject(endings),
            "deployment": self.rings.ring.deployment,
            "environment": self._settings.environment,
            "account": self._settings.account,
            "ring_hash": ring_hash(self.rings.ring),
            "words": self._kill_words(is_drill=is_drill),
        }

    def _kill_words(self, *, is_drill: bool) -> str:
        return kill_words(
            account=self._settings.account,
            environment=self._settings.environment,
            endings=self._settings.endings,
            keys=self._readiness.keys,
            secrets=self._secret_names,
            is_drill=is_drill,
        )

    def arm_draft(self, *, is_disarm: bool) -> dict[str, Any]:
        """Say what a warrant to arm, or to disarm, must name. Raises NotTrusted when it cannot be."""
        if is_disarm:
            subject = self._automatic.disarm_subject()
            words = f"DISARM: account {self._settings.account} is not killed without a touch any more."
        else:
            terms = self._automatic.draft()
            subject = terms.subject()
            words = terms.words(environment=self._settings.environment, secrets=self._secret_names)
        return {
            "purpose": "disarm" if is_disarm else "arm",
            "audience": AUDIENCE,
            "subject": subject,
            "deployment": self.rings.ring.deployment,
            "environment": self._settings.environment,
            "account": self._settings.account,
            "ring_hash": ring_hash(self.rings.ring),
            "words": words,
            "lifetime_ms_max": MAX_LIFETIME_MS if is_disarm else MAX_ARMED_MS,
        }

    async def arm(self, raw: bytes) -> dict[str, Any]:
        """Take a standing warrant. Raises NotTrusted."""
        await self._automatic.arm(raw)
        return {"armed": self._automatic.status()}

    async def disarm(self, raw: bytes) -> dict[str, Any]:
        """Give the standing warrant up. Raises NotTrusted."""
        await self._automatic.disarm(raw)
        return {"armed": self._automatic.status()}

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Re-base our own highest point by a release that names it. Raises NotTrusted."""
        is_new = await self._automatic.rebase(raw) is not None
        return {"is_new": is_new}

    def signed_request(self, raw: bytes) -> KillRequest:
        """Read a request that the watchdog signed. Raises NotTrusted, ValidationError."""
        content = open_statement(raw, what="evidence", purpose=EVIDENCE_PURPOSE, public_key=self.rings.ring.lease_key)
        request = KillRequest.model_validate(content)
        self._check_account(request.account)
        return request

    def _check_account(self, account: str | None) -> None:
        if account != self._settings.account:
            raise NotTrusted(f"evidence: it is of account {account or 'nobody'}, not of this one")

    async def ask_for_kill(self, request: KillRequest, *, by: str, is_signed: bool) -> dict[str, Any]:
        """Take a request to kill without a touch: kill when it is armed for and confirmed, else sweep and call.

        What joins a kill that is over, or waits since long ago, is no kill either.
        """
        why = "the request is not signed by the watchdog"
        if is_signed:
            if going_on := self._killer.just_begun:
                return {"kill": "joined", "kill_id": going_on}
            try:
                self._check_time(request.at_ms)
                return await self._kill_as_armed(request, by=by)
            except (NotTrusted, KillRefused) as error:
                why = str(error)
        return await self._fall_back(request, why, by=by)

    def _check_time(self, at_ms: int | None) -> None:
        """Check that a signed request is one of now, and no old one shown again. Raises NotTrusted."""
        if at_ms is None:
            raise NotTrusted("the request does not say when it was signed")
        if not self._is_clock_trusted():
            raise NotTrusted("our clock is not to be trusted, so nobody can tell how old the request is")
        age_ms = self._clock.wall_ns() // NS_PER_MS - at_ms
        if age_ms > REQUEST_AGE_MS_MAX:
            raise NotTrusted(f"the request was signed {age_ms / 1000:.0f} s ago")
        if age_ms < -CLOCKS_APART_MS_MAX:
            raise NotTrusted(f"the request was signed {-age_ms / 1000:.0f} s from now")

    async def _kill_as_armed(self, request: KillRequest, *, by: str) -> dict[str, Any]:
        authorised = await self._automatic.judged(
            Condition(request.condition), dict(request.evidence), reason=request.reason
        )
        await self._judge(request, authorised.fields["confirmed"], holds=True)
        begun = self._begin(authorised, by=by)
        if begun.is_new:
            self._automatic.use_up(begun.kill_id)
        elif not self._killer.is_running:
            raise KillRefused(f"kill {begun.kill_id} is over already")
        return {"kill": "begun" if begun.is_new else "joined", "kill_id": begun.kill_id}

    async def _judge(self, request: KillRequest, why: Value, *, holds: bool) -> None:
        fields: dict[str, Value] = {
            "request_id": request.request_id,
            "condition": request.condition,
            "holds": holds,
            "why": why,
        }
        await self._recorder.record(RowKind.KILL_JUDGED, fields)

    async def _fall_back(self, request: KillRequest, why: str, *, by: str) -> dict[str, Any]:
        if self._kill_requests.get(request.request_id) is None:
            while len(self._kill_requests) >= MAX_KILL_REQUESTS:
                del self._kill_requests[next(iter(self._kill_requests))]
            self._kill_requests[request.request_id] = request.condition
            text = f"a kill was asked for ({request.condition}): {request.reason}; {why}"
            self._alarm(f"kill:{request.condition}", text)
            if self._recorder.has_room_for_asked("a kill was asked for"):
                await self._record_request(request, why, by=by)
        begun = await self._sweeper.begin(f"a kill was asked for: {request.condition}", by=by)
        return {"kill": "not_armed", "reason": why, "sweep_id": begun.sweep_id}

    async def _record_request(self, request: KillRequest, why: str, *, by: str) -> None:
        fields: Fields = {
            "request_id": request.request_id,
            "condition": request.condition,
            "reason": request.reason,
            "asked_by": by,
            "evidence": dict(request.evidence),
        }
        await self._recorder.record(RowKind.KILL_REQUESTED, fields)
        await self._judge(request, why[:REASON_CHARACTERS_MAX], holds=False)

    def _alarm(self, subject: str, text: str) -> None:
        self._outbox.alert(
            Alert(
                subject=subject,
                severity=Severity.CRITICAL,
                text=text[:TEXT_CHARACTERS_MAX],
                needs_acknowledgement=True,
            )
        )

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Take the next key ring, or the warrant that cancels one that waits. Raises NotTrusted."""
        return await self.rings.accept(raw)

    async def keep_ring(self) -> None:
        """Let a ring that waits count when it is due."""
        while True:
            await self.rings.work()
            await asyncio.sleep(RING_EVERY_S)

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
RING_EVERY_S: Final = 0.5
