"""The ways between the processes, as in-memory calls that may be lost, late, doubled, refused, or cut off.

A call that has left arrives even when its sender dies meanwhile. Each draw is from one seed; each call is a line of the
trace, from which a run is known again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TypeVar

from trade_core.clock import ManualClock

R = TypeVar("R")
_LATENCY_S = (0.002, 0.04)
_DELAY_S = (0.3, 6.0)


@unique
class Fault(Enum):
    """What may become of one call."""

    NONE = "none"
    DROP = "drop"  # it never arrives
    LOSE = "lose"  # it arrives, and its answer does not come back
    DELAY = "delay"  # it arrives late, perhaps after others that were sent later
    DUPLICATE = "duplicate"  # it arrives twice
    ERROR = "error"  # a 5xx instead of an answer; half of them arrived all the same
    REFUSE = "refuse"  # no connection: certainly not sent


class NotConnected(Exception):
    """The call was certainly not sent."""


class NoAnswer(Exception):
    """Nobody knows whether the call arrived."""


class BadGateway(Exception):
    """An answer came and says nothing."""


@dataclass(slots=True)
class Trace:
    """Every event of a run in one digest, and a count."""

    clock: ManualClock
    events: int = 0
    tail: list[str] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def note(self, line: str) -> None:
        """Add a line."""
        text = f"{self.clock.monotonic_ns()} {line}"
        self._digest.update(text.encode())
        self.events += 1
        self.tail.append(text)
        if len(self.tail) > 400:
            del self.tail[:200]

    def digest(self) -> str:
        """Name the run by what happened in it."""
        return self._digest.hexdigest()


@dataclass(slots=True)
class Link:
    """One way. `rates` is how likely each fault is; `is_cut` lets nothing through in either direction."""

    name: str
    draw: random.Random
    trace: Trace
    counts: Counter[str]
    is_cut: bool = False
    rates: dict[Fault, float] = field(default_factory=dict)

    @property
    def is_calm(self) -> bool:
        """Tell whether nothing can go wrong here at this moment."""
        return not self.is_cut and not self.rates

    def fault(self) -> Fault:
        """Draw what becomes of the next call."""
        if self.is_cut:
            return Fault.DROP
        left = self.draw.random() if self.rates else 1.0
        for fault, rate in self.rates.items():
            left -= rate
            if left < 0:
                return fault
        return Fault.NONE

    def latency_s(self) -> float:
        """Draw how long one way takes."""
        return self.draw.uniform(*_LATENCY_S)

    async def carry(self, what: str, deliver: Callable[[], Awaitable[R]], *, within_s: float) -> R:
        """Carry a call over and its answer back. Raises NotConnected, NoAnswer, BadGateway, and what deliver does."""
        fault = self.fault()
        if fault is not Fault.NONE:
            self.counts[f"{self.name} {fault.value if not self.is_cut else 'cut'}"] += 1
        self.trace.note(f"{self.name} {what} {fault.value}")
        if fault is Fault.REFUSE:
            raise NotConnected(what)
        arrives = fault is not Fault.DROP and (fault is not Fault.ERROR or self.draw.random() < 0.5)
        after_s = self.latency_s() + (self.draw.uniform(*_DELAY_S) if fault is Fault.DELAY else 0.0)
        answers = [self._arriving(deliver, after_s)] if arrives else []
        if fault is Fault.DUPLICATE:
            self._arriving(deliver, after_s + self.draw.uniform(0.0, 2.0))
        if fault is Fault.ERROR:
            await asyncio.sleep(self.latency_s())
            raise BadGateway(what)
        if fault in {Fault.DROP, Fault.LOSE}:
            await asyncio.sleep(within_s)
            raise NoAnswer(what)
        try:
            async with asyncio.timeout(within_s):
                answer = await asyncio.shield(answers[0])
                await asyncio.sleep(self.latency_s())
        except TimeoutError:
            raise NoAnswer(what) from None
        if self.is_cut:
            await asyncio.sleep(within_s)
            raise NoAnswer(what)
        return answer

    def _arriving(self, deliver: Callable[[], Awaitable[R]], after_s: float) -> asyncio.Task[R]:
        async def arrive() -> R:
            await asyncio.sleep(after_s)
            return await deliver()

        task = asyncio.create_task(arrive())
        _UNDER_WAY.add(task)
        task.add_done_callback(_arrived)
        return task


_UNDER_WAY: set[asyncio.Task[object]] = set()


def _arrived(task: asyncio.Task[object]) -> None:
    _UNDER_WAY.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waited was told; a double has nobody who waits


def cut_all() -> list[asyncio.Task[object]]:
    """Take out everything that is still under way, at the end of a run."""
    return list(_UNDER_WAY)
