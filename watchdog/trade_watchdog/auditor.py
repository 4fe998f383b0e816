"""The audit at work: looks at orders, executions and keys, judges them, and acts on what it finds.

Guarantees
- What is rogue halts the gateway first, and asks for a kill after that. Both are asked for again until they are done;
  a gateway that does not halt, which may be the one at fault, keeps no kill from being asked for.
- While an order is unproven, or no look was whole for LOOK_AGE_MAX_S, the verdict is REDUCE_ONLY. It never kills on
  what it could not read.
- Its loops share nothing with the one that reads the equity: a list that hangs delays no lease.

It reads through connections of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_journal.errors import ForkProven
from trade_watchdog.audit.key_inventory import ExpectedKey, KeyAlarm, KeyFinding, examine_keys
from trade_watchdog.audit.order_audit import Finding, OrderAudit
from trade_watchdog.audit.provenance import Provenance
from trade_watchdog.ceiling import Ceiling, Verdict
from trade_watchdog.drop_copy import DropCopy, KeyReading, all_keys
from trade_watchdog.effects import Alert, EffectFailed, Effects, KillCondition, KillRequest, Severity
from trade_watchdog.recheck import Recheck

LOOK_EVERY_S: Final = 2.0
"""Eight requests a look: a thirtieth of what the exchange lets one address ask."""
LOOK_AGE_MAX_S: Final = 20
RECHECK_EVERY_S: Final = 0.5
KEYS_EVERY_S: Final = 20.0
EDITS_TOLD_MAX: Final = 100
KEYS_AGE_MAX_S: Final = 300
_HALTING: Final = frozenset({Provenance.ROGUE, Provenance.REDUCES, Provenance.EXCHANGES})
_HALTING_KEYS: Final = frozenset({KeyAlarm.ROGUE, KeyAlarm.WIDENED})

_log = logging.getLogger(__name__)


class IncidentBook(Protocol):
    """Where incidents are kept: the watchdog's own journal. Neither call may raise."""

    def open_incident(self, *, kind: str, severity: Severity, fields: Mapping[str, str]) -> None:
        """Keep an incident as a row."""
        ...


class CopyOfJournal(Protocol):
    """What the audit needs of the witness: since when its rows are complete, and older ones by their tags."""

    @property
    def read_through_ns(self) -> int | None:
        """The monotonic time at which the last reading that came to the journal's proved end began."""
        ...

    async def search(self, tags: list[str]) -> int:
        """Look for older intents; answers how many were found. Raises TradeError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Something that must be done and is tried until it is: a halt, then what follows it."""

    subject: str
    reason: str
    kill: KillRequest | None


@dataclass(slots=True, kw_only=True)
class AuditState:
    """What the audit knows at this moment, for `/state` and the verdict. Times are monotonic."""

    looked_at_ns: int | None = None
    look_detail: str = "no look yet"
    keys_read_at_ns: int | None = None
    keys_detail: str = "the keys were not read yet"
    rogue_orders: int = 0
    other_orders: int = 0
    unproven: int = 0
    pending: int = 0
    key_alarms: tuple[KeyFinding, ...] = ()


