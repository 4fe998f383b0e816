"""A script in systemctl's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.bot_hosts import systemd_host
from trade_core.bot_hosts.port import BotHostFailed, BotSight
from trade_core.bot_hosts.systemd_host import SystemdHost


def systemctl(folder: Path, script: str) -> tuple[str, ...]:
    file = folder / "systemctl"
    file.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{script}\n')
    file.chmod(0o755)
    return (str(file),)


def shows(active: str, loaded: str = "loaded") -> str:
    return f'[ "$2" = show ] && printf "LoadState={loaded}\\nActiveState={active}\\n"; exit 0'


async def test_unit_is_stopped_and_looked_at(tmp_path: Path) -> None:
    await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, shows("inactive"))).scale_to_zero()
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--no-ask-password stop -- freqtrade.service",
        "--no-ask-password show --property=LoadState,ActiveState -- freqtrade.service",
    ]


async def test_look_tells_the_state(tmp_path: Path) -> None:
    host = SystemdHost("x.service", systemctl=systemctl(tmp_path, shows("failed")))
    assert await host.look() == BotSight(is_gone=True, evidence={"unit": "x.service", "state": "failed"})


@pytest.mark.parametrize("state", ["active", "deactivating", "activating", "reloading", ""])
async def test_unit_that_is_not_gone_is_a_failure(tmp_path: Path, state: str) -> None:
    with pytest.raises(BotHostFailed, match="is not gone"):
        await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, shows(state))).scale_to_zero()


@pytest.mark.parametrize("loaded", ["not-found", "error", ""])
async def test_unit_that_systemd_does_not_know_is_not_taken_for_gone(tmp_path: Path, loaded: str) -> None:
    with pytest.raises(BotHostFailed, match="does not know it"):
        await SystemdHost("frqtrade.service", systemctl=systemctl(tmp_path, shows("inactive", loaded))).look()


async def test_look_that_fails_is_not_taken_for_gone(tmp_path: Path) -> None:
    with pytest.raises(BotHostFailed, match="exit code 1"):
        await SystemdHost("x.service", systemctl=systemctl(tmp_path, "exit 1")).look()


async def test_stop_that_is_not_permitted_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BotHostFailed, match="exit code 4"):
        await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, "exit 4")).scale_to_zero()


async def test_systemctl_that_hangs_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd_host, "SYSTEMCTL_WAIT_S", 0.2)
    with pytest.raises(BotHostFailed, match="took more than"):
        await SystemdHost("freqtrade.service", systemctl=systemctl(tmp_path, "exec sleep 60")).scale_to_zero()


async def test_systemctl_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BotHostFailed, match="cannot be run"):
        await SystemdHost("x.service", systemctl=(str(tmp_path / "none"),)).scale_to_zero()
