"""What the gateway's relay of public streams adds to a frame, measured on frames that arrive both ways.

One process listens to the exchange and to the gateway at once. The same frame, told apart by its text, arrives on both;
what is counted is how much later it came through the gateway. Half of the time the direct stream is opened first, half
of the time the other: the exchange serves its streams in order.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack

from rig.children import LoadTestFailed
from websockets.asyncio.client import ClientConnection, connect

PATH = "/v5/public/spot"
TOPICS = [f"{topic}.{symbol}" for topic in ("orderbook.50", "publicTrade") for symbol in ("BTCUSDT", "ETHUSDT")]
_LEAST_FRAMES = 10


def added_us(*, exchange_ws: str, gateway_ws: str, seconds: float) -> list[float]:
    """Return the microseconds that each frame took longer. Raises LoadTestFailed when too few came both ways."""
    return asyncio.run(_both_orders(exchange_ws, gateway_ws, seconds / 2))


async def _both_orders(exchange_ws: str, gateway_ws: str, seconds: float) -> list[float]:
    direct_first = await _listen([exchange_ws, gateway_ws], seconds)
    relayed_first = await _listen([gateway_ws, exchange_ws], seconds)
    pairs = [(direct_first[0], direct_first[1]), (relayed_first[1], relayed_first[0])]
    added = [
        (through[text] - direct[text]) / 1000 for direct, through in pairs for text in direct.keys() & through.keys()
    ]
    if len(added) < _LEAST_FRAMES:
        raise LoadTestFailed(f"only {len(added)} frames came both ways in {seconds * 2:.0f} s")
    return added


async def _listen(urls: list[str], seconds: float) -> list[dict[str, int]]:
    heard: list[dict[str, int]] = [{} for _ in urls]
    async with AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(_stream(url)) for url in urls]
        for stream in streams:
            await stream.send(json.dumps({"op": "subscribe", "args": TOPICS}))
        listeners = [asyncio.create_task(_note(stream, into)) for stream, into in zip(streams, heard, strict=True)]
        await asyncio.sleep(seconds)
        for listener in listeners:
            listener.cancel()
    return heard


def _stream(url: str) -> connect:
    return connect(url + PATH, proxy=None, compression=None, max_size=None)


async def _note(stream: ClientConnection, heard: dict[str, int]) -> None:
    async for message in stream:
        arrived_ns = time.perf_counter_ns()
        text = str(message)
        if '"type":"snapshot"' not in text.replace(" ", "") or "publicTrade" in text:
            heard.setdefault(text, arrived_ns)


def p50_us(added: list[float]) -> float:
    """Return the median."""
    return statistics.median(added)
