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
            timeout=30,
        )

    def lease(self) -> dict[str, Any]:
        """What it says of its lease; nothing before it listens."""
        return said_through(self.admin)

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=STOPPED_WITHIN_S)
        self.admin.close()
        self.log.close()
        return code


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'


def said_through(admin: httpx.Client) -> dict[str, Any]:
    try:
        said: dict[str, Any] = admin.get("/state").raise_for_status().json()["lease"]
    except httpx.HTTPError:
        return {}
    return said


def said_by_the_first(stack: Stack) -> dict[str, Any]:
    """What the stack's own watchdog says of its lease; nothing before it listens."""
    door = stack.description["watchdog"]
    headers = {"Authorization": f"Bearer {door['admin_token']}"}
    with httpx.Client(base_url=door["admin"], headers=headers, timeout=30) as admin:
        return said_through(admin)


def held(stack: Stack) -> dict[str, Any]:
    lease: dict[str, Any] = stack.state()["lease"]
    return lease


def leads(stack: Stack, holder: str) -> int:
    """Demand that nobody else holds the lease; answers its generation."""
    lease = held(stack)
    assert lease["holder"] == holder
    return int(lease["generation"])


def test_one_leads_and_the_other_takes_over_within_the_lease(stack: Stack, tmp_path: Path) -> None:
    first = held(stack)["holder"]
    second = Second(stack, tmp_path)
    try:
        wait_until(lambda: second.lease().get("result") == "standing_by", what="the second stands by")
        before = leads(stack, first)
        wait_until(lambda: leads(stack, first) >= before + 2, what="leases of the first go on")
        stack.wait_for_state("ACTIVE")

        stack.kill("watchdog")
        stack.reap("watchdog")
        killed = time.monotonic()
        wait_until(lambda: held(stack)["holder"] != first, what="the second leads")
        took_s = time.monotonic() - killed
        print(f"taken over {took_s:.1f} s after the leader died")
        stack.wait_for_state("ACTIVE")
        leader = held(stack)["holder"]

        stack.restart("watchdog")
        wait_until(lambda: said_by_the_first(stack).get("result") == "standing_by", what="the first stands by")
        before = leads(stack, leader)
        wait_until(lambda: leads(stack, leader) >= before + 2, what="leases of the second go on")
        stack.wait_for_state("ACTIVE")
    finally:
        assert second.stop() == 0
    wait_until(lambda: held(stack)["holder"] == first, what="the first leads again")
    stack.wait_for_state("ACTIVE")
