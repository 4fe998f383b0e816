"""The executor's socket, against a small server on a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trade_core.clock import NS_PER_MS, ManualClock
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.statement import open_statement
from trade_watchdog.actions import executor_link
from trade_watchdog.actions.executor_link import EVIDENCE_PURPOSE, FLATTEN_PURPOSE, ExecutorLink
from trade_watchdog.effects import EffectFailed, KillCondition, KillRequest

CLOCK = ManualClock()
REQUEST = KillRequest(
    request_id="high_water@7",
    condition=KillCondition.DRAWDOWN,
    reason="x" * 300 + "\x1b",
    at_ns=1,
    evidence={f"n{number}{'n' * 70}": "v" * 300 for number in range(40)},
)

KEY = load_private_key(new_private_key())


class Double:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"
        self.is_hanging = False


@asynccontextmanager
async def executor(path: Path) -> AsyncIterator[Double]:
    double = Double()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length"))
        double.asked.append((head.split(" ")[1], json.loads(await reader.readexactly(int(length)))))
        if double.is_hanging:
            await reader.read()
        writer.write(double.answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield double
    finally:
        server.close()


async def test_sweep_is_asked_for_with_its_reason(tmp_path: Path) -> None:
    async with executor(tmp_path / "s") as double:
        await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).sweep(
            "the gateway is silent\x07" + "x" * 300
        )
    ((path, content),) = double.asked
    assert path == "/sweep"
    assert content["reason"].startswith("the gateway is silent\\x07xxx")
    assert len(content["reason"]) == 200


async def test_release_is_handed_over_as_it_was_signed(tmp_path: Path) -> None:
    async with executor(tmp_path / "s") as double:
        await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).hand_release(b'{"warrant": "x"}')
    assert double.asked == [("/release", {"warrant": "x"})]


async def test_empty_reason_becomes_a_word(tmp_path: Path) -> None:
    async with executor(tmp_path / "s") as double:
        await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).sweep("")
    assert double.asked[0][1] == {"reason": "not said"}


async def test_kill_request_is_cut_to_what_the_executor_takes(tmp_path: Path) -> None:
    async with executor(tmp_path / "s") as double:
        await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).request_kill(REQUEST)
    ((path, signed),) = double.asked
    assert path == "/kill"
    content = open_statement(
        json.dumps(signed).encode(), what="evidence", purpose=EVIDENCE_PURPOSE, public_key=public_text(KEY)
    )
    assert (content["request_id"], content["condition"]) == ("high_water@7", "drawdown")
    # When it is sent, which is what the executor judges, and not when the matter was first seen.
    assert (content["account"], content["at_ms"]) == ("1002", CLOCK.wall_ns() // NS_PER_MS)
    assert len(content["reason"]) == 200
    assert len(content["evidence"]) == 32
    assert all(len(name) == 64 and len(value) == 200 for name, value in content["evidence"].items())


def answering(content: bytes) -> bytes:
    return b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (b'{"flatten": "flat"}', ""),
        (b'{"flatten": "held"}', ""),
        (b'{"flatten": "begun"}', "begun"),
        (b'{"flatten": "not_flat", "open": "linear XRPUSDT 100 long"}', "not_flat: linear XRPUSDT 100 long"),
    ],
)
async def test_closing_is_asked_for_signed_and_tells_how_it_stands(tmp_path: Path, answer: bytes, left: str) -> None:
    async with executor(tmp_path / "s") as double:
        double.answer = answering(answer)
        link = ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK)
        assert await link.flatten("monthly@7", "x" * 300) == left
    ((path, signed),) = double.asked
    assert path == "/flatten"
    content = open_statement(
        json.dumps(signed).encode(), what="request", purpose=FLATTEN_PURPOSE, public_key=public_text(KEY)
    )
    now_ms = CLOCK.wall_ns() // NS_PER_MS
    assert (content["request_id"], content["reason"]) == ("monthly@7", "x" * 200)
    assert (content["account"], content["at_ms"]) == ("1002", now_ms)


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"flat", b"[" * 20_000])
async def test_answer_that_does_not_say_how_the_closing_stands_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    async with executor(tmp_path / "s") as double:
        double.answer = answering(answer)
        with pytest.raises(EffectFailed, match="something else"):
            await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).flatten("monthly@7", "x")


async def test_long_path_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    async with executor(tmp_path / "s") as double:
        (folder / "executor.sock").symlink_to(tmp_path / "s")
        await ExecutorLink(folder / "executor.sock", key=KEY, account="1002", clock=CLOCK).sweep("x")
    assert len(double.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 422 No\r\ncontent-length: 3\r\n\r\nbad",
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_anything_but_accepted_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    async with executor(tmp_path / "s") as double:
        double.answer = answer
        with pytest.raises(EffectFailed, match="the kill executor"):
            await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).sweep("x")


async def test_nobody_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(EffectFailed, match="does not answer"):
        await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).sweep("x")


async def test_hanging_executor_is_a_failure_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_link, "REQUEST_TIMEOUT_S", 0.1)
    async with executor(tmp_path / "s") as double:
        double.is_hanging = True
        with pytest.raises(EffectFailed, match="does not answer"):
            await ExecutorLink(tmp_path / "s", key=KEY, account="1002", clock=CLOCK).sweep("x")
