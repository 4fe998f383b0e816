"""The HTTP connection below the application: uvicorn's, opened where faults and the request log need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trade_simulator.request_log import UNPARSED_METHOD, RequestLog

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
TRANSPORT = "transport"


def protocol_logging_to(log: RequestLog) -> type[HttpToolsProtocol]:
    """Make the protocol class of a listener whose unparsable requests go into the log."""

    class ExchangeProtocol(HttpToolsProtocol):
        """Hands its transport to the application, and counts what the parser refused."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self.app_state = {**self.app_state, TRANSPORT: transport}
            super().connection_made(transport)

        def send_400_response(self, msg: str) -> None:
            log.append(method=UNPARSED_METHOD, path="").ret_code = 400
            super().send_400_response(msg)

    return ExchangeProtocol


def abort(scope: Scope) -> None:
    """Close a connection at once, with nothing more sent."""
    transport = scope.get("state", {}).get(TRANSPORT)
    if transport is not None:
        transport.abort()


async def wait_disconnected(receive: Receive, *, timeout_s: float) -> None:
    """Wait until the client has gone, or the time is over."""

    async def gone() -> None:
        while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass

    try:
        async with asyncio.timeout(timeout_s):
            await gone()
    except TimeoutError:
        return


async def pause(duration_ms: int, *, stop: asyncio.Event) -> None:
    """Wait, but not beyond the end of the process."""
    try:
        async with asyncio.timeout(duration_ms / 1000):
            await stop.wait()
    except TimeoutError:
        return


async def hold(hold_ms: int, scope: Scope, receive: Receive, *, stop: asyncio.Event) -> None:
    """Leave a request unanswered until its client gives up, the time is over or the process ends, then close."""
    waiting = (
        asyncio.create_task(wait_disconnected(receive, timeout_s=hold_ms / 1000)),
        asyncio.create_task(stop.wait()),
    )
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    await close(scope, receive)


async def close(scope: Scope, receive: Receive) -> None:
    """Close a connection at once and see it closed, so that the server below sends nothing more."""
    abort(scope)
    await wait_disconnected(receive, timeout_s=1)


def client_address(scope: Scope) -> str:
    """Give the address that the connection comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""
