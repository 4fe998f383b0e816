"""Between a real WebSocket server and an ASGI connection driven by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway.parts import rows_of, value_of
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from trade_core.clock import SystemClock
from trade_gateway import relay as relay_module
from trade_gateway.metrics import Metrics
from trade_gateway.recorder import Recorder
from trade_gateway.relay import Relay
from trade_gateway.wire.request import hosts_of
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter


class Exchange:
    """A WebSocket server that keeps what it hears and says what it is told."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.paths: list[str] = []
        self.connections: list[ServerConnection] = []
        self.mark: str | None = "SIMULATED"
        self.url = ""

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for message in connection:
            self.heard.put_nowait(str(message))

    def marked(self, connection: ServerConnection, request: Request, response: Response) -> None:
        self.paths.append(request.path)
        if self.mark is not None:
            response.headers["X-Trade-Environment"] = self.mark


@asynccontextmanager
async def exchanging() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    server: Server = await serve(exchange.handle, "127.0.0.1", 0, process_response=exchange.marked)
    exchange.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    try:
        yield exchange
    finally:
        server.close(close_connections=True)
        await server.wait_closed()


HOST = (b"host", b"127.0.0.1:22000")


class Bot:
    """The bot's end of one stream."""

    def __init__(
        self, relay: Relay, path: str = "/v5/public/spot", query: bytes = b"", host: bytes = b"localhost:22000"
    ) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "raw_path": path.encode(), "query_string": query, "headers": [(b"host", host)]}
        self.task = asyncio.create_task(relay(scope, self._events.get, self._take))

    async def _take(self, event: Any) -> None:
        self.sent.put_nowait(event)

    def say(self, text: str | None) -> None:
        self._events.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self._events.put_nowait({"type": "websocket.disconnect"})

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            return await self.sent.get()


def relay_to(url: str, recorder: Recorder, metrics: Metrics, *, is_simulated: bool = True) -> Relay:
    return Relay(
        hosts=hosts_of("127.0.0.1"),
        exchange_ws_url=url,
        is_simulated=is_simulated,
        recorder=recorder,
        metrics=metrics,
        clock=SystemClock(),
    )


@asynccontextmanager
async def streaming(recorder: Recorder, metrics: Metrics) -> AsyncIterator[tuple[Bot, Exchange]]:
    async with exchanging() as exchange:
        bot = Bot(relay_to(exchange.url, recorder, metrics))
        assert await bot.hear() == {"type": "websocket.accept"}
        yield bot, exchange
        bot.leave()
        await bot.task


async def test_relay_carries_what_was_understood_and_what_comes_back(recorder: Recorder, metrics: Metrics) -> None:
    async with streaming(recorder, metrics) as (bot, exchange):
        bot.say('{ "op":"subscribe", "args":["tickers.BTCUSDT"] }')
        assert await exchange.heard.get() == '{"op":"subscribe","args":["tickers.BTCUSDT"]}'
        await exchange.connections[0].send('{"topic":"tickers.BTCUSDT","data":{}}')
        assert await bot.hear() == {"type": "websocket.send", "text": '{"topic":"tickers.BTCUSDT","data":{}}'}
        assert exchange.paths == ["/v5/public/spot"]
        assert value_of(metrics, "trade_gateway_streams") == 1


@pytest.mark.parametrize("text", ['{"op":"auth","args":["k",1,"s"]}', "nonsense", None])
async def test_relay_other_frame_is_refused_counted_and_never_forwarded(
    recorder: Recorder, metrics: Metrics, text: str | None
) -> None:
    async with streaming(recorder, metrics) as (bot, exchange):
        bot.say(text)
        answer = json.loads((await bot.hear())["text"])
        assert answer["success"] is False
        assert answer["ret_msg"].startswith("STREAM_FRAME_REFUSED")
        bot.say('{"op":"ping"}')
        assert await exchange.heard.get() == '{"op":"ping"}'
        assert recorder.pending_count == 1


async def test_relay_opened_stream_is_one_row(recorder: Recorder, metrics: Metrics, journal: JournalWriter) -> None:
    async with streaming(recorder, metrics):
        pass
    assert [(row.kind, row.fields) for row in await rows_of(journal)] == [(RowKind.STREAM_OPENED, {"category": "spot"})]
    assert value_of(metrics, "trade_gateway_streams") == 0


