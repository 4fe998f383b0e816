"""Raw bytes on real sockets: each request is answered by the application or refused and counted, exactly once."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from trade_core import guarded_protocol as protocol_module
from trade_core.guarded_protocol import (
    CONNECTION_KEY,
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    RECOGNISE_KEY,
    TARGET_KEY,
    Connection,
    guarded_protocol,
)

GET = b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = 20_000_000  # more than the system takes for a connection
POST = b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Bot:
    """The listener under test, what its application saw, and what was refused below it."""

    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    gone: int = 0
    connections: list[Connection] = field(default_factory=list)
    bodies: list[bytes | None] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    closes: bool = False
    state: ServerState = field(default_factory=ServerState)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            self.seen.append(b"websocket")
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        self.seen.append(scope[TARGET_KEY])
        self.connections.append(scope[CONNECTION_KEY])
        self.bodies.append(scope[CONNECTION_KEY].whole_body())
        event = await receive()
        while event["type"] == "http.request" and event["more_body"]:
            event = await receive()
        gone = asyncio.create_task(self._until_gone(receive))
        waiting = asyncio.create_task(self.may_answer.wait())
        await asyncio.wait({gone, waiting}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        waiting.cancel()
        if scope[TARGET_KEY] == b"/known":
            scope[RECOGNISE_KEY]()
        if scope[TARGET_KEY] == b"/at-once" and scope[CONNECTION_KEY].answer_at_once(
            200, b"content-length: 2\r\n", b"ok"
        ):
            return
        content = b"x" * BIG if scope[TARGET_KEY] == b"/big" else b"ok"
        headers = [(b"content-length", str(len(content)).encode())] + [(b"connection", b"close")] * self.closes
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _until_gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self.gone += 1


@asynccontextmanager
async def listening(*, max_connections: int = MAX_CONNECTIONS) -> AsyncIterator[Bot]:
    """uvicorn's protocol as trade_core.serving sets it up, without the main loop, whose ticks would take the time."""
    bot = Bot()
    bot.may_answer.set()
    config = uvicorn.Config(
        bot.app,
        http=guarded_protocol(bot.refused.append, max_connections=max_connections),
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        interface="asgi3",
        access_log=False,
    )
    config.load()
    state = bot.state

    def connected() -> asyncio.Protocol:
        made: asyncio.Protocol = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        return made

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    bot.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60):
        yield bot
        bot.may_answer.set()
        server.close()
        for open_connection in list(state.connections):
            open_connection.transport.abort()  # type: ignore[union-attr]
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def connection(bot: Bot) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def exchange(bot: Bot, *segments: bytes) -> bytes:
    """Send segments, each once the one before has been taken, and read until the other end closes."""
    async with connection(bot) as (reader, writer):
        try:
            for segment in segments:
                writer.write(segment)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read()
        except ConnectionError:
            return b""


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(2)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_true():  # noqa: ASYNC110 - what is waited for is another's doing, and sets no event
            await asyncio.sleep(0.005)


async def test_protocol_whole_request_reaches_the_application_and_is_not_counted() -> None:
    async with listening() as bot:
        answer = await exchange(bot, b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"ok")
        assert (bot.seen, bot.refused) == ([b"/a?b=c"], [])


@pytest.mark.parametrize(
    "target",
    [
        b"/v5/order/create#fragment",
        b"/v5//order/./create",
        b"/v5/order/cre%61te",
        b"http://evil/v5/order/create",
        b"/a?b#c",
        b"*",
    ],
)
async def test_protocol_target_arrives_as_it_was_sent(target: bytes) -> None:
    async with listening() as bot:
        await exchange(bot, b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % target)
        assert (bot.seen, bot.refused) == ([target], [])


BAD_HEADS = {
    "two content lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal content lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    "garbage": b"\x16\x03\x01\x02\x00 not http at all\r\n\r\n",
    "unknown method": b"SEND / HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "authority": b"CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET http://evil HTTP/1.1\r\nHost: x\r\n\r\n",
    "target of raw bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "header without colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nContent-Length : 2\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "null in header": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(MAX_HEADERS + 1)) + b"\r\n",
    "giant header": b"GET / HTTP/1.1\r\nA: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n",
    "giant target": b"GET /" + b"x" * 400_000 + b" HTTP/1.1\r\n\r\n",
    "head without an end": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
    "line without an end": b"GET /" + b"x" * 600_000,
}


@pytest.mark.parametrize("case", BAD_HEADS)
async def test_protocol_request_below_the_application_is_refused_and_counted_once(case: str) -> None:
    async with listening() as bot:
        answer = await exchange(bot, BAD_HEADS[case])
        assert answer.startswith(b"HTTP/1.1 400") or answer == b""
        assert len(bot.refused) + len(bot.seen) == 1
        assert len(bot.refused) == 1


