"""The shim as a process beside a real journal writer: refusals, an end in order, and death at any moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from journal.bot_database import CANARY, BotDatabase
from journal.writer.test_writer_process import deployed, running

from trade_journal.cli import main
from trade_journal.log.rows import Row
from trade_journal.store.store import JournalReader

SEED = 25
TRADES = 40
PATIENCE_S = 120


def shim_settings(folder: Path, **changed: str) -> Path:
    content = {
        "environment": "simulated",
        "account": "1002",
        "state_dir": "shim",
        "journal_socket": "shim.sock",
        "bot_database": "trades.sqlite",
        **changed,
    }
    path = folder / "shim.toml"
    path.write_text("poll_every_s = 1\n" + "".join(f"{name} = {json.dumps(text)}\n" for name, text in content.items()))
    return path


@contextmanager
def shim(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the process; it is killed at the end, if it lives."""
    command = [sys.executable, "-m", "trade_journal.cli", "shim", "--config", str(config)]
    with (
        (config.parent / "shim.log").open("a") as log,
        subprocess.Popen(command, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def rows_of(folder: Path) -> list[Row]:
    reader = JournalReader(f"sqlite:///{folder}/journal.db")
    try:
        return [row for row in reader.read(0, 1000) if row.actor == "shim"]
    finally:
        reader.close()


def wait_for(folder: Path, count: int) -> list[tuple[str, object]]:
    """Wait for so many rows of the shim, and give kind and trade of each."""
    deadline = time.monotonic() + PATIENCE_S
    while len(rows := rows_of(folder)) < count:
        assert time.monotonic() < deadline, (folder / "shim.log").read_text()
        time.sleep(0.05)
    return [(row.kind.value, row.fields["trade_id"]) for row in rows]


def wait_for_journal(folder: Path) -> None:
    """Wait until the writer has made its journal."""
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "shim.sock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("changed", "said"), [({"account": "x"}, "account: "), ({"bot": "x"}, "bot: is not a known setting")]
)
def test_settings_that_are_absurd_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], said: str
) -> None:
    assert main(["shim", "--config", str(shim_settings(tmp_path, **changed))]) == 2
    assert said in capsys.readouterr().err


def test_state_folder_that_cannot_be_made_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["shim", "--config", str(shim_settings(tmp_path, state_dir="file/x"))]) == 2
    assert "setting state_dir" in capsys.readouterr().err


@pytest.mark.slow
def test_shim_killed_at_any_moment_leaves_each_row_once(tmp_path: Path) -> None:
    random = Random(SEED)
    bot = BotDatabase(tmp_path / "trades.sqlite")
    config = shim_settings(tmp_path)
    with running(deployed(tmp_path)):
        for number in range(1, TRADES + 1):
            bot.trade(number, enter_tag=f"tag {number}")
            if number % 2:
                bot.close_trade(number)
            if number % 5 == 0:
                with shim(config) as process, pytest.raises(subprocess.TimeoutExpired):
                    process.wait(timeout=0.5 + 1.3 * random.random())  # before, while and after it writes
        with shim(config) as process:
            bot.trade(TRADES + 1)  # so that this one has a row to write, and is up when it is told to end
            found = wait_for(tmp_path, TRADES * 3 // 2 + 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S) == 0
    assert set(Counter(found).values()) == {1}
    assert len(found) == TRADES * 3 // 2 + 1


@pytest.mark.slow
def test_shim_and_writer_killed_in_turn_leave_each_row_once_and_no_secret(tmp_path: Path) -> None:
    bot = BotDatabase(tmp_path / "trades.sqlite")
    config, writer = shim_settings(tmp_path), deployed(tmp_path)
    with shim(config):
        for number in range(1, 5):
            bot.trade(number)
            bot.close_trade(number)
            with running(writer):
                wait_for_journal(tmp_path)
                wait_for(tmp_path, number * 2)
    with running(writer), shim(config):
        found = wait_for(tmp_path, 8)
    assert set(Counter(found).values()) == {1}
    texts = [repr(rows_of(tmp_path)), (tmp_path / "shim.log").read_text()]
    assert not any(CANARY in text for text in texts)
