"""A small real HTTP server on a free port: answers through a function and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

SIMULATED = {"X-Trade-Environment": "SIMULATED"}
HANG = b"hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it arrived; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def parameter(self, name: str) -> str | None:
        return parse_qs(self.query).get(name, [None])[0]

    def json(self) -> Any:
        return json.loads(self.body)


def reply(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """Make the bytes of an answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (SIMULATED if headers is None else headers).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def envelope(result: Any, *, ret_code: int = 0, ret_msg: str = "OK") -> bytes:
    """Make the bytes of an answer in the exchange's envelope."""
    content = {"retCode": ret_code, "retMsg": ret_msg, "result": result, "retExtInfo": {}, "time": 1}
    return reply(json.dumps(content).encode())


@dataclass(slots=True)
class HttpDouble:
    """The server. `answer` gives the raw bytes to send back, HANG to say nothing, or None to close."""

    answer: Callable[[Asked], bytes | None] = lambda _: envelope({})
    url: str = ""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    """How many are open."""
    nothing_hangs: asyncio.Event = field(default_factory=asyncio.Event)
    """Once set, what hung is asked of `answer` anew; what still hangs then goes unanswered to its end."""

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


@asynccontextmanager
async def http_double(answer: Callable[[Asked], bytes | None] | None = None) -> AsyncIterator[HttpDouble]:
    """Run a double for as long as the context lasts."""
    double = HttpDouble() if answer is None else HttpDouble(answer=answer)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        double.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                asked = await _read(reader)
                double.asked.append(asked)
                raw = double.answer(asked)
                if raw == HANG:
                    await double.nothing_hangs.wait()
                    raw = double.answer(asked)
                if raw in (None, HANG):
                    break
                writer.write(raw)
                await writer.drain()
        double.connections -= 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    double.port = server.sockets[0].getsockname()[1]
    double.url = f"http://127.0.0.1:{double.port}"
    try:
        yield double
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Asked(method=method, path=path, query=query, headers=headers, body=body)
