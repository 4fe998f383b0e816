"""Clocks are injected: UTC wall time for data, monotonic time for timeouts and freshness."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """What every component needs to know about time."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, UTC. May leap; never used for timeouts."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def wall_ns(self) -> int:
        """Read the machine's UTC time."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Read the machine's monotonic time."""
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told to; for tests and simulation."""

    __slots__ = ("_monotonic_ns", "_wall_ns")

    def __init__(self, *, wall_ns: int = 1_700_000_000 * NS_PER_S, monotonic_ns: int = NS_PER_S) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def wall_ns(self) -> int:
        """Return the wall time that was last set."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Return the monotonic time that was last set."""
        return self._monotonic_ns

    def advance(self, duration_ns: int) -> None:
        """Move both clocks forward. Raises ValueError for a negative duration."""
        if duration_ns < 0:
            raise ValueError(f"a clock advances forward only: duration_ns={duration_ns}")
        self._wall_ns += duration_ns
        self._monotonic_ns += duration_ns

    def leap_wall(self, offset_ns: int) -> None:
        """Move the wall clock alone, as a time attack or a bad NTP server does."""
        self._wall_ns += offset_ns
