"""Real processes in the bot's place."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trade_core.bot_hosts import process_host
from trade_core.bot_hosts.port import BotHostFailed, BotSight
from trade_core.bot_hosts.process_host import ProcessHost

OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@asynccontextmanager
async def bot(folder: Path, script: str, word: str = "freqtrade") -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, word, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    (folder / "bot.pid").write_text(f"{process.pid}\n")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_process_is_ended_by_a_term(tmp_path: Path) -> None:
    host = ProcessHost(tmp_path / "bot.pid")
    async with bot(tmp_path, OBEDIENT) as process:
        assert (await host.look()).is_gone is False
        await host.scale_to_zero()
        assert await process.wait() == -signal.SIGTERM
        assert await host.look() == BotSight(is_gone=True, evidence={"process": str(process.pid), "state": "ended"})
        await host.scale_to_zero()


async def test_process_that_ignores_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_host, "TERM_WAIT_S", 0.1)
    async with bot(tmp_path, DEAF) as process:
        await ProcessHost(tmp_path / "bot.pid").scale_to_zero()
        assert await process.wait() == -signal.SIGKILL


async def test_process_that_is_not_the_bot_is_left_alone(tmp_path: Path) -> None:
    async with bot(tmp_path, OBEDIENT, word="something-else") as process:
        with pytest.raises(BotHostFailed, match="is not the bot"):
            await ProcessHost(tmp_path / "bot.pid", command_word="freqtrade").scale_to_zero()
        assert process.returncode is None


@pytest.mark.parametrize("content", ["", "x", "-1", "1", "0", "99999999999", "12 13"])
async def test_file_without_a_process_number_is_a_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "bot.pid").write_text(content)
    with pytest.raises(BotHostFailed, match="no process number"):
        await ProcessHost(tmp_path / "bot.pid").scale_to_zero()


async def test_missing_file_is_a_failure(tmp_path: Path) -> None:
    for ask in (ProcessHost(tmp_path / "bot.pid").scale_to_zero, ProcessHost(tmp_path / "bot.pid").look):
        with pytest.raises(BotHostFailed, match="cannot be read"):
            await ask()
