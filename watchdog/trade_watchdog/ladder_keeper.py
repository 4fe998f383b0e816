"""Keeps the ladder: feeds it what was believed, remembers what it said, and sees to it that it happens.

Guarantees
- Refuse first, talk later: `take` changes what the next lease says before anything is written, done or told.
- What a fired rung demands is pursued until it has happened, each action in a task of its own: a bot that cannot be
  stopped delays no halt, and no alert delays anything. Since the demand is read from the rung's stage, a restart
  pursues it again; every action may be asked for twice.
- A release is believed only by `releases`; here its rungs are re-based at the last believed price.

| fired | pursued |
|---|---|
| daily | an alert until a person acknowledges the review |
| weekly | an alert |
| monthly | the gateway halted; the bot stopped; what the executor's settings say of a halt closed; an alert |
| high_water | the gateway halted; a kill asked for; the bot stopped; an alert |

An outflow that nobody announced has the gateway halted too, by the lease until the gateway says that it is halted, with
an alert and an incident row; a start goes on with it until a row says that the gateway was halted. A release that ends
what a bot was to be stopped for spares the bot, and what was halted for once is not halted for again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Final

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.money import format_decimal
from trade_core.trust.lease import TRIGGER_VALUE, Peak
from trade_watchdog.account_watch import Look
from trade_watchdog.ceiling import Ceiling, Verdict, tightest
from trade_watchdog.effects import Alert, EffectFailed, Effects, KillCondition, KillRequest, Severity
from trade_watchdog.equity import Book, Flow
from trade_watchdog.history import HALT, ROGUE_OUTFLOW, History
from trade_watchdog.ladder import EFFECTS, Change, Effect, Ladder, Move, Rung, Stage, Thresholds
from trade_watchdog.movements import Announcement, Announcements
from trade_watchdog.releases import Position, Told

ROW_EVERY_S: Final = 60
HIGH_STEP: Final = Decimal("0.0001")
TOLD_QUANTUM: Final = Decimal("1e-12")  # what the grammar of a lease's numbers can hold
RETRY_S: Final = 2.0
ACTION_WITHIN_S: Final = 30.0
BY_ITSELF: Final = "ladder"
SCALE_BOT: Final = "scale_bot"
FLATTEN: Final = "flatten"
_SEVERITIES: Final = {
    Effect.REVIEW: Severity.WARNING,
    Effect.TRIM: Severity.WARNING,
    Effect.HALT: Severity.CRITICAL,
    Effect.KILL: Severity.CRITICAL,
}
_HALTING: Final = frozenset({Effect.HALT, Effect.KILL})
_WORDS: Final = {
    Effect.REVIEW: "review the positions and acknowledge",
    Effect.TRIM: "limits are scaled down until it recovers",
    Effect.HALT: "halted; the bot is to be stopped; a person must release",
    Effect.KILL: "halted; a kill is asked for",
}
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Pursuit:
    """One action and how far it has come; `failure` is why the last attempt failed, empty after success."""

    action: str
    demanding: frozenset[Effect]
    done_for: frozenset[str] = frozenset()  # what it was last done for
    failure: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


def _pursuits() -> dict[str, Pursuit]:
    demanding = {
        HALT: _HALTING,
        "kill": frozenset({Effect.KILL}),
        SCALE_BOT: _HALTING,
        FLATTEN: frozenset({Effect.HALT}),  # what becomes of positions in a kill is the kill's
    }
    return {action: Pursuit(action=action, demanding=effects) for action, effects in demanding.items()}


@dataclass(slots=True, kw_only=True)
class LadderKeeper:
    """The ladder, its memory and its hands."""

    ladder: Ladder
    thresholds: Thresholds
    history: History
    effects: Effects
    clock: Clock
    position: Callable[[], Position] = Position
    on_moved: Callable[[], object] = lambda: None
    book: Book | None = None
    began_with_rows: int | None = None
    announcements: Announcements = field(default_factory=Announcements)
    rogue_outflow: str = ""  # the last one; once the gateway was halted for it, its latch is what lasts
    equity_usdt: Decimal = Decimal(0)
    pursuits: dict[str, Pursuit] = field(default_factory=_pursuits)
    _owed: tuple[Rung, ...] = ()
    _high: Decimal | None = None
    _written_high: Decimal | None = None
    _written_at_ns: int | None = None

    def demand(self) -> Verdict:
        """Say what the rungs permit, and HALTED until the gateway was halted for the last outflow."""
        demanded = self.ladder.demand()
        if not self.rogue_outflow or self.rogue_outflow in self.pursuits[HALT].done_for:
            return demanded
        return tightest(demanded, Verdict(ceiling=Ceiling.HALTED, reason=self.rogue_outflow))

    def trigger_value(self) -> str:
        """Give the figure that the ladder halts for, empty while it does not: the deepest drawdown, or what left."""
        if self.demand().ceiling is not Ceiling.HALTED:
            return ""
        drawdowns = [
            reading.drawdown
            for reading in self.ladder.readings()
            if reading.stage is Stage.FIRED and EFFECTS[reading.rung] in _HALTING and reading.drawdown is not None
        ]
        if drawdowns:
            return format_decimal(max(drawdowns))
        outflow = " ".join(self.rogue_outflow.split()[:2])  # amount and coin
        return outflow if TRIGGER_VALUE.fullmatch(outflow) else ""  # a figure of another form must not cost the halt

    def take(self, look: Look) -> None:
        """Take in a look that was good: decide, have the verdict renewed, then remember and tell."""
        assert look.sample is not None
        assert look.book is not None
        self.book, self.equity_usdt = look.book, look.sample.equity_usdt
        changes = self.ladder.take(
            price=look.book.price,
            at_ms=look.sample.exchange_time_ms,
            monotonic_ns=look.sample.received_monotonic_ns,
        )
        rebased = self._rebase_owed()
        self.on_moved()
        self._remember(look, [*changes, *rebased])
        self._wake()
        for change in changes:
            self._tell(change)

    def acknowledge(self, subject: str, *, by: str) -> bool:
        """Take a person's word that he has seen to an alert; False for a subject that waits for nobody.

        Of the daily rung it says that the positions were reviewed. Nothing else is loosened by it.
        """
        was_told = self.effects.acknowledge(subject)
        rung = next((rung for rung in Rung if subject_of(rung) == subject), None)
        change = None if rung is None else self.ladder.acknowledge(rung)
        if change is not None:
            self.history.moved(change, observed_ms=self.ladder.observed_ms, by=by)
            self._sample_row()
        elif was_told:
            self.history.acted("acknowledge", reason=f"{subject} by {by}")
        else:
            return False
        _log.warning("%s acknowledged by %s", subject, by)
        return True

    def remind(self) -> None:
        """Alert again of what has fired or left, after a start: nobody knows who was told before."""
        if self.rogue_outflow:
            text = f"before the watchdog was started, {self.rogue_outflow}"
            self.effects.alert(
                Alert(subject="rogue_outflow", severity=Severity.CRITICAL, text=text, needs_acknowledgement=True)
            )
        for reading in self.ladder.readings():
            effect = EFFECTS[reading.rung]
            if reading.stage is Stage.FIRED and effect is not Effect.TRIM:
                text = f"the {reading.rung.value} rung had fired before the watchdog was started; {_WORDS[effect]}"
                self.effects.alert(
                    Alert(
                        subject=subject_of(reading.rung),
                        severity=_SEVERITIES[effect],
                        text=text,
                        needs_acknowledgement=True,
                    )
                )

    def release(self, rungs: tuple[Rung, ...]) -> None:
        """Re-base these rungs at the last believed price; at the next one when there is none since the start."""
        self._owed = tuple(dict.fromkeys((*self._owed, *rungs)))
        changes = self._rebase_owed()
        if changes:
            self.on_moved()
            self._note(changes)
            self._sample_row()
            self._wake()

    def told_peaks(self) -> tuple[Peak, ...]:
        """Return the peaks as a lease tells them: rounded up, so that they are never lower when they come back."""
        return tuple(
            Peak(rung=rung.value, price=format_decimal(peak.quantize(TOLD_QUANTUM, rounding=ROUND_CEILING)))
            for rung, peak in self.ladder.peaks().items()
        )

    def recall(self, told: Told | None, *, is_ours: bool = True) -> None:
        """Take back peaks that leases told the gateway, if our own journal began shorter than it was then.

        That happens when it was put back to an older state; else what it holds is as new, and more exact. Not
        `is_ours` says that our own journal never signed the checkpoint that we once told: it went on in another way
        since. To be told once, when all of the gateway's journal has been read, and before a lease tells the gateway
        anything new.
        """
        began, self.began_with_rows = self.began_with_rows, None
        if told is None or began is None or (is_ours and told.rows <= began):
            return
        text = f"the watchdog's journal began with {began} rows and once had {told.rows}: it was put back"
        if told.rows <= began:
            text = f"the watchdog's journal of {began} rows is not the one that once had {told.rows}: it was put back"
        _log.error("%s; its peaks are those that the gateway was told", text)
        self.ladder.raise_peaks(told.peaks)
        self.on_moved()
        self.history.open_incident(
            kind="watchdog journal put back", severity=Severity.CRITICAL, fields={"detail": text}
        )
        self._sample_row()
        self.effects.alert(Alert(subject="watchdog_journal", severity=Severity.CRITICAL, text=text))

    def announce(self, *, coin: str, amount: Decimal, by: str) -> str | None:
        """Take a person's word that money will leave; answers the movement's id, None when too many wait."""
        announcement = Announcement(
            movement_id=secrets.token_hex(8), coin=coin, amount=amount, at_ms=self.clock.wall_ns() // NS_PER_MS
        )
        if not self.announcements.add(announcement):
            return None
        self.history.announced(announcement, by=by)
        _log.warning("%s announced that %s %s will leave", by, format_decimal(amount), coin)
        return announcement.movement_id

    def _flow_seen(self, flow: Flow) -> None:
        """Remember a flow; an outflow that nobody announced is rogue, and halts."""
        used = self.announcements.use(flow) if flow.amount < 0 else None
        self.history.flowed(flow, is_announced=used is not None)
        self.history.moved_capital(flow, movement_id=flow.entry_id if used is None else used.movement_id)
        amount = f"{format_decimal(abs(flow.amount))} {flow.coin}"
        if flow.amount >= 0 or used is not None:
            _log.info("%s %s (%s)", amount, "left" if flow.amount < 0 else "came", flow.kind)
            return
        text = f"{amount} left the account ({flow.kind}) and nobody had announced it"
        self.rogue_outflow = f"{text}, entry {flow.entry_id}"
        self.on_moved()
        self.history.open_incident(
            kind=ROGUE_OUTFLOW, severity=Severity.CRITICAL, fields={"detail": self.rogue_outflow}
        )
        self.effects.alert(
            Alert(subject="rogue_outflow", severity=Severity.CRITICAL, text=text, needs_acknowledgement=True)
        )

    async def pursue(self) -> None:
        """Carry out what the rungs demand until cancelled; each action by itself."""
        carried_out: dict[str, Callable[[str], Awaitable[None]]] = {
            HALT: self._halt,
            "kill": self._ask_for_kill,
            SCALE_BOT: self.effects.scale_bot,
            FLATTEN: self._flatten,
        }
        async with asyncio.TaskGroup() as tasks:
            for action, act in carried_out.items():
                tasks.create_task(self._pursue(self.pursuits[action], act))

    async def _pursue(self, pursuit: Pursuit, act: Callable[[str], Awaitable[None]]) -> None:
        while True:
            pursuit.wake.clear()
            demands = self._demands(pursuit)
            if demands.keys() <= pursuit.done_for:
                await pursuit.wake.wait()
                continue
            reason = "; ".join(demands.values())
            failure = await _attempt(act, reason)
            if not failure:
                pursuit.done_for = frozenset(demands)
                self.on_moved()
            if not failure or failure != pursuit.failure:
                self.history.acted(pursuit.action, reason=reason, failure=failure)
                _log.error("%s %s: %s", pursuit.action, failure or "done", reason)
            pursuit.failure = failure
            if failure:
                await asyncio.sleep(RETRY_S)

    def _demands(self, pursuit: Pursuit) -> dict[str, str]:
        """Name what demands an action, the same name for the same firing, with its reason."""
        demands = {
            f"{reading.rung.value}@{reading.since_ms}": f"the {reading.rung.value} rung has fired"
            for reading in self.ladder.readings()
            if reading.stage is Stage.FIRED and EFFECTS[reading.rung] in pursuit.demanding
        }
        if self.rogue_outflow and pursuit.action == HALT:
            demands[self.rogue_outflow] = self.rogue_outflow
        return demands

    async def _halt(self, reason: str) -> None:
        await self.effects.halt(reason, trigger_value=self.trigger_value())

    async def _ask_for_kill(self, reason: str) -> None:
        reading = next(one for one in self.ladder.readings() if one.rung is Rung.HIGH_WATER)
        evidence = {
            "fraction": format_decimal(reading.fraction),
            "peak": "" if reading.peak is None else format_decimal(reading.peak),
            "drawdown": "" if reading.drawdown is None else format_decimal(reading.drawdown),
            "unit_price": "" if self.book is None else format_decimal(self.book.price),
            "units": "" if self.book is None else format_decimal(self.book.units),
            "equity_usdt": format_decimal(self.equity_usdt),
        }
        await self.effects.request_kill(
            KillRequest(
                request_id=f"{reading.rung.value}@{reading.since_ms}",
                condition=KillCondition.DRAWDOWN,
                reason=reason,
                at_ns=self.clock.wall_ns(),
                evidence=evidence,
            )
        )

    async def _flatten(self, reason: str) -> None:
        demands = self._demands(self.pursuits[FLATTEN])
        if demands:  # a release may have come meanwhile
            await self.effects.flatten(next(iter(demands)), reason)

    def _rebase_owed(self) -> list[Change]:
        changes = [self.ladder.rebase(rung) for rung in self._owed]
        made = [change for change in changes if change is not None]
        if made:
            self._owed = ()
            if not self._demands(self.pursuits[SCALE_BOT]):
                self.effects.spare_bot()
        return made

    def _note(self, changes: list[Change]) -> None:
        for change in changes:
            _log.warning("rung %s %s: %s", change.rung.value, change.move.value, figures(change))
            by = "release" if change.move is Move.REBASED else BY_ITSELF
            self.history.moved(change, observed_ms=self.ladder.observed_ms, by=by)

    def _remember(self, look: Look, changes: list[Change]) -> None:
        self._note(changes)
        for flow in look.flows:
            self._flow_seen(flow)
        if look.absorbed_usdt:
            self.history.absorbed(look.absorbed_usdt)
        high = self.ladder.confirmed_high
        if high is not None and (self._high is None or high > self._high):
            self._high = high
        if changes or look.flows or look.absorbed_usdt or self._is_row_due():
            self._sample_row()

    def _is_row_due(self) -> bool:
        if self._written_at_ns is None or self.clock.monotonic_ns() - self._written_at_ns >= ROW_EVERY_S * NS_PER_S:
            return True
        if self._high is None:
            return False
        return self._written_high is None or self._high > self._written_high * (1 + HIGH_STEP)

    def _sample_row(self) -> None:
        if self.book is None:
            return
        self.history.sampled(
            book=self.book,
            equity_usdt=self.equity_usdt,
            high=self._high,
            memory=self.ladder.memory(),
            thresholds=self.thresholds,
            position=self.position(),
        )
        if self._high is not None:
            self._written_high = self._high
        self._high = None
        self._written_at_ns = self.clock.monotonic_ns()

    def _wake(self) -> None:
        for pursuit in self.pursuits.values():
            pursuit.wake.set()

    def _tell(self, change: Change) -> None:
        subject = subject_of(change.rung)
        effect = EFFECTS[change.rung]
        if change.move is Move.FIRED:
            text = f"the {change.rung.value} rung has fired: {figures(change)}; {_WORDS[effect]}"
            needs_answer = effect is not Effect.TRIM
            self.effects.alert(
                Alert(subject=subject, severity=_SEVERITIES[effect], text=text, needs_acknowledgement=needs_answer)
            )
        else:
            text = f"the {change.rung.value} rung is armed again: {figures(change)}"
            self.effects.alert(Alert(subject=subject, severity=Severity.INFO, text=text))


def subject_of(rung: Rung) -> str:
    """Name the alerts of a rung."""
    return f"rung:{rung.value}"


def figures(change: Change) -> str:
    """Say a change's figures in words; prices to six digits."""
    if change.price is None or change.peak is None or change.drawdown is None:
        return "no price yet"
    percent = format_decimal(change.drawdown * 100)
    return f"{percent} % below the peak (unit price {change.price:.6f}, peak {change.peak:.6f})"


async def _attempt(act: Callable[[str], Awaitable[None]], reason: str) -> str:
    """Try an action once, within ACTION_WITHIN_S; answers why it failed, empty when it did not."""
    try:
        async with asyncio.timeout(ACTION_WITHIN_S):
            await act(reason)
    except EffectFailed as error:
        return str(error)[:200] or "failed"
    except TimeoutError:
        return f"no answer within {ACTION_WITHIN_S:.0f} s"
    return ""
