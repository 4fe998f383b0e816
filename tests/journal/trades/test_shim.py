"""The shim between a bot's database and a real journal writer: each row once, whatever dies in between."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from journal.bot_database import CANARY, CLOSED_AT_NS, BotDatabase
from journal.gate import Gate, until
from journal.writing import ORIGIN, Writing, writing

from trade_core.clock import ManualClock, SystemClock
from trade_core.errors import ConfigurationError
from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.log.rows import Entry, Row, RowKind
from trade_journal.store.store import JournalReader
from trade_journal.trades import shim as shim_module
from trade_journal.trades.shim import Shim, unlearned_text
from trade_journal.trades.shim_memory import MEMORY_FILE, ShimMemory
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.trades.trade_book import LESSON_WITHIN_NS, Unlearned
from trade_journal.writer.peers import Peer

OPENED, CHANGED, CLOSED = "swing_trade:opened", "swing_trade:changed", "swing_trade:closed"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(shim_module, "RETRY_EVERY_S", 0.02)
    caplog.set_level(logging.INFO)


@pytest.fixture
def bot(tmp_path: Path) -> BotDatabase:
    return BotDatabase(tmp_path / "tradesv3.sqlite")


def settings_of(folder: Path, **changed: Any) -> ShimSettings:
    content = {
        "environment": "simulated",
        "account": "1002",
        "state_dir": "shim",
        "journal_socket": "shim.sock",
        "bot_database": "tradesv3.sqlite",
        **changed,
    }
    settings = ShimSettings.model_validate(content, context={"folder": folder})
    return settings.model_copy(update={"poll_every_s": 0.02})


@asynccontextmanager
async def following(settings: ShimSettings, *, clock: Any = None) -> AsyncIterator[asyncio.Task[None]]:
    running = asyncio.create_task(Shim(settings, clock=clock or SystemClock()).run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait([running])


def rows_of(there: Writing) -> list[Row]:
    reader = JournalReader(there.url)
    try:
        return [row for row in reader.read(0, 1000) if row.actor == "shim"]
    finally:
        reader.close()


def kinds(there: Writing) -> list[tuple[str, object]]:
    return [(row.kind.value, row.fields["trade_id"]) for row in rows_of(there)]


async def written(there: Writing, *expected: tuple[str, str]) -> None:
    await until(lambda: kinds(there) == list(expected))


async def said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    await until(lambda: text in caplog.text)


async def test_shim_follows_a_trade_from_its_beginning_to_its_end(tmp_path: Path, bot: BotDatabase) -> None:
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        bot.trade(1, filled=None)
        bot.trade(2)
        await written(there, (OPENED, "2"))
        bot.order(2, "sell", 0.05)
        bot.set(2, amount=0.15, realized_profit=0.01)
        await written(there, (OPENED, "2"), (CHANGED, "2"))
        bot.close_trade(2, filled=0.15)
        await written(there, (OPENED, "2"), (CHANGED, "2"), (CLOSED, "2"))
    opened, changed, closed = rows_of(there)
    assert (opened.fields["enter_tag"], opened.fields["entry_price"]) == ("dip", "100.5")
    assert (changed.fields["exit_amount"], changed.fields["realized_profit"]) == ("0.05", "0.01")
    assert (closed.fields["profit"], closed.fields["exit_reason"], closed.fields["closed_at_ns"]) == (
        "0.0583",
        "roi",
        CLOSED_AT_NS,
    )


async def test_shim_started_again_writes_nothing_twice_with_or_without_its_memory(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    bot.trade(1)
    bot.close_trade(1)
    bot.trade(2)
    expected = [(OPENED, "1"), (CLOSED, "1"), (OPENED, "2")]
    async with writing(tmp_path) as there:
        for number, memory in enumerate((None, "kept", "{}", "", None)):
            file = tmp_path / "shim" / MEMORY_FILE
            if memory is None:
                file.unlink(missing_ok=True)
            elif memory != "kept":
                file.write_text(memory)
            async with following(settings_of(tmp_path)):
                await until(lambda n=number: caplog.text.count("following ") == n + 1)
                bot.trade(10 + number)
                expected.append((OPENED, str(10 + number)))
                await written(there, *expected)
    assert caplog.text.count("not usable") == 2


async def test_shim_survives_a_journal_that_fails_after_the_commit(
    tmp_path: Path, bot: BotDatabase, gate: Gate
) -> None:
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        bot.trade(1)
        await written(there, (OPENED, "1"))
        gate.fails_after = 1
        bot.close_trade(1)
        await written(there, (OPENED, "1"), (CLOSED, "1"))
        gate.fails_before = 1
        bot.trade(2)
        await written(there, (OPENED, "1"), (CLOSED, "1"), (OPENED, "2"))


async def test_shim_waits_for_a_writer_that_is_away_and_reads_before_it_writes(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_module, "CONNECT_WITHIN_S", 0.2)
    there = Writing(tmp_path)
    async with following(settings_of(tmp_path)):
        await said(caplog, "no journal writer there")
        await there.start()
        bot.trade(1)
        await written(there, (OPENED, "1"))
        await there.stop()
        bot.close_trade(1)
        bot.trade(2)
        await said(caplog, "trades wait")
        await there.start()
        await written(there, (OPENED, "1"), (CLOSED, "1"), (OPENED, "2"))
    await there.stop()


async def test_shim_goes_on_beside_lessons_of_another_process(tmp_path: Path, bot: BotDatabase) -> None:
    settings = settings_of(tmp_path)
    async with writing(tmp_path) as there, following(settings):
        bot.trade(1)
        await written(there, (OPENED, "1"))
        other = await there.client(Peer.SHIM)
        second = await there.client(Peer.SHIM)
        await second.append(_lesson_entry("one"))
        await there.server.close()  # both connections end, and each finds rows of the others
        await until(lambda: not (other.is_writable or second.is_writable))
        await there.server.start(there.doors())
        await until(lambda: other.is_writable and second.is_writable)
        await other.append(_lesson_entry("two"))
        bot.trade(2)
        await until(lambda: (OPENED, "2") in kinds(there))
        await other.close()
        await second.close()


def _lesson_entry(text: str) -> Entry:
    return Entry(at_ns=1, kind=RowKind.SWING_TRADE_LESSON, actor="shim", fields={"trade_id": "1", "lesson": text})


async def test_shim_names_what_is_wrong_once_and_goes_on_with_the_rest(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_module, "LOOK_THROUGH_EVERY_S", 0)
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        for number in (1, 2, 3, 4):
            bot.trade(number)
        for number in (1, 2):
            bot.close_trade(number)
        await until(lambda: len(kinds(there)) == 6)
        bot.set(1, close_profit_abs=99.0)
        bot.run("DELETE FROM trades WHERE id IN (2, 3)")
        bot.trade(5, open_rate="much")
        bot.trade(6)
        bot.run("UPDATE orders SET order_id = 'another' WHERE ft_trade_id = 4")
        await until(lambda: (OPENED, "6") in kinds(there))
        for text in (
            "trade 1 (BTC/USDT) has changed after it was closed",
            "trade 2 (BTC/USDT), closed in the journal, is not in the bot's database any more",
            "trade 3 (BTC/USDT), open in the journal, is not in the bot's database any more",
            "trade 4 is BTC/USDT long another in the bot's database and BTC/USDT long order-of-4 in the journal",
            "trade 5 of the bot makes no sense and is left out: open_rate is a str",
        ):
            await said(caplog, text)
            await asyncio.sleep(0.1)
            assert caplog.text.count(text) == 1
        assert len(kinds(there)) == 7


async def test_shim_database_that_is_not_there_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await said(caplog, "the bot's database cannot be followed")
        bot = BotDatabase(tmp_path / "tradesv3.sqlite")
        bot.trade(1)
        await written(there, (OPENED, "1"))
        await said(caplog, "following ")


async def test_shim_new_database_of_the_bot_is_told_and_followed_under_a_prefix(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    bot.trade(1)
    bot.close_trade(1)
    async with writing(tmp_path) as there:
        async with following(settings_of(tmp_path)):
            await written(there, (OPENED, "1"), (CLOSED, "1"))
            bot.end()
            bot.path.unlink()
            new = BotDatabase(bot.path)
            new.trade(1, pair="ETH/USDT")
            await said(caplog, "another database? Give its trades ids of their own with the setting trade_prefix")
        async with following(settings_of(tmp_path, trade_prefix="second")):
            await written(there, (OPENED, "1"), (CLOSED, "1"), (OPENED, "second-1"))
    assert "not in the bot's database any more" not in caplog.text


async def test_shim_restored_journal_is_read_from_its_first_row(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    bot.trade(1)
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await written(there, (OPENED, "1"))
    caplog.clear()
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await said(caplog, "following ")  # with what it knows written down
    _remove_journal(tmp_path)
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await written(there, (OPENED, "1"))
        await said(caplog, "the journal is not as it was known")


def _remove_journal(folder: Path) -> None:
    for file in folder.glob("journal.db*"):
        file.unlink()
    (folder / "emergency.segment").unlink()


async def test_shim_of_another_journal_is_refused(tmp_path: Path, bot: BotDatabase) -> None:
    async with writing(tmp_path), following(settings_of(tmp_path, account="7")) as running:
        with pytest.raises(JournalRefused, match="this is the journal of trade/simulated/1002/gateway"):
            await running


async def test_second_shim_of_a_folder_and_a_folder_that_cannot_be_are_refused(tmp_path: Path) -> None:
    async with writing(tmp_path), following(settings_of(tmp_path)):
        await until((tmp_path / "shim" / "shim.lock").exists)
        with pytest.raises(ConfigurationError, match="another shim runs"):
            await Shim(settings_of(tmp_path), clock=SystemClock()).run()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="setting state_dir"):
        await Shim(settings_of(tmp_path, state_dir="file/x"), clock=SystemClock()).run()


async def test_shim_names_trades_without_a_lesson_at_the_start_and_once_a_day(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.trade(1)
    bot.close_trade(1)
    async with writing(tmp_path) as there:
        async with following(settings_of(tmp_path)):
            await written(there, (OPENED, "1"), (CLOSED, "1"))
        clock = ManualClock(wall_ns=CLOSED_AT_NS + LESSON_WITHIN_NS + 1)
        async with following(settings_of(tmp_path), clock=clock):
            await said(caplog, "1 trades closed more than a week ago have no lesson: 1 (BTC/USDT, closed 2026-11-26)")
        caplog.clear()
        monkeypatch.setattr(shim_module, "REMIND_EVERY_S", 0)
        async with following(settings_of(tmp_path), clock=clock):
            await until(lambda: caplog.text.count("have no lesson") >= 2)
            writer = await there.client(Peer.SHIM)
            await writer.append(_lesson_entry("wait"))
            await writer.close()
            count = 0

            def is_quiet() -> bool:
                nonlocal count
                before, count = count, caplog.text.count("have no lesson")
                return before == count

            await asyncio.sleep(0.2)
            await until(is_quiet)


def test_reminder_names_twenty_and_counts_the_rest() -> None:
    many = [Unlearned(trade_id=str(number), pair="X/Y", closed_at_ns=0) for number in range(23)]
    text = unlearned_text(many)
    assert text.startswith("23 trades")
    assert text.endswith("19 (X/Y, closed 1970-01-01) and 3 more")


async def test_shim_row_that_the_writer_refuses_is_told_and_not_tried_again(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shim_module.Entry

    def broken(**fields: Any) -> Any:
        is_first = fields["fields"]["trade_id"] == "1"
        return real(**{**fields, "fields": {**fields["fields"], **({"strategy": "x" * 600} if is_first else {})}})

    monkeypatch.setattr(shim_module, "Entry", broken)
    bot.trade(1)
    bot.trade(2)
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await written(there, (OPENED, "2"))
        bot.trade(3)
        await written(there, (OPENED, "2"), (OPENED, "3"))
    assert caplog.text.count("which is a defect") == 1


async def test_nothing_secret_of_the_bot_or_the_host_is_in_a_row_a_log_or_the_memory(
    tmp_path: Path, bot: BotDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    bot.trade(1, enter_tag="tag \x1b[31m\u202e")
    bot.close_trade(1)
    async with writing(tmp_path) as there, following(settings_of(tmp_path)):
        await written(there, (OPENED, "1"), (CLOSED, "1"))
    rows = repr(rows_of(there))
    for secret in (CANARY, str(tmp_path), "tradesv3", "shim.sock"):
        assert secret not in rows
    for text in (caplog.text, (tmp_path / "shim" / MEMORY_FILE).read_text()):
        assert CANARY not in text
    assert "tag \\\\x1b[31m\\\\u202e" in rows


async def test_memory_of_another_journal_or_too_large_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / MEMORY_FILE
    kept = {"origin": ORIGIN, "next_seq": 5, "last_leaf_hash": "", "trades": {}}
    file.write_text(json.dumps(kept))
    for origin, change in (("another", {}), (ORIGIN, {"next_seq": 0})):
        file.write_text(json.dumps({**kept, **change}))
        memory = ShimMemory(file, origin=origin)
        memory.load()
        assert memory._next_seq == 0
    monkeypatch.setattr("trade_journal.trades.shim_memory._BYTES_MAX", 3)
    ShimMemory(file, origin=ORIGIN).load()
    assert "not usable (ValueError)" in caplog.text
    ShimMemory(tmp_path / "none" / "x", origin=ORIGIN).save()
    assert "cannot be kept" in caplog.text


async def test_damaged_row_ends_the_shim(tmp_path: Path, bot: BotDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_body: bytes) -> Row:
        raise JournalDamaged("row 0: not a row")

    bot.trade(1)
    async with writing(tmp_path) as there:
        async with following(settings_of(tmp_path)):
            await written(there, (OPENED, "1"))
        (tmp_path / "shim" / MEMORY_FILE).unlink(missing_ok=True)
        monkeypatch.setattr("trade_journal.trades.shim_memory.parse_row", damaged)
        async with following(settings_of(tmp_path)) as running:
            with pytest.raises(JournalDamaged):
                await running
