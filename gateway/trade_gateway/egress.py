"""The gateway's share of the exchange's request limits, kept far below what would get the address banned.

More than 600 requests in 5 s from one address is a ban of 10 minutes, for the kill switch too. Cancels are never
refused here; orders that find no room are denied at once; reads wait for a while.
"""

from __future__ import annotations

import asyncio

from trade_core.clock import NS_PER_S, Clock

ORDERS_PER_S = 10
READS_PER_S = 40
READ_PATIENCE_S = 3.0
_MAX_WAITING_READS = 200


class TokenBucket:
    """Permits `rate` requests a second on average, and a burst of the same number unless another is named."""

    def __init__(self, *, rate: float, clock: Clock, burst: int | None = None) -> None:
        self._rate = rate
        self._burst = float(rate if burst is None else burst)
        self._clock = clock
        self._tokens = self._burst
        self._filled_at_ns = clock.monotonic_ns()

    def take_now(self) -> bool:
        """Take one token if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
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


class EgressBudget:
    """One budget for new orders and one for reads."""

    def __init__(self, *, clock: Clock) -> None:
        self._orders = TokenBucket(rate=ORDERS_PER_S, clock=clock)
        self._reads = TokenBucket(rate=READS_PER_S, clock=clock)
        self._waiting_reads = 0

    def permits_order(self) -> bool:
        """Take room for one order, or say that there is none."""
        return self._orders.take_now()

    async def wait_for_read(self) -> bool:
        """Wait for room for one read; False when it takes too long or too many wait already."""
        if self._reads.take_now():
            return True
        if self._waiting_reads >= _MAX_WAITING_READS:
            return False
        self._waiting_reads += 1
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                while not self._reads.take_now():  # noqa: ASYNC110 - a token comes with time, nobody sets an event
                    await asyncio.sleep(max(0.005, self._reads.seconds_to_next()))
        except TimeoutError:
            return False
        finally:
            self._waiting_reads -= 1
        return True
