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

    def _run_once(self) -> None:
        # Overrides the one turn of asyncio's loop: it would sleep here until the next timer.
        if not self._ready:  # type: ignore[attr-defined]
            due = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            if not due:
                raise NothingWillHappen
            left_ns = math.ceil(min(due) * NS_PER_S) + 1 - self._manual_clock.monotonic_ns()
            self._manual_clock.advance(max(0, left_ns))
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, R], clock: ManualClock) -> R:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
