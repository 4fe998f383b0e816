"""The bot's database: what is read of it, what is refused and named, and that nothing of it is touched."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journal.bot_database import CANARY, CLOSED_AT_NS, OPENED_AT_NS, BotDatabase

from trade_journal.trades import bot_database
from trade_journal.trades.bot_database import BotDatabaseUnreadable, Found, read_trades
from trade_journal.trades.bot_trades import BotTrade

ROOT = Path(__file__).resolve().parents[3]
FREQTRADE = ROOT / ".venv/freqtrade/bin/python"


@pytest.fixture
def bot(tmp_path: Path) -> BotDatabase:
    return BotDatabase(tmp_path / "tradesv3.sqlite")


def only(found: list[Found]) -> BotTrade:
    (one,) = found
    assert one.trade is not None, one.odd
    return one.trade


def refusal(path: Path) -> str:
    with pytest.raises(BotDatabaseUnreadable) as refused:
        read_trades(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_open_trade_is_read(bot: BotDatabase) -> None:
    bot.trade(1)
    trade = only(read_trades(bot.path))
    assert (trade.pair, trade.direction, trade.leverage, trade.strategy, trade.enter_tag) == (
        "BTC/USDT",
        "long",
        "1",
        "Sample",
        "dip",
    )
    assert (trade.entry_price, trade.entry_amount, trade.exit_amount, trade.amount) == ("100.5", "0.2", "0", "0.2")
    assert (trade.opened_at_ns, trade.entry_order_id, trade.result) == (OPENED_AT_NS, "order-of-1", None)


def test_closed_trade_is_read_with_its_result(bot: BotDatabase) -> None:
    bot.trade(1)
    bot.close_trade(1)
    trade = only(read_trades(bot.path))
    assert trade.result is not None
    assert (trade.result.exit_price, trade.result.exit_reason, trade.exit_amount) == ("101", "roi", "0.2")
    assert (trade.result.profit, trade.result.profit_ratio, trade.result.currency) == ("0.0583", "0.0029", "USDT")
    assert (trade.result.entry_fee, trade.result.exit_fee) == ("0.0201 USDT", "0.0202 USDT")
    assert trade.result.closed_at_ns == CLOSED_AT_NS


def test_short_trade_enters_by_selling(bot: BotDatabase) -> None:
    bot.trade(1, is_short=1)
    bot.order(1, "buy", 0.05)
    trade = only(read_trades(bot.path))
    assert (trade.direction, trade.entry_amount, trade.exit_amount) == ("short", "0.2", "0.05")


def test_stop_order_counts_as_an_exit_and_an_order_that_works_not_at_all(bot: BotDatabase) -> None:
    bot.trade(1)
    bot.order(1, "stoploss", 0.1)
    bot.order(1, "sell", 0.05, is_open=True)
    assert only(read_trades(bot.path)).exit_amount == "0.1"


def test_trade_without_a_fill_is_no_trade_yet(bot: BotDatabase) -> None:
    bot.trade(1, filled=None)
    assert read_trades(bot.path) == [Found(number=1)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"open_rate": "much"}, "open_rate is a str"),
        ({"open_rate": float("inf")}, "open_rate is inf"),
        ({"amount": None}, "amount is a NoneType"),
        ({"open_date": "never"}, "open_date is no time"),
        ({"enter_tag": 7}, "enter_tag is a int"),
    ],
)
def test_trade_that_makes_no_sense_is_named_and_the_rest_is_read(
    bot: BotDatabase, changed: dict[str, Any], said: str
) -> None:
    bot.trade(1, **changed)
    bot.trade(2)
    odd, good = read_trades(bot.path)
    assert odd.trade is None
    assert said in odd.odd
    assert good.trade is not None


def test_text_that_is_not_unicode_is_data(bot: BotDatabase) -> None:
    bot.trade(1)
    bot.run("UPDATE trades SET enter_tag = CAST(x'ff0a41' AS TEXT)")
    assert only(read_trades(bot.path)).enter_tag == "\ufffd\\nA"


def test_settled_trades_are_left_out_and_open_ones_never(bot: BotDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_database, "PAGE_TRADES", 2)
    for number in range(1, 8):
        bot.trade(number)
        if number not in {2, 7}:
            bot.close_trade(number)
    assert [one.number for one in read_trades(bot.path)] == [1, 2, 3, 4, 5, 6, 7]
    assert [one.number for one in read_trades(bot.path, settled=5)] == [2, 6, 7]


def test_orders_are_found_by_their_trade_and_never_by_looking_at_all_of_them(bot: BotDatabase) -> None:
    asked = {"after": 0, "settled": 0, "limit": 1}
    with closing(sqlite3.connect(bot.path)) as database:
        plan = [str(step[3]) for step in database.execute(f"EXPLAIN QUERY PLAN {bot_database._QUERY}", asked)]
    searched = [step for step in plan if step.startswith(("SEARCH o", "SCAN o"))]
    assert searched == ["SEARCH o USING INDEX ix_orders_ft_trade_id (ft_trade_id=?)"] * 3


def test_more_trades_than_the_bound_are_refused(bot: BotDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_database, "TRADES_MAX", 1)
    bot.trade(1)
    bot.trade(2)
    assert "more than 1 trades" in str(refusal(bot.path))


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("is_running", [True, False])
def test_reading_leaves_no_trace_and_no_lock(tmp_path: Path, mode: str, is_running: bool) -> None:
    bot = BotDatabase(tmp_path / "trades.sqlite", mode=mode)
    bot.trade(1)
    if not is_running:
        bot.end()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(read_trades(bot.path)) == 1
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    if is_running:
        bot.run("PRAGMA busy_timeout=0")
        bot.trade(2)
        assert len(read_trades(bot.path)) == 2


def test_missing_database_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.sqlite")


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    folder, fifo, empty, text, torn = (tmp_path / name for name in ("folder", "fifo", "empty", "text", "torn"))
    folder.mkdir()
    os.mkfifo(fifo)
    empty.touch()
    text.write_text("trades, but as text")
    torn.write_bytes(b"SQLite format 3\x00" + b"\x01" * 4000)
    assert "is no file" in refusal(folder)
    assert "is no file" in refusal(fifo)
    assert "is empty" in refusal(empty)
    assert "is no SQLite database" in refusal(text)
    assert "is no whole SQLite database" in refusal(torn)


def test_database_of_something_else_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE notes (id INTEGER)")
    other.close()
    assert "has no table trades" in refusal(tmp_path / "other.sqlite")


def test_database_of_another_version_is_named_with_its_columns(bot: BotDatabase) -> None:
    bot.run("ALTER TABLE trades RENAME COLUMN enter_tag TO buy_tag")
    bot.run("ALTER TABLE trades DROP COLUMN is_short")
    said = refusal(bot.path)
    assert "the table trades has no is_short, enter_tag" in said
    assert "older or newer freqtrade" in said


def test_locked_database_is_waited_for_shortly_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_database, "BUSY_WAIT_S", 0.01)
    bot = BotDatabase(tmp_path / "trades.sqlite", mode="delete")
    bot.run("BEGIN EXCLUSIVE")
    assert "is locked by the bot" in refusal(bot.path)
    bot.run("COMMIT")
    assert read_trades(bot.path) == []


def test_files_of_a_bot_that_died_half_way_are_left_to_it(bot: BotDatabase) -> None:
    bot.path.with_name(bot.path.name + "-shm").unlink()
    assert "waits for the bot to recover" in refusal(bot.path)


def test_bot_that_begins_to_write_meanwhile_throws_the_reading_away(
    bot: BotDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.trade(1)
    bot.end()
    real = bot_database._check_schema

    def written(path: Path, database: sqlite3.Connection) -> None:
        real(path, database)
        path.with_name(path.name + "-wal").touch()

    monkeypatch.setattr(bot_database, "_check_schema", written)
    assert "has begun to write it" in refusal(bot.path)


def test_nothing_but_the_named_columns_is_read(bot: BotDatabase) -> None:
    bot.trade(1)
    bot.close_trade(1)
    assert CANARY not in repr(read_trades(bot.path))


REAL = """
import json, sys
from datetime import UTC, datetime
from freqtrade.persistence import Order, Trade, init_db
from freqtrade.enums import TradingMode
init_db(sys.argv[1])

