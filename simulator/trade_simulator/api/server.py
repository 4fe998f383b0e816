"""The ASGI application of the exchange: HTTP to the reception, WebSockets to the streams, faults in between."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from trade_simulator.api.connection import Receive, Scope, Send, abort, client_address, close, hold, pause
from trade_simulator.api.envelope import Answer, encode, envelope, headers
from trade_simulator.api.reception import HttpRequest, Reception, Reply
from trade_simulator.faults import Fault, FaultMode, Faults
from trade_simulator.request_log import Entry, RequestLog, shown

MAX_BODY_BYTES = 256 * 1024
# A body must arrive within this time, however slowly its sender drips.
BODY_TIMEOUT_S = 10
_NOT_PROCESSED = (FaultMode.DROP, FaultMode.CLOSE, FaultMode.STATUS, FaultMode.ERROR)


class BodyTooLarge(Exception):
    """More bytes than the exchange reads."""


class ClientGone(Exception):
    """The client left, or stalled, before its request was whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeApplication:
    """One exchange, as the network sees it."""

    reception: Reception
    faults: Faults
    log: RequestLog
    streams: Callable[[Scope, Receive, Send], Awaitable[None]]
    stop: asyncio.Event
    base_latency_ms: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self.streams(scope, receive, send)
            case kind:
                raise ValueError(f"unexpected scope {kind}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await _read(scope, receive)
        except ClientGone:
            abort(scope)
            return
        except BodyTooLarge:
            await self._refuse_body(scope, send)
            return
        entry = self._record(request)
        faults = self.faults.take(request.path)
        if FaultMode.DELAY in faults:
            await pause(faults[FaultMode.DELAY].delay_ms, stop=self.stop)
        for mode in _NOT_PROCESSED:
            if mode in faults:
                await self._fail(faults[mode], entry, scope, receive, send)
                return
        reply = self.reception.answer_http(replace(request, is_partial=FaultMode.PARTIAL in faults))
        if FaultMode.DUPLICATE in faults:
            self.reception.answer_http(request)
        entry.ret_code = _logged_code(reply.answer)
        if FaultMode.LOSE_RESPONSE in faults:
            await hold(faults[FaultMode.LOSE_RESPONSE].hold_ms, scope, receive, stop=self.stop)
            return
        if self.base_latency_ms:
            await pause(self.base_latency_ms, stop=self.stop)
        await self._send(reply, send)

    def _record(self, request: HttpRequest) -> Entry:
        return self.log.append(
            method=request.method,
            path=request.path,
            query=shown(request.query),
            body=shown(request.body),
            key=shown(request.headers.get(b"x-bapi-api-key", b"")),
        )

    async def _refuse_body(self, scope: Scope, send: Send) -> None:
        entry = self.log.append(method=scope["method"], path=_path(scope), query=shown(scope["query_string"]))
        answer = Answer(status=413, ret_code=10001, ret_msg="params error: the request body is too large")
        entry.ret_code = answer.status
        await self._send_answer(answer, {}, send, is_last=True)

    async def _fail(self, fault: Fault, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request end without reaching the reception."""
        match fault.mode:
            case FaultMode.CLOSE:
                await close(scope, receive)
            case FaultMode.DROP:
                await hold(fault.hold_ms, scope, receive, stop=self.stop)
            case FaultMode.STATUS:
                entry.ret_code = fault.status
                answer = Answer(status=fault.status, ret_code=fault.ret_code, ret_msg=fault.message)
                await self._send_answer(answer, {}, send)
            case _:
                entry.ret_code = fault.ret_code
                await self._send_answer(Answer(ret_code=fault.ret_code, ret_msg=fault.message), {}, send)

    async def _send(self, reply: Reply, send: Send) -> None:
        limits = reply.allowance.headers()
        now_ms = str(self.reception.clock.now_ms())
        await self._send_answer(reply.answer, limits | {"Timenow": now_ms, "Traceid": secrets.token_hex(16)}, send)

    async def _send_answer(self, answer: Answer, limits: dict[str, str], send: Send, *, is_last: bool = False) -> None:
        now_ms = self.reception.clock.now_ms()
        body = encode(envelope(answer, now_ms=now_ms))
        if not limits:
            limits = {
                "X-Bapi-Limit": "0",
                "X-Bapi-Limit-Status": "0",
                "X-Bapi-Limit-Reset-Timestamp": str(now_ms),
            }
        lines = headers(answer, length=len(body), limits=limits)
        if is_last:
            lines.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    return shown(scope["raw_path"])


async def _read(scope: Scope, receive: Receive) -> HttpRequest:
    """Read the whole request. Raises BodyTooLarge, ClientGone."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise BodyTooLarge
                chunks.append(chunk)
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise ClientGone from error
    return HttpRequest(
        method=scope["method"],
        path=_path(scope),
        query=scope["query_string"],
        headers=dict(scope["headers"]),
        body=b"".join(chunks),
        address=client_address(scope),
    )


def _logged_code(answer: Answer) -> int:
    """Give the code for the log: the exchange's own, or the HTTP status of a refusal without one."""
    return answer.ret_code if answer.status == 200 else answer.status
