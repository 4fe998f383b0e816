"""What the gateway writes into its journal, and how floods of denials become counted rows.

Guarantees
- Each request that the bot listener saw is one row of a request kind or one count in a counted row.
- Denials that anyone can cause (unauthenticated, unparsable) are always counted, one row a second and code;
  a bot's own denials get a row each up to 20 a second, and are counted above. So are requests that the gateway answers
  itself, and reads: nothing that costs only a signature can fill the disk.
- A row whose commit failed is counted only once the disk has told that it is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.metrics import Metrics
from trade_journal.errors import JournalDoubtful, JournalError, JournalFull, JournalUnavailable
from trade_journal.log.rows import REQUEST_KINDS, Entry, Fields, RowKind
from trade_journal.writer.journal import Journal

ACTOR = "gateway"
DENIAL_ROWS_PER_S = 20
ANSWER_ROWS_PER_S = 20
UNWRITTEN_CODE = "JOURNAL_UNAVAILABLE"
COUNTED_ANSWERS = {
    RowKind.CANCEL_ANSWERED: "CANCEL_ANSWERED",
    RowKind.READ_ANSWERED: "READ_ANSWERED",
    RowKind.READ_FORWARDED: "READ_FORWARDED",
    RowKind.PIN_ANSWERED: "PIN_ANSWERED",
}
"""What requests that were answered are counted as, when there are too many for a row each."""
_MAX_COUNTED_CODES = 256  # codes are a closed set; the bound is for the reader of this line
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Count:
    count: int
    first_ns: int
    last_ns: int


class _Room:
    """So many rows a second, and no more."""

    __slots__ = ("_clock", "_per_s", "_second", "_taken")

    def __init__(self, *, per_s: int, clock: Clock) -> None:
        self._per_s = per_s
        self._clock = clock
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        """Take room for one row, or say that there is none left in this second."""
        second = self._clock.monotonic_ns() // NS_PER_S
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= self._per_s


class Recorder:
    """Writes rows and counts."""

    def __init__(self, *, journal: Journal, clock: Clock, metrics: Metrics, policy_hash: str) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self.policy_hash = policy_hash  # of the policy in force: it stands on every row from then on
        self._counts: dict[str, _Count] = {}
        self._denials = _Room(per_s=DENIAL_ROWS_PER_S, clock=clock)
        self._answers = _Room(per_s=ANSWER_ROWS_PER_S, clock=clock)
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
        if is_authenticated and self._denials.take():
            self.append_later(kind, {"code": code, **fields})
        else:
            self.count(code)

    def answer(self, kind: RowKind, fields: Fields) -> None:
        """Record one request that was answered without a decision, as a row of its own or in the count of its kind."""
        if self._answers.take():
            self.append_later(kind, fields)
        else:
            self.count(COUNTED_ANSWERS[kind])

    def count(self, code: str) -> None:
        """Add one to the counted row of a code."""
        now_ns = self._clock.wall_ns()
        entry = self._counts.get(code)
        if entry is not None:
            entry.count += 1
            entry.last_ns = now_ns
        elif len(self._counts) < _MAX_COUNTED_CODES:
            self._counts[code] = _Count(count=1, first_ns=now_ns, last_ns=now_ns)

    def flush_counts(self) -> None:
        """Write the counted rows of the last second; what cannot be written stays and is tried again."""
        for code, entry in list(self._counts.items()):
            fields: Fields = {"code": code, "count": entry.count, "first_ns": entry.first_ns, "last_ns": entry.last_ns}
            try:
                self._journal.append_later(self._entry(RowKind.REQUEST_COUNTED, fields))
            except JournalError:
                return
            del self._counts[code]

    @property
    def pending_count(self) -> int:
        """Requests that are counted and not yet handed to the journal, or whose row is in doubt."""
        return sum(entry.count for entry in self._counts.values()) + len(self._doubts)

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
