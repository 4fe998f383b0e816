"""The command: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from ports import free_port
from simulator.support import PATIENCE_S, command, running, write_settings
from websockets.sync.client import connect

pytestmark = pytest.mark.slow

HEADER = "timestamp,open,high,low,close,volume\n"
BARS = "".join(
    f"{1_700_000_000_000 + 60_000 * n},{50_000 + n},{50_010 + n},{49_990 + n},{50_005 + n},1\n" for n in range(50)
)


def run(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(config), capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_help_is_shown_and_exits_0() -> None:
    shown = subprocess.run(
        [command(Path())[0], "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert shown.returncode == 0
    assert "--config" in shown.stdout


def test_unknown_argument_exits_2() -> None:
    refused = subprocess.run(
        [command(Path())[0], "--x"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert refused.returncode == 2


def test_missing_settings_file_exits_2_and_names_it(tmp_path: Path) -> None:
    refused = run(tmp_path / "nowhere.toml")
    assert refused.returncode == 2
    assert "nowhere.toml" in refused.stderr


def test_wrong_setting_exits_2_and_names_it(tmp_path: Path) -> None:
    refused = run(write_settings(tmp_path, speed="0"))
    assert refused.returncode == 2
    assert "speed" in refused.stderr


@pytest.mark.parametrize("setting", ["port", "control_port"])
def test_taken_port_exits_2_and_names_port_and_setting(tmp_path: Path, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(write_settings(tmp_path, **{setting: port}))
    assert refused.returncode == 2
    assert str(port) in refused.stderr
    assert f"setting {setting}" in refused.stderr
    assert not (tmp_path / "credentials.json").exists()


def test_token_file_that_others_may_read_exits_2(tmp_path: Path) -> None:
    (tmp_path / "control.token").write_text("x" * 40)
    (tmp_path / "control.token").chmod(0o644)
    refused = run(write_settings(tmp_path))
    assert refused.returncode == 2
    assert "control.token" in refused.stderr


@pytest.mark.parametrize(
    "content", ["", "wrong,header\n", HEADER, HEADER + "x,1,2,3,4,5\n", HEADER + "1" * 200_000], ids=range(5)
)
def test_replay_file_that_is_wrong_exits_2_and_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "bars.csv").write_text(content)
    config = write_settings(tmp_path, market="replay")
    with config.open("a") as file:
        file.write('\nreplay = {BTCUSDT = "bars.csv"}\n')
    refused = run(config)
    assert refused.returncode == 2
    assert "bars.csv" in refused.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # spreadsheets write the second
def test_replay_starts_at_the_first_price_of_the_file(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + BARS, encoding=encoding)
    config = write_settings(tmp_path, market="replay")
    with config.open("a") as file:
        file.write('\nreplay = {BTCUSDT = "bars.csv"}\n')
    process = subprocess.Popen(command(config), stderr=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "credentials.json").exists)
        port = config.read_text().split("port = ")[1].split()[0]
        rows = httpx.get(f"http://127.0.0.1:{port}/v5/market/tickers?category=linear&symbol=BTCUSDT").json()
        assert float(rows["result"]["list"][0]["indexPrice"]) == pytest.approx(50_000, rel=0.01)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0


def wait_for(ask: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not ask():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_in_the_midst_of_connections(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as simulation:
        path = "/v5/market/time"
        simulation.control("POST", "faults", {"path": path, "mode": "drop", "count": 1})
        address = ("127.0.0.1", int(simulation.url.rsplit(":", 1)[1]))
        with connect(f"{simulation.ws}/v5/public/spot") as stream, socket.create_connection(address) as waiting:
            stream.send('{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}')
            stream.recv(timeout=PATIENCE_S)
            waiting.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: simulation.control("GET", "faults") == [])
            simulation.process.send_signal(number)
            assert simulation.process.wait(timeout=PATIENCE_S) == 0
    assert not (tmp_path / "credentials.json").exists()


def test_two_simulators_have_different_keys_and_ports(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with running(first) as one, running(second, port=free_port()) as other:
        assert one.url != other.url
        assert {key.key for key in one.keys.values()}.isdisjoint({key.key for key in other.keys.values()})


def test_credentials_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with running(tmp_path):
        for name in ("credentials.json", "control.token"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
