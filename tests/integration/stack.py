"""The stack as a user runs it, without a bot: real processes on free ports, described by trade-demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from trade_gateway.recorder import DENIAL_ROWS_PER_S

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".venv/demo/bin/trade-demo"
READY_WITHIN_S = 300
STOPPED_WITHIN_S = 60
PATIENCE_S = 120
"""How long a fact is waited for: nothing is proved by it but that it comes about.

How soon it does belongs to tests on a clock of their own, and to the benchmarks: a machine that is slow or busy with
other tests takes many times as long as a quiet one.
"""
ADMIN_TIMEOUT_S = 30
OTHER_ROWS = 60
POLL_MIN_S = 0.05
POLL_MAX_S = 0.25


def wait_until(fact: Callable[[], Any], *, within_s: float = PATIENCE_S, what: str) -> Any:
    """Poll a fact until it holds; fail with what was waited for.

    Often where a moment counts, at the beginning and near the end, and seldom between them: to ask 20 times a second
    costs two thirds as much computing as the idle stack that is asked.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < within_s:
        if value := fact():
            return value
        time.sleep(min(POLL_MAX_S, max(POLL_MIN_S, min(waited_s, within_s - waited_s) / 10)))
    raise AssertionError(f"not within {within_s} s: {what}")


def most_rows(flood_s: float) -> int:
    """How many rows a flood of denials of so many seconds may leave.

    20 a second stand for themselves and one counts the rest; leases, signatures and prices add some.
    """
    return round((DENIAL_ROWS_PER_S + 1) * (flood_s + 2)) + OTHER_ROWS


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Stack:
    """A running trade-demo and the doors to what it started; with the page for people only if a test looks at it."""

    def __init__(
        self, folder: Path, *arguments: str, ready_within_s: float = READY_WITHIN_S, has_console: bool = False
    ) -> None:
        self.folder = folder
        describe = folder / "stack.json"
        self._log = (folder / "demo.log").open("wb")
        left_out = () if has_console else ("--without", "console")
        self.process = subprocess.Popen(
            [DEMO, "--bot", "none", "--describe", describe, "--state-dir", folder / "state", *left_out, *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(
                lambda: describe.exists() or self.process.poll() is not None, within_s=ready_within_s, what="ready"
            )
            assert describe.exists(), (folder / "demo.log").read_text()
        except BaseException:
            self.stop()
            raise
        self.description: dict[str, Any] = json.loads(describe.read_text())
        self.gateway = self.description["gateway"]
        self.simulator = self.description["simulator"]
        self.admin = httpx.Client(
            base_url=self.gateway["admin"],
            headers={"Authorization": f"Bearer {self.gateway['admin_token']}"},
            timeout=ADMIN_TIMEOUT_S,
        )
        self.control = httpx.Client(
            base_url=self.simulator["control"],
            headers={"Authorization": f"Bearer {self.simulator['control_token']}"},
            timeout=ADMIN_TIMEOUT_S,
        )
        self._restarted: list[subprocess.Popen[bytes]] = []

    def state(self) -> dict[str, Any]:
        """The gateway's state."""
        return self.admin.get("/state").raise_for_status().json()

    def wait_for_state(self, name: str, *, within_s: float = PATIENCE_S) -> None:
        """Wait until the trading state has a name."""
        wait_until(lambda: self.state_name() == name, within_s=within_s, what=f"trading state {name}")

    def state_name(self) -> str:
        """The trading state's name, or `unreachable`."""
        try:
            return str(self.state()["trading_state"])
        except httpx.HTTPError:
            return "unreachable"

    def rows(self) -> list[dict[str, Any]]:
        """Every durable row of the gateway's journal."""
        rows: list[dict[str, Any]] = []
        while page := self.admin.get("/journal/rows", params={"from": len(rows), "limit": 500}).json()["rows"]:
            rows += page
        return rows

    def requests_at_exchange(self, path: str) -> list[dict[str, Any]]:
        """What the simulator received on a path."""
        answer = self.control.get("/requests", params={"since": 0}).raise_for_status().json()
        listed = answer["requests"] if isinstance(answer, dict) else answer
        return [item for item in listed if item["path"] == path]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one of the stack's processes."""
        os.kill(self.description["processes"][name]["pid"], number)

    def reap(self, name: str) -> None:
        """Wait until a killed process is gone: one started by this stack leaves a zombie until then."""
        pid = self.description["processes"][name]["pid"]
        for process in self._restarted:
            if process.pid == pid:
                process.wait(timeout=STOPPED_WITHIN_S)
        wait_until(lambda: not is_alive(pid), within_s=STOPPED_WITHIN_S, what=f"{name} is gone")

    def restart(self, name: str) -> subprocess.Popen[bytes]:
        """Start a dead process again, exactly as it was started."""
        how = self.description["processes"][name]
        log = (self.folder / f"{name}-restarted.log").open("ab")
        process = subprocess.Popen(how["command"], env=how["env"], stdout=log, stderr=log)
        log.close()
        self._restarted.append(process)
        self.description["processes"][name]["pid"] = process.pid
        return process

    def stop(self) -> int:
        """End everything as Ctrl-C does and return trade-demo's exit code."""
        restarted: list[subprocess.Popen[bytes]] = getattr(self, "_restarted", [])
        # The last row of a gateway wants its journal's writer.
        for process in sorted(restarted, key=lambda one: "journal-writer" in str(one.args)):
            process.terminate()
            process.wait(timeout=STOPPED_WITHIN_S)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(timeout=STOPPED_WITHIN_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()
        for name in ("admin", "control"):
            if hasattr(self, name):
                getattr(self, name).close()
        return code
