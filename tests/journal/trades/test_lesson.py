"""`trade-journal lesson` through the shim's socket of a real writer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from journal.writing import Writing, writing

from trade_core.clock import NS_PER_S, SystemClock
from trade_journal.cli import main
from trade_journal.log.rows import Entry, RowKind
from trade_journal.store.store import JournalReader
from trade_journal.writer.peers import Peer

WEEK_NS = 7 * 24 * 3600 * NS_PER_S


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Writing]:
    """A writer whose journal has trade 1, closed long ago, trade 2, closed now, and trade 3, open."""
    now_ns = SystemClock().wall_ns()
    (tmp_path / "shim.toml").write_text(
        'environment = "simulated"\naccount = "1002"\nstate_dir = "shim"\njournal_socket = "shim.sock"\n'
        'bot_database = "trades.sqlite"\n'
    )
    async with writing(tmp_path) as started:
        shim = await started.client(Peer.SHIM)
        for trade_id, closed_at_ns in (("1", now_ns - WEEK_NS - NS_PER_S), ("2", now_ns), ("3", None)):
            fields = {"trade_id": trade_id, "pair": "BTC/USDT"}
            await shim.append(Entry(at_ns=1, kind=RowKind.SWING_TRADE_OPENED, actor="shim", fields=fields))
            if closed_at_ns is not None:
                closed = {**fields, "closed_at_ns": closed_at_ns}
                await shim.append(Entry(at_ns=1, kind=RowKind.SWING_TRADE_CLOSED, actor="shim", fields=closed))
        await shim.close()
        yield started


async def lesson(there: Writing, *arguments: str) -> int:
    """Run the command in a thread: it has an event loop of its own."""
    command = ["lesson", "--config", str(there.folder / "shim.toml"), *arguments]
    return await asyncio.to_thread(main, command)


def lessons(there: Writing) -> list[tuple[object, object]]:
    reader = JournalReader(there.url)
    try:
        rows = reader.read(0, 100)
    finally:
        reader.close()
    return [(row.fields["trade_id"], row.fields["lesson"]) for row in rows if row.kind is RowKind.SWING_TRADE_LESSON]


async def test_lesson_is_a_row_and_several_are_allowed(there: Writing, capsys: pytest.CaptureFixture[str]) -> None:
    assert await lesson(there, "1", "wait for the pullback") == 0
    assert capsys.readouterr().out == "row 5: the lesson of trade 1\n"
    assert await lesson(there, "1", "  never on Fridays\x1b[31m  ") == 0
    assert lessons(there) == [("1", "wait for the pullback"), ("1", "never on Fridays\\x1b[31m")]


async def test_lesson_of_an_open_trade_is_taken(there: Writing) -> None:
    assert await lesson(there, "3", "too early") == 0


@pytest.mark.parametrize("trade", ["9", "", "01", "1 "])
async def test_lesson_of_an_unknown_trade_is_refused_by_name(
    there: Writing, capsys: pytest.CaptureFixture[str], trade: str
) -> None:
    assert await lesson(there, trade, "x") == 2
    assert f"no trade {trade!r} in the journal; the last of its 3 are 1, 2, 3" in capsys.readouterr().err
    assert lessons(there) == []


@pytest.mark.parametrize(
    ("text", "refusal"),
    [("", "is empty"), (" \n ", "is empty"), ("x" * 401, "401 characters; at most 400"), ("\x01" * 400, "printed")],
)
async def test_lesson_that_is_no_line_is_refused(
    there: Writing, capsys: pytest.CaptureFixture[str], text: str, refusal: str
) -> None:
    assert await lesson(there, "1", text) == 2
    assert refusal in capsys.readouterr().err
    assert lessons(there) == []


async def test_lesson_of_the_longest_kind_fits(there: Writing) -> None:
    assert await lesson(there, "1", "x" * 400) == 0


async def test_missing_lessons_are_listed_with_an_exit_code_of_their_own(
    there: Writing, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await lesson(there, "--missing") == 4
    assert capsys.readouterr().out.startswith("1  BTC/USDT  closed 20")
    assert await lesson(there, "--missing", "--json") == 4
    assert json.loads(capsys.readouterr().out)["trade_id"] == "1"
    assert await lesson(there, "1", "wait") == 0
    capsys.readouterr()
    assert await lesson(there, "--missing") == 0
    assert "has a lesson" in capsys.readouterr().out
    assert await lesson(there, "--missing", "--json") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [[], ["1"], ["1", "x", "--missing"], ["1", "--missing"]])
async def test_lesson_with_half_of_what_it_needs_is_refused(there: Writing, arguments: list[str]) -> None:
    assert await lesson(there, *arguments) == 2


async def test_lesson_before_any_trade_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shim.toml").write_text(
        'environment = "simulated"\naccount = "1002"\nstate_dir = "shim"\njournal_socket = "shim.sock"\n'
        'bot_database = "trades.sqlite"\n'
    )
    async with writing(tmp_path) as started:
        assert await lesson(started, "1", "x") == 2
    assert "it has none at all" in capsys.readouterr().err


async def test_lesson_without_a_writer_or_settings_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trade_journal.trades.lesson._CONNECT_WITHIN_S", 0.1)
    async with writing(tmp_path):
        pass
    gone = Writing(tmp_path)
    assert await lesson(gone, "1", "x") == 3
    assert "shim.toml: cannot be read" in capsys.readouterr().err
    (tmp_path / "shim.toml").write_text(
        'environment = "simulated"\naccount = "1002"\nstate_dir = "shim"\njournal_socket = "shim.sock"\n'
        'bot_database = "trades.sqlite"\n'
    )
    assert await lesson(gone, "1", "x") == 3
    assert "no journal writer" in capsys.readouterr().err