@pytest.mark.parametrize(("count", "is_refused"), [(MAX_HEADERS, False), (MAX_HEADERS + 1, True)])
async def test_protocol_number_of_headers_has_a_bound(count: int, is_refused: bool) -> None:
    headers = b"Connection: close\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(count - 1))
    async with listening() as bot:
        await exchange(bot, b"GET / HTTP/1.1\r\n" + headers + b"\r\n")
        assert (len(bot.refused), len(bot.seen)) == ((1, 0) if is_refused else (0, 1))


async def test_protocol_refusal_names_what_was_wrong() -> None:
    async with listening() as bot:
        await exchange(bot, BAD_HEADS["garbage"])
        await exchange(bot, *([b"GET / HTTP/1.1\r\n"] + [b"A: " + b"b" * 1000 + b"\r\n"] * 1000))
        await exchange(bot, GET + GET)
        assert bot.refused == ["REQUEST_UNPARSABLE", "HEAD_TOO_LARGE", "REQUEST_PIPELINED"]


async def test_protocol_requests_one_after_another_on_one_connection_are_served() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        for _ in range(5):
            writer.write(POST)
            assert (await answer_of(reader)).endswith(b"ok")
        assert (len(bot.seen), bot.refused) == (5, [])


async def test_protocol_head_in_many_segments_is_served() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        for byte in POST:
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await answer_of(reader)).endswith(b"ok")
        assert bot.refused == []


@pytest.mark.parametrize("count", [2, 3, 5000])
async def test_protocol_pipelined_requests_are_refused_with_their_connection(count: int) -> None:
    async with listening() as bot:
        bot.may_answer.clear()
        await exchange(bot, GET * count)
        assert bot.refused == ["REQUEST_PIPELINED"]
        assert len(bot.seen) == 1


async def test_protocol_pipelined_request_makes_the_first_one_know_that_it_is_not_delivered() -> None:
    async with listening() as bot:
        bot.may_answer.clear()
        await exchange(bot, POST, GET)
        await until(lambda: bot.gone == 1)


async def test_protocol_garbage_behind_a_request_is_counted_beside_it() -> None:
    async with listening() as bot:
        bot.may_answer.clear()
        await exchange(bot, GET + b"\x00garbage\r\n\r\n")
        assert len(bot.refused) == 1
        assert len(bot.seen) == 1
        await until(lambda: bot.gone == 1)


async def test_protocol_client_that_leaves_is_noticed() -> None:
    async with listening() as bot:
        bot.may_answer.clear()
        async with connection(bot) as (_, writer):
            writer.write(POST)
            await until(lambda: bot.seen != [])
        await until(lambda: bot.gone == 1)
        assert bot.refused == []


async def test_protocol_slow_head_is_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT_S", 0.1)
    async with listening() as bot:
        answer = await exchange(bot, b"GET / HTTP/1.1\r\nA: b")
        assert answer.startswith(b"HTTP/1.1 400")
        assert bot.refused == ["HEAD_TOO_SLOW"]


async def test_protocol_slow_head_of_a_later_request_is_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT_S", 0.1)
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(GET)
        await answer_of(reader)
        writer.write(b"GET / HTTP/1.1\r\nA: b")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert bot.refused == ["HEAD_TOO_SLOW"]


@pytest.mark.parametrize("said", [b"", b"\r\n"])
async def test_protocol_silent_connection_is_closed_and_not_counted(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT_S", 0.1)
    async with listening() as bot:
        assert await exchange(bot, said) == b""
        assert (bot.refused, bot.seen) == ([], [])


async def test_protocol_answered_connection_may_stay_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_TIMEOUT_S", 0.05)
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(GET)
        await answer_of(reader)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read()
        writer.write(GET)
        assert (await answer_of(reader)).endswith(b"ok")


async def known(bot: Bot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answer_of(reader)).endswith(b"ok")


async def test_protocol_stranger_makes_room_for_a_newcomer_and_is_counted() -> None:
    async with listening(max_connections=1) as bot, connection(bot) as (reader, writer):
        writer.write(GET)
        await answer_of(reader)
        async with connection(bot) as (newer_reader, newer_writer):
            newer_writer.write(GET)
            assert (await answer_of(newer_reader)).endswith(b"ok")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        assert bot.refused == ["CONNECTIONS_TOO_MANY"]


async def test_protocol_flood_of_connections_locks_nobody_out() -> None:
    async with listening(max_connections=5) as bot, connection(bot) as (reader, writer):
        await known(bot, reader, writer)
        idle = [await asyncio.open_connection("127.0.0.1", bot.port) for _ in range(50)]
        await known(bot, reader, writer)
        async with connection(bot) as (newer_reader, newer_writer):
            await known(bot, newer_reader, newer_writer)
            await known(bot, reader, writer)
        assert bot.refused == ["CONNECTIONS_TOO_MANY"] * 47
        for _, idle_writer in idle:
            idle_writer.transport.abort()


async def test_protocol_connection_that_has_gone_takes_no_room() -> None:
    async with listening(max_connections=1) as bot:
        for _ in range(5):
            async with connection(bot) as (reader, writer):
                await known(bot, reader, writer)
            await until(lambda: not bot.state.connections)
        assert bot.refused == []


@asynccontextmanager
async def unread_answers(bot: Bot, count: int) -> AsyncIterator[None]:
    """Ask for big answers on connections that are never read."""
    lazy = []
    try:
        for _ in range(count):
            lazy.append(socket.create_connection(("127.0.0.1", bot.port)))
            lazy[-1].sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: len(bot.seen) == count)
        yield
    finally:
        for connected in lazy:
            connected.close()


