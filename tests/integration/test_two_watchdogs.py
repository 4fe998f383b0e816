"""Two real watchdogs with the same keys: one leads, the other stands by and takes over within the lease."""

from __future__ import annotations

import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.stack import STOPPED_WITHIN_S, Stack, wait_until
from ports import free_port

from trade_core.secrets import read_secret_file

pytestmark = pytest.mark.slow
LIFETIME_S = 20
"""Of a lease; what is waited for beyond it is a loaded machine's."""
SLACK_S = 15


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own."""
    made = Stack(tmp_path)
    made.wait_for_state("ACTIVE")
    yield made
    made.stop()


class Second:
    """A watchdog with a copy of the first one's folder."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        how = stack.description["processes"]["watchdog"]
        at = how["command"].index("--config") + 1
        config = Path(how["command"][at])
        settings: dict[str, Any] = tomllib.loads(config.read_text())
        for name, value in settings.items():
            if isinstance(value, str) and (config.parent / value).exists():
                settings[name] = str((config.parent / value).resolve())
        copied = folder / "second"
        shutil.copytree(settings["state_dir"], copied)
        settings |= {"state_dir": str(copied), "admin_port": free_port()}
        written = folder / "second.toml"
        written.write_text("".join(f"{name} = {toml(value)}\n" for name, value in settings.items()))
        self.log = (folder / "second.log").open("wb")
        command = [*how["command"][:at], str(written), *how["command"][at + 1 :]]
        self.process = subprocess.Popen(command, env=how["env"], stdout=self.log, stderr=self.log)
        token = read_secret_file(copied / "identity.json")["admin_token"]
        self.admin = httpx.Client(
            base_url=f"http://127.0.0.1:{settings['admin_port']}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
        )

    def lease(self) -> dict[str, Any]:
        """What it says of its lease; nothing before it listens."""
        try:
            said: dict[str, Any] = self.admin.get("/state").raise_for_status().json()["lease"]
        except httpx.HTTPError:
            return {}
        return said

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=STOPPED_WITHIN_S)
        self.admin.close()
        self.log.close()
        return code


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'


def held(stack: Stack) -> dict[str, Any]:
    lease: dict[str, Any] = stack.state()["lease"]
    return lease


def test_one_leads_and_the_other_takes_over_within_the_lease(stack: Stack, tmp_path: Path) -> None:
    first = held(stack)["holder"]
    second = Second(stack, tmp_path)
    try:
        wait_until(lambda: second.lease().get("result") == "standing_by", within_s=40, what="the second stands by")
        before, began = held(stack)["generation"], time.monotonic()
        while time.monotonic() - began < 12:
            assert held(stack)["holder"] == first
            assert stack.state_name() == "ACTIVE"
            time.sleep(0.25)
        # Every five seconds one, and none by the other: two that push would raise it many times.
        assert 1 <= held(stack)["generation"] - before <= 4

        stack.kill("watchdog")
        stack.reap("watchdog")
        killed = time.monotonic()
        wait_until(lambda: held(stack)["holder"] != first, within_s=LIFETIME_S + SLACK_S, what="the second leads")
        took_s = time.monotonic() - killed
        print(f"taken over {took_s:.1f} s after the leader died")
        stack.wait_for_state("ACTIVE", within_s=SLACK_S)
        leader = held(stack)["holder"]

        stack.restart("watchdog")
        time.sleep(12)
        assert held(stack)["holder"] == leader
        assert stack.state_name() == "ACTIVE"
    finally:
        assert second.stop() == 0
    wait_until(lambda: held(stack)["holder"] == first, within_s=LIFETIME_S + SLACK_S, what="the first leads again")
    stack.wait_for_state("ACTIVE", within_s=SLACK_S)
