"""Closing on a halt by the executor as a process, against the real simulator: stops, faults, SIGKILL, and a release."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_double import Asked, http_double, reply
from killswitch.scene import Scene, scene, simulator, until
from killswitch.test_with_simulator import protected_position
from trust_parts import ring_of

from trade_core.clock import NS_PER_MS, SystemClock
from trade_core.secrets import write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_core.trust.statement import sign_statement
from trade_watchdog.actions.executor_link import FLATTEN_PURPOSE

pytestmark = pytest.mark.slow
LEASE_KEY = load_private_key(new_private_key())


@dataclass
class Halted:
    """A scene whose gateway says what it is told to say, and whose account is mostly BTC that was there before."""

    scene: Scene
    state: str = "HALTED"

    async def ask(self, request_id: str = "monthly@7") -> tuple[int, dict[str, Any]]:
        content = {
            "request_id": request_id,
            "reason": "the monthly rung has fired",
            "account": self.scene.account,
            "at_ms": SystemClock().wall_ns() // NS_PER_MS,
        }
        transport = httpx.AsyncHTTPTransport(uds=str(self.scene.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://executor", timeout=10) as client:
            answer = await client.post(
                "/flatten",
                content=sign_statement(content, LEASE_KEY, purpose=FLATTEN_PURPOSE),
                headers={"content-type": "application/json"},
            )
        return answer.status_code, answer.json()

    async def answers(self, state: str) -> bool:
        return (await self.ask())[1].get("flatten") == state

    async def refuses(self, why: str) -> bool:
        status, answer = await self.ask()
        return status == httpx.codes.CONFLICT and why in answer["detail"]

    async def price(self, fraction: str) -> None:
        price = f"{self.scene.prices['linear', 'BTCUSDT'] * Decimal(fraction):.2f}"
        asked = {"symbol": "BTCUSDT", "price": price}
        (await self.scene.control.post("/__sim/price", json=asked)).raise_for_status()

    async def position(self) -> Decimal:
        state = (await self.scene.control.get("/__sim/state")).json()
        mine = [one for one in state["positions"] if one["uid"] == self.scene.account and one["symbol"] == "XRPUSDT"]
        return sum((Decimal(one["size"]) for one in mine), Decimal(0))


@asynccontextmanager
async def halted(folder: Path) -> AsyncIterator[Halted]:
    """Run a simulator and prepare an executor that closes contracts on a halt and holds coins."""
    async with simulator(folder) as credentials:
        account = credentials["accounts"]["sub_uid"]
        (folder / "ring.json").write_bytes(ring_bytes(ring_of(LEASE_KEY, account=account)))
        async with scene(folder, credentials) as made:
            answer = await made.client.get_public("/v5/market/tickers", "category=linear&symbol=BTCUSDT")
            made.prices["linear", "BTCUSDT"] = Decimal(answer.result["list"][0]["lastPrice"])
            (await made.control.post("/__sim/flow", json={"coin": "BTC", "amount": "20"})).raise_for_status()
            found = Halted(scene=made)

            def gateway(_: Asked) -> bytes:
                return reply(json.dumps({"trading_state": found.state}).encode())

            async with http_double(gateway) as double:
                write_secret_file(folder / "operator.json", {"admin_url": double.url, "admin_token": "t" * 32})
                made.write_settings(on_halt_linear="flatten", gateway_handover="operator.json")
                yield found


async def test_position_is_closed_after_faults_and_sigkill_and_its_stop_stays_until_it_is_flat(tmp_path: Path) -> None:
    async with halted(tmp_path) as world:
        stop = await protected_position(world.scene)
        resting = await world.scene.order("linear", "XRPUSDT", "Buy")
        async with world.scene.executor() as executor:
            # Nothing has fallen: the watchdog's word alone closes nothing, and takes the samples that make a peak.
            await until(lambda: world.refuses("our own drawdown is less than 15.00 %"))
            await world.price("0.8")
            world.state = "ACTIVE"
            assert await world.refuses("not halted")
            assert {resting, stop} <= {order["orderId"] for order in await world.scene.working()}
            world.state = "HALTED"
            await world.scene.fault("/v5/order/create", "error", ret_code=10016, count=1000)
            assert (await world.ask())[1] == {"flatten": "begun"}
            assert await world.answers("going_on")
            await until(lambda: world.answers("not_flat"))
            assert [order["orderId"] for order in await world.scene.working()] == [stop]
            assert await world.position() == 100
            executor.send_signal(signal.SIGKILL)
            await executor.wait()
        await world.scene.no_faults()
        async with world.scene.executor():
            await until(lambda: world.answers("begun"))
            await until(lambda: world.answers("flat"))
            assert await world.position() == 0
            assert await world.scene.working() == []
            ended = await world.scene.rows("flatten:ended")
            assert [row["is_flat"] for row in ended] == [False, True]
            assert ended[0]["left"] == "linear XRPUSDT 100 long"
            assert "spot BTCUSDT" in ended[1]["held"]
            began = await world.scene.rows("flatten:started")
            assert [row["request_id"] for row in began] == ["monthly@7"] * 2
            assert (await world.scene.ask("GET", "/status"))["on_halt"]["flat_for"] == "monthly@7"
