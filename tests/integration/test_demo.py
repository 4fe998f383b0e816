"""trade-demo with all its real processes: it trades, describes itself, survives deaths and leaves nothing behind."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import httpx
import pytest
from integration.bot import PASSING
from integration.stack import PATIENCE_S

from trade_demo.policy import demo_policy

pytestmark = pytest.mark.slow

DEMO = Path(sys.prefix).parent / "demo" / "bin" / "trade-demo"
READY_S = 300
END_S = PATIENCE_S
FILLS_S = 600
TURNOVER_BUDGET_USDT = 6000
"""One and a half times the equity that the demo begins with, as its policy has it."""


class Demo:
    """A running trade-demo whose JSON lines are read as they come."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.description_file = folder / "stack.json"
        command = [DEMO, "--json", "--state-dir", folder / "state", "--describe", self.description_file, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        self.lines: list[dict[str, Any]] = []
        self._incoming: Queue[dict[str, Any] | None] = Queue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._incoming.put(json.loads(line))
        self._incoming.put(None)

    def wait_for(self, kind: str, text: str, *, within_s: float) -> dict[str, Any]:
        """Return the first line, old or new, of a kind whose text holds this."""
        deadline = time.monotonic() + within_s
        checked = 0
        while True:
            for line in self.lines[checked:]:
                if line["kind"] == kind and text in line.get("text", ""):
                    return line
            checked = len(self.lines)
            try:
                line_or_end = self._incoming.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"no {kind} with {text!r} in {within_s} s: {self.lines[-15:]}") from None
            assert line_or_end is not None, f"ended before {kind} with {text!r}: {self.lines[-15:]}"
            self.lines.append(line_or_end)

    def ready(self) -> dict[str, Any]:
        self.wait_for("step", "everything is ready", within_s=READY_S)
        deadline = time.monotonic() + END_S
        while not self.description_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return json.loads(self.description_file.read_text())

    def end(self, number: signal.Signals) -> tuple[int, dict[str, Any]]:
        """End it by a signal and return exit code and the summary."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=END_S)
        return code, self.wait_for("summary", "", within_s=END_S)

    def close(self) -> None:
        """Make sure that it has ended, and that its output is closed."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()

    def pids(self) -> set[int]:
        """Return the ids of every process that the demo said it started."""
        started = [
            line["text"] for line in self.lines if line["kind"] == "process" and " started, process " in line["text"]
        ]
        return {int(text.rpartition(" ")[2]) for text in started}


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    running = Demo(folder, *arguments)
    try:
        yield running
    finally:
        running.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + END_S
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.timeout(READY_S + 2 * FILLS_S + END_S)
def test_demo_with_freqtrade_fills_an_entry_and_an_exit_and_ends_good(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.ready()
        running.wait_for("fill", "entry Buy", within_s=FILLS_S)
        running.wait_for("fill", "exit Sell", within_s=FILLS_S)
        code, summary = running.end(signal.SIGINT)
        assert summary["verdict"].endswith("each with its intent in the journal")
        assert (code, summary["exit_code"]) == (0, 0)
        assert all_gone(running.pids())
        assert len(running.pids()) == 8
    assert float(summary["first_ack_s"]) > 0
    assert summary["taker_fills"] == 0
    assert summary["error_lines"] == []
    assert set(summary["denials"]) <= PASSING
    assert 0 < float(summary["turnover_usdt"]) <= TURNOVER_BUDGET_USDT


def test_demo_without_bot_describes_a_stack_that_serves_and_ends_good(tmp_path: Path) -> None:
    with demo(tmp_path, "--bot", "none", "--equity", "1234.5") as running:
        description = running.ready()
        assert stat.S_IMODE(running.description_file.stat().st_mode) == 0o600
        gateway, simulator = description["gateway"], description["simulator"]
        assert description["environment"] == "simulated"
        assert description["freqtrade"] is None
        assert simulator["symbols"] == {key: ["BTCUSDT", "ETHUSDT", "XRPUSDT"] for key in ("spot", "linear")}
        assert Path(gateway["policy"]).is_file()
        assert Path(description["ring"]).is_file()
        for service in (gateway, description["watchdog"]):
            headers = {"Authorization": f"Bearer {service['admin_token']}"}
            assert (
                httpx.get(f"{service['admin']}/state", headers=headers, trust_env=False, timeout=30).status_code == 200
            )
        headers = {"Authorization": f"Bearer {simulator['control_token']}"}
        state = httpx.get(f"{simulator['control']}/state", headers=headers, trust_env=False, timeout=30).json()
        assert any(wallet["totalEquity"].startswith("1234.5") for wallet in state["wallets"].values())
        assert httpx.get(f"{gateway['url']}/v5/market/time", trust_env=False, timeout=30).json()["retCode"] == 0
        for name in ("gateway", "watchdog", "simulator"):
            process = description["processes"][name]
            assert process["pid"] == description[name]["pid"]
            assert is_alive(process["pid"])
            assert Path(process["command"][0]).name == f"trade-{name}"
        killswitch, executor = description["killswitch"], description["processes"]["executor"]
        assert killswitch["executor_pid"] == executor["pid"]
        assert Path(executor["command"][0]).name == "trade-kill-executor"
        transport = httpx.HTTPTransport(uds=killswitch["socket"])
        with httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=30) as client:
            assert client.get("/status").json()["exit_key"] == "verified"
        health = httpx.get(f"{killswitch['console']}/healthz", trust_env=False, timeout=30).json()
        assert health == {"status": "alive", "executor": "alive"}
        assert killswitch["console_pid"] == description["processes"]["console"]["pid"]
        assert description["journals"]["executor"].startswith("sqlite:////")
        code, summary = running.end(signal.SIGTERM)
        assert (code, summary["error_lines"]) == (0, [])
        assert all_gone(running.pids())


def test_demo_minutes_over_ends_by_itself(tmp_path: Path) -> None:
    with demo(tmp_path, "--bot", "none", "--minutes", "0.05") as running:
        running.ready()
        assert running.process.wait(timeout=END_S) == 0


def test_demo_gateway_killed_is_shown_and_the_rest_goes_on(tmp_path: Path) -> None:
    with demo(tmp_path, "--bot", "none") as running:
        description = running.ready()
        os.kill(description["gateway"]["pid"], signal.SIGKILL)
        running.wait_for("process", "gateway died", within_s=END_S)
        assert running.process.poll() is None
        assert is_alive(description["simulator"]["pid"])
        code, summary = running.end(signal.SIGINT)
        assert (code, summary["verdict"]) == (1, "ended without being asked to: gateway")
        assert all_gone(running.pids())


def test_demo_killed_takes_every_process_along(tmp_path: Path) -> None:
    with demo(tmp_path, "--bot", "none") as running:
        running.ready()
        pids = running.pids()
        assert len(pids) == 6
        running.process.kill()
        assert all_gone(pids)


def test_demo_interrupted_while_starting_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.wait_for("process", "simulator started", within_s=READY_S)
        code, summary = running.end(signal.SIGINT)
        assert (code, summary["verdict"]) == (1, "ended before everything was ready")
        assert all_gone(running.pids())


def test_demo_policy_that_the_gateway_refuses_ends_with_its_message(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(demo_policy().replace('max_order_notional_usdt = "250"', 'max_order_notional_usdt = "inf"'))
    with demo(tmp_path, "--policy", str(policy)) as running:
        summary = running.wait_for("summary", "", within_s=READY_S)
        assert running.process.wait(timeout=END_S) == 2
        assert "max_order_notional_usdt" in summary["verdict"]
        assert all_gone(running.pids())
