"""The executor's journal over its socket, against a small server on a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from trade_journal.log.rows import leaf_hash
from trade_journal.log.verify import StoredRow
from trade_watchdog import executor_journal
from trade_watchdog.executor_journal import ExecutorJournal, ExecutorUnavailable


class Double:
    """Answers everything with the same body."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        self.status, self.body = "200 OK", b""
        self.is_hanging = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split("\r\n")[0])
        if self.is_hanging:
            await reader.read()
        writer.write(f"HTTP/1.1 {self.status}\r\ncontent-length: {len(self.body)}\r\n\r\n".encode() + self.body)
        writer.close()


@pytest_asyncio.fixture
async def double(tmp_path: Path) -> AsyncIterator[Double]:
    made = Double(tmp_path / "s")
    server = await asyncio.start_unix_server(made.serve, made.path)
    yield made
    server.close()


async def test_checkpoint_is_given_as_it_is(double: Double) -> None:
    double.body = b"origin\n3\n"
    assert await ExecutorJournal(double.path).checkpoint() == b"origin\n3\n"
    assert double.asked == ["GET /journal/checkpoint HTTP/1.1"]


async def test_rows_are_whole_lines_with_their_numbers(double: Double) -> None:
    double.body = b"a\nb\n"
    assert await ExecutorJournal(double.path).rows(7, 2) == [
        StoredRow(seq=7, body=b"a", leaf_hash=leaf_hash(b"a")),
        StoredRow(seq=8, body=b"b", leaf_hash=leaf_hash(b"b")),
    ]
    assert double.asked == ["GET /journal/entries?from=7&limit=2 HTTP/1.1"]
    double.body = b""
    assert await ExecutorJournal(double.path).rows(7, 2) == []


@pytest.mark.parametrize("body", [b"a", b"a\nb", b"a\nb\nc\n"])
async def test_rows_that_are_no_whole_lines_or_too_many_are_refused(double: Double, body: bytes) -> None:
    double.body = body
    with pytest.raises(ExecutorUnavailable, match="not at most 2 whole lines after row 7"):
        await ExecutorJournal(double.path).rows(7, 2)


async def test_answer_that_is_too_long_or_no_success_is_refused(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_journal, "CHECKPOINT_BYTES_MAX", 3)
    double.body = b"1234"
    with pytest.raises(ExecutorUnavailable, match="longer than 3 bytes"):
        await ExecutorJournal(double.path).checkpoint()
    double.status, double.body = "503 No", b"no"
    with pytest.raises(ExecutorUnavailable, match="HTTP 503"):
        await ExecutorJournal(double.path).checkpoint()


async def test_executor_that_hangs_or_is_gone_is_unavailable(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_journal, "REQUEST_TIMEOUT_S", 0.05)
    double.is_hanging = True
    with pytest.raises(ExecutorUnavailable, match="does not answer"):
        await ExecutorJournal(double.path).checkpoint()
    with pytest.raises(ExecutorUnavailable, match="does not answer"):
        await ExecutorJournal(tmp_path / "gone").checkpoint()
