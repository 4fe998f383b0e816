"""The watchdog against the real simulator: it reads the balance, and refuses keys with power."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from trust_parts import ring_of
from watchdog.conftest import POLICY_HASH

from trade_core.secrets import read_secret_file, write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_core.trust.tag import tag_key_id

pytestmark = pytest.mark.slow
Until = Callable[..., Awaitable[None]]


@contextlib.asynccontextmanager
async def process(log: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of our commands with its output in a log, and leave none behind."""
    with log.open("ab") as output:
        started = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=output, stderr=output)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


@dataclass(frozen=True)
class Scene:
    """A running simulator and an initialised watchdog whose key is not chosen yet."""

    folder: Path
    config: Path
    credentials: dict[str, Any]
    operator: dict[str, Any]

    def hold_key(self, name: str) -> None:
        key = self.credentials["keys"][name]
        secrets = {"exchange_key": key["key"], "exchange_secret": key["secret"]}
        write_secret_file(self.folder / "watchdog.secrets.json", secrets)
        master = self.credentials["keys"]["master_read"]
        secrets = {"exchange_key": master["key"], "exchange_secret": master["secret"]}
        write_secret_file(self.folder / "master.secrets.json", secrets)

    @property
    def log(self) -> Path:
        return self.folder / "watchdog.log"


def toml(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@contextlib.asynccontextmanager
async def scene(folder: Path, gateway: Any, ports: Callable[[], int]) -> AsyncIterator[Scene]:
    """Start the simulator, then initialise watchdog and ring as the demo would."""
    simulator = {
        "environment": "simulated",
        "port": ports(),
        "control_port": ports(),
        "control_token_file": "control.token",
        "credentials_file": "credentials.json",
    }
    (folder / "simulator.toml").write_text(toml(simulator))
    arguments = ("-m", "trade_simulator.cli", "--config", str(folder / "simulator.toml"))
    async with process(folder / "simulator.log", *arguments):
        async with asyncio.timeout(300):
            while not (folder / "credentials.json").exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        yield await initialised(folder, gateway, ports())


async def initialised(folder: Path, gateway: Any, admin_port: int) -> Scene:
    """Run `init` and write what the gateway's init would."""
    credentials: dict[str, Any] = read_secret_file(folder / "credentials.json")
    account = str(credentials["accounts"]["sub_uid"])
    watchdog = {
        "environment": "simulated",
        "exchange": "simulated",
        "exchange_url": credentials["url"],
        "exchange_ws_url": credentials["ws"],
        "account": account,
        "admin_port": admin_port,
        "state_dir": "watchdog",
        "secrets_file": "watchdog.secrets.json",
        "master_secrets_file": "master.secrets.json",
        "order_key": credentials["keys"]["order"]["key"],
        "exit_key": credentials["keys"]["exit"]["key"],
        "gateway_handover": "handover.json",
        "ring_file": "ring.json",
    }
    config = folder / "watchdog.toml"
    config.write_text(toml(watchdog))
    async with process(folder / "init.log", "-m", "trade_watchdog.cli", "init", "--config", str(config)) as init:
        assert await asyncio.wait_for(init.wait(), 120) == 0
    public = json.loads((folder / "watchdog" / "public.json").read_bytes())
    gateway.log_key = load_private_key(new_private_key())
    gateway.ring = ring_of(
        gateway.log_key,
        baseline=baseline_of(taken_at_ms=time.time_ns() // 1_000_000),
        witness_key=public["witness_key"],
        account=account,
        lease_key=public["lease_key"],
        tag_key_id=tag_key_id(b"t" * 32),
        policy_hash=POLICY_HASH,
    )
    (folder / "ring.json").write_bytes(ring_bytes(gateway.ring))
    handed = {"admin_url": gateway.url, "admin_token": "lease-token", "tag_key": (b"t" * 32).hex()}
    write_secret_file(folder / "handover.json", handed)
    operator = read_secret_file(folder / "watchdog" / "handover" / "operator.json")
    return Scene(folder=folder, config=config, credentials=credentials, operator=operator)


async def test_balance_of_the_simulator_is_read_and_vouched_for(
    tmp_path: Path, gateway: Any, until: Until, free_port: Callable[[], int]
) -> None:
    async with scene(tmp_path, gateway, free_port) as made:
        made.hold_key("watch")
        async with process(made.log, "-m", "trade_watchdog.cli", "--config", str(made.config)) as watchdog:
            await until(lambda: any(lease.ceiling == "ACTIVE" for lease in gateway.leases))
            headers = {"authorization": f"Bearer {made.operator['admin_token']}"}
            async with httpx.AsyncClient(
                base_url=made.operator["admin_url"], headers=headers, trust_env=False
            ) as admin:
                state = (await admin.get("/state")).json()
            # The sub-account starts with 4000 USDT in whatever coins; its price moves while we look.
            assert abs(Decimal(state["equity"]["equity_usdt"]) - 4000) < 400
            watchdog.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(watchdog.wait(), 120) == 0
        assert " ERROR " not in made.log.read_text()


@pytest.mark.parametrize("name", ["order", "master", "revoker", "client"])
async def test_key_with_power_or_of_another_account_is_refused(
    tmp_path: Path, gateway: Any, free_port: Callable[[], int], name: str
) -> None:
    async with scene(tmp_path, gateway, free_port) as made:
        made.hold_key(name)
        async with process(made.log, "-m", "trade_watchdog.cli", "--config", str(made.config)) as watchdog:
            assert await asyncio.wait_for(watchdog.wait(), 120) == 2
        assert "exchange key is refused" in made.log.read_text()
    assert gateway.requests == []
