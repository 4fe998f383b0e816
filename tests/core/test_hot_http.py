"""Against a small real server: what is written, what may be used again, and what is known afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from ports import free_port

from trade_core import hot_http
from trade_core.errors import ConfigurationError
from trade_core.hot_http import HotHttp, NoAnswer, NotSent, Reply, Withheld
from trade_core.tls import tls_context

OK = b"HTTP/1.1 200 OK\r\nX-Mark: yes\r\ncontent-length: 2\r\n\r\n{}"
HEADERS = b"content-type: application/json\r\n"


@dataclass
class Server:
    """Answers each request with the next of `answers`, the last of them again and again; None is silence."""

    answers: list[bytes | None] = field(default_factory=lambda: [OK])
    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.heard.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is not None:
                    writer.write(answer)


@asynccontextmanager
async def running(*answers: bytes | None, max_connections: int = 8) -> AsyncIterator[tuple[Server, HotHttp]]:
    it = Server(answers=list(answers) or [OK])
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    pool = HotHttp(base_url=f"http://127.0.0.1:{it.port}", tls=tls_context(), max_connections=max_connections)
    try:
        yield it, pool
    finally:
        await pool.aclose()
        for writer in it.writers:
            writer.close()
        server.close()


async def post(pool: HotHttp, body: bytes = b"{}", *, may_send: Callable[[], bool] | None = None) -> Reply:
    return await pool.post("/v5/order/create", body, headers=HEADERS, timeout_s=0.4, may_send=may_send)


async def test_hot_http_request_is_exactly_what_was_given() -> None:
    async with running() as (server, pool):
        reply = await post(pool, b'{"a":1}')
    assert (reply.status, reply.headers[b"x-mark"], reply.body) == (200, b"yes", b"{}")
    host = f"127.0.0.1:{server.port}".encode()
    assert server.heard == [
        b"POST /v5/order/create HTTP/1.1\r\nhost: " + host + b"\r\n" + HEADERS + b'content-length: 7\r\n\r\n{"a":1}'
    ]


async def test_hot_http_connection_is_used_again() -> None:
    async with running() as (server, pool):
        for _ in range(5):
            await post(pool)
    assert (len(server.heard), len(server.writers)) == (5, 1)


async def test_hot_http_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async with running() as (server, pool):
        await asyncio.gather(*(post(pool) for _ in range(4)))
        assert len(server.writers) == 4
        await asyncio.gather(*(post(pool) for _ in range(4)))
    assert (len(server.heard), len(server.writers)) == (8, 4)


async def test_hot_http_chunked_answer_is_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with running(chunked) as (server, pool):
        assert [(await post(pool)).body for _ in range(2)] == [b"abcde", b"abcde"]
    assert len(server.writers) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"garbage\r\n\r\n", "not an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "in time"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", "not an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "interim answer 100"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 17_000 + b"\r\ncontent-length: 0\r\n\r\n", "too long"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"z" * 2_000_000, "longer than"),
        (None, "in time"),
    ],
)
async def test_hot_http_useless_answer_ends_the_connection(answer: bytes | None, reason: str) -> None:
    async with running(answer, OK) as (server, pool):
        with pytest.raises(NoAnswer, match=reason):
            await post(pool)
        assert (await post(pool)).body == b"{}"
    assert (len(server.heard), len(server.writers)) == (2, 2)


@pytest.mark.parametrize("excess", [OK, b"garbage", b"\r\nHTTP/1.1 200 OK\r\n"])
async def test_hot_http_bytes_behind_an_answer_are_nobodys_answer(excess: bytes) -> None:
    async with running(OK + excess, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond") as (server, pool):
        await post(pool)
        assert (await post(pool)).body == b"second"
    assert len(server.writers) == 2


async def test_hot_http_bytes_between_two_requests_are_nobodys_answer() -> None:
    async with running(OK, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond") as (server, pool):
        await post(pool)
        server.writers[0].write(OK)
        await asyncio.sleep(0.05)
        assert (await post(pool)).body == b"second"
    assert len(server.writers) == 2


async def test_hot_http_answer_that_ends_its_connection_is_the_last_one_on_it() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
    async with running(closing) as (server, pool):
        await post(pool)
        await post(pool)
    assert len(server.writers) == 2


async def test_hot_http_cancelled_request_leaves_no_answer_for_the_next_one() -> None:
    async with running(None, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond") as (server, pool):
        task = asyncio.create_task(post(pool))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.writers[0].write(OK)
        assert (await post(pool)).body == b"second"
    assert len(server.writers) == 2


async def test_hot_http_connection_that_was_closed_while_idle_is_replaced() -> None:
    async with running() as (server, pool):
        await post(pool)
        server.writers[0].close()
        await asyncio.sleep(0.05)
        await post(pool)
    assert (len(server.heard), len(server.writers)) == (2, 2)


async def test_hot_http_connection_that_was_idle_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (server, pool):
        await asyncio.gather(post(pool), post(pool))
        monkeypatch.setattr(hot_http, "IDLE_S", 0.0)
        await post(pool)
        assert len(server.writers) == 3
        await asyncio.sleep(0.05)
        assert len(pool._all) <= 1


async def test_hot_http_connection_lost_in_the_middle_is_no_answer() -> None:
    async with running(None) as (server, pool):
        task = asyncio.create_task(post(pool))
        await asyncio.sleep(0.1)
        server.writers[0].close()
        with pytest.raises(NoAnswer, match="lost"):
            await task


async def test_hot_http_withheld_request_writes_nothing_and_keeps_the_connection() -> None:
    async with running() as (server, pool):
        with pytest.raises(Withheld):
            await post(pool, may_send=lambda: False)
        await post(pool, may_send=lambda: True)
    assert (len(server.heard), len(server.writers)) == (1, 1)


async def test_hot_http_is_asked_after_it_has_waited_for_a_connection() -> None:
    is_permitted = [True]
    async with running() as (server, pool):
        task = asyncio.create_task(post(pool, may_send=lambda: is_permitted[0]))
        await asyncio.sleep(0)
        is_permitted[0] = False  # while it connects
        with pytest.raises(Withheld):
            await task
    assert server.heard == []


async def test_hot_http_to_nobody_is_not_sent() -> None:
    pool = HotHttp(base_url=f"http://127.0.0.1:{free_port()}", tls=tls_context(), max_connections=1)
    for _ in range(2):  # a failure gives its place back
        with pytest.raises(NotSent, match="not connected"):
            await post(pool)
    with pytest.raises(NotSent):
        await pool.warm()


async def test_hot_http_to_a_server_without_tls_is_not_sent() -> None:
    async with running() as (server, _):
        pool = HotHttp(base_url=f"https://127.0.0.1:{server.port}", tls=tls_context(), max_connections=1)
        with pytest.raises(NotSent, match="not connected"):
            await post(pool)
    assert server.heard == []


async def test_hot_http_without_a_free_connection_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_http, "CONNECT_TIMEOUT_S", 0.1)
    async with running(None, max_connections=1) as (server, pool):
        first = asyncio.create_task(post(pool))
        await asyncio.sleep(0.05)
        with pytest.raises(NotSent, match="no connection is free"):
            await post(pool)
        with pytest.raises(NoAnswer):
            await first
    assert len(server.heard) == 1


async def test_hot_http_warm_connection_waits_for_the_first_request() -> None:
    async with running() as (server, pool):
        await pool.warm()
        await pool.warm()
        await post(pool)
        assert len(server.writers) == 1
        server.writers[0].close()
        await asyncio.sleep(0.05)
        await pool.warm()
        assert len(server.writers) == 2


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://x/path", "x:1", ""])
def test_hot_http_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        HotHttp(base_url=url, tls=tls_context(), max_connections=1)


@pytest.mark.parametrize(("url", "port"), [("https://h", 443), ("http://h", 80), ("https://h:99", 99)])
def test_hot_http_port_follows_the_scheme(url: str, port: int) -> None:
    assert HotHttp(base_url=url, tls=tls_context(), max_connections=1)._port == port
