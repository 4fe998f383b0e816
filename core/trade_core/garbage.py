"""Chooses when a process looks for garbage that refers to itself, so that it does not stand still while it is busy.

Python looks through everything that lives now and then, and holds every thread meanwhile: of a process that remembers
the orders of a day that is a tenth of a second, in which no halt can count. Most garbage needs no such search.

Guarantees
- What lives at the start is set aside and never looked through again.
- Young objects are looked through as ever, in steps of a millisecond or two: not after every 700 that Python makes, but
  after YOUNG, which a burst of orders under way alone does not reach. Nearly all of those are gone by themselves.
- Everything is looked through only while the process is quiet, or once it has not been quiet for LATEST_S: garbage
  that refers to itself is bounded by what a process can make of it in that time.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

from trade_core.clock import NS_PER_S, Clock

LOOK_EVERY_S: Final = 10.0
LATEST_S: Final = 600
ENOUGH: Final = 10
"""Python's own measure: so many looks at what is neither young nor old make one at everything worth its time."""
YOUNG: Final = 10_000
MIDDLE: Final = 2
"""So many looks at the young make one at what outlived them, so that it meets 30,000 objects at most."""
_NEVER: Final = 1_000_000_000
_OLD: Final = 2


class Garbage:
    """The timing of one process. Made once it is up; from then on Python looks through everything only by `work`."""

    def __init__(self, *, clock: Clock, is_quiet: Callable[[], bool]) -> None:
        """`is_quiet` tells whether nobody would notice a tenth of a second."""
        self._clock = clock
        self._is_quiet = is_quiet
        self._looked_at_ns = clock.monotonic_ns()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, _NEVER)

    def work(self) -> bool:
        """Look through everything if it is time to. Returns whether it was."""
        waited_ns = self._clock.monotonic_ns() - self._looked_at_ns
        is_worth_it = gc.get_count()[_OLD] >= ENOUGH
        if not (is_worth_it and (self._is_quiet() or waited_ns >= LATEST_S * NS_PER_S)):
            return False
        gc.collect()
        self._looked_at_ns = self._clock.monotonic_ns()
        return True

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.work()
