"""Clients of one bad kind at a time, on loopback, until standard input closes: what slow_clients.py measures beside.

They say `up` once they are all there. Their number, rate and lifetime are bounded here, whatever the other end does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable

LIFETIME_S = 120
DRIP_S = 1.0
BIG_ANSWER_EVERY_S = 20.0
RETRY_S = 0.1  # a client that was thrown out comes back after this long
CONNECT_TIMEOUT_S = 5.0
BIG_ANSWER = b"GET /v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW_HEAD = b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nX-Slow: "
SLOW_BODY = (
    b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
)
DENIED = (
    b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"X-BAPI-API-KEY: nobody\r\nX-BAPI-SIGN: 00\r\nX-BAPI-TIMESTAMP: 1\r\nContent-Length: 2\r\n\r\n{}"
)
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def never_read(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a big answer again and again, and read none of it.

    Paced, because the simulated exchange takes longer to write such an answer than the gateway to pass it on: faster
    ones would measure the simulator.
    """
    await asyncio.sleep(random.uniform(0, BIG_ANSWER_EVERY_S))
    while True:
        writer.write(BIG_ANSWER)
        await writer.drain()
        await asyncio.sleep(BIG_ANSWER_EVERY_S)


def drip(head: bytes) -> Behaviour:
    """Send a head, then a byte a second."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not reader.at_eof():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(DRIP_S)

    return behave


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Be connected."""
    await reader.read()


async def be_denied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send requests that are denied, each as soon as the one before is answered."""
    while True:
        writer.write(DENIED)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")


KINDS: dict[str, tuple[int, Behaviour]] = {
    "slow-readers": (100, never_read),
    "slow-heads": (200, drip(SLOW_HEAD)),
    "slow-bodies": (200, drip(SLOW_BODY)),
    "idle": (1000, say_nothing),
    "denied": (4, be_denied),
}


async def client(address: tuple[str, int], behave: Behaviour, first: asyncio.Event) -> None:
    """Be one bad client, and come back whenever it is thrown out."""
    is_reader_lazy = behave is never_read
    while True:
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = socket.socket()
                connection.setblocking(False)
                if is_reader_lazy:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await asyncio.get_running_loop().sock_connect(connection, address)
                reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
            first.set()
            if is_reader_lazy:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            try:
                await behave(reader, writer)
            finally:
                writer.transport.abort()
        first.set()
        await asyncio.sleep(RETRY_S)


async def main() -> None:
    """Run the clients of the kind that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, help="how many of them, instead of the kind's own number")
    arguments = parser.parse_args()
    usual, behave = KINDS[arguments.kind]
    there = [asyncio.Event() for _ in range(arguments.count or usual)]
    tasks = [asyncio.create_task(client(("127.0.0.1", arguments.port), behave, first)) for first in there]
    await asyncio.gather(*(first.wait() for first in there))
    print("up", flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: ended.set() if os.read(sys.stdin.fileno(), 1) == b"" else None)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIFETIME_S):
            await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
