"""An event loop whose time is a hand-driven clock: whoever sleeps is woken at once, with the clock set to that time.

So the gateway's own loops, timeouts and pauses run as they are written, and a day costs milliseconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from trade_core.clock import NS_PER_S, ManualClock

R = TypeVar("R")


class NothingWillHappen(RuntimeError):
    """Everybody waits for somebody who waits too; a real loop would hang here."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Leaps to the next timer when nothing is ready."""

    def __init__(self, clock: ManualClock) -> None:
        self._manual_clock = clock
        super().__init__()

    def time(self) -> float:
        """Return the clock's monotonic time in seconds."""
        return self._manual_clock.monotonic_ns() / NS_PER_S

    def leap_to(self, when_s: float) -> None:
        """Set the clock to where a timer is due. After 194 days a float of seconds is coarser than a nanosecond."""
        clock, resolution_s = self._manual_clock, self._clock_resolution  # type: ignore[attr-defined]
        clock.advance(max(0, math.ceil(when_s * NS_PER_S) + 1 - clock.monotonic_ns()))
        while self.time() + resolution_s <= when_s:
            clock.advance(1)

    def _run_once(self) -> None:
        # Overrides the one turn of asyncio's loop: it would sleep here until the next timer.
        if not self._ready:  # type: ignore[attr-defined]
            due = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            if not due:
                raise NothingWillHappen
            self.leap_to(min(due))
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, R], clock: ManualClock) -> R:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
