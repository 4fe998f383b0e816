"""Runs sweeps: one at a time, each to its proof. The only place where the flow of a sweep meets the world.

Guarantees
- Who asks while a sweep goes on joins it; asking twenty times is asking once.
- A sweep runs in a task of its own: who asked may go away.
- What was begun and not proved before a crash, or a stop, is begun again at the next start, from the journal.
- People are told when one begins, when it is pending, and when it is proved; nothing waits for that.
- What nobody foresaw fails the sweep and begins it anew after a pause: it never ends without a proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final, assert_never

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_S, Clock
from trade_journal.log.rows import Row, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.commands import AskTime, Command, Flow, ReadShelves, Record, SendCancels, Wait
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.recorder import Recorder
from trade_killswitch.sweep_flow import SweepProgress, SweepReport, sweep

DEFECT_PAUSE_S: Final = 1.0
PENDING_SUBJECT: Final = "sweep:pending"
_PAGE: Final = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sweep that goes on, and whether this request began it."""

    sweep_id: str
    is_new: bool


class Sweeper:
    """The sweeps of one account."""

    def __init__(
        self,
        *,
        exchange: ExitExchange,
        recorder: Recorder,
        outbox: Outbox,
        metrics: ExecutorMetrics,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._recorder = recorder
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._running: asyncio.Task[None] | None = None
        self._sweep_id = ""
        self._began_ns = 0
        self._progress = SweepProgress()
        self._last: dict[str, Any] | None = None

    async def begin(self, reason: str, *, by: str) -> Begun:
        """Begin a sweep, or join the one that goes on."""
        if self._running is not None and not self._running.done():
            return Begun(sweep_id=self._sweep_id, is_new=False)
        sweep_id = secrets.token_hex(8)
        self._start(sweep_id, {"reason": reason, "asked_by": by})
        return Begun(sweep_id=sweep_id, is_new=True)

    async def resume(self, journal: JournalWriter) -> bool:
        """Begin again what the journal says was never proved; True when there was something. Raises JournalError."""
        row = await _last_sweep_row(journal)
        if row is None or row.kind is RowKind.SWEEP_PROVED:
            return False
        sweep_id = str(row.fields["sweep_id"])
        log.warning("sweep %s was not proved before this start; it goes on", sweep_id)
        self._start(sweep_id, {"reason": "not proved before the executor's start", "asked_by": "executor"})
        return True

    async def proof(self) -> dict[str, Any]:
        """Wait until the sweep that goes on is proved; gives its report. Raises RuntimeError when there is none."""
        if self._running is None:
            raise RuntimeError("no sweep was begun")
        await asyncio.shield(self._running)
        return dict(self._last or {})

    def in_the_way(self) -> str:
        """Say what keeps the sweep that goes on from its proof."""
        return self._progress.in_the_way()

    def status(self) -> dict[str, Any]:
        """Say what goes on and how the last sweep ended."""
        is_running = self._running is not None and not self._running.done()
        progress = self._progress
        running = {
            "sweep_id": self._sweep_id,
            "age_s": round((self._clock.monotonic_ns() - self._began_ns) / NS_PER_S, 3),
            "rounds": progress.rounds,
            "acknowledged": progress.acknowledged,
            "working": progress.working,
            "unread_lists": progress.unread,
            "is_pending": progress.is_pending,
        }
        return {"running": running if is_running else None, "last": self._last}

    async def stop(self) -> None:
        """Stop where it is; the next start goes on with it."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def _start(self, sweep_id: str, words: dict[str, str]) -> None:
        self._sweep_id, self._began_ns = sweep_id, self._clock.monotonic_ns()
        self._progress = SweepProgress()
        self._running = asyncio.create_task(self._sweep(sweep_id, words))

    async def _sweep(self, sweep_id: str, words: dict[str, str]) -> None:
        self._metrics.sweep_running.set(1)
        # The first row and the first reading go out together: the disk holds up no cancel.
        started = asyncio.create_task(self._recorder.record(RowKind.SWEEP_STARTED, {"sweep_id": sweep_id, **words}))
        self._tell("sweep:started", Severity.WARNING, f"a sweep has begun: {words['reason']}")
        try:
            report = await self._until_proved(sweep_id)
        finally:
            await asyncio.shield(started)
            self._metrics.sweep_running.set(0)
            self._metrics.sweep_pending.set(0)
        self._metrics.sweeps_proved.inc()
        self._outbox.acknowledge(PENDING_SUBJECT)
        self._last = {"sweep_id": sweep_id, "proved_at_ns": self._clock.wall_ns(), **asdict(report)}
        words_of_proof = f"nothing works but {report.kept} protective stops; it took {report.took_s:.2f} s"
        log.warning("sweep %s is proved: %s", sweep_id, words_of_proof)
        self._tell("sweep:proved", Severity.INFO, f"the sweep is proved: {words_of_proof}")

    async def _until_proved(self, sweep_id: str) -> SweepReport:
        while True:
            try:
                return await self._drive(sweep(sweep_id, self._progress))
            except Exception:
                log.exception("sweep %s failed; it begins anew", sweep_id)
                await asyncio.sleep(DEFECT_PAUSE_S)

    async def _drive(self, flow: Flow[SweepReport]) -> SweepReport:
        given: Any = None
        while True:
            try:
                command = flow.send(given)
            except StopIteration as ended:
                report: SweepReport = ended.value
                return report
            given = await self._do(command)
            self._note_pending()
            self._metrics.working_orders.set(self._progress.working or 0)

    def _note_pending(self) -> None:
        progress = self._progress
        self._metrics.sweep_pending.set(progress.is_pending)
        if progress.is_pending:
            text = f"the sweep has no proof: {progress.working} orders must go, {progress.unread} lists cannot be read"
            self._tell(PENDING_SUBJECT, Severity.CRITICAL, text, needs_acknowledgement=True)

    def _tell(self, subject: str, severity: Severity, text: str, *, needs_acknowledgement: bool = False) -> None:
        self._outbox.alert(
            Alert(
                subject=subject,
                severity=severity,
                text=text[:TEXT_CHARACTERS_MAX],
                needs_acknowledgement=needs_acknowledgement,
            )
        )

    async def _do(self, command: Command) -> Any:
        match command:
            case ReadShelves():
                return await self._exchange.read_shelves()
            case SendCancels():
                return await self._exchange.send_cancels(command.calls)
            case Record():
                return await self._recorder.record(command.kind, command.fields)
            case Wait():
                return await asyncio.sleep(command.seconds)
            case AskTime():
                return self._clock.monotonic_ns()
            case _:
                assert_never(command)


async def _last_sweep_row(journal: JournalWriter) -> Row | None:
    kinds = {RowKind.SWEEP_STARTED, RowKind.SWEEP_ROUND, RowKind.SWEEP_PENDING, RowKind.SWEEP_PROVED}
    end = journal.end
    while end > 0:
        first = max(0, end - _PAGE)
        for row in reversed(await journal.read(first, end - first)):
            if row.kind in kinds:
                return row
        end = first
    return None
