"""Is the wall clock to be trusted? Compares it with the monotonic clock. Pure bookkeeping over an injected clock.

Guarantees
- A leap of more than a second either way makes the clock untrusted for a minute, asked four times a second or so.
- While the clock stands before the latest time it ever showed, it is untrusted however long that takes: signatures
  of that time, long forgotten, would be accepted a second time.

It does not know the true time: a clock that was always wrong looks right.
"""

from __future__ import annotations

from trade_core.clock import NS_PER_S, Clock

LEAP_NS = NS_PER_S
SETTLE_NS = 60 * NS_PER_S


class ClockWatch:
    """Remembers how the two clocks ran side by side."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns = clock.wall_ns() - clock.monotonic_ns()
        self._latest_wall_ns = clock.wall_ns()
        self._untrusted_until_ns = 0

    def is_trusted(self) -> bool:
        """Look at both clocks, and tell whether the wall clock may be believed."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        offset_ns = wall_ns - now_ns
        if abs(offset_ns - self._offset_ns) > LEAP_NS:
            self._untrusted_until_ns = now_ns + SETTLE_NS
        # Slow drift and the steering of a time service are followed.
        self._offset_ns = offset_ns
        self._latest_wall_ns = max(self._latest_wall_ns, wall_ns)
        return now_ns >= self._untrusted_until_ns and wall_ns >= self._latest_wall_ns - LEAP_NS
