"""Real processes in the bot's place, and a script in systemctl's."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trade_watchdog.actions import bot_hosts
from trade_watchdog.actions.bot_hosts import ProcessHost, SystemdHost
from trade_watchdog.effects import EffectFailed

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
        assert await host.is_gone() is False
        await host.scale_to_zero()
        assert await process.wait() == -signal.SIGTERM
        assert await host.is_gone() is True
        await host.scale_to_zero()


async def test_process_that_ignores_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_hosts, "TERM_WAIT_S", 0.1)
    async with bot(tmp_path, DEAF) as process:
        await ProcessHost(tmp_path / "bot.pid").scale_to_zero()
        assert await process.wait() == -signal.SIGKILL


async def test_process_that_is_not_the_bot_is_left_alone(tmp_path: Path) -> None:
    async with bot(tmp_path, OBEDIENT, word="something-else") as process:
        with pytest.raises(EffectFailed, match="is not the bot"):
            await ProcessHost(tmp_path / "bot.pid", command_word="freqtrade").scale_to_zero()
        assert process.returncode is None


@pytest.mark.parametrize("content", ["", "x", "-1", "1", "0", "99999999999", "12 13"])
async def test_file_without_a_process_number_is_a_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "bot.pid").write_text(content)
    with pytest.raises(EffectFailed, match="no process number"):
        await ProcessHost(tmp_path / "bot.pid").scale_to_zero()


async def test_missing_file_is_a_failure(tmp_path: Path) -> None:
    for ask in (ProcessHost(tmp_path / "bot.pid").scale_to_zero, ProcessHost(tmp_path / "bot.pid").is_gone):
        with pytest.raises(EffectFailed, match="cannot be read"):
            await ask()


def systemctl(folder: Path, script: str) -> tuple[str, ...]:
    file = folder / "systemctl"
    file.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{script}\n')
    file.chmod(0o755)
    return (str(file),)


async def test_unit_is_stopped_and_looked_at(tmp_path: Path) -> None:
    command = systemctl(tmp_path, '[ "$2" = is-active ] && { echo inactive; exit 3; }; exit 0')
    await SystemdHost("freqtrade.service", systemctl=command).scale_to_zero()
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--no-ask-password stop -- freqtrade.service",
        "--no-ask-password is-active -- freqtrade.service",
    ]


@pytest.mark.parametrize("state", ["active", "deactivating", "activating", ""])
async def test_unit_that_is_not_gone_is_a_failure(tmp_path: Path, state: str) -> None:
    command = systemctl(tmp_path, f'[ "$2" = is-active ] && echo {state}; exit 0')
    with pytest.raises(EffectFailed, match="is not gone"):
        await SystemdHost("freqtrade.service", systemctl=command).scale_to_zero()


async def test_stop_that_is_not_permitted_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(EffectFailed, match="exit code 4"):
        await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, "exit 4")).scale_to_zero()


async def test_systemctl_that_hangs_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_hosts, "SYSTEMCTL_WAIT_S", 0.2)
    with pytest.raises(EffectFailed, match="took more than"):
        await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, "exec sleep 60")).scale_to_zero()


async def test_systemctl_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(EffectFailed, match="cannot be run"):
        await SystemdHost("x.service", systemctl=(str(tmp_path / "none"),)).scale_to_zero()
