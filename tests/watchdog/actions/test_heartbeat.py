"""The sign of life, on a real socket."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from http_double import HANG, http_double, reply

from trade_core.errors import ConfigurationError
from trade_core.logs import configure_logging
from trade_core.secrets import Secret, write_secret_file
from trade_watchdog.actions import heartbeat as heartbeat_module
from trade_watchdog.actions.heartbeat import Heartbeat, load_heartbeat_url


async def test_sign_is_sent_only_while_the_watchdog_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "BEAT_EVERY_S", 0.01)
    heard: list[bool] = []
    well = [False]
    async with http_double(lambda _: reply(b"ok")) as double:
        beat = Heartbeat(Secret(f"{double.url}/canary"), is_well=lambda: well[0], on_beat=heard.append)
        task = asyncio.create_task(beat.run())
        await asyncio.sleep(0.1)
        assert double.asked == []
        well[0] = True
        async with asyncio.timeout(60):
            while len(heard) < 3:  # noqa: ASYNC110 - the beats come by themselves
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await beat.close()
    assert set(heard) == {True}
    assert (double.asked[0].method, double.asked[0].path) == ("POST", "/canary")


async def test_sign_that_is_not_taken_is_told_and_the_address_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "BEAT_TIMEOUT_S", 0.1)
    configure_logging("test", level="DEBUG")
    heard: list[bool] = []
    for answer in (reply(b"", status=404), reply(b"", status=302, headers={"location": "/canary"}), None, HANG):
        async with http_double(lambda _, answer=answer: answer) as double:  # type: ignore[misc]
            beat = Heartbeat(Secret(f"{double.url}/canary"), is_well=lambda: True, on_beat=heard.append)
            await beat.beat()
            await beat.close()
    logging.getLogger().handlers[:] = []
    said = capsys.readouterr().err
    assert heard == [False] * 4
    assert "does not take our sign" in said
    assert "canary" not in said


def test_address_is_read_from_a_secret_file(tmp_path: Path) -> None:
    write_secret_file(tmp_path / "h.json", {"url": "https://example.test/canary"})
    assert load_heartbeat_url(tmp_path / "h.json").reveal() == "https://example.test/canary"


@pytest.mark.parametrize("url", ["http://example.test/canary", "ftp://x/canary", "canary", "https://[canary", ""])
def test_address_that_is_not_protected_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    write_secret_file(tmp_path / "h.json", {"url": url})
    with pytest.raises(ConfigurationError, match="url") as refusal:
        load_heartbeat_url(tmp_path / "h.json")
    assert "canary" not in str(refusal.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not there"):
        load_heartbeat_url(tmp_path / "none.json")