async def test_relay_bot_that_leaves_ends_the_upstream_connection(recorder: Recorder, metrics: Metrics) -> None:
    async with streaming(recorder, metrics) as (bot, exchange):
        bot.leave()
        await bot.task
        async with asyncio.timeout(60):
            await exchange.connections[0].wait_closed()


async def test_relay_exchange_that_leaves_ends_the_bots_connection(recorder: Recorder, metrics: Metrics) -> None:
    async with streaming(recorder, metrics) as (bot, exchange):
        await exchange.connections[0].close()
        assert await bot.hear() == {"type": "websocket.close", "code": 1001}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v5/private", b""),
        ("/v5/trade", b""),
        ("/v5/public/option", b""),
        ("/v5/public/spot/", b""),
        ("/v5/public/%73pot", b""),
        ("/V5/public/spot", b""),
        ("/v5/public/spot", b"max_active_time=1"),
        ("", b""),
    ],
)
async def test_relay_other_path_is_refused_and_counted(
    recorder: Recorder, metrics: Metrics, path: str, query: bytes
) -> None:
    async with exchanging() as exchange:
        bot = Bot(relay_to(exchange.url, recorder, metrics), path, query)
        assert await bot.hear() == {"type": "websocket.close", "code": 1008}
        await bot.task
        assert exchange.paths == []
        assert recorder.pending_count == 1
        assert value_of(metrics, "trade_gateway_denials_total", code="STREAM_PATH_UNKNOWN") == 1


async def test_relay_stream_for_another_host_is_refused_and_counted(recorder: Recorder, metrics: Metrics) -> None:
    async with exchanging() as exchange:
        bot = Bot(relay_to(exchange.url, recorder, metrics), host=b"evil.example:22000")
        assert await bot.hear() == {"type": "websocket.close", "code": 1008}
        await bot.task
        assert exchange.paths == []
        assert recorder.pending_count == 1
        assert value_of(metrics, "trade_gateway_denials_total", code="REQUEST_HOST") == 1


async def test_relay_streams_at_once_have_a_bound(
    recorder: Recorder, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "MAX_STREAMS", 2)
    async with exchanging() as exchange:
        relay = relay_to(exchange.url, recorder, metrics)
        bots = [Bot(relay) for _ in range(4)]
        answers = [(await bot.hear())["type"] for bot in bots]
        assert answers == ["websocket.accept"] * 2 + ["websocket.close"] * 2
        bots[0].leave()
        await bots[0].task
        again = Bot(relay)
        assert (await again.hear())["type"] == "websocket.accept"
        for bot in (bots[1], again):
            bot.leave()
            await bot.task


async def test_relay_exchange_that_is_down_says_try_again(recorder: Recorder, metrics: Metrics) -> None:
    async with exchanging() as exchange:
        url = exchange.url
    bot = Bot(relay_to(url, recorder, metrics))
    assert (await bot.hear())["type"] == "websocket.accept"
    closed = await bot.hear()
    assert (closed["type"], closed["code"]) == ("websocket.close", 1013)
    await bot.task


@pytest.mark.parametrize(("mark", "is_simulated"), [(None, True), ("LIVE", True), ("SIMULATED", False)])
async def test_relay_end_of_another_environment_is_not_relayed(
    recorder: Recorder, metrics: Metrics, mark: str | None, is_simulated: bool
) -> None:
    async with exchanging() as exchange:
        exchange.mark = mark
        bot = Bot(relay_to(exchange.url, recorder, metrics, is_simulated=is_simulated))
        await bot.hear()
        assert (await bot.hear())["code"] == 1013
        await bot.task


async def test_relay_bot_that_does_not_read_is_given_up(
    recorder: Recorder, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_SEND_TIMEOUT_S", 0.05)
    async with exchanging() as exchange:
        relay = relay_to(exchange.url, recorder, metrics)
        taken: list[str] = []

        async def take(event: Any) -> None:
            taken.append(event["type"])
            if event["type"] == "websocket.send":
                await asyncio.Event().wait()

        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        events.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "raw_path": b"/v5/public/spot", "query_string": b"", "headers": [HOST]}
        task = asyncio.create_task(relay(scope, events.get, take))
        async with asyncio.timeout(60):
            while not exchange.connections:  # noqa: ASYNC110 - the server's own doing
                await asyncio.sleep(0.005)
            await exchange.connections[0].send("{}")
            await task
        assert taken[-1] == "websocket.close"
