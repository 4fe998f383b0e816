"""Relays the exchange's public streams to the bot: one upstream connection for each of the bot's.

Only public paths exist here. What the exchange sends goes to the bot as it is; what the bot sends is parsed and
built anew. Either end that closes, closes the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from trade_core.bybit.client import ENVIRONMENT_HEADER, SIMULATED_MARK
from trade_core.clock import Clock
from trade_core.closing import close_all
from trade_core.tls import tls_context
from trade_core.token_bucket import TokenBucket
from trade_gateway.metrics import Metrics
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.recorder import Recorder
from trade_gateway.stream_frames import STREAM_PATHS, FrameRefused, parse_client_frame
from trade_gateway.wire.request import check_host
from trade_journal.log.rows import RowKind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_STREAMS = 32
# More than 500 connections in 5 minutes get the address banned: 32 at once and 0.5 a second are 182.
OPENINGS_PER_S = 0.5
OPENINGS_AT_ONCE = 32
# Frames are not requests, but a flood of them would be the gateway's own doing.
FRAMES_PER_S = 20
_CONNECT_TIMEOUT_S = 5.0
_SEND_TIMEOUT_S = 10.0  # an end that does not read for this long is given up
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_GOING_AWAY = 1001
_TRY_AGAIN = 1013
log = logging.getLogger(__name__)


class Relay:
    """The public streams of one gateway."""

    def __init__(
        self,
        *,
        exchange_ws_url: str,
        is_simulated: bool,
        hosts: frozenset[bytes],
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._hosts = hosts
        self._exchange_ws_url = exchange_ws_url
        self._is_simulated = is_simulated
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._open = 0
        self._openings = TokenBucket(rate=OPENINGS_PER_S, burst=OPENINGS_AT_ONCE, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket of the bot."""
        raw_path = bytes(scope.get("raw_path") or b"").decode("latin-1")
        has_query = bool(scope.get("query_string"))
        category = None if has_query else STREAM_PATHS.get(raw_path)
        if check_host(scope.get("headers") or (), hosts=self._hosts) is not None:
            await self._refuse(send, code=DenyCode.REQUEST_HOST.name)
            return
        if category is None or self._open >= MAX_STREAMS or not self._openings.take_now():
            await self._refuse(send, code="STREAM_PATH_UNKNOWN" if category is None else "STREAM_TOO_MANY")
            return
        self._open += 1  # in the same step as the check
        self._metrics.streams.inc()
        try:
            self._metrics.count_request("stream")
            self._recorder.append_later(RowKind.STREAM_OPENED, {"category": category})
            await receive()  # websocket.connect
            await self._serve(raw_path, receive, send)
        finally:
            self._open -= 1
            self._metrics.streams.dec()

    async def _refuse(self, send: Send, *, code: str) -> None:
        self._metrics.count_request("denied")
        self._recorder.deny(RowKind.STREAM_DENIED, code=code, fields={}, is_authenticated=False)
        await send({"type": "websocket.close", "code": 1008})  # before accept: the handshake is answered 403

    async def _serve(self, raw_path: str, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                upstream = await self._connect(raw_path)
        except (OSError, TimeoutError, WebSocketException) as error:
            log.warning("public stream: the exchange cannot be reached: %s", type(error).__name__)
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": _TRY_AGAIN, "reason": "exchange unavailable"})
            return
        await send({"type": "websocket.accept"})
        try:
            await self._pump(upstream, receive, send)
        finally:
            await close_all(partial(upstream.close, code=_GOING_AWAY))

    async def _connect(self, raw_path: str) -> ClientConnection:
        upstream = await connect(
            self._exchange_ws_url + raw_path,
            ssl=tls_context() if self._exchange_ws_url.startswith("wss:") else None,
            proxy=None,
            compression=None,
            max_size=_MAX_MESSAGE_BYTES,
            ping_interval=20,
            ping_timeout=20,
            close_timeout=1,
        )
        mark = upstream.response.headers.get(ENVIRONMENT_HEADER) if upstream.response is not None else None
        if (mark == SIMULATED_MARK) is not self._is_simulated:
            await close_all(upstream.close)
            raise WebSocketException("the other end is of another environment")
        return upstream

    async def _pump(self, upstream: ClientConnection, receive: Receive, send: Send) -> None:
        down = asyncio.create_task(self._downstream(upstream, send))
        up = asyncio.create_task(self._upstream(upstream, receive, send))
        done, pending = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if down in done:
            # The bot's client reconnects by itself on a normal close.
            with suppress(RuntimeError, OSError):
                await send({"type": "websocket.close", "code": _GOING_AWAY})
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("public stream ended: %s", type(error).__name__)

    async def _downstream(self, upstream: ClientConnection, send: Send) -> None:
        with suppress(WebSocketException):
            async for message in upstream:
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                async with asyncio.timeout(_SEND_TIMEOUT_S):
                    await send({"type": "websocket.send", "text": text})

    async def _upstream(self, upstream: ClientConnection, receive: Receive, send: Send) -> None:
        frames = TokenBucket(rate=FRAMES_PER_S, clock=self._clock)
        while (event := await receive())["type"] == "websocket.receive":
            if not frames.take_now():
                # A bot that sends without pause is slowed by not being read.
                await asyncio.sleep(frames.seconds_to_next())
                frames.take_now()
            text = event.get("text")
            try:
                frame = parse_client_frame(text if isinstance(text, str) else "")
            except FrameRefused as refused:
                self._recorder.count("STREAM_FRAME_REFUSED")
                self._metrics.count_request("denied")
                self._metrics.denials.labels(code="STREAM_FRAME_REFUSED").inc()
                await send({"type": "websocket.send", "text": refused.render()})
                continue
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await upstream.send(frame.render())
