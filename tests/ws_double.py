"""A small real WebSocket server of the exchange's kind: logs in, subscribes, pongs, and says what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SIMULATED = {"X-Trade-Environment": "SIMULATED"}


@dataclass(slots=True)
class WsDouble:
    """The server. `refused` operations are answered without success, `unanswered` ones not at all."""

    url: str = ""
    mark: dict[str, str] = field(default_factory=lambda: dict(SIMULATED))
    refused: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    is_refusing: bool = False
    said_after: dict[str, list[str]] = field(default_factory=dict)  # frames sent right before the answer to an op
    connections: list[ServerConnection] = field(default_factory=list)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # path and operation
    connected: int = 0

    def ops(self, path: str | None = None) -> list[str]:
        return [said["op"] for at, said in self.heard if path is None or at == path]

    async def say(self, content: Any, *, path: str = "/v5/private") -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        for connection in self.connections:
            if connection.request is not None and connection.request.path == path:
                await connection.send(text)

    async def drop(self) -> None:
        """Break every connection as a network does."""
        for connection in list(self.connections):
            connection.transport.abort()

    async def until_heard(self, op: str, *, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.ops().count(op) < times:  # noqa: ASYNC110 - the other end's doing
                await asyncio.sleep(0.005)

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(503, "no") if self.is_refusing else None

    def stamp(self, connection: ServerConnection, request: Request, response: Response) -> None:
        for name, value in self.mark.items():
            response.headers[name] = value

    async def converse(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        self.connected += 1
        self.connections.append(connection)
        with suppress(ConnectionClosed):
            async for text in connection:
                said = json.loads(text)
                self.heard.append((path, said))
                for frame in self.said_after.get(said["op"], ()):
                    await connection.send(frame)
                if said["op"] not in self.unanswered:
                    await connection.send(json.dumps(self._answer(said)))
        self.connections.remove(connection)

    def _answer(self, said: dict[str, Any]) -> dict[str, Any]:
        if said["op"] == "ping":
            return {"op": "pong", "args": ["1"], "conn_id": "c"}
        is_ok = said["op"] not in self.refused
        return {"success": is_ok, "ret_msg": "", "op": said["op"], "conn_id": "c", "req_id": said.get("req_id", "")}


@asynccontextmanager
async def ws_double() -> AsyncIterator[WsDouble]:
    """Run a double for as long as the context lasts."""
    double = WsDouble()
    async with serve(
        double.converse,
        "127.0.0.1",
        0,
        process_request=double.admit,
        process_response=double.stamp,
        ping_interval=None,
        close_timeout=0.1,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        double.url = f"ws://127.0.0.1:{port}"
        yield double
        await double.drop()
