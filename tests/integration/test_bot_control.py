"""The watchdog's bot control against a real freqtrade, as the demo hands it over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from integration.stack import Stack, is_alive, wait_until

from trade_core.bot_hosts.process_host import ProcessHost
from trade_watchdog.actions.freqtrade_rest import FreqtradeRest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def state_of(access: dict[str, str]) -> str:
    answer = httpx.get(
        access["url"] + "/api/v1/show_config",
        auth=(access["username"], access["password"]),
        timeout=60,
        trust_env=False,
    )
    return str(answer.json()["state"])


def test_real_freqtrade_is_paused_stopped_never_started_again_and_ended(tmp_path: Path) -> None:
    stack = Stack(tmp_path, "--bot", "freqtrade")
    try:
        access = stack.description["freqtrade"]
        folder = Path(stack.description["processes"]["watchdog"]["env"]["HOME"])
        assert json.loads((folder / "freqtrade.json").read_text())["url"] == access["url"]
        control = FreqtradeRest(folder / "freqtrade.json")
        asyncio.run(control.pause())
        wait_until(lambda: state_of(access) == "paused", what="freqtrade is paused")
        asyncio.run(control.stop())
        wait_until(lambda: state_of(access) == "stopped", what="freqtrade is stopped")
        asyncio.run(control.pause())  # would start it again if it were sent
        assert state_of(access) == "stopped"
        host = ProcessHost(folder / "freqtrade.pid")
        assert asyncio.run(host.look()).is_gone is False
        asyncio.run(host.scale_to_zero())
        pid = access["pid"]
        wait_until(lambda: not is_alive(int(pid)), what="freqtrade is gone")
        assert asyncio.run(host.look()).is_gone is True
    finally:
        stack.stop()
