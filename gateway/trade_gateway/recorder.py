"""What the gateway writes into its journal, and how floods of denials become counted rows.

Guarantees
- Each request that the bot listener saw is one row of a request kind or one count in a counted row.
- Denials that anyone can cause (unauthenticated, unparsable) are always counted, in one row for all codes; a bot's own
  denials get a row each up to 20 a second, and are counted above. So are requests that the gateway answers itself, and
  reads.
- Nothing that costs only a signature fills the disk, however long it goes on: rows of their own, and counted ones, have
  a budget each that is generous at once and small for ever. What is beyond it is counted, and counted rows come later.
- A denial for a reason that had no row for five minutes gets one also where the budget is used up, so that no flood
  hides another kind of attempt.
- What the administration's callers are refused (leases, releases, kills, key rings) has a budget of its own of the same
  kind; a row of it says how many of its kind had none before it.
- A row whose commit failed is counted only once the disk has told that it is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from trade_core.clock import NS_PER_S, Clock
from trade_core.token_bucket import TokenBucket
from trade_gateway.metrics import Metrics
from trade_journal.errors import JournalDoubtful, JournalError, JournalFull, JournalUnavailable
from trade_journal.log.rows import ITEMS_MAX, REQUEST_KINDS, Entry, Fields, RowKind
from trade_journal.writer.journal import Journal

ACTOR = "gateway"
DENIAL_ROWS_PER_S = 20
ANSWER_ROWS_PER_S = 20
# A flood that stays below 20 a second would fill the disk too: half a minute of it has its rows, and then so many a
# second. Of answers more, since a bot that trades reads about twice a second.
ROWS_AT_ONCE = 600
DENIAL_ROWS_A_SECOND_LATER = 0.25
ANSWER_ROWS_A_SECOND_LATER = 1.0
NEWS_AFTER_NS = 300 * NS_PER_S
REFUSAL_CHARACTERS = 200
COUNTED_BYTES_AT_ONCE = 256 * 1024
COUNTED_BYTES_A_SECOND_LATER = 150
_COUNTED_ROW_BYTES = 300
_COUNTED_CODE_BYTES = 32
UNWRITTEN_CODE = "JOURNAL_UNAVAILABLE"
COUNTED_ANSWERS = {
    RowKind.CANCEL_ANSWERED: "CANCEL_ANSWERED",
    RowKind.READ_ANSWERED: "READ_ANSWERED",
    RowKind.READ_FORWARDED: "READ_FORWARDED",
    RowKind.PIN_ANSWERED: "PIN_ANSWERED",
}
"""What requests that were answered are counted as, when there are too many for a row each."""
MAX_COUNTED_CODES = ITEMS_MAX  # codes are a closed set of about a hundred; one row holds them all
OTHER_CODES = "OTHER"
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Counts:
    """Requests that have no row yet: how many of each code, and between when."""

    codes: dict[str, int] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    def add(self, code: str, *, at_ns: int) -> None:
        """Count one; the last place is for all codes that no place is left for."""
        if code not in self.codes and len(self.codes) >= MAX_COUNTED_CODES - 1:
            code = OTHER_CODES
        if not self.codes:
            self.first_ns = at_ns
        self.codes[code] = self.codes.get(code, 0) + 1
        self.last_ns = at_ns

    def total(self) -> int:
        return sum(self.codes.values())

    def row_bytes(self) -> int:
        """Say about how much of the disk the row takes."""
        return _COUNTED_ROW_BYTES + _COUNTED_CODE_BYTES * len(self.codes)


class _Room:
    """So many rows a second, and in the long run fewer."""

    __slots__ = ("_clock", "_later", "_per_s", "_second", "_taken")

    def __init__(self, *, per_s: int, later_per_s: float, clock: Clock) -> None:
        self._per_s = per_s
        self._later = TokenBucket(rate=later_per_s, burst=ROWS_AT_ONCE, clock=clock)
        self._clock = clock
        self._second = 0
        self._taken = 0

    def take(self, *, is_news: bool = False) -> bool:
        """Take room for one row, or say that there is none; the long run is not asked about what is news."""
        second = self._clock.monotonic_ns() // NS_PER_S
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._per_s or not (self._later.take_now() or is_news):
            return False
        self._taken += 1
        return True


class Recorder:
    """Writes rows and counts."""

    def __init__(self, *, journal: Journal, clock: Clock, metrics: Metrics, policy_hash: str) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self.policy_hash = policy_hash  # of the policy in force: it stands on every row from then on
        self._counts = _Counts()
        self._counted_bytes = TokenBucket(rate=COUNTED_BYTES_A_SECOND_LATER, burst=COUNTED_BYTES_AT_ONCE, clock=clock)
        self._denials = _Room(per_s=DENIAL_ROWS_PER_S, later_per_s=DENIAL_ROWS_A_SECOND_LATER, clock=clock)
        self._refusals = _Room(per_s=DENIAL_ROWS_PER_S, later_per_s=DENIAL_ROWS_A_SECOND_LATER, clock=clock)
        self._unwritten_refusals: dict[RowKind, int] = {}
        self._answers = _Room(per_s=ANSWER_ROWS_PER_S, later_per_s=ANSWER_ROWS_A_SECOND_LATER, clock=clock)
        self._told_at_ns: dict[str, int] = {}  # when a denial of a code last got a row of its own
        self._doubts: set[asyncio.Future[bool]] = set()
        self.on_unwritable: Callable[[], None] = lambda: None

    async def append_durable(self, kind: RowKind, fields: Fields, *, policy_hash: str | None = None) -> bool:
        """Write a row and wait for the disk. False when it is not known to be durable.

        `policy_hash` is for a decision that was taken a moment ago, should the policy have changed since.
        """
        return await self.append_numbered(kind, fields, policy_hash=policy_hash) is not None

    async def append_numbered(self, kind: RowKind, fields: Fields, *, policy_hash: str | None = None) -> int | None:
        """Write a row, wait for the disk, and return its sequence number; None when it is not known to be durable."""
        try:
            return await self._journal.append(self._entry(kind, fields, policy_hash=policy_hash))
        except JournalUnavailable as error:
            log.warning("row %s is not durable: %s", kind.value, error)
            self.on_unwritable()
            if kind in REQUEST_KINDS:
                if isinstance(error, JournalDoubtful):
                    self._doubt(error.is_written)
                else:
                    self.count(UNWRITTEN_CODE)
            return None

    def append_later(self, kind: RowKind, fields: Fields) -> None:
        """Write a row with the next commit; when the queue is full a request is at least counted."""
        if kind is RowKind.INCIDENT_OPENED:
            self._metrics.incidents.labels(severity=str(fields.get("severity", "unknown"))).inc()
            log.warning("incident: %s %s", fields.get("type"), fields.get("tag", ""))
        try:
            self._journal.append_later(self._entry(kind, fields))
        except JournalUnavailable as error:
            self.on_unwritable()
            if kind in REQUEST_KINDS:
                self.count(UNWRITTEN_CODE)
            if not isinstance(error, JournalFull):
                log.warning("row %s was not written: %s", kind.value, error)

    def deny(self, kind: RowKind, *, code: str, fields: Fields, is_authenticated: bool) -> None:
        """Record one denial, as a row of its own or in the count of its code."""
        self._metrics.denials.labels(code=code).inc()
        if is_authenticated and self._denials.take(is_news=self._is_news(code)):
            self._told_at_ns[code] = self._clock.monotonic_ns()
            self.append_later(kind, {"code": code, **fields})
        else:
            self.count(code)

    def refuse(self, kind: RowKind, reason: str) -> None:
        """Record that a lease, a warrant or a ring was refused, in a row of its own or in the next one of its kind."""
        if not self._refusals.take(is_news=self._is_news(kind.value)):
            self._unwritten_refusals[kind] = self._unwritten_refusals.get(kind, 0) + 1
            return
        self._told_at_ns[kind.value] = self._clock.monotonic_ns()
        fields: Fields = {"reason": reason[:REFUSAL_CHARACTERS]}
        if unwritten := self._unwritten_refusals.pop(kind, 0):
            fields = {**fields, "refused_before": unwritten}
        self.append_later(kind, fields)

    def answer(self, kind: RowKind, fields: Fields) -> None:
        """Record one request that was answered without a decision, as a row of its own or in the count of its kind."""
        if self._answers.take():
            self.append_later(kind, fields)
        else:
            self.count(COUNTED_ANSWERS[kind])

    def count(self, code: str) -> None:
        """Add one to what the next counted row says of a code."""
        self._counts.add(code, at_ns=self._clock.wall_ns())

    def flush_due_counts(self) -> None:
        """Write what was counted, once a second at most; later while a flood has used up what counted rows may cost."""
        if self._counts.codes and self._counted_bytes.take_now(self._counts.row_bytes()):
            self.flush_counts()

    def flush_counts(self) -> None:
        """Write what was counted, in one row; what cannot be written stays and is tried again."""
        if not (counts := self._counts).codes:
            return
        fields: Fields = {
            "count": counts.total(),
            "codes": counts.codes,
            "first_ns": counts.first_ns,
            "last_ns": counts.last_ns,
        }
        try:
            self._journal.append_later(self._entry(RowKind.REQUEST_COUNTED, fields))
        except JournalError:
            return
        self._counts = _Counts()

    @property
    def pending_count(self) -> int:
        """Requests that are counted and not yet handed to the journal, or whose row is in doubt."""
        return self._counts.total() + len(self._doubts)

    def _is_news(self, code: str) -> bool:
        told_at_ns = self._told_at_ns.get(code)
        return told_at_ns is None or self._clock.monotonic_ns() - told_at_ns >= NEWS_AFTER_NS

    def _doubt(self, is_written: asyncio.Future[bool]) -> None:
        """Count a request whose row failed once it is known that the row is not there."""
        self._doubts.add(is_written)
        is_written.add_done_callback(self._resolve_doubt)

    def _resolve_doubt(self, is_written: asyncio.Future[bool]) -> None:
        self._doubts.discard(is_written)
        if not is_written.cancelled() and not is_written.result():
            self.count(UNWRITTEN_CODE)

    def _entry(self, kind: RowKind, fields: Fields, *, policy_hash: str | None = None) -> Entry:
        named = self.policy_hash if policy_hash is None else policy_hash
        return Entry(at_ns=self._clock.wall_ns(), kind=kind, actor=ACTOR, fields=fields, policy_hash=named)
