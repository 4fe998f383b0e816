"""Freqtrade's control: a small server that behaves as freqtrade was seen to."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from http_double import HANG, Asked, http_double, reply

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_watchdog.actions import freqtrade_rest
from trade_watchdog.actions.freqtrade_rest import FreqtradeRest
from trade_watchdog.effects import EffectFailed


class Bot:
    """Freqtrade: `/pause` starts a stopped bot, paused."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.posts: list[str] = []
        self.override: bytes | None = None
        self.is_deaf = False

    def answer(self, asked: Asked) -> bytes | None:
        if asked.headers["authorization"] != "Basic " + base64.b64encode(b"trade:secret-canary").decode():
            return reply(b"{}", status=401)
        if self.override is not None:
            return self.override
        if asked.method == "POST":
            self.posts.append(asked.path)
            if not self.is_deaf:
                self.state = {"/api/v1/pause": "paused", "/api/v1/stop": "stopped"}[asked.path]
        return reply(json.dumps({"state": self.state}).encode(), headers={"content-type": "application/json"})


@asynccontextmanager
async def freqtrade(folder: Path, state: str, **changed: Any) -> AsyncIterator[tuple[FreqtradeRest, Bot]]:
    bot = Bot(state)
    async with http_double(bot.answer) as double:
        file = folder / "freqtrade.json"
        write_secret_file(file, {"url": double.url, "username": "trade", "password": "secret-canary", **changed})
        yield FreqtradeRest(file), bot


async def test_running_bot_is_paused_once(tmp_path: Path) -> None:
    async with freqtrade(tmp_path, "running") as (control, bot):
        await control.pause()
        await control.pause()
    assert (bot.state, bot.posts) == ("paused", ["/api/v1/pause"])


async def test_stopped_bot_is_never_sent_a_pause_which_would_start_it(tmp_path: Path) -> None:
    async with freqtrade(tmp_path, "stopped") as (control, bot):
        await control.pause()
    assert (bot.state, bot.posts) == ("stopped", [])


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_bot_is_stopped_once_and_not_paused_after(tmp_path: Path, state: str) -> None:
    async with freqtrade(tmp_path, state) as (control, bot):
        await control.stop()
        await control.stop()
        await control.pause()
    assert (bot.state, bot.posts) == ("stopped", ["/api/v1/stop"])


async def test_pause_that_meets_a_stop_does_not_start_the_bot_again(tmp_path: Path) -> None:
    async with freqtrade(tmp_path, "running") as (control, bot):
        await asyncio.gather(control.stop(), control.pause())
    assert (bot.state, bot.posts) == ("stopped", ["/api/v1/stop"])


async def test_bot_that_takes_and_does_not_do_is_a_failure(tmp_path: Path) -> None:
    async with freqtrade(tmp_path, "running") as (control, bot):
        bot.is_deaf = True
        with pytest.raises(EffectFailed, match="still runs"):
            await control.pause()
        with pytest.raises(EffectFailed, match="is not stopped"):
            await control.stop()


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"{}", status=500),
        reply(b"{}", status=302, headers={"location": "http://127.0.0.1:1/"}),
        reply(b"not json"),
        reply(b"[]"),
        reply(b'{"state": "dreaming"}'),
        reply(b"x" * 300_000),
        b"nonsense\r\n\r\n",
    ],
    ids=["500", "redirect", "no json", "list", "unknown state", "long", "nonsense"],
)
async def test_bot_that_cannot_be_understood_is_a_failure_without_credentials(tmp_path: Path, answer: bytes) -> None:
    async with freqtrade(tmp_path, "running") as (control, bot):
        bot.override = answer
        with pytest.raises(EffectFailed) as failure:
            await control.pause()
    assert "canary" not in str(failure.value)


async def test_wrong_password_is_a_failure(tmp_path: Path) -> None:
    async with freqtrade(tmp_path, "running", password="wrong") as (control, _):
        with pytest.raises(EffectFailed, match="401"):
            await control.stop()


async def test_hanging_bot_is_a_failure_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freqtrade_rest, "REQUEST_TIMEOUT_S", 0.1)
    async with freqtrade(tmp_path, "running") as (control, bot):
        bot.override = HANG
        with pytest.raises(EffectFailed, match="does not answer"):
            await control.pause()


async def test_file_that_is_not_there_yet_is_a_failure_of_the_effect(tmp_path: Path) -> None:
    control = FreqtradeRest(tmp_path / "later.json")
    with pytest.raises(EffectFailed, match="not there"):
        await control.pause()


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:8080", "ftp://127.0.0.1", "https://u:canary@h", "https://[x", "https://h/?canary", "x"]
)
async def test_file_that_is_wrong_is_refused_at_once(tmp_path: Path, url: str) -> None:
    write_secret_file(tmp_path / "f.json", {"url": url, "username": "u", "password": "canary"})
    with pytest.raises(ConfigurationError, match="url") as refusal:
        FreqtradeRest(tmp_path / "f.json")
    assert "canary" not in str(refusal.value)
