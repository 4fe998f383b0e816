"""Runs kills: one at a time, each until nothing more is to be tried. The only place where the plan meets the world.

Guarantees
- Who asks for what a kill that just began is doing joins it; asking twenty times is asking once, and so is asking again
  with the same touch after it. Every other order is a kill of its own that does all steps: it ends the one that goes
  on, be that a drill, one that keeps what is to be closed now, or one that has waited for a step since long ago.
- No touch begins two kills, not even over restarts.
- Nothing waits for the disk, for people or for a step that hangs: rows go out in order in the background, a try that
  does not end within its time is cut off, and what nobody foresaw fails that try alone.
- Rows that a disk does not take do not pile up: beyond ROWS_MAX the oldest of a step makes room, since a later one says
  how it stands now; it is counted as lost.
- A kill that was not over before a crash, or a stop, goes on at the next start from its rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_S
from trade_core.errors import TradeError
from trade_journal.log.rows import Fields, Row, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.kill_order import JOIN_WITHIN_S, KillOrder, KillRefused, joins, order_of
from trade_killswitch.kill_report import report, report_fields, sentence, unfinished
from trade_killswitch.kill_steps import KillMemory, KillSteps, Parts
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.procedure import (
    RULES,
    Outcome,
    Progress,
    Status,
    Step,
    Tried,
    Verdict,
    decide,
    fresh,
    is_over,
    noted,
    pushed,
    restored,
    step_fields,
    verdict_of,
)

DEFECT_PAUSE_S: Final = 1.0
ROWS_MAX: Final = 512
"""A kill writes about thirty; more wait only while the disk takes none."""
ROWS_PATIENCE_S: Final = 2.0
BEGUN: Final = "begun"
PENDING: Final = "pending"
ENDED: Final = "ended"
_PAGE: Final = 500
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Kill:
    """One kill and where it stands."""

    order: KillOrder
    progress: Progress
    began_at_ns: int
    origin_ns: int
    fresh_since_ns: int | None = None
    """Since when it goes on, if nothing of it was done before."""
    memory: KillMemory = field(default_factory=KillMemory)
    push: asyncio.Event = field(default_factory=asyncio.Event)
    told: dict[Step, tuple[Status, str]] = field(default_factory=dict)
    reported: tuple[Verdict, tuple[Step, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KillBegun:
    """A kill that goes on or is over, and whether this request began it."""

    kill_id: str
    is_new: bool


class Killer:
    """The kills of one account."""

    def __init__(self, *, parts: Parts, outbox: Outbox, metrics: ExecutorMetrics) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._outbox = outbox
        self._metrics = metrics
        self._kill: _Kill | None = None
        self._running: asyncio.Task[None] | None = None
        self._ended: set[asyncio.Task[None]] = set()
        self._ordered: set[str] = set()
        self._rows: deque[tuple[RowKind, Fields]] = deque()
        self._writing: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether a kill goes on."""
        return self._running is not None and not self._running.done()

    @property
    def just_begun(self) -> str:
        """Name the kill, no drill, that goes on and began less than a minute ago with nothing done; else empty."""
        kill = self._kill
        if kill is None or not self.is_running or kill.order.is_drill:
            return ""
        age_s = self._fresh_age_s(kill)
        return "" if age_s is None or age_s >= JOIN_WITHIN_S else kill.order.kill_id

    def is_known(self, kill_id: str) -> bool:
        """Tell whether this kill was ordered before, as far as the journal and this run know."""
        return kill_id in self._ordered

    def begin(self, order: KillOrder, *, authorisation: Fields, by: str) -> KillBegun:
        """Begin a kill, or join the one that goes on. `authorisation` is what the journal keeps of who allowed it.

        Raises KillRefused for a drill while a kill goes on, and for the touch of an earlier kill when none does.
        """
        kill = self._kill
        if kill is not None and self._is_joined(order, kill):
            return KillBegun(kill_id=kill.order.kill_id, is_new=False)
        if self.is_known(order.kill_id):
            raise KillRefused(f"kill {order.kill_id} was ordered and ended before: another one takes a new touch")
        replaced = kill if self.is_running else None
        memory = KillMemory(warrant=_warrant(order, authorisation))
        fields = {**order.fields(), **authorisation, "asked_by": by}
        if replaced is not None:
            fields["in_place_of"] = replaced.order.kill_id
            memory.keys |= replaced.memory.keys
        self._record(RowKind.KILL_ORDERED, fields)
        if memory.keys:
            keys = {"kill_id": order.kill_id, "keys": sorted(memory.keys)}
            self._record(RowKind.KILL_KEYS_LISTED, keys)
        self._start(order, fresh(), memory=memory, replaced=replaced, is_fresh=True)
        return KillBegun(kill_id=order.kill_id, is_new=True)

    def _is_joined(self, order: KillOrder, kill: _Kill) -> bool:
        if order.kill_id == kill.order.kill_id:
            return True
        if not self.is_running:
            return False
        if self.is_known(order.kill_id):
            return True  # an order that another one took the place of, sent once more
        return joins(order, kill.order, age_s=self._fresh_age_s(kill))

    def _fresh_age_s(self, kill: _Kill) -> float | None:
        since_ns = kill.fresh_since_ns
        return None if since_ns is None else (self._clock.monotonic_ns() - since_ns) / NS_PER_S

    def take_up_again(self) -> str:
        """Try again at once what of the last kill has not succeeded; gives its id. Raises KillRefused without one."""
        kill = self._kill
        if kill is None:
            raise KillRefused("there is no kill to go on with")
        if self.is_running:
            kill.push.set()
        elif any(not state.has_succeeded for state in kill.progress.values()):
            self._start(kill.order, pushed(kill.progress), memory=kill.memory)
        return kill.order.kill_id

    async def resume(self, journal: JournalWriter) -> bool:
        """Go on with a kill that the journal does not show as over; True when there was one. Raises JournalError."""
        found, self._ordered = await _kills(journal)
        if found is None:
            return False
        order, rows, memory = found
        progress = restored(rows)
        told = {**progress, Step.TELL: noted(progress, Step.TELL, _TOLD, now_s=0)[Step.TELL]}
        if _was_told(rows) and is_over(told):
            self._kill = self._made(order, told, memory)
            return False
        log.warning("kill %s was not over before this start; it goes on", order.kill_id)
        self._start(order, progress, memory=memory)
        return True

    def status(self) -> dict[str, Any]:
        """Say how the kill that goes on, or the last one, stands."""
        kill = self._kill
        content = None if kill is None else self._report(kill)
        return {"running": content if self.is_running else None, "last": None if self.is_running else content}

    async def stop(self) -> None:
        """Stop where it is; the next start goes on with it."""
        for task in (*self._ended, self._running, self._writing):
            if task is not None:
                if task is self._writing:
                    await asyncio.wait({task}, timeout=ROWS_PATIENCE_S)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _made(self, order: KillOrder, progress: Progress, memory: KillMemory) -> _Kill:
        return _Kill(
            order=order,
            progress=progress,
            began_at_ns=self._clock.wall_ns(),
            origin_ns=self._clock.monotonic_ns(),
            memory=memory,
        )

    def _start(
        self,
        order: KillOrder,
        progress: Progress,
        *,
        memory: KillMemory,
        replaced: _Kill | None = None,
        is_fresh: bool = False,
    ) -> None:
        if replaced is not None and self._running is not None:
            # Nothing waits for its end: what of it is under way may be done twice.
            self._ended.add(self._running)
            self._running.add_done_callback(self._ended.discard)
            self._running.cancel()
        if self._kill is not None and self._kill.order.kill_id != order.kill_id:
            # Nothing of it is tried any more, and how the account stands is what this one tells.
            self._outbox.acknowledge(_subject(PENDING, self._kill.order))
        self._kill = kill = self._made(order, progress, memory)
        kill.fresh_since_ns = kill.origin_ns if is_fresh else None
        self._ordered.add(order.kill_id)
        self._metrics.kill_running.set(1)
        what = "a kill drill" if order.is_drill else "a KILL"
        instead = "" if replaced is None else f", in place of {_named(replaced.order)} that was not over"
        self._tell(_subject(BEGUN, order), Severity.CRITICAL, f"{what} has begun{instead}: {order.reason}")
        self._running = asyncio.create_task(self._until_over(kill))

    async def _until_over(self, kill: _Kill) -> None:
        while True:
            try:
                await self._run(kill)
                return
            except Exception:
                log.exception("kill %s failed; it goes on", kill.order.kill_id)
                kill.progress = _untried(kill.progress)
                await asyncio.sleep(DEFECT_PAUSE_S)

    async def _run(self, kill: _Kill) -> None:
        tasks: dict[asyncio.Task[Tried], Step] = {}
        wake = asyncio.create_task(kill.push.wait())
        try:
            while True:
                now_s = self._age_s(kill)
                decision = decide(kill.progress, now_s=now_s)
                kill.progress = decision.progress
                for step in decision.begin:
                    tasks[asyncio.create_task(self._try(kill, step))] = step
                self._say(kill)
                if not tasks and is_over(kill.progress):
                    return
                pause_s = max(0.0, decision.look_again_s - now_s)
                waited: set[asyncio.Task[Any]] = {*tasks, wake}
                await asyncio.wait(waited, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in tasks if task.done()]:
                    kill.progress = noted(kill.progress, tasks.pop(task), task.result(), now_s=self._age_s(kill))
                if wake.done():
                    kill.push.clear()
                    kill.progress, kill.origin_ns = pushed(kill.progress), self._clock.monotonic_ns()
                    wake = asyncio.create_task(kill.push.wait())
        finally:
            for left in (*tasks, wake):
                left.cancel()
            await asyncio.gather(*tasks, wake, return_exceptions=True)
            if self._kill is kill:
                self._metrics.kill_running.set(0)

    async def _try(self, kill: _Kill, step: Step) -> Tried:
        steps = KillSteps(
            parts=self._parts, order=kill.order, memory=kill.memory, tell=lambda: self._tell_how_it_stands(kill)
        )
        return await _bounded(steps.attempt(step, kill.progress), step)

    def _say(self, kill: _Kill) -> None:
        """Write what changed since the last look: steps by name, and the report once everything is settled."""
        for step, state in kill.progress.items():
            shown = (state.status, state.why)
            if state.is_trying or state.status is Status.WAITING or kill.told.get(step) == shown:
                continue
            kill.told[step] = shown
            self._record(RowKind.KILL_STEP, {"kill_id": kill.order.kill_id, **step_fields(step, state)})
            level = logging.INFO if state.has_succeeded else logging.WARNING
            log.log(level, "kill %s: %s %s %s", kill.order.kill_id, step.value, state.status.value, state.why)
        pending = sum(state.status is Status.PENDING for state in kill.progress.values())
        self._metrics.kill_steps_pending.set(pending)
        stands = (verdict_of(kill.progress), tuple(unfinished(kill.progress)))
        if not kill.progress[Step.TELL].has_succeeded or kill.reported == stands:
            return
        if kill.reported is not None:
            self._tell_how_it_stands(kill)
        kill.reported = stands
        self._record(RowKind.KILL_REPORTED, report_fields(kill.order, kill.progress, now_s=self._age_s(kill)))
        self._metrics.count_kill(stands[0])
        if stands[0] is Verdict.COMPLETE:
            self._metrics.kill_seconds.set(self._report(kill)["took_s"])

    def _tell_how_it_stands(self, kill: _Kill) -> None:
        told = noted(kill.progress, Step.TELL, _TOLD, now_s=self._age_s(kill))
        is_complete = verdict_of(told) is Verdict.COMPLETE
        words = sentence(kill.order, told, took_s=self._age_s(kill))
        if is_complete:
            self._outbox.acknowledge(_subject(PENDING, kill.order))
        subject = _subject(ENDED if is_complete else PENDING, kill.order)
        self._tell(subject, Severity.CRITICAL, words, needs_acknowledgement=not is_complete)

    def _tell(self, subject: str, severity: Severity, text: str, *, needs_acknowledgement: bool = False) -> None:
        log.warning("%s", text)
        self._outbox.alert(
            Alert(
                subject=subject,
                severity=severity,
                text=text[:TEXT_CHARACTERS_MAX],
                needs_acknowledgement=needs_acknowledgement,
            )
        )

    def _report(self, kill: _Kill) -> dict[str, Any]:
        is_complete = verdict_of(kill.progress) is Verdict.COMPLETE
        told = self._outbox.told(_subject(ENDED if is_complete else PENDING, kill.order))
        return report(kill.order, kill.progress, began_at_ns=kill.began_at_ns, now_s=self._age_s(kill), told=told)

    def _age_s(self, kill: _Kill) -> float:
        return (self._clock.monotonic_ns() - kill.origin_ns) / NS_PER_S

    def _record(self, kind: RowKind, fields: Fields) -> None:
        if len(self._rows) >= ROWS_MAX:
            self._make_room()
        self._rows.append((kind, fields))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    def _make_room(self) -> None:
        """Let the oldest row of a step go, or the oldest of all; metrics and log tell that it is lost."""
        oldest = next((index for index, (kind, _) in enumerate(self._rows) if kind is RowKind.KILL_STEP), 0)
        kind, _ = self._rows[oldest]
        del self._rows[oldest]
        self._metrics.rows_lost.inc()
        log.error("row %s is lost: %d wait for the disk", kind.value, ROWS_MAX)

    async def _write(self) -> None:
        """Write the rows that wait, in their order; the disk holds up nothing else."""
        while self._rows:
            kind, fields = self._rows.popleft()
            try:
                await self._parts.recorder.record(kind, fields)
            except Exception:
                log.exception("a row of a kill could not be made")


