"""The bot's listener: takes a request as it arrived, lets it be judged, and answers.

It holds no decision of its own. It guarantees that every request is answered within bounds, is one row or one count,
and that an order whose answer could not be delivered is handed back to be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import field
from typing import Any, Protocol

from trade_core.guarded_protocol import CONNECTION_KEY, RECOGNISE_KEY, TARGET_KEY, Connection
from trade_core.records import record
from trade_gateway.wire.request import MAX_BODY_BYTES, RawRequest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 5.0
_HEADERS = b"content-type: application/json; charset=utf-8\r\ncontent-length: %d\r\n"
log = logging.getLogger(__name__)


async def _nothing_to_undo() -> None:
    """Most answers change nothing when they are lost."""


@record(frozen=True, slots=True, kw_only=True)
class Answer:
    """Bytes for the bot. `on_undelivered` is run when the bot was gone before they could be written."""

    body: bytes
    status: int = 200
    closes: bool = False
    is_authenticated: bool = False
    on_undelivered: Callable[[], Awaitable[None]] = field(default=_nothing_to_undo)


class Judge(Protocol):
    """Who decides about a request and answers it."""

    async def answer(self, request: RawRequest) -> Answer:
        """Answer one whole request."""
        ...

    def refuse_unread(self, code: str) -> Answer:
        """Answer a request whose body was too long or too slow to be read."""
        ...


class BotListener:
    """The ASGI application behind the bot's port."""

    def __init__(self, *, judge: Judge, relay: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._judge = judge
        self._relay = relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or stream."""
        if scope["type"] == "websocket":
            await self._relay(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope[CONNECTION_KEY]
        try:
            body = await _body(receive, connection)
        except TimeoutError:
            await _is_written(send, self._judge.refuse_unread("BODY_TOO_SLOW"), connection)
            return
        if body is None:
            await _is_written(send, self._judge.refuse_unread("CLIENT_GONE"), connection)
            return
        if len(body) > MAX_BODY_BYTES:
            await _is_written(send, self._judge.refuse_unread("REQUEST_BODY_TOO_LARGE"), connection)
            return
        answer = await self._judge.answer(_raw_request(scope, body))
        if answer.is_authenticated:
            scope[RECOGNISE_KEY]()
        await asyncio.sleep(0)  # lets a disconnect that has already arrived be seen
        if connection.is_gone() or not await _is_written(send, answer, connection):
            await answer.on_undelivered()


def _raw_request(scope: Scope, body: bytes) -> RawRequest:
    client = scope.get("client") or ("", 0)
    return RawRequest(
        method=scope["method"].encode("latin-1"),
        target=bytes(scope[TARGET_KEY]),
        headers=tuple(scope["headers"]),
        body=body,
        client=str(client[0]),
    )


async def _body(receive: Receive, connection: Connection) -> bytes | None:
    """Read a body, as below; a timer costs more than most bodies, and one that is there needs none."""
    whole = connection.whole_body()
    if whole is not None:
        return whole
    async with asyncio.timeout(BODY_TIMEOUT_S):
        return await _read_body(receive)


async def _read_body(receive: Receive) -> bytes | None:
    """Read a body up to one byte more than permitted; None when the client left before its end."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        event = await receive()
        if event["type"] != "http.request":
            return None
        body += event.get("body", b"")
        if not event.get("more_body", False):
            break
    return bytes(body)


async def _is_written(send: Send, answer: Answer, connection: Connection) -> bool:
    """Write an answer; False when the bot does not take it in time."""
    headers = _HEADERS % len(answer.body)
    if not answer.closes and connection.answer_at_once(answer.status, headers, answer.body):
        return True
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await _write(send, answer)
    except TimeoutError:
        return False
    return True


async def _write(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
