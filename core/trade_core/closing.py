"""Closes what holds connections, all of it, whatever becomes of who closes.

A close is mostly cut off where a task is cancelled in its `finally`. What was not closed by then would stay open until
the interpreter finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack


async def close_all(*closes: Callable[[], Awaitable[None]]) -> None:
    """Call each, one after the other, also when one fails; raises then what failed last.

    Whoever is cancelled meanwhile is cancelled once all is closed, so that nothing is closing when its event loop ends.
    For closes that end by themselves: none is given up.
    """
    closing = asyncio.create_task(_close_each(closes))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        raise


async def _close_each(closes: tuple[Callable[[], Awaitable[None]], ...]) -> None:
    async with AsyncExitStack() as stack:
        for close in reversed(closes):
            stack.push_async_callback(close)
