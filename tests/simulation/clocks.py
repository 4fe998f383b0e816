"""Time in a simulation: one clock that leaps to the next event, and one a process that may differ from it.

What a service gives to a thread is done at once, in the event loop: a thread of its own would take real time, in which
the clock had leapt on, and no seed would bring the same again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hostile.virtual_time import NothingWillHappen, VirtualLoop

from trade_core.clock import NS_PER_S, ManualClock

R = TypeVar("R")
BEGINS_NS = 1_763_900_000 * NS_PER_S
"""Where the simulated exchange's own history of prices begins."""


class ProcessClock:
    """A process's clocks: the monotonic one is the world's, the wall clock may be set wrong."""

    def __init__(self, world: ManualClock) -> None:
        self._world = world
        self.offset_ns = 0

    def wall_ns(self) -> int:
        """UTC, as this process believes it."""
        return self._world.wall_ns() + self.offset_ns

    def monotonic_ns(self) -> int:
        """Time that only goes on."""
        return self._world.monotonic_ns()


class SimulatedLoop(VirtualLoop):
    """Tells after every step that one was made, and runs in itself what others give to threads."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.after_step: Callable[[], None] = lambda: None
        self.steps = 0

    def run_in_executor(self, executor: object, func: Callable[..., R], *args: Any) -> asyncio.Future[R]:  # type: ignore[override]
        """Run it now; the answer is there as soon as somebody waits for it."""
        answer: asyncio.Future[R] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever waits is given it, as by a thread
            answer.set_exception(error)
        return answer

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            self._leap()
        asyncio.SelectorEventLoop._run_once(self)  # type: ignore[attr-defined]
        self.steps += 1
        self.after_step()

    def _leap(self) -> None:
        """Set the clock to the next timer. Timers are a heap, off which cancelled ones are taken as they come."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        if not timers:
            raise NothingWillHappen
        self.leap_to(timers[0].when())


def new_clock() -> ManualClock:
    """A clock at the beginning of every simulation."""
    return ManualClock(wall_ns=BEGINS_NS, monotonic_ns=1000 * NS_PER_S)


def run(main: Coroutine[Any, Any, R], clock: ManualClock) -> R:
    """Run to the end in simulated time."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(clock)) as runner:
        return runner.run(main)
