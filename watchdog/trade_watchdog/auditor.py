"""The audit at work: looks at orders, executions and keys, judges them, and acts on what it finds.

Guarantees
- What is rogue halts the gateway and asks for a kill; both are tried until they are done, and neither waits for the
  other (`duties`).
- Until the gateway has said that it is halted, the verdict is HALTED too: the next lease halts it, should it take that.
- While an order is unproven, no look came up to the exchange's time for LOOK_AGE_MAX_S, the keys could not be read for
  KEYS_AGE_MAX_S, how the account stands for POSTURE_AGE_MAX_S, the journal not again for JOURNAL_AGE_MAX_S, or the
  policy's limits were not known for LIMITS_AGE_MAX_S, the verdict is REDUCE_ONLY. It never kills on what it could not
  read.
- How the account stands is read every POSTURE_EVERY_S: what nothing of ours brings about halts. So does a limit of the
  policy that is exceeded LIMIT_LOOKS times in a row; one time proves nothing, since lists are read one after the other.
  An order that filled at once is measured by itself, and halts at once; so do a price outside every collar of its time
  and a turnover of 24 hours beyond the budget, which one look proves.
- Its loops share nothing with the one that reads the equity: a list that hangs delays no lease.

It reads through connections of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_journal.errors import ForkProven
from trade_journal.log.fork_proof import proof_evidence
from trade_watchdog.audit.key_inventory import (
    ExpectedKey,
    KeyAlarm,
    KeyFinding,
    KeyMark,
    ListedKey,
    changed_keys,
    examine_keys,
    mark_of,
)
from trade_watchdog.audit.limit_audit import (
    AuditedLimits,
    Exposed,
    LimitAlarm,
    LimitFinding,
    examine_ended,
    examine_limits,
)
from trade_watchdog.audit.order_audit import Finding, OrderAudit
from trade_watchdog.audit.posture import HALTING, PostureAlarm, PostureFinding, examine_posture, is_flat
from trade_watchdog.audit.provenance import Provenance
from trade_watchdog.audit.sightings import WORKING_STATUSES, SeenOrder
from trade_watchdog.ceiling import Ceiling, Verdict
from trade_watchdog.collar_watch import CollarWatch
from trade_watchdog.drop_copy import DatedKey, DropCopy, KeyReading, Look, all_keys
from trade_watchdog.duties import Duties, IncidentBook
from trade_watchdog.effects import Effects, KillCondition, KillRequest
from trade_watchdog.posture_reading import PostureReading, Standing, read_posture
from trade_watchdog.recheck import Recheck
from trade_watchdog.turnover_watch import TurnoverWatch

LOOK_EVERY_S: Final = 2.0
"""Twelve requests a look: a twentieth of what the exchange lets one address ask."""
LOOK_SOON_S: Final = 0.5
"""While a gap is read, and when a stream says that something has come: still a fifth of what is permitted."""
LOOK_AGE_MAX_S: Final = 20
RECHECK_EVERY_S: Final = 0.5
JOURNAL_AGE_MAX_S: Final = 15
KEYS_EVERY_S: Final = 20.0
POSTURE_EVERY_S: Final = 5.0
COLLARS_EVERY_S: Final = 1.0
OWN_JOURNAL_EVERY_S: Final = 1.0
OWN_JOURNAL_EDITED: Final = "somebody else has written to the watchdog's journal: verify it with trade-journal verify"
LIMIT_LOOKS: Final = 3
ENDED_MEASURED_MS: Final = 60_000
"""An older order was made under a policy that may have been another one; it worked, and was measured as it did."""
TOLD_MAX: Final = 1000
EDITS_TOLD_MAX: Final = 100
FORK_CHARACTERS_MAX: Final = 400
KEYS_AGE_MAX_S: Final = 75
"""Three readings missed: a key that nobody knows is seen within a minute, or nothing new is let through."""
POSTURE_AGE_MAX_S: Final = 60
LIMITS_AGE_MAX_S: Final = 60
_HALTING: Final = frozenset({Provenance.ROGUE, Provenance.REDUCES, Provenance.EXCHANGES})
_HALTING_KEYS: Final = frozenset({KeyAlarm.ROGUE, KeyAlarm.WIDENED})

_log = logging.getLogger(__name__)


class CopyOfJournal(Protocol):
    """What the audit needs of the witness: since when its rows are complete, and older ones by their tags."""

    @property
    def read_through_ns(self) -> int | None:
        """The monotonic time at which the last reading that came to the journal's proved end began."""
        ...

    async def search(self, tags: list[str]) -> int:
        """Look for older intents; answers how many were found. Raises TradeError."""
        ...


