"""A Unix listener in this process. Another user is played by a set of users that we are not in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from trade_core.errors import ConfigurationError
from trade_core.peer_protocol import PEER_UID_KEY, peer_protocol
from trade_core.serving import UnixListener, bind, serve


async def who(scope: Any, receive: Any, send: Any) -> None:
    body = str(scope[PEER_UID_KEY]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(path: Path, refusals: list[str], *, uids: frozenset[int], most: int = 4) -> AsyncIterator[None]:
    listener = UnixListener(
        app=who,
        path=path,
        mode=0o600,
        setting="socket",
        http=peer_protocol(refusals.append, allowed_uids=uids, max_connections=most),
        options={"ws": "none", "limit_concurrency": None},
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve([listener], stop=stop, on_ready=ready.set))
    async with asyncio.timeout(60):
        await ready.wait()
        yield
        stop.set()
        await task


async def ask(path: Path) -> bytes:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as client:
        return (await client.get("/")).content


async def test_named_user_is_answered_and_known_by_the_kernel(tmp_path: Path) -> None:
    refusals: list[str] = []
    async with served(tmp_path / "s", refusals, uids=frozenset({os.getuid()})):
        assert await ask(tmp_path / "s") == str(os.getuid()).encode()
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    assert refusals == []


async def test_stranger_is_cut_off_unheard_and_counted(tmp_path: Path) -> None:
    refusals: list[str] = []
    async with served(tmp_path / "s", refusals, uids=frozenset({os.getuid() + 1})):
        with pytest.raises(httpx.TransportError):
            await ask(tmp_path / "s")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.read() == b""
        writer.close()
    assert refusals == ["PEER_REFUSED", "PEER_REFUSED"]


async def test_strangers_crowd_nobody_out(tmp_path: Path) -> None:
    refusals: list[str] = []
    allowed = {os.getuid()}
    async with served(tmp_path / "s", refusals, uids=allowed, most=2):  # type: ignore[arg-type]
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n" + str(os.getuid()).encode())
        allowed.clear()
        for _ in range(5):
            with pytest.raises(httpx.TransportError):
                await ask(tmp_path / "s")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


def test_file_that_is_no_socket_is_refused_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    listener = UnixListener(app=who, path=tmp_path / "s", mode=0o600, setting="socket", http=None)
    with pytest.raises(ConfigurationError, match=r"no socket.*setting socket"):
        bind(listener)
    assert (tmp_path / "s").read_text() == "mine"
