"""How many cancels of the gateway's own are sent at once: what it withdraws by itself may be a hundred orders.

Guarantees
- At most MAX_CANCELS_AT_ONCE begin together, so that a burst stays within what the exchange takes in a second.
- One whose answer is late gives its place to the next after PATIENCE_S and is still waited for: cancels that hang delay
  the others by moments, never until they time out.

The bot's cancels do not pass here: one an order is under way at any time, and none of them waits for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from trade_gateway.commands import SendResult

MAX_CANCELS_AT_ONCE = 10
# The most orders that a policy permits, 100, are then all on their way within a second even if no answer comes.
PATIENCE_S = 0.1


class CancelRoom:
    """The places, and who waits for one."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_CANCELS_AT_ONCE)

    async def send(self, cancel: Callable[[], Coroutine[Any, Any, SendResult]]) -> SendResult:
        """Send when there is a place, and return the answer whenever it comes."""
        async with self._places:
            sending = asyncio.create_task(cancel())
            try:
                await asyncio.wait({sending}, timeout=PATIENCE_S)
            except asyncio.CancelledError:
                sending.cancel()  # whoever ends the flow ends what it sends, too
                raise
        return await sending