@dataclass(slots=True, kw_only=True)
class Auditor:
    """The loops of the audit."""

    drop_copy: DropCopy
    audit: OrderAudit
    keys: KeyReading
    recheck: Recheck
    account: str
    expected_keys: tuple[ExpectedKey, ...]
    copy: CopyOfJournal
    effects: Effects
    incidents: IncidentBook
    clock: Clock
    on_change: Callable[[], None]
    state: AuditState = field(default_factory=AuditState)
    _duties: dict[str, Duty] = field(default_factory=dict)
    _told_keys: set[KeyFinding] = field(default_factory=set)
    _told_edits: set[str] = field(default_factory=set)
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Audit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(LOOK_EVERY_S, self.look))
            tasks.create_task(self._every(KEYS_EVERY_S, self.read_keys))
            tasks.create_task(self._every(RECHECK_EVERY_S, self.reread_journal))
            tasks.create_task(self._do_duties())

    def verdict(self) -> Verdict:
        """Say how much risk the audit vouches for at this moment."""
        now_ns = self.clock.monotonic_ns()
        state = self.state
        if state.looked_at_ns is None or now_ns - state.looked_at_ns > LOOK_AGE_MAX_S * NS_PER_S:
            return _reduce_only(f"the orders are not audited: {state.look_detail or 'no look came to its end'}")
        if self.audit.is_overwhelmed or state.unproven:
            return _reduce_only(f"{state.unproven} orders at the exchange are unproven")
        if state.keys_read_at_ns is None or now_ns - state.keys_read_at_ns > KEYS_AGE_MAX_S * NS_PER_S:
            return _reduce_only(
                f"the account's keys are not audited: {state.keys_detail or 'no reading came to its end'}"
            )
        return Verdict(ceiling=Ceiling.ACTIVE, reason="orders, executions and keys are those that they should be")

    async def look(self) -> None:
        """Look once at orders and executions."""
        began_ns = self.clock.monotonic_ns()
        try:
            seen = await self.drop_copy.look(now_ms=self.clock.wall_ns() // NS_PER_MS)
        except (ExchangeUnavailable, ExchangeAnswerInvalid, TradeError) as error:
            self._note_look(str(error))
            return
        findings = self.audit.judge(
            orders=seen.orders,
            executions=seen.executions,
            now_ns=began_ns,
            journal_read_at_ns=self.copy.read_through_ns,
        )
        for finding in findings:
            self._found(finding)
        await self._search_older(findings)
        self.state.unproven, self.state.pending = self.audit.unproven, self.audit.pending
        self.state.looked_at_ns = began_ns
        self._note_look("")
        self.on_change()

    async def read_keys(self) -> None:
        """Read and examine the keys of the account once."""
        began_ns = self.clock.monotonic_ns()
        try:
            listed = await all_keys(self.keys, account=self.account)
        except TradeError as error:
            if str(error) != self.state.keys_detail:
                _log.warning("the keys cannot be read: %s", error)
            self.state.keys_detail = str(error)
            return
        findings = examine_keys(listed, self.expected_keys)
        for finding in findings:
            if finding not in self._told_keys:
                self._found_key(finding)
        self._told_keys = set(findings)
        self.state.key_alarms = tuple(findings)
        self.state.keys_read_at_ns, self.state.keys_detail = began_ns, ""
        self.on_change()

    async def reread_journal(self) -> None:
        """Hold the next chunk of the gateway's journal against the copy."""
        try:
            await self.recheck.step()
        except ForkProven as error:
            self._found_edit(str(error))
        except TradeError as error:
            # The lease needs the same gateway and the same copy, and says so.
            _log.debug("the journal was not read again: %s", error)

    def _found_edit(self, words: str) -> None:
        if words in self._told_edits:
            return
        if len(self._told_edits) < EDITS_TOLD_MAX:
            self._told_edits.add(words)
        _log.error("%s", words)
        # What is served is not signed: enough to halt, and a person decides about more.
        self._act(subject="journal:edited", name="", words=words, fields={"detail": words}, halts=True, condition=None)

    def _found(self, finding: Finding) -> None:
        _log.error("order %s: %s: %s", finding.order_id, finding.provenance.value, finding.reason)
        if finding.provenance is Provenance.ROGUE:
            self.state.rogue_orders += 1
        else:
            self.state.other_orders += 1
        words = f"{finding.category} {finding.side} order {finding.order_id} on {finding.symbol}: {finding.reason}"
        self._act(
            subject=f"order:{finding.provenance.value}",
            name=finding.order_id,
            words=words,
            fields={
                "order_id": finding.order_id,
                "link_id": finding.link_id,
                "category": finding.category,
                "symbol": finding.symbol,
                "side": finding.side,
                "reason": finding.reason,
            },
            halts=finding.provenance in _HALTING,
            condition=KillCondition.ROGUE_ORDER if finding.provenance is Provenance.ROGUE else None,
        )

    def _found_key(self, finding: KeyFinding) -> None:
        _log.error("key %s: %s: %s", finding.key, finding.alarm.value, finding.detail)
        self._act(
            subject=f"key:{finding.alarm.value}",
            name=finding.key,
            words=f"exchange key {finding.key}: {finding.detail}",
            fields={"key": finding.key, "detail": finding.detail},
            halts=finding.alarm in _HALTING_KEYS,
            condition=KillCondition.ROGUE_KEY if finding.alarm is KeyAlarm.ROGUE else None,
        )

    def _act(
        self,
        *,
        subject: str,
        name: str,
        words: str,
        fields: Mapping[str, str],
        halts: bool,
        condition: KillCondition | None,
    ) -> None:
        """Put a halt, with a kill request behind it, on the list of duties; keep the incident and tell."""
        at_ns = self.clock.wall_ns()
        kill = None
        if condition is not None:
            kill = KillRequest(
                request_id=f"{condition.value}:{name}", condition=condition, reason=words, at_ns=at_ns, evidence=fields
            )
        if halts:
            self._duties.setdefault(f"{subject}:{name}", Duty(subject=subject, reason=words, kill=kill))
            self._due.set()
        severity = Severity.CRITICAL if halts else Severity.WARNING
        self.incidents.open_incident(kind=subject, severity=severity, fields=fields)
        self.effects.alert(Alert(subject=subject, severity=severity, text=words[:400], needs_acknowledgement=halts))

    async def _do_duties(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.do_duties()
            if self._duties:
                await asyncio.sleep(1.0)
                self._due.set()

    async def do_duties(self) -> None:
        """Try everything that is still to be done, once: the halt before the first kill request."""
        duties = dict(self._duties)
        if not duties:
            return
        # One halt stands for all of them; the first reason is the one that the gateway keeps.
        is_halted = await self._tried(self.effects.halt(next(iter(duties.values())).reason))
        for name, duty in duties.items():
            is_asked = duty.kill is None or await self._tried(self.effects.request_kill(duty.kill))
            if is_halted and is_asked:
                del self._duties[name]

    @staticmethod
    async def _tried(effect: Awaitable[None]) -> bool:
        try:
            await effect
        except EffectFailed as error:
            _log.error("not done, and tried again: %s", error)
            return False
        return True

    async def _search_older(self, findings: list[Finding]) -> None:
        tags = [finding.link_id for finding in findings if finding.provenance is Provenance.UNPROVEN]
        if not tags:
            return
        try:
            await self.copy.search(tags)
        except TradeError as error:
            _log.warning("the copy of the journal cannot be searched: %s", error)

    def _note_look(self, detail: str) -> None:
        if detail and detail != self.state.look_detail:
            _log.warning("no look at the orders: %s", detail)
        self.state.look_detail = detail

    async def _every(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            began_ns = self.clock.monotonic_ns()
            await work()
            await asyncio.sleep(max(0.0, period_s - (self.clock.monotonic_ns() - began_ns) / NS_PER_S))


def _reduce_only(reason: str) -> Verdict:
    return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=reason)
