"""The gateway's share of the exchange's request limits, kept far below what would get the address banned.

More than 600 requests in 5 s from one address is a ban of 10 minutes, for the kill switch too. Cancels are never
refused here; orders that find no room are denied at once; reads wait for a while. Public reads carry no signature, so
anyone who reaches the listener can ask for them without end: they have a budget of their own, and cannot use up the
one of reads that the bot has signed.

A load test measures more than 10 orders a second. Only a gateway of the simulated exchange may be given another pace:
no address is banned there, and `check_pace` refuses any other gateway at its settings.
"""

from __future__ import annotations

import asyncio

from trade_core.clock import Clock
from trade_core.token_bucket import TokenBucket

ORDERS_PER_S = 10
LOAD_TEST_ORDERS_PER_S = 50_000
"""More than this machine's disk and processors carry, so that a load test meets them and not this bound."""
READS_PER_S = 30
SIGNED_READS_PER_S = 20
READ_PATIENCE_S = 3.0
_MAX_WAITING_READS = 200


def check_pace(orders_per_s: int, *, is_simulated: bool) -> None:
    """Refuse a pace of new orders that only the simulated exchange can take. Raises ValueError."""
    if orders_per_s > ORDERS_PER_S and not is_simulated:
        raise ValueError(f"more than {ORDERS_PER_S} a second is for load tests of the simulated exchange only")


class _ReadQueue:
    """Reads of one kind: so many a second, and so many that wait for their turn."""

    def __init__(self, *, rate: float, clock: Clock) -> None:
        self._bucket = TokenBucket(rate=rate, clock=clock)
        self._waiting = 0

    async def wait(self) -> bool:
        """Wait for room for one read; False when it takes too long or too many wait already."""
        if self._bucket.take_now():
            return True
        if self._waiting >= _MAX_WAITING_READS:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                while not self._bucket.take_now():  # noqa: ASYNC110 - a token comes with time, nobody sets an event
                    await asyncio.sleep(max(0.005, self._bucket.seconds_to_next()))
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


class EgressBudget:
    """One budget for new orders, one for reads that are signed and one for those that are not."""

    def __init__(self, *, clock: Clock, orders_per_s: int = ORDERS_PER_S) -> None:
        self._orders = TokenBucket(rate=orders_per_s, clock=clock)
        self._public = _ReadQueue(rate=READS_PER_S, clock=clock)
        self._signed = _ReadQueue(rate=SIGNED_READS_PER_S, clock=clock)

    def permits_order(self) -> bool:
        """Take room for one order, or say that there is none."""
        return self._orders.take_now()

    async def wait_for_read(self, *, is_public: bool) -> bool:
        """Wait for room for one read; False when it takes too long or too many wait already."""
        return await (self._public if is_public else self._signed).wait()
