"""The highest price of a rolling window, in bounded memory. Pure.

Guarantees
- The peak is never lower than the highest price noted within the window, so a drawdown from it is never understated.
  It may be up to one bucket (a 1440th of the window: a minute of a day) older than the window.
- Memory is bounded: a falling queue of at most BUCKETS + 1 buckets, however long it runs.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

BUCKETS: Final = 1440


class PeakWindow:
    """Peaks over the last `window_ms` of whatever clock the caller notes them by; that clock must not go back.

    Each bucket stands for the prices of a stretch of time. Of two buckets only the newer counts if it is as high: it
    stays longer. So prices fall along the queue, its head is the peak, and a bucket leaves when its last moment has.
    """

    __slots__ = ("_bucket_ms", "_buckets", "_window_ms")

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._bucket_ms = window_ms // BUCKETS
        self._buckets: deque[tuple[int, Decimal]] = deque()

    def note(self, price: Decimal, *, at_ms: int) -> None:
        """Take in a price, and let go of what is older than the window now."""
        self.expire(at_ms=at_ms)
        number = at_ms // self._bucket_ms
        while self._buckets and self._buckets[-1][1] <= price:
            self._buckets.pop()
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append((number, price))

    def expire(self, *, at_ms: int) -> None:
        """Let go of buckets whose last moment is older than the window."""
        oldest = (at_ms - self._window_ms) // self._bucket_ms
        while self._buckets and self._buckets[0][0] < oldest:
            self._buckets.popleft()

    def rebase(self, price: Decimal, *, at_ms: int) -> None:
        """Forget every peak but this one: a person has released the rung at this price."""
        self._buckets.clear()
        self.note(price, at_ms=at_ms)

    @property
    def peak(self) -> Decimal | None:
        """Return the highest price; None before the first."""
        return self._buckets[0][1] if self._buckets else None

    def __len__(self) -> int:
        """Count the buckets."""
        return len(self._buckets)