def order(trade, side, amount, price, number, is_open=False):
    return Order(ft_order_side=side, ft_pair=trade.pair, ft_is_open=is_open, ft_amount=amount, ft_price=price,
                 order_id=f"real-{number}", status="open" if is_open else "closed", symbol=trade.pair, side=side,
                 order_type="limit", price=price, average=price, amount=amount,
                 filled=0.0 if is_open else amount, remaining=0.0, cost=amount * price, order_date=datetime.now(UTC),
                 order_filled_date=datetime.now(UTC))

def trade(**more):
    made = Trade(pair="ETH/USDT:USDT", base_currency="ETH", stake_currency="USDT", exchange="bybit", is_open=True,
                 stake_amount=60.0, amount=0.0, open_rate=3000.0, fee_open=0.0002, fee_close=0.0002,
                 open_date=datetime.now(UTC), trading_mode=TradingMode.FUTURES, strategy="Real", leverage=1.0,
                 amount_precision=0.001, price_precision=0.01, precision_mode=4, precision_mode_price=4,
                 contract_size=1.0, **more)
    Trade.session.add(made)
    return made

waiting = trade(enter_tag="waiting"); waiting.orders.append(order(waiting, "buy", 0.02, 3000.0, 1, is_open=True))
part = trade(enter_tag="part")
part.orders += [order(part, "buy", 0.04, 3000.0, 2), order(part, "sell", 0.01, 3030.0, 3)]
part.recalc_trade_from_orders()
done = trade(enter_tag="done")
done.orders += [order(done, "buy", 0.02, 3000.0, 4), order(done, "sell", 0.02, 3010.0, 5)]
done.recalc_trade_from_orders(); done.exit_reason = "roi"; done.close(3010.0)
Trade.commit()
print(json.dumps({one.enter_tag: [one.id, one.close_profit_abs, one.close_profit, one.realized_profit, one.amount]
                  for one in Trade.session.query(Trade)}))
