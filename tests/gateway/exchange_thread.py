"""A small exchange in a thread of its own, for commands that bring their own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from http_double import Asked, HttpDouble, http_double


@contextmanager
def exchange_thread(answer: Callable[[Asked], bytes | None]) -> Iterator[HttpDouble]:
    """Run a double until the context ends."""
    started = threading.Event()
    doubles: list[HttpDouble] = []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with http_double(answer) as double:
            doubles.append(double)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield doubles[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
