"""A budget of requests a second, for whoever must stay below what the other side takes."""

from __future__ import annotations

from trade_core.clock import NS_PER_S, Clock


class TokenBucket:
    """Permits `rate` requests a second on average, and a burst of the same number unless another is named."""

    def __init__(self, *, rate: float, clock: Clock, burst: int | None = None) -> None:
        self._rate = rate
        self._burst = float(rate if burst is None else burst)
        self._clock = clock
        self._tokens = self._burst
        self._filled_at_ns = clock.monotonic_ns()

    def take_now(self, tokens: int = 1) -> bool:
        """Take one token, or so many, if they are there."""
        self._fill()
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def seconds_to_next(self) -> float:
        """How long until a token is there."""
        self._fill()
        return max(0.0, (1 - self._tokens) / self._rate)

    def _fill(self) -> None:
        now_ns = self._clock.monotonic_ns()
        elapsed_s = (now_ns - self._filled_at_ns) / NS_PER_S
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
        self._filled_at_ns = now_ns
