"""What the watchdog remembers, kept in the gateway's journal for when the watchdog's own is put back or lost."""

from __future__ import annotations

import logging
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.trust.lease import Lease
from trade_gateway.recorder import Recorder
from trade_gateway.watchdog_log import WatchdogLog
from trade_journal.log.rows import Fields, RowKind

MEMORY_EVERY_S: Final = 60
log = logging.getLogger(__name__)


class WatchdogMemory:
    """Rows of what leases say of the watchdog's own journal, once in MEMORY_EVERY_S at most."""

    def __init__(self, *, watchdog_log: WatchdogLog, recorder: Recorder, clock: Clock) -> None:
        self._watchdog_log = watchdog_log
        self._recorder = recorder
        self._clock = clock
        self._kept_at_ns: int | None = None

    def keep(self, lease: Lease) -> None:
        """Take what an accepted lease says. An incident where the watchdog's journal has become shorter.

        Its checkpoint stands in the row as it was signed, for whoever holds both journals.
        """
        shorter = self._watchdog_log.take(lease)
        if shorter:
            log.error("%s", shorter)
            incident: Fields = {"type": "watchdog journal shorter", "severity": "critical", "detail": shorter[:400]}
            self._recorder.append_later(RowKind.INCIDENT_OPENED, incident)
        if not lease.peaks:
            return
        now_ns = self._clock.monotonic_ns()
        if self._kept_at_ns is not None and now_ns - self._kept_at_ns < MEMORY_EVERY_S * NS_PER_S:
            return
        self._kept_at_ns = now_ns
        remembered: Fields = {
            "rows": lease.memory_rows,
            "peaks": {peak.rung: peak.price for peak in lease.peaks},
            "holder": lease.holder,
            "memory_checkpoint": lease.memory_checkpoint,
        }
        self._recorder.append_later(RowKind.WATCHDOG_REMEMBERED, remembered)
