"""Real listeners in this process; they end by the event or by a signal to ourselves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ports import free_ports

from trade_core.errors import ConfigurationError
from trade_core.serving import Listener, PortTaken, serve


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def listener(
    port: int,
    *,
    host: str = "127.0.0.1",
    app: Any = hello,
    setting: str = "listen_port",
    has_own_thread: bool = False,
) -> Listener:
    return Listener(app=app, host=host, port=port, setting=setting, has_own_thread=has_own_thread)


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@asynccontextmanager
async def serving(*listeners: Listener) -> AsyncIterator[tuple[asyncio.Task[None], asyncio.Event]]:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(listeners, stop=stop, on_ready=ready.set))
    async with asyncio.timeout(60):
        await ready.wait()
        yield task, stop
        stop.set()
        await task


async def test_serve_answers_on_every_listener_once_ready() -> None:
    ports = free_ports(2)
    async with serving(*(listener(port) for port in ports)):
        assert [(await ask(port)).endswith(b"hello") for port in ports] == [True, True]


async def test_serve_answers_without_naming_its_server() -> None:
    (port,) = free_ports(1)
    async with serving(listener(port)):
        assert b"server:" not in (await ask(port)).lower()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    (port,) = free_ports(1)
    async with serving(listener(port)) as (task, stop):
        os.kill(os.getpid(), number)
        await task
        assert stop.is_set()
        with pytest.raises(ConnectionRefusedError):
            await ask(port)


async def test_serve_gives_the_signals_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serving(listener(free_ports(1)[0])):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


async def test_serve_on_a_taken_port_names_port_and_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} on 127\.0\.0\.1 is taken .* setting admin_port"):
            await serve([listener(port, setting="admin_port")], stop=asyncio.Event())


async def test_serve_with_one_port_taken_leaves_no_listener_behind() -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(PortTaken):
        await serve([listener(port), listener(other.getsockname()[1])], stop=asyncio.Event())
    with socket.create_server(("127.0.0.1", port)) as now_free:
        assert now_free.getsockname()[1] == port


async def test_serve_two_listeners_on_one_port_is_refused() -> None:
    (port,) = free_ports(1)
    with pytest.raises(PortTaken):
        await serve([listener(port), listener(port)], stop=asyncio.Event())


async def test_serve_on_an_address_that_is_not_ours_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:\d+ \(setting listen_port\)"):
        await serve([listener(1, host="192.0.2.1")], stop=asyncio.Event())


async def test_serve_with_stop_set_already_is_never_ready() -> None:
    stop = asyncio.Event()
    stop.set()
    readiness: list[bool] = []
    async with asyncio.timeout(60):
        await serve([listener(free_ports(1)[0])], stop=stop, on_ready=lambda: readiness.append(True))
    assert readiness == []


async def test_serve_with_a_listener_that_breaks_is_no_clean_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Any, sockets: Any) -> None:
        raise OSError("listener is gone")

    monkeypatch.setattr("trade_core.serving._Server.serve", broken)
    async with asyncio.timeout(60):
        with pytest.raises(OSError, match="listener is gone"):
            await serve([listener(free_ports(1)[0])], stop=asyncio.Event())


async def test_serve_refuses_more_connections_than_permitted() -> None:
    (port,) = free_ports(1)
    limited = Listener(app=hello, host="127.0.0.1", port=port, setting="p", max_connections=2)
    async with serving(limited):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert b" 503 " in await ask(port)
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()


async def test_serve_listener_with_its_own_thread_answers_while_this_one_is_busy() -> None:
    (port,) = free_ports(1)
    async with serving(listener(port, has_own_thread=True)):
        with socket.create_connection(("127.0.0.1", port), timeout=4) as client:  # and nothing of this loop runs
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := client.recv(4096):
                answer += part
    assert answer.endswith(b"hello")


async def test_serve_listener_with_its_own_thread_ends_with_the_others() -> None:
    here, apart = free_ports(2)
    async with serving(listener(here), listener(apart, has_own_thread=True)) as (task, stop):
        stop.set()
        await task
        for port in (here, apart):
            with pytest.raises(ConnectionRefusedError):
                await ask(port)