@pytest.mark.parametrize("closes", [False, True])
async def test_protocol_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch, closes: bool) -> None:
    monkeypatch.setattr(protocol_module, "DRAIN_TIMEOUT_S", 0.1)
    async with listening() as bot:
        bot.closes = closes
        async with unread_answers(bot, 1):
            await until(lambda: not bot.state.connections)


async def test_protocol_answer_that_is_taken_in_time_is_whole() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(BIG)) == BIG
        writer.write(GET)
        assert (await answer_of(reader)).endswith(b"ok")


async def test_protocol_memory_of_untaken_answers_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "MAX_LAGGARDS", 3)
    async with listening() as bot, unread_answers(bot, 8):
        await until(lambda: len(bot.state.connections) == 3)


def handshake(**changed: bytes | None) -> bytes:
    headers: dict[str, bytes | None] = {
        "Host": b"x",
        "Connection": b"Upgrade",
        "Upgrade": b"websocket",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)),
        "Sec-WebSocket-Version": b"13",
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [b"%b: %b" % (name.encode(), value) for name, value in headers.items() if value is not None]
    return b"GET /v5/public/spot HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


async def test_protocol_handshake_reaches_the_application() -> None:
    async with listening() as bot:
        async with connection(bot) as (reader, writer):
            writer.write(handshake())
            assert await reader.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        assert (bot.seen, bot.refused) == ([b"websocket"], [])


@pytest.mark.parametrize(
    "changed",
    [
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": b"short"},
        {"Sec_WebSocket_Version": b"8"},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Extensions": b'"('},
        {"X": b"y" * 9000},
    ],
)
async def test_protocol_bad_handshake_is_refused_and_counted_once(changed: dict[str, bytes | None]) -> None:
    async with listening() as bot:
        answer = await exchange(bot, handshake(**changed))
        assert not answer.startswith(b"HTTP/1.1 101")
        assert (bot.seen, bot.refused) == ([], ["HANDSHAKE_REFUSED"])


async def test_protocol_upgrade_to_something_else_is_the_applications_and_ends_the_connection() -> None:
    async with listening() as bot:
        request = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert (await exchange(bot, request)).endswith(b"ok")
        assert (bot.seen, bot.refused) == ([b"/a"], [])


async def test_protocol_tells_whether_a_body_has_arrived_to_its_end() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        await until(lambda: bot.connections != [])
        (seen,) = bot.connections
        assert seen.whole_body() is None
        bot.may_answer.clear()
        writer.write(b"}")
        await until(lambda: seen.whole_body() is not None)
        bot.may_answer.set()
        assert (await answer_of(reader)).endswith(b"ok")
        assert not seen.is_gone()


async def test_protocol_tells_whether_the_client_has_left() -> None:
    async with listening() as bot:
        bot.may_answer.clear()
        async with connection(bot) as (_, writer):
            writer.write(POST)
            await until(lambda: bot.connections != [])
            (seen,) = bot.connections
            assert (seen.whole_body() is None, seen.is_gone()) == (False, False)
        await until(seen.is_gone)


async def test_protocol_gives_the_body_that_arrived_with_its_head() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(POST)
        assert (await answer_of(reader)).endswith(b"ok")
        assert bot.bodies == [b"{}"]


async def test_protocol_body_that_waits_for_a_word_of_ours_has_not_arrived() -> None:
    async with listening() as bot, connection(bot) as (_, writer):
        bot.may_answer.clear()
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: bot.connections != [])
        bot.connections[0].cycle.waiting_for_100_continue = True  # type: ignore[attr-defined]
        assert bot.connections[0].whole_body() is None


async def test_protocol_answers_in_one_piece_and_keeps_the_connection() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /at-once HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await answer_of(reader) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        assert (len(bot.seen), bot.refused) == (2, [])


async def test_protocol_answer_in_one_piece_ends_the_connection_when_the_client_wants_it() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(b"GET /at-once HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert await reader.read() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


async def test_protocol_answer_to_a_head_is_not_written_in_one_piece() -> None:
    async with listening() as bot, connection(bot) as (reader, writer):
        writer.write(b"HEAD /at-once HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n")


async def test_protocol_answer_that_would_have_to_wait_is_not_written_in_one_piece() -> None:
    async with listening() as bot, connection(bot) as (_, writer):
        bot.may_answer.clear()
        writer.write(POST)
        await until(lambda: bot.connections != [])
        (seen,) = bot.connections
        seen.transport.write(b"x" * BIG)  # type: ignore[attr-defined]
        assert not seen.answer_at_once(200, b"", b"late")
