"""Writes the executor's rows. A sweep never waits long for the disk, and goes on without it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from trade_core.clock import Clock
from trade_journal.errors import JournalError
from trade_journal.log.rows import Entry, Fields, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.metrics import ExecutorMetrics

ACTOR: Final = "executor"
PATIENCE_S: Final = 1.0
log = logging.getLogger(__name__)


class Recorder:
    """One journal, written by this process alone."""

    def __init__(self, *, journal: JournalWriter, metrics: ExecutorMetrics, clock: Clock) -> None:
        self._journal = journal
        self._metrics = metrics
        self._clock = clock

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

    def update_gauges(self) -> None:
        """Bring the gauges up to date before they are read."""
        self._metrics.journal_rows.set(self._journal.size)
        self._metrics.journal_writable.set(self._journal.is_writable)