"""


@pytest.mark.slow
def test_database_that_real_freqtrade_made_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tradesv3.sqlite"
    made = subprocess.run(
        [FREQTRADE, "-c", REAL, f"sqlite:///{path}"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    told = json.loads(made.stdout)
    found = {one.number: one for one in read_trades(path)}
    assert found[told["waiting"][0]] == Found(number=told["waiting"][0])
    part, done = found[told["part"][0]].trade, found[told["done"][0]].trade
    assert part is not None
    assert (part.entry_amount, part.exit_amount, part.result) == ("0.04", "0.01", None)
    assert float(part.amount) == told["part"][4] == 0.03
    assert part.realized_profit is not None
    assert float(part.realized_profit) == told["part"][3] > 0
    assert done is not None
    assert done.result is not None
    assert (done.enter_tag, done.result.exit_reason, done.result.exit_price) == ("done", "roi", "3010")
    assert [float(done.result.profit or 0), float(done.result.profit_ratio or 0)] == told["done"][1:3]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from journal.bot_database import BotDatabase
bot = BotDatabase(Path(sys.argv[1]))
bot.trade(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_database_of_a_bot_that_was_killed_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trades.sqlite"
    assert subprocess.run([sys.executable, "-c", KILLED, path, ROOT / "tests"], check=False).returncode == -9
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert before.keys() == {"trades.sqlite", "trades.sqlite-wal", "trades.sqlite-shm"}
    assert only(read_trades(path)).enter_tag == "dip"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2].split(":")
from pathlib import Path
from trade_journal.trades.bot_database import read_trades
if os.getuid() == 0:
    os.setuid(65534)  # nobody
print(len(read_trades(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("is_running", [True, False])
def test_database_of_another_user_is_read_without_the_right_to_write(is_running: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        bot = BotDatabase(Path(folder) / "trades.sqlite")
        bot.trade(1)
        if not is_running:
            bot.end()
        command = [sys.executable, "-c", NOBODY, str(bot.path), f"{ROOT}/journal:{ROOT}/core"]
        read = subprocess.run(command, check=True, capture_output=True, text=True)
        assert read.stdout == "1\n"
