"""Keeps the trading state: leases, latches, faults and releases, each change a row.

Guarantees
- A latch counts from the moment it is set; its row follows and is tried again until it is durable.
- Nothing but a warrant lifts the operator latch: touched by a security key of the ring, naming the latch row that it
  lifts, in time, by a trusted clock. It takes effect only RELEASE_DELAY_S after a channel of alerts took its
  announcement (`countdown`), and any halt in between voids it.
- KILLED is set by a kill warrant alone, or by the executor's notice of a kill that a standing warrant allowed, and
  lifted by two different security keys alone. Its row names the order key in use, and nothing lifts it while that key
  is used on, or before the exchange was asked about the one that is. What warrants must say: `latch_warrants`.
- A release re-arms the throttles too: they wait for a person, and this is that person.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from trade_core.clock import NS_PER_MS, Clock
from trade_core.clock_watch import ClockWatch
from trade_core.trust.keys import NotTrusted
from trade_core.trust.release_subject import release_subject
from trade_core.trust.release_terms import ReleaseTerms
from trade_core.trust.ring import SIMULATED, KeyRing
from trade_core.trust.signed_warrant import SignedWarrant, open_warrant
from trade_core.trust.succession import MIN_CREDENTIALS
from trade_core.trust.warrant import Warrant, check_in_time
from trade_gateway.announcer import Announce, check_announceable, to_nobody
from trade_gateway.countdown import UNHEARD, Countdown
from trade_gateway.latch_warrants import check_release, checked_kill
from trade_gateway.lease_keeper import LeaseKeeper
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.recovery import LATCH_HOLDER, Recovered
from trade_gateway.row_texts import warrant_parts
from trade_gateway.states import Fault, HaltBell, Hold, Holder, StateBoard
from trade_gateway.watchdog_log import WatchdogForked
from trade_gateway.watchdog_memory import WatchdogMemory
from trade_gateway.witnessed_log import CheckpointForgotten, LogForked, WitnessedLog
from trade_journal.errors import JournalError
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.rows import Fields, RowKind

RELEASE_DELAY_S = 60
KILL_WORDS_CHARACTERS = 400
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRelease:
    """A release that was announced and has not taken effect."""

    warrant: Warrant
    raw: bytes
    countdown: Countdown


class StateKeeper:
    """The four holders, and everything that may change them."""

    def __init__(
        self,
        *,
        ring: KeyRing,
        order_key: str,
        policy_hash: str,
        boot_nonce: str,
        clock: Clock,
        recorder: Recorder,
        witnessed: WitnessedLog,
        has_signed: Callable[[Checkpoint], Awaitable[bool]],
    ) -> None:
        self._ring = ring
        self._order_key = order_key
        self._killed_keys: frozenset[str] = frozenset()  # order keys that were in use when it was killed
        self._clock = clock
        self._recorder = recorder
        self._board = StateBoard(at_ns=clock.wall_ns())
        self.bell = HaltBell()
        self._clock_watch = ClockWatch(clock=clock)
        self._has_signed = has_signed
        self.lease = LeaseKeeper(
            ring=ring, policy_hash=policy_hash, boot_nonce=boot_nonce, clock=clock, witnessed=witnessed
        )
        self._memory = WatchdogMemory(watchdog_log=self.lease.watchdog_log, recorder=recorder, clock=clock)
        self._unrecorded: Fields | None = None
        self._forks_told: set[str] = set()
        self._recording = asyncio.Lock()
        self._latch_sequence: int | None = None
        self._released_at: int | None = None  # the row of the last release of this run
        self._pending: PendingRelease | None = None
        self._announcing = 0  # releases whose announcement is being written
        self._turn = 0  # how often what a release is checked against has changed
        self._last_state: TradingState | None = None
        self._was_lease_fresh = False
        self._lease_lapsed_at_ns = clock.wall_ns()
        self.check_counters: Callable[[SignedWarrant], object] = lambda _: None  # refuses what a copied key signed
        self.announce: Announce = to_nobody  # tells people outside
        self.has_channel = True  # to tell them over
        self.on_released: Callable[[], None] = lambda: None  # for what a person re-arms with the release
        self.on_latched: Callable[[str, str], None] = lambda *_: None  # for what any halt voids
        self.on_witnessed: Callable[[bytes], None] = lambda _: None  # for who keeps cosigned checkpoints
        self.on_reduced: Callable[[], None] = lambda: None  # for who withdraws what adds risk, at once
        self.is_reduced = False  # as last noted: REDUCE_ONLY or worse

    def trading_state(self) -> TradingState:
        """The effective state at this moment."""
        state = self._board.effective(is_lease_fresh=self.lease.is_fresh())
        return max(state, TradingState.HALTED) if self.bell.is_ringing else state

    def permits(self, adds_risk: bool) -> bool:
        """The last question before a write: does the state still allow an order of this kind?"""
        limit = TradingState.TRIMMED if adds_risk else TradingState.HALTED
        return self.trading_state() <= limit

    def holds(self) -> dict[Holder, Hold]:
        """Every holder's ceiling with its reason."""
        return self._board.holds(is_lease_fresh=self.lease.is_fresh(), lease_lapsed_at_ns=self._lease_lapsed_at_ns)

    def latched(self) -> TradingState:
        """The operator latch's own ceiling."""
        return self.holds()[Holder.OPERATOR_LATCH].ceiling

    @property
    def is_latch_recorded(self) -> bool:
        """Tell whether the latch as it stands has its durable row. Without, it counts, and a restart forgets it."""
        return self._unrecorded is None

    def restore(self, recovered: Recovered) -> None:
        """Take over the latch that the journal knows."""
        if recovered.latch > TradingState.ACTIVE:
            self._board.latch(recovered.latch, reason=recovered.latch_reason, at_ns=self._clock.wall_ns())
            self._latch_sequence = recovered.latch_sequence
            self._killed_keys = recovered.killed_keys

    async def latch(self, ceiling: TradingState, *, reason: str, by: str, trigger_value: str | None = None) -> None:
        """Tighten the latch at once; the row follows. A halt while a release is pending voids that release.

        `trigger_value` is the figure that it is for, as the row says it; None where there is none.
        """
        self._tighten(ceiling, reason=reason, by=by, trigger_value=trigger_value)
        await self._record_latch()

    def hear_bell(self, *, reason: str, by: str, trigger_value: str | None = None) -> None:
        """Latch the halt that was rung for. Its row is written by who halts, and by `work` in any case."""
        self._tighten(TradingState.HALTED, reason=reason, by=by, trigger_value=trigger_value)
        self.bell.hear()

    def _tighten(self, ceiling: TradingState, *, reason: str, by: str, trigger_value: str | None) -> None:
        self._turn += 1
        self.on_latched(reason, by)
        now_ns = self._clock.wall_ns()
        was_changed = self._board.latch(ceiling, reason=reason, at_ns=now_ns)
        if ceiling >= TradingState.KILLED and self._order_key not in self._killed_keys:
            self._killed_keys |= {self._order_key}
            was_changed = True  # killed again, with another key: its row must be the one that is released
        was_pending, self._pending = self._pending is not None or self._announcing > 0, None
        if not was_changed and not was_pending:
            return
        log.warning("latched %s by %s: %s", self.latched().name, by, reason)
        # A new row makes a warrant for the old one worthless.
        self._unrecorded = {
            "holder": LATCH_HOLDER,
            "ceiling": self.latched().name,
            "reason": reason,
            "by": by,
            "trigger_value": trigger_value,
        }
        if self._killed_keys:
            self._unrecorded["killed_keys"] = sorted(self._killed_keys)
        self._latch_sequence = None
        self.note()
        if was_pending:
            self._recorder.append_later(RowKind.RELEASE_VOIDED, {"reason": reason, "by": by})

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Verify and hold a lease. Raises NotTrusted, after a row that says why; a proven fork latches HALTED."""
        try:
            lease = self.lease.accept(raw)
        except NotTrusted as error:
            if isinstance(error, LogForked) or (
                isinstance(error, CheckpointForgotten) and not await self._is_own(error.checkpoint)
            ):
                await self._halt_for_fork("journal forked", str(error))
            if isinstance(error, WatchdogForked):
                await self._halt_for_fork("watchdog journal forked", str(error))
            self._recorder.refuse(RowKind.LEASE_REFUSED, str(error))
            log.warning("lease refused: %s", error)
            raise
        ceiling = TradingState[lease.ceiling]
        reason = "" if ceiling is TradingState.ACTIVE else f"the watchdog's lease says {lease.ceiling}"
        if ceiling is TradingState.HALTED and self.latched() < TradingState.HALTED and self._knows_of_release():
            await self.latch(ceiling, reason=reason, by="watchdog", trigger_value=lease.trigger_value or None)
        self.on_witnessed(lease.checkpoint.encode())
        self._board.set_watchdog_ceiling(ceiling, reason=reason, at_ns=self._clock.wall_ns())
        self._memory.keep(lease)
        self.note()
        return {"generation": lease.generation, "trading_state": self.trading_state().name}

    def _knows_of_release(self) -> bool:
        """Tell whether the watchdog had seen the last release when it signed the held lease.

        If not, its HALTED is the one that was released: it counts while the lease lives, and latches nothing anew.
        """
        held = self.lease.held
        return self._released_at is None or (held is not None and held.rows > self._released_at)

    async def _is_own(self, checkpoint: Checkpoint) -> bool:
        """Tell whether the journal gave out a checkpoint long ago. Nothing is proved while it cannot be read."""
        try:
            return await self._has_signed(checkpoint)
        except JournalError as error:
            log.warning("an old checkpoint cannot be looked up: %s", error)
            return True

    async def _halt_for_fork(self, kind: str, detail: str) -> None:
        if self.latched() >= TradingState.HALTED and kind in self._forks_told:
            return  # shown again and again it is one matter, until a person has released
        self._forks_told.add(kind)
        incident: Fields = {"type": kind, "severity": "critical", "detail": detail[:400]}
        self._recorder.append_later(RowKind.INCIDENT_OPENED, incident)
        await self.latch(TradingState.HALTED, reason=detail, by="gateway")

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Verify a release warrant and announce it. Raises NotTrusted, after a row that says why."""
        try:
            warrant = self._checked_release(raw).warrant
        except NotTrusted as error:
            self._recorder.refuse(RowKind.RELEASE_REFUSED, str(error))
            log.warning("release refused: %s", error)
            raise
        announced: Fields = {"subject": warrant.subject, "words": warrant.words, "delay_s": RELEASE_DELAY_S}
        turn = self._turn
        self._announcing += 1
        try:
            is_durable = await self._recorder.append_durable(RowKind.RELEASE_ANNOUNCED, announced)
        finally:
            self._announcing -= 1
        if not is_durable:
            raise NotTrusted("release: it cannot be announced while the journal cannot be written")
        if turn != self._turn:  # what was checked is not what the latch is now
            reason = "a halt, a release or another key ring came while it was being announced"
            self._recorder.append_later(RowKind.RELEASE_VOIDED, {"reason": reason, "by": "gateway"})
            raise NotTrusted(f"release: {reason}")
        has_reached = self.announce("release", raw, f"in {RELEASE_DELAY_S} s, unless it is halted: {warrant.words}")
        now_ns = self._clock.monotonic_ns()
        countdown = Countdown(announced_at_ns=now_ns, delay_s=RELEASE_DELAY_S, has_reached=has_reached)
        countdown.look(now_ns)
        self._pending = PendingRelease(warrant=warrant, raw=raw, countdown=countdown)
        log.warning("release announced, in effect in %d s unless halted again: %s", RELEASE_DELAY_S, warrant.words)
        return {"trading_state": self.trading_state().name, "takes_effect_in_s": RELEASE_DELAY_S}

    def _checked_release(self, raw: bytes) -> SignedWarrant:
        check_announceable(has_channel=self.has_channel)
        signed = open_warrant(raw, ring=self._ring)
        if self.latched() < TradingState.HALTED:
            raise NotTrusted(f"release: the latch is {self.latched().name}, only HALTED or KILLED can be released")
        if self._latch_sequence is None:
            raise NotTrusted("release: the latch has no durable row yet")
        terms = check_release(
            signed, latch_sequence=self._latch_sequence, latch=self.latched(), killed_keys=self._killed_keys
        )
        self._check_order_key(terms)
        check_in_time(
            signed.warrant,
            now_ms=self._clock.wall_ns() // NS_PER_MS,
            is_clock_trusted=self._clock_watch.is_trusted(),
        )
        self.check_counters(signed)
        return signed

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        """Latch KILLED by the warrant that the executor was given, or by its notice of an automatic kill.

        Raises NotTrusted, after a row that says why.
        """
        try:
            words = checked_kill(
                raw,
                ring=self._ring,
                now_ms=self._clock.wall_ns() // NS_PER_MS,
                is_clock_trusted=self._clock_watch.is_trusted(),
            )
        except NotTrusted as error:
            self._recorder.refuse(RowKind.RELEASE_REFUSED, str(error))
            log.warning("kill refused: %s", error)
            raise
        self.announce("killed", raw, words)
        await self.latch(TradingState.KILLED, reason=words[:KILL_WORDS_CHARACTERS], by="warrant")
        return {"trading_state": self.trading_state().name}

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe the security keys of another ring from now on, and leases under it alone."""
        self._turn += 1
        self._ring = ring
        self.lease.adopt_ring(ring)
        if self._pending is not None:  # announced under keys that may be gone
            self._pending = None
            self._recorder.append_later(RowKind.RELEASE_VOIDED, {"reason": "the key ring changed", "by": "ring"})

    def is_clock_trusted(self) -> bool:
        """Tell whether a warrant's time can be judged."""
        return self._clock_watch.is_trusted()

    def is_release(self, raw: bytes, *, latch_sequence: int, latch: TradingState, killed_keys: Collection[str]) -> bool:
        """Tell whether a warrant found in the journal really lifted the latch of a row; its time has been judged."""
        try:
            signed = open_warrant(raw, ring=self._ring)
            check_release(signed, latch_sequence=latch_sequence, latch=latch, killed_keys=killed_keys)
        except NotTrusted as error:
            log.warning("a release in the journal is not believed: %s", error)
            return False
        return True

    def _check_order_key(self, terms: ReleaseTerms) -> None:
        """Check that the order key in use is the one named after a kill, and that the exchange was asked about it."""
        if terms.after_kill is None:
            return
        if terms.after_kill.order_key != self._order_key:
            raise NotTrusted(f"release: the order key in use is {self._order_key}, and another one is named")
        if self._board.has_fault(Fault.KEY_UNVERIFIED):
            raise NotTrusted(f"release: the exchange has not been asked yet about the order key {self._order_key}")

    async def work(self, *, is_journal_writable: bool) -> None:
        """Do what time alone brings: lapsed leases, leaps of the clock, rows owed, a release that is due."""
        self.set_fault(Fault.CLOCK_LEAPT, is_there=not self._clock_watch.is_trusted())
        self.set_fault(Fault.JOURNAL_UNWRITABLE, is_there=not is_journal_writable)
        # Whoever cannot be stopped by a touch must not trade with real money.
        has_too_few = self._ring.environment != SIMULATED and len(self._ring.credentials) < MIN_CREDENTIALS
        self.set_fault(Fault.SECURITY_KEYS_FEW, is_there=has_too_few)
        if is_journal_writable:
            await self._record_latch()
        await self._count_down()
        self.note()

    async def _count_down(self) -> None:
        """Release what was announced once its time is over, or void it when nobody outside got to read it."""
        pending, now_ns = self._pending, self._clock.monotonic_ns()
        if pending is None:
            return
        pending.countdown.look(now_ns)
        if pending.countdown.is_due(now_ns):
            await self._release(pending)
        elif pending.countdown.is_unheard(now_ns):
            self._pending = None
            self._recorder.append_later(RowKind.RELEASE_VOIDED, {"reason": UNHEARD, "by": "gateway"})
            log.error("the announced release is void: %s", UNHEARD)

    async def _release(self, pending: PendingRelease) -> None:
        fields: Fields = {
            "holder": LATCH_HOLDER,
            "ceiling": TradingState.ACTIVE.name,
            "reason": pending.warrant.words,
            "by": "warrant",
            "warrant": warrant_parts(pending.raw),
        }
        # Durable first: a release that a restart would forget is no release. A halt may arrive while we wait.
        turn = self._turn
        sequence = await self._recorder.append_numbered(RowKind.STATE_CHANGED, fields)
        if sequence is None:
            return
        if turn != self._turn:
            # The row says released, and a halt came meanwhile; that halt's own row is written after it.
            return
        self._turn += 1
        self._pending = None
        self._latch_sequence = None
        self._killed_keys = frozenset()
        self._released_at = sequence
        self._board.release(at_ns=self._clock.wall_ns())
        self.on_released()
        log.warning("released: %s", pending.warrant.words)

    async def _record_latch(self) -> None:
        # One at a time: a second row of one latch would be the one that a restart knows, and no warrant names it.
        async with self._recording:
            fields = self._unrecorded
            if fields is None:
                return
            sequence = await self._recorder.append_numbered(RowKind.STATE_CHANGED, fields)
            if sequence is not None and self._unrecorded is fields:
                self._unrecorded = None
                self._latch_sequence = sequence

    def set_fault(self, fault: Fault, *, is_there: bool) -> None:
        """Raise or clear one of the gateway's own faults."""
        if is_there and self._board.raise_fault(fault, at_ns=self._clock.wall_ns()):
            log.info("fault: %s", fault.value)
            self.note()
        elif not is_there and self._board.clear_fault(fault):
            log.info("no longer: %s", fault.value)
            self.note()

    def has_fault(self, fault: Fault) -> bool:
        """Tell whether one of the gateway's own faults is there."""
        return self._board.has_fault(fault)

    def explain_fault(self, fault: Fault, detail: str) -> None:
        """Say more of one of the gateway's own faults, also while it holds nothing back."""
        self._board.explain_fault(fault, detail)

    def note(self) -> None:
        """Write a row when the effective state, or the presence of a lease, is not what it was."""
        is_fresh = self.lease.is_fresh()
        if is_fresh != self._was_lease_fresh:
            self._was_lease_fresh = is_fresh
            self._lease_lapsed_at_ns = self._clock.wall_ns()
            kind = RowKind.LEASE_GAINED if is_fresh else RowKind.LEASE_LOST
            self._recorder.append_later(kind, {"generation": self.lease.generation})
        state = self._board.effective(is_lease_fresh=is_fresh)
        was_reduced, self.is_reduced = self.is_reduced, state >= TradingState.REDUCE_ONLY
        if self.is_reduced and not was_reduced:
            self.on_reduced()
        if state is self._last_state:
            return
        before, self._last_state = self._last_state, state
        reasons = "; ".join(hold.reason for hold in self.holds().values() if hold.ceiling is state and hold.reason)
        fields: Fields = {
            "holder": "effective",
            "before": before.name if before is not None else None,
            "ceiling": state.name,
            "reason": reasons[:400],
        }
        self._recorder.append_later(RowKind.STATE_CHANGED, fields)
        log.info("trading state %s%s", state.name, f": {reasons}" if reasons else "")

    def describe(self) -> dict[str, Any]:
        """What /state says of the trading state."""
        held = self.lease.held
        pending = self._pending
        now_ns = self._clock.monotonic_ns()
        return {
            "trading_state": self.trading_state().name,
            "holders": {
                holder.value: {"ceiling": hold.ceiling.name, "reason": hold.reason, "since_ns": str(hold.since_ns)}
                for holder, hold in self.holds().items()
            },
            "latch_subject": release_subject(self._latch_sequence) if self._latch_sequence is not None else None,
            "order_key": self._order_key,
            "killed_keys": sorted(self._killed_keys),
            "release_pending": None
            if pending is None
            else {"words": pending.warrant.words, **pending.countdown.describe(now_ns)},
            "lease": {
                "generation": self.lease.generation,
                "age_s": self.lease.age_s(),
                "expires_in_s": self.lease.expires_in_s(),
                "ceiling": held.lease.ceiling if held is not None else None,
                "holder": held.lease.holder if held is not None else None,
            },
        }