_TOLD: Final = Tried(outcome=Outcome.DONE, evidence={"handed_over": True})


async def _bounded(attempt: Awaitable[Tried], step: Step) -> Tried:
    """Turn everything that can become of a try into what came of it."""
    try:
        async with asyncio.timeout(RULES[step].try_s):
            return await attempt
    except TimeoutError:
        return Tried(outcome=Outcome.FAILED, why=f"it did not end within {RULES[step].try_s:g} s")
    except TradeError as error:
        return Tried(outcome=Outcome.FAILED, why=str(error))
    except Exception as error:
        log.exception("step %s failed in an unforeseen way", step.value)
        return Tried(outcome=Outcome.FAILED, why=f"unforeseen: {type(error).__name__}")


def _untried(progress: Progress) -> Progress:
    """Return a progress in which no try is under way any more."""
    cut = Tried(outcome=Outcome.FAILED, why="cut off")
    trying: Sequence[Step] = [step for step, state in progress.items() if state.is_trying]
    for step in trying:
        progress = noted(progress, step, cut, now_s=0)
    return progress


async def _kills(journal: JournalWriter) -> tuple[tuple[KillOrder, list[Fields], KillMemory] | None, set[str]]:
    """Read the last kill that was ordered, its steps in order and what they shared; and the ids of all kills.

    Raises JournalError.
    """
    steps: list[Row] = []
    last: Row | None = None
    ordered: set[str] = set()
    end = journal.end
    while end > 0:
        first = max(0, end - _PAGE)
        for row in reversed(await journal.read(first, end - first)):
            if row.kind is RowKind.KILL_ORDERED:
                last = last or row
                ordered.add(str(row.fields.get("kill_id")))
            elif last is None and row.kind in (RowKind.KILL_STEP, RowKind.KILL_KEYS_LISTED):
                steps.append(row)
        end = first
    return None if last is None else _read(last, steps[::-1]), ordered


