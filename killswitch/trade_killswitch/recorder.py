"""Writes the executor's rows. A sweep never waits long for the disk, and goes on without it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from trade_core.clock import Clock
from trade_core.token_bucket import TokenBucket
from trade_journal.errors import JournalError
from trade_journal.log.rows import Entry, Fields, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.metrics import ExecutorMetrics

ACTOR: Final = "executor"
PATIENCE_S: Final = 1.0
# Whoever may speak at the socket can ask without end, and a disk that is full keeps no row of a kill.
ASKED_AT_ONCE: Final = 200
ASKED_A_SECOND_LATER: Final = 0.25
log = logging.getLogger(__name__)


class Recorder:
    """One journal, written by this process alone."""

    def __init__(self, *, journal: JournalWriter, metrics: ExecutorMetrics, clock: Clock) -> None:
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._asked = TokenBucket(rate=ASKED_A_SECOND_LATER, burst=ASKED_AT_ONCE, clock=clock)
        self._without_row = 0

    def has_room_for_asked(self, what: str) -> bool:
        """Take room for the rows of something that was asked and not done; a flood of it has little, and is logged."""
        if self._asked.take_now():
            self._without_row = 0
            return True
        self._without_row += 1
        log.warning("%s: no row, there were too many; so it was %d times in a row", what, self._without_row)
        return False

    async def record(self, kind: RowKind, fields: Fields) -> bool:
        """Write a row; True when it is known to be durable. Never raises for what the disk does."""
        entry = Entry(at_ns=self._clock.wall_ns(), kind=kind, actor=ACTOR, fields=fields)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._journal.append(entry)
        except (JournalError, TimeoutError) as error:
            self._metrics.rows_lost.inc()
            log.error("row %s is not known to be written: %s", kind.value, error or type(error).__name__)
            return False
        return True

    async def record_ring(self, kind: str, fields: Fields) -> bool:
        """Write a row of the key ring; of those that were refused not more than there is room for."""
        row_kind = RowKind(kind)
        if row_kind is RowKind.RING_REFUSED and not self.has_room_for_asked("a key ring was refused"):
            return False
        return await self.record(row_kind, fields)

    def update_gauges(self) -> None:
        """Bring the gauges up to date before they are read."""
        self._metrics.journal_rows.set(self._journal.size)
        self._metrics.journal_writable.set(self._journal.is_writable)
