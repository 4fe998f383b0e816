"""The console in this process on a real port: its command line, its refusals, its start and end."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port
from trust_parts import ring_of

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_killswitch.console.cli import main
from trade_killswitch.console.service import run
from trade_killswitch.console.settings import ConsoleSettings


def written(folder: Path, **changed: Any) -> Path:
    values: dict[str, Any] = {
        "environment": "simulated",
        "account": "1002",
        "listen_port": free_port(),
        "state_dir": "state",
        "ring_file": "ring.json",
        "gateway_handover": "gateway.json",
        **changed,
    }
    file = folder / "console.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return file


async def test_console_serves_without_the_others_and_ends_when_told_to(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path), ConsoleSettings)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop=stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.listen_port}", trust_env=False) as client:
        async with asyncio.timeout(10):
            while True:
                try:
                    answer = await client.get("/healthz")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
        assert answer.json() == {"status": "alive", "executor": "unavailable"}
        assert (await client.get("/")).headers["location"] == f"http://localhost:{settings.listen_port}/"
    stop.set()
    await task


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"environment": "live"}, "simulated"),
        ({"listen_host": "0.0.0.0"}, "loopback"),
        ({"listen_port": 0}, "listen_port"),
        ({"exchange_key": "x"}, "exchange_key: is not a known setting"),
        ({"account": "x"}, "account"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], why: str
) -> None:
    assert main(["--config", str(written(tmp_path, **changed))]) == 2
    assert why in capsys.readouterr().err


async def test_ring_of_another_account_is_refused(tmp_path: Path) -> None:
    ring = ring_of(load_private_key(new_private_key()), account="7")
    (tmp_path / "ring.json").write_bytes(ring_bytes(ring))
    with pytest.raises(ConfigurationError, match="account is not that of the settings"):
        await run(load_settings(written(tmp_path), ConsoleSettings))


def test_code_is_printed_alone_with_its_use_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    assert main(["code", "--config", str(file)]) == 0
    said = capsys.readouterr()
    code = said.out.strip()
    assert len(code) == 11
    assert said.out == f"{code}\n"
    assert "good once" in said.err
    assert code not in said.err


def test_code_that_cannot_be_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    assert main(["code", "--config", str(written(tmp_path))]) == 1
    assert "no code can be kept there" in capsys.readouterr().err


def test_taken_port_is_named_with_its_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--config", str(written(tmp_path, listen_port=taken.getsockname()[1]))]) == 2
    assert "listen_port" in capsys.readouterr().err
