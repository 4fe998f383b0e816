"""The exchange's own clock: the machine's, moved by the offset that the control interface sets."""

from __future__ import annotations

from trade_core.clock import NS_PER_MS, Clock


class ExchangeClock:
    """Wall time of the exchange. The offset is absolute, never added up."""

    __slots__ = ("_clock", "offset_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0

    def now_ms(self) -> int:
        """Give the exchange's time in milliseconds since the epoch."""
        return self._clock.wall_ns() // NS_PER_MS + self.offset_ms

    def now_ns(self) -> int:
        """Give the exchange's time in nanoseconds since the epoch."""
        return self._clock.wall_ns() + self.offset_ms * NS_PER_MS
