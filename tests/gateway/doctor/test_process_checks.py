"""What the executor's status means to the doctor."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trade_gateway.doctor.process_checks import check_executor


@contextmanager
def executor(folder: Path, status: Any) -> Iterator[Path]:
    """Serve one status over a Unix socket."""
    loop, started, path = asyncio.new_event_loop(), threading.Event(), folder / "executor.sock"
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(status).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_unix_server(answer, str(path))
        started.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.mark.parametrize(
    ("status", "levels"),
    [
        ({"armed": {"is_armed": True}, "exit_key": "verified"}, ["good", "good"]),
        (
            {"armed": {"is_armed": False, "reason": "no warrant"}, "exit_key": "not verified: away"},
            ["warning", "warning"],
        ),
        ({"armed": "yes"}, ["warning", "warning"]),
        ({}, ["warning", "warning"]),
        ([], ["wrong"]),
    ],
)
def test_only_what_says_so_is_armed(tmp_path: Path, status: Any, levels: list[str]) -> None:
    with executor(tmp_path, status) as path:
        assert [one.level.value for one in check_executor(path)] == levels


def test_reason_is_shown(tmp_path: Path) -> None:
    with executor(tmp_path, {"armed": {"is_armed": False, "reason": "no warrant"}, "exit_key": "verified"}) as path:
        assert "no warrant" in check_executor(path)[0].found


def test_every_part_of_a_kill_that_is_not_ready_is_named(tmp_path: Path) -> None:
    parts = {"exit_key": "ready", "revoker_key": "not set up (setting revoker_file)", "bot": "ready", "gateway": 7}
    status = {"armed": {"is_armed": True}, "exit_key": "verified", "ready": {"is_ready": False, "parts": parts}}
    with executor(tmp_path, status) as path:
        found = check_executor(path)
    assert [(one.check, one.level.value, one.found) for one in found[2:]] == [
        ("kill: gateway", "warning", "7"),
        ("kill: revoker key", "warning", "not set up (setting revoker_file)"),
    ]


@pytest.mark.parametrize("ready", [None, "yes", {}, {"parts": None}, {"parts": ["x"]}])
def test_parts_in_another_form_name_nothing(tmp_path: Path, ready: Any) -> None:
    with executor(tmp_path, {"armed": {"is_armed": True}, "exit_key": "verified", "ready": ready}) as path:
        assert len(check_executor(path)) == 2
