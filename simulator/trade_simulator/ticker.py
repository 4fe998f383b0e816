"""The tick loop: moves the market every 100 ms and measures how late it is.

Lag is counted from the time a tick was due to the time it was done. A loop that falls behind by more than a second
drops the missed ticks: the market stands still rather than running to catch up.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import logging
from collections.abc import Callable

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock

TICK_NS = 100 * NS_PER_MS
MAX_BEHIND_NS = NS_PER_S
# Upper edges in milliseconds, each a tenth above the one before: quantiles are exact to a tenth.
_EDGES_MS = tuple(0.1 * 1.1**step for step in range(130))
_LOG = logging.getLogger(__name__)


class LagHistogram:
    """Lags of all ticks since the start, in bounded memory."""

    __slots__ = ("_counts", "_max_ms", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (len(_EDGES_MS) + 1)
        self._max_ms = 0.0
        self._total = 0

    def record(self, lag_ms: float) -> None:
        """Count one tick."""
        self._counts[bisect.bisect_left(_EDGES_MS, lag_ms)] += 1
        self._max_ms = max(self._max_ms, lag_ms)
        self._total += 1

    def quantile_ms(self, fraction: float) -> float:
        """Give the lag that a fraction of the ticks stayed at or below; 0 before the first."""
        if not self._total:
            return 0.0
        for edge_ms, reached in zip(_EDGES_MS, itertools.accumulate(self._counts), strict=False):
            if reached >= fraction * self._total:
                return min(edge_ms, self._max_ms)
        return self._max_ms

    def as_json(self) -> dict[str, float]:
        """Give what the control interface shows."""
        return {
            "p50": round(self.quantile_ms(0.5), 3),
            "p99": round(self.quantile_ms(0.99), 3),
            "max": round(self._max_ms, 3),
            "count": self._total,
        }


class TickLoop:
    """Calls the step every 100 ms until told to stop."""

    def __init__(self, *, step: Callable[[], None], clock: Clock) -> None:
        self._step = step
        self._clock = clock
        self.lag = LagHistogram()

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until `stop` is set; a step that fails ends the loop and the process with it."""
        due_ns = self._clock.monotonic_ns()
        while not stop.is_set():
            self._step()
            done_ns = self._clock.monotonic_ns()
            self.lag.record((done_ns - due_ns) / NS_PER_MS)
            due_ns += TICK_NS
            if done_ns - due_ns > MAX_BEHIND_NS:
                _LOG.warning("the market stood still for %d ms", (done_ns - due_ns) // NS_PER_MS)
                due_ns = done_ns
            try:
                async with asyncio.timeout(max(0, due_ns - done_ns) / NS_PER_S):
                    await stop.wait()
            except TimeoutError:
                continue