def _was_told(rows: Sequence[Fields]) -> bool:
    """Tell whether people know how it ended: who died before that tells them at the next start."""
    return any((row.get("step"), row.get("status")) == (Step.TELL.value, Status.DONE.value) for row in rows)


def _read(ordered: Row, rows: Sequence[Row]) -> tuple[KillOrder, list[Fields], KillMemory] | None:
    try:
        order = order_of(ordered.fields)
    except KillRefused as error:
        log.error("the journal's last kill cannot be gone on with: %s", error)
        return None
    own = [row for row in rows if row.fields.get("kill_id") == order.kill_id]
    listed = [row.fields.get("keys") for row in own if row.kind is RowKind.KILL_KEYS_LISTED]
    keys = [key for names in listed if isinstance(names, list | tuple) for key in names if isinstance(key, str)]
    memory = KillMemory(keys=set(keys), warrant=_warrant(order, ordered.fields))
    return order, [row.fields for row in own if row.kind is RowKind.KILL_STEP], memory


def _subject(what: str, order: KillOrder) -> str:
    """Name an alert. Each kill is a matter of its own: what was told of one lately hides nothing of the next."""
    return f"kill:{what}:{order.kill_id}"


def _named(order: KillOrder) -> str:
    return f"{'drill' if order.is_drill else 'kill'} {order.kill_id}"


def _warrant(order: KillOrder, fields: Fields) -> bytes:
    """Return the envelope by which a person ordered this kill, or armed it ahead; of a drill none."""
    pieces = fields.get("warrant")
    if order.is_drill or not isinstance(pieces, list | tuple):
        return b""
    return "".join(str(piece) for piece in pieces).encode()