@dataclass(slots=True, kw_only=True)
class AuditState:
    """What the audit knows at this moment, for `/state` and the verdict. Times are monotonic."""

    looked_at_ns: int | None = None  # of the last whole look that came up to the exchange's time
    behind_ms: int | None = None
    look_detail: str = "no look yet"
    keys_read_at_ns: int | None = None
    keys_detail: str = "the keys were not read yet"
    rogue_orders: int = 0
    other_orders: int = 0
    unproven: int = 0
    pending: int = 0
    key_alarms: tuple[KeyFinding, ...] = ()
    keys: tuple[DatedKey, ...] = ()
    posture_alarms: tuple[PostureFinding, ...] = ()
    limit_alarms: tuple[LimitFinding, ...] = ()
    posture_read_at_ns: int | None = None
    posture_detail: str = "how the account stands was not read yet"
    are_limits_known: bool = False
    limits_known_at_ns: int | None = None
    journal_rounds: int = 0
    journal_reread_at_ns: int | None = None
    journal_detail: str = "the journal was not read again yet"


@dataclass(slots=True, kw_only=True)
class Auditor:
    """The loops of the audit."""

    drop_copy: DropCopy
    audit: OrderAudit
    keys: KeyReading
    recheck: Recheck
    posture: PostureReading
    turnover: TurnoverWatch
    collars: CollarWatch
    limits: Callable[[], AuditedLimits | None]
    find_limits: Callable[[], Awaitable[object]]
    prices: Callable[[], Mapping[str, Decimal]]
    account: str
    expected_keys: tuple[ExpectedKey, ...]
    copy: CopyOfJournal
    effects: Effects
    incidents: IncidentBook
    clock: Clock
    on_change: Callable[[], object] = lambda: None
    is_own_journal_touched: Callable[[], bool] = lambda: False  # by another hand, since it was asked last
    keep_mark: Callable[[int], None] = lambda _until_ms: None
    known_keys: dict[str, KeyMark] = field(default_factory=dict)
    keep_keys: Callable[[Mapping[str, KeyMark]], None] = lambda _marks: None
    state: AuditState = field(default_factory=AuditState)
    duties: Duties = field(init=False)
    _told_keys: set[KeyFinding] = field(default_factory=set)
    _told_edits: set[str] = field(default_factory=set)
    _told_forks: set[str] = field(default_factory=set)
    _judged_forks: set[tuple[str, bool]] = field(default_factory=set)
    _told_posture: set[tuple[PostureAlarm, str]] = field(default_factory=set)
    _exceeded: Counter[tuple[LimitAlarm, str]] = field(default_factory=Counter)
    _working: tuple[SeenOrder, ...] = ()
    _standing: Standing | None = None
    _sizes: Mapping[str, Decimal] = field(default_factory=dict)
    _limits_sought_at_ns: int | None = None
    _soon: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin the list of what is to be done about findings."""
        self.duties = Duties(
            effects=self.effects, incidents=self.incidents, clock=self.clock, on_change=self._tell_of_change
        )

    async def run(self) -> None:
        """Audit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_forever())
            tasks.create_task(self._every(KEYS_EVERY_S, self.read_keys))
            tasks.create_task(self._every(RECHECK_EVERY_S, self.reread_journal))
            tasks.create_task(self._every(POSTURE_EVERY_S, self.read_posture))
            tasks.create_task(self.turnover.read_back_until_done())
            tasks.create_task(self._every(COLLARS_EVERY_S, self.measure_collars))
            tasks.create_task(self._every(OWN_JOURNAL_EVERY_S, self.look_at_own_journal))
            tasks.create_task(self.duties.pursue())

    def verdict(self) -> Verdict:
        """Say how much risk the audit vouches for at this moment."""
        state = self.state
        if (owed := self.duties.owed_halt) is not None:
            reason = f"the gateway is to be halted: {owed.reason}"
            return Verdict(ceiling=Ceiling.HALTED, reason=reason, figure=owed.figure)
        if self._is_old(state.looked_at_ns, LOOK_AGE_MAX_S):
            return _reduce_only(f"the orders are not audited: {state.look_detail or 'no look came to its end'}")
        if self.audit.is_overwhelmed or state.unproven:
            return _reduce_only(f"{state.unproven} orders at the exchange are unproven")
        if self._is_old(state.keys_read_at_ns, KEYS_AGE_MAX_S):
            return _reduce_only(
                f"the account's keys are not audited: {state.keys_detail or 'no reading came to its end'}"
            )
        if self._is_old(state.posture_read_at_ns, POSTURE_AGE_MAX_S):
            words = state.posture_detail or "no reading came to its end"
            return _reduce_only(f"how the account stands is not audited: {words}")
        if self._is_old(state.journal_reread_at_ns, JOURNAL_AGE_MAX_S):
            return _reduce_only(f"the gateway's journal cannot be read again: {state.journal_detail}")
        if self._is_old(state.limits_known_at_ns, LIMITS_AGE_MAX_S) and self.limits() is None:
            return _reduce_only("the limits are not audited: the journal shows no policy of the authorised hash")
        return Verdict(ceiling=Ceiling.ACTIVE, reason="orders, executions and keys are those that they should be")

    def _is_old(self, at_ns: int | None, most_s: int) -> bool:
        return at_ns is None or self.clock.monotonic_ns() - at_ns > most_s * NS_PER_S

    async def look(self) -> None:
        """Look once at orders and executions."""
        began_ns = self.clock.monotonic_ns()
        try:
            seen = await self.drop_copy.look(now_ns=began_ns)
        except (ExchangeUnavailable, ExchangeAnswerInvalid, TradeError) as error:
            self._note_look(str(error))
            return
        findings = self.audit.judge(
            orders=seen.orders,
            executions=seen.executions,
            # An order may have been placed while the look went on. Were its beginning what counts, a reading of the
            # journal from before the order's row would prove the order rogue.
            now_ns=self.clock.monotonic_ns(),
            journal_read_at_ns=self.copy.read_through_ns,
        )
        self._working = tuple(order for order in seen.orders if order.status in WORKING_STATUSES)
        for finding in findings:
            self._found(finding)
        self._measure_ended(seen)
        self.collars.take(seen)
        if (exceeded := self.turnover.take(seen)) is not None:
            self._found_limit(exceeded)
        await self._search_older(findings)
        self.state.unproven, self.state.pending = self.audit.unproven, self.audit.pending
        self.state.behind_ms = seen.behind_ms
        if seen.behind_ms:
            self._note_look(f"a gap is read from the exchange's history: {seen.behind_ms / 3_600_000:.1f} h are left")
        else:
            self.state.looked_at_ns = began_ns
            self._note_look("")
        # What is only pending is younger than what a start reads again; what has not halted must be found again.
        if not self.audit.unproven and self.duties.owed_halt is None:
            self.keep_mark(seen.until_ms)
        self.on_change()

    async def read_keys(self) -> None:
        """Read and examine the keys of the account once."""
        began_ns = self.clock.monotonic_ns()
        try:
            seen = await all_keys(self.keys, account=self.account)
        except TradeError as error:
            if str(error) != self.state.keys_detail:
                _log.warning("the keys cannot be read: %s", error)
            self.state.keys_detail = str(error)
            return
        listed = [one.listed for one in seen]
        findings = examine_keys(listed, self.expected_keys)
        for changed in changed_keys(listed, self.expected_keys, known=self.known_keys):
            self._found_key(changed)
        self._remember_keys(listed)
        self.state.keys = tuple(seen)
        for finding in findings:
            if finding not in self._told_keys:
                self._found_key(finding)
        self._told_keys = set(findings)
        self.state.key_alarms = tuple(findings)
        self.state.keys_read_at_ns, self.state.keys_detail = began_ns, ""
        self.on_change()

    def _remember_keys(self, listed: list[ListedKey]) -> None:
        """Keep what the expected keys may do now; one that is not listed stays as it was."""
        wanted = {known.key for known in self.expected_keys}
        marks = self.known_keys | {key.key: mark_of(key) for key in listed if key.key in wanted}
        if marks != self.known_keys:
            self.known_keys = marks
            self.keep_keys(marks)

    async def read_posture(self) -> None:
        """Read how the account stands, and count the limits again."""
        began_ns = self.clock.monotonic_ns()
        baseline = self.audit.baseline
        adopted = {position.symbol: position.size for position in baseline.positions}
        try:
            standing = await read_posture(self.posture, adopted=adopted)
        except TradeError as error:
            if str(error) != self.state.posture_detail:
                _log.warning("how the account stands cannot be read: %s", error)
            self.state.posture_detail = str(error)
            return
        self._standing, self._sizes = standing, standing.sizes
        limits = self.limits()
        found = examine_posture(
            standing.posture,
            leverage=None if limits is None else limits.leverage,
            began_at_ms=baseline.taken_at_ms,
        )
        for finding in found:
            if (finding.alarm, finding.name) not in self._told_posture:
                self._found_posture(finding)
        self._told_posture = {(finding.alarm, finding.name) for finding in found[:TOLD_MAX]}
        self.state.posture_alarms = tuple(found)
        self._count_limits(standing, limits)
        self.state.posture_read_at_ns, self.state.posture_detail = began_ns, ""

    def _count_limits(self, standing: Standing, limits: AuditedLimits | None) -> None:
        self._know_limits(is_known=limits is not None)
        if limits is None:
            return
        exposed = Exposed(
            orders=self._working,
            positions=standing.posture.positions,
            coins=standing.coins,
            prices=self.prices(),
        )
        found = examine_limits(exposed, limits)
        names = [(finding.alarm, finding.name) for finding in found]
        self._exceeded = Counter({name: self._exceeded[name] + 1 for name in names[:TOLD_MAX]})
        for finding in found:
            if self._exceeded[finding.alarm, finding.name] == LIMIT_LOOKS:
                self._found_limit(finding)
        self.state.limit_alarms = tuple(found)

    def _measure_ended(self, seen: Look) -> None:
        """Hold what was made just before and has filled already against the limits of an order."""
        limits = self.limits()
        if limits is None:
            return  # and so nothing new is let through
        ended = [order for order in seen.orders if order.status not in WORKING_STATUSES]
        since_ms = max(seen.until_ms - ENDED_MEASURED_MS, self.audit.baseline.taken_at_ms)
        for finding in examine_ended(ended, limits, since_ms=since_ms):
            self._found_limit(finding)

    async def measure_collars(self) -> None:
        """Hold the prices of new orders against the index of their time."""
        for finding in await self.collars.measure():
            self._found_limit(finding)

    def _found_posture(self, finding: PostureFinding) -> None:
        _log.error("%s: %s", finding.alarm.value, finding.detail)
        self.duties.act(
            subject=f"posture:{finding.alarm.value}",
            name=finding.name,
            words=finding.detail,
            fields={"name": finding.name, "detail": finding.detail},
            halts=finding.alarm in HALTING,
            condition=None,
            figure=finding.figure,
        )

    def _found_limit(self, finding: LimitFinding) -> None:
        _log.error("limit %s: %s", finding.alarm.value, finding.detail)
        self.duties.act(
            subject=f"limit:{finding.alarm.value}",
            name=finding.name,
            words=f"a limit of the policy is exceeded at the exchange: {finding.detail}",
            fields={"name": finding.name, "detail": finding.detail},
            halts=True,
            condition=None,
            figure=finding.figure,
        )

    def is_flat(self, since_ns: int) -> bool:
        """Say whether looks that began after a moment (monotonic) show nothing held and nothing working of ours."""
        state = self.state
        if state.looked_at_ns is None or state.looked_at_ns <= since_ns:
            return False
        if self._standing is None or state.posture_read_at_ns is None or state.posture_read_at_ns <= since_ns:
            return False
        baseline = self.audit.baseline
        before = {order.order_id for order in baseline.orders}
        return all(order.order_id in before for order in self._working) and is_flat(
            self._standing.posture,
            coins=self._standing.coins,
            adopted={held.coin: held.amount for held in baseline.holdings},
            prices=self.prices(),
        )

    async def reread_journal(self) -> None:
        """Hold the next chunk of the gateway's journal against the copy."""
        try:
            await self.recheck.step()
            self.state.journal_rounds = self.recheck.rounds
            self.state.journal_reread_at_ns = self.clock.monotonic_ns()
            self._note_journal("")
            await self._note_limits()
        except ForkProven as error:
            self.state.journal_detail = str(error)
            self._found_edit(str(error))
        except TradeError as error:
            self._note_journal(str(error))

    async def _note_limits(self) -> None:
        """Note whether the policy's limits are known by now; what the newest rows do not hold is looked for in all."""
        self._know_limits(is_known=self.limits() is not None)
        if self.state.are_limits_known or not self._is_old(self._limits_sought_at_ns, LIMITS_AGE_MAX_S):
            return
        self._limits_sought_at_ns = self.clock.monotonic_ns()
        try:
            await self.find_limits()
        except TradeError as error:
            _log.warning("the copy of the journal cannot be searched for the policy: %s", error)
        self._know_limits(is_known=self.limits() is not None)

    def _know_limits(self, *, is_known: bool) -> None:
        was_known, self.state.are_limits_known = self.state.are_limits_known, is_known
        if is_known:
            self.state.limits_known_at_ns = self.clock.monotonic_ns()
        if is_known is not was_known:
            self.on_change()

    def _note_journal(self, detail: str) -> None:
        if detail and detail != self.state.journal_detail:
            _log.warning("the gateway's journal cannot be read again: %s", detail)
        self.state.journal_detail = detail

    async def look_at_own_journal(self) -> None:
        """Halt when somebody else has written to our own journal, which holds what the ladder remembers."""
        if not self.is_own_journal_touched():
            return
        _log.error("%s", OWN_JOURNAL_EDITED)
        self.duties.act(
            subject="journal:foreign_write",
            name="",
            words=OWN_JOURNAL_EDITED,
            fields={"detail": OWN_JOURNAL_EDITED},
            halts=True,
            condition=None,
        )

    def found_fork_of_gateway(self, words: str) -> None:
        """Halt for a fork of the gateway's journal, which signed roots or its rows prove."""
        if words in self._told_forks:
            return
        if len(self._told_forks) < EDITS_TOLD_MAX:
            self._told_forks.add(words)
        _log.error("%s", words)
        self.duties.act(
            subject="journal:forked",
            name="",
            words=words,
            fields={"detail": words[:FORK_CHARACTERS_MAX]},
            halts=True,
            condition=None,
        )

    def judged_fork_of_gateway(self, words: str, proof: bytes) -> None:
        """Ask for a kill for such a fork, with what proves it to the executor; without a proof that calls a person."""
        judged = (words, bool(proof))
        if judged in self._judged_forks or len(self._judged_forks) >= EDITS_TOLD_MAX:
            return
        self._judged_forks.add(judged)
        condition = KillCondition.FORKED_JOURNAL
        kill = KillRequest(
            request_id=f"{condition.value}:{len(self._judged_forks)}",
            condition=condition,
            reason=words,
            at_ns=self.clock.wall_ns(),
            evidence={"detail": words[:FORK_CHARACTERS_MAX], **proof_evidence(proof)},
        )
        self.duties.ask_for_kill(kill, subject="journal:forked")

    def found_fork(self, words: str) -> None:
        """Halt for a fork of the executor's journal. No kill is asked of the one who forked."""
        _log.error("%s", words)
        self.duties.act(
            subject="journal:executor_forked",
            name="",
            words=words,
            fields={"detail": words},
            halts=True,
            condition=None,
        )

    def _found_edit(self, words: str) -> None:
        if words in self._told_edits:
            return
        if len(self._told_edits) < EDITS_TOLD_MAX:
            self._told_edits.add(words)
        _log.error("%s", words)
        # What is served is not signed: enough to halt, and a person decides about more.
        self.duties.act(
            subject="journal:edited", name="", words=words, fields={"detail": words}, halts=True, condition=None
        )

    def _found(self, finding: Finding) -> None:
        _log.error("order %s: %s: %s", finding.order_id, finding.provenance.value, finding.reason)
        if finding.provenance is Provenance.ROGUE:
            self.state.rogue_orders += 1
        else:
            self.state.other_orders += 1
        words = f"{finding.category} {finding.side} order {finding.order_id} on {finding.symbol}: {finding.reason}"
        self.duties.act(
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
            figure=finding.figure,
        )

    def _found_key(self, finding: KeyFinding) -> None:
        _log.error("key %s: %s: %s", finding.key, finding.alarm.value, finding.detail)
        self.duties.act(
            subject=f"key:{finding.alarm.value}",
            name=finding.key,
            words=f"exchange key {finding.key}: {finding.detail}",
            fields={"key": finding.key, "detail": finding.detail},
            halts=finding.alarm in _HALTING_KEYS,
            condition=KillCondition.ROGUE_KEY if finding.alarm is KeyAlarm.ROGUE else None,
            figure=finding.figure,
        )

    async def _search_older(self, findings: list[Finding]) -> None:
        tags = [finding.link_id for finding in findings if finding.provenance is Provenance.UNPROVEN]
        if not tags:
            return
        try:
            await self.copy.search(tags)
        except TradeError as error:
            _log.warning("the copy of the journal cannot be searched: %s", error)

    def _tell_of_change(self) -> None:
        self.on_change()  # which is set later than we are made

    def _note_look(self, detail: str) -> None:
        if detail and detail != self.state.look_detail:
            _log.warning("no look at the orders: %s", detail)
        self.state.look_detail = detail

    async def _look_forever(self) -> None:
        while True:
            began_ns = self.clock.monotonic_ns()
            await self.look()
            await asyncio.sleep(self._left_s(began_ns, LOOK_SOON_S))
            if self.state.behind_ms:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._left_s(began_ns, LOOK_EVERY_S)):
                    await self._soon.wait()
            self._soon.clear()

    def is_strange(self, order: SeenOrder) -> bool:
        """Say whether an order carries no tag of ours."""
        return self.audit.is_strange(order)

    def sizes(self) -> Mapping[str, Decimal]:
        """Give the linear positions as last read, signed, by symbol."""
        return self._sizes

    def look_soon(self) -> None:
        """Bring the next look forward: a stream has told of something that nothing of ours brought about."""
        self._soon.set()

    def _left_s(self, began_ns: int, period_s: float) -> float:
        return max(0.0, period_s - (self.clock.monotonic_ns() - began_ns) / NS_PER_S)

    async def _every(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            began_ns = self.clock.monotonic_ns()
            await work()
            await asyncio.sleep(self._left_s(began_ns, period_s))


def _reduce_only(reason: str) -> Verdict:
    return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=reason)
