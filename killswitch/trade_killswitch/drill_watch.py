"""Reads the drills from the executor's own journal, and tells people when one is overdue. Once a day while it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from prometheus_client import Gauge

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.clock import Clock
from trade_journal.errors import JournalError
from trade_journal.log.rows import Row, RowKind
from trade_killswitch.drill_schedule import DAY_NS, Drill, Standing, drill_of, in_words, standing

LOOK_EVERY_S: Final = 60.0
ROWS_AT_ONCE: Final = 512
OVERDUE_SUBJECT: Final = "drill:overdue"
log = logging.getLogger(__name__)


class Rows(Protocol):
    """What the watch needs of a journal."""

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        """Durable rows in order. Raises JournalError."""
        ...


class DrillWatch:
    """One executor's schedule."""

    def __init__(
        self, *, rows: Rows, every_days: int, tell: Callable[[Alert], None], overdue: Gauge, clock: Clock
    ) -> None:
        """Prepare; nothing is read yet."""
        self._rows = rows
        self._every_days = every_days
        self._tell = tell
        self._overdue = overdue
        self._clock = clock
        self._next_seq = 0
        self._since_ns: int | None = None
        self._drills: list[Drill] = []
        self._told_at_ns: int | None = None

    async def run(self) -> None:
        """Look once a minute, for ever. A journal that cannot be read is looked at again."""
        while True:
            try:
                await self.look()
            except JournalError as error:
                log.warning("drills cannot be read: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Read what is new, and tell if a drill is overdue. Raises JournalError."""
        while rows := await self._rows.read(self._next_seq, ROWS_AT_ONCE):
            for row in rows:
                self._take(row)
            self._next_seq = rows[-1].seq + 1
        found, now_ns = self.standing(), self._clock.wall_ns()
        self._overdue.set(found is not None and found.is_overdue)
        if found is None or not found.is_overdue:
            self._told_at_ns = None
        elif self._told_at_ns is None or abs(now_ns - self._told_at_ns) >= DAY_NS:
            self._told_at_ns = now_ns
            text = in_words(found, now_ns=now_ns)[:TEXT_CHARACTERS_MAX]
            self._tell(Alert(subject=OVERDUE_SUBJECT, severity=Severity.WARNING, text=text))

    def standing(self) -> Standing | None:
        """Say where the schedule stands; None before the journal was read."""
        if self._since_ns is None:
            return None
        return standing(
            self._drills, since_ns=self._since_ns, every_days=self._every_days, now_ns=self._clock.wall_ns()
        )

    def status(self) -> dict[str, Any] | None:
        """Say it for `/status`."""
        found = self.standing()
        return None if found is None else found.shown()

    def _take(self, row: Row) -> None:
        if self._since_ns is None:
            self._since_ns = row.at_ns
        drill = drill_of(row.fields, at_ns=row.at_ns) if row.kind is RowKind.KILL_REPORTED else None
        if drill is not None:
            self._drills.append(drill)
