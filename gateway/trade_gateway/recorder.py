"""What the gateway writes into its journal, and how floods of denials become counted rows.

Guarantees
- Each request that the bot listener saw is one row of a request kind or one count in a counted row.
- Denials that anyone can cause (unauthenticated, unparsable) are always counted, one row a second and code;
  a bot's own denials get a row each up to 20 a second, and are counted above.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.metrics import Metrics
from trade_journal.errors import JournalError, JournalFull, JournalUnavailable
from trade_journal.rows import REQUEST_KINDS, Entry, Fields, RowKind
from trade_journal.writer import JournalWriter

ACTOR = "gateway"
DENIAL_ROWS_PER_S = 20
_MAX_COUNTED_CODES = 256  # codes are a closed set; the bound is for the reader of this line
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Count:
    count: int
    first_ns: int
    last_ns: int


class Recorder:
    """Writes rows and counts."""

    def __init__(self, *, journal: JournalWriter, clock: Clock, metrics: Metrics, policy_hash: str) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._policy_hash = policy_hash
        self._counts: dict[str, _Count] = {}
        self._second = 0
        self._rows_this_second = 0
        self.on_unwritable: Callable[[], None] = lambda: None

    async def append_durable(self, kind: RowKind, fields: Fields) -> bool:
        """Write a row and wait for the disk. False when it is not known to be durable."""
        return await self.append_numbered(kind, fields) is not None

    async def append_numbered(self, kind: RowKind, fields: Fields) -> int | None:
        """Write a row, wait for the disk, and return its sequence number; None when it is not known to be durable."""
        try:
            return await self._journal.append(self._entry(kind, fields))
        except JournalUnavailable as error:
            log.warning("row %s is not durable: %s", kind.value, error)
            self.on_unwritable()
            if kind in REQUEST_KINDS:
                self.count("JOURNAL_UNAVAILABLE")
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
                self.count("JOURNAL_UNAVAILABLE")
            if not isinstance(error, JournalFull):
                log.warning("row %s was not written: %s", kind.value, error)

    def deny(self, kind: RowKind, *, code: str, fields: Fields, is_authenticated: bool) -> None:
        """Record one denial, as a row of its own or in the count of its code."""
        self._metrics.denials.labels(code=code).inc()
        if is_authenticated and self._has_room():
            self.append_later(kind, {"code": code, **fields})
        else:
            self.count(code)

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
        """Requests that are counted and not yet handed to the journal."""
        return sum(entry.count for entry in self._counts.values())

    def _has_room(self) -> bool:
        second = self._clock.monotonic_ns() // NS_PER_S
        if second != self._second:
            self._second, self._rows_this_second = second, 0
        self._rows_this_second += 1
        return self._rows_this_second <= DENIAL_ROWS_PER_S

    def _entry(self, kind: RowKind, fields: Fields) -> Entry:
        return Entry(at_ns=self._clock.wall_ns(), kind=kind, actor=ACTOR, fields=fields, policy_hash=self._policy_hash)
