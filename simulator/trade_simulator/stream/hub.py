"""The hub: which stream a path leads to, which connections are open, and what faults do to all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.utils import ClientDisconnected

from trade_simulator.api.connection import Receive, Scope, Send, client_address, close
from trade_simulator.api.envelope import Answer, HttpRefusal, encode, envelope, headers
from trade_simulator.events import Event
from trade_simulator.faults import Fault, FaultMode
from trade_simulator.instruments import Category
from trade_simulator.request_log import FRAME_METHOD, shown
from trade_simulator.stream.private import PrivateFeed, PrivateSession
from trade_simulator.stream.public import PublicFeed, PublicSession
from trade_simulator.stream.session import Session, StreamContext
from trade_simulator.stream.trade import TradeSession

MAX_SESSIONS = 1_000
_PUBLIC = {f"/v5/public/{category}": category for category in Category}
_STREAMS = {"/v5/private": "ws:private", "/v5/trade": "ws:trade"} | dict.fromkeys(_PUBLIC, "ws:public")


class StreamHub:
    """All WebSocket connections of the exchange."""

    def __init__(self, context: StreamContext) -> None:
        self._context = context
        self._sessions: set[Session] = set()
        reception = context.reception
        self._public = PublicFeed(reception.exchange, now_ms=reception.clock.now_ms, schedule=_soon)
        self._private = PrivateFeed(reception.exchange, now_ms=reception.clock.now_ms, schedule=_soon)
        reception.exchange.subscribe(self.on_event)
        context.faults.watch(self._on_fault)

    @property
    def open_sessions(self) -> int:
        """Count the open connections."""
        return len(self._sessions)

    def on_event(self, event: Event) -> None:
        """Pass an event of the exchange to whoever listens."""
        self._private.on_event(event)
        self._public.on_event(event)

    def on_tick(self) -> None:
        """Do what is due by time alone."""
        self._public.repeat()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()
        path = scope["path"]
        try:
            now_ms = self._context.reception.clock.now_ms()
            self._context.reception.limits.visit_connection(client_address(scope), now_ms=now_ms)
            stream = _STREAMS.get(path)
            if stream is None:
                raise HttpRefusal(404, 10017, "Route not found.")
            if len(self._sessions) >= MAX_SESSIONS:
                raise HttpRefusal(429, 10429, "System level frequency protection")
            self._refuse_by_fault(stream)
        except HttpRefusal as refusal:
            await self._refuse(refusal.answer, scope, send)
            # The server below logs an error for every handshake that was answered otherwise, unless told so.
            raise ClientDisconnected from refusal
        if FaultMode.CLOSE in self._context.faults.take(stream, (FaultMode.CLOSE,)):
            await close(scope, receive)
            raise ClientDisconnected
        session = self._session(path, scope, receive, send)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def _refuse_by_fault(self, stream: str) -> None:
        fault = self._context.faults.take(stream, (FaultMode.STATUS,)).get(FaultMode.STATUS)
        if fault is not None:
            raise HttpRefusal(fault.status, fault.ret_code, fault.message)

    def _session(self, path: str, scope: Scope, receive: Receive, send: Send) -> Session:
        if path in _PUBLIC:
            return PublicSession(scope, receive, send, self._context, feed=self._public, category=_PUBLIC[path])
        if path == "/v5/private":
            return PrivateSession(scope, receive, send, self._context, feed=self._private)
        return TradeSession(scope, receive, send, self._context)

    async def _refuse(self, answer: Answer, scope: Scope, send: Send) -> None:
        entry = self._context.log.append(method=FRAME_METHOD, path=scope["path"], query=shown(scope["query_string"]))
        entry.ret_code = answer.status
        body = encode(envelope(answer, now_ms=self._context.reception.clock.now_ms()))
        lines = headers(answer, length=len(body), limits={})
        await send({"type": "websocket.http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "websocket.http.response.body", "body": body})

    def _on_fault(self, fault: Fault) -> None:
        """Let `close` act at once on the connections that are open."""
        if fault.mode is not FaultMode.CLOSE:
            return
        for session in list(self._sessions):
            if session.stream != fault.path:
                continue
            if FaultMode.CLOSE not in self._context.faults.take(fault.path, (FaultMode.CLOSE,)):
                return
            session.cut()


def _soon(action: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_soon(action)
