"""A real simulator, the executor's files beside it, and a trader with the order key: what the slow tests share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import httpx
from ports import free_ports
from trust_parts import ring_of

from trade_core.bybit.client import BybitClient
from trade_core.bybit.envelope import Answer
from trade_core.clock import SystemClock
from trade_core.secrets import Secret, read_secret_file, write_secret_file
from trade_core.settings import load_settings
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes
from trade_killswitch.identity import initialise
from trade_killswitch.settings import ExecutorSettings

START_S = 300
PATIENCE_S = 120
"""How long is waited for what must come about; how soon it does is for the tests on a clock of their own."""
TIMEOUT_S = 60


@contextlib.asynccontextmanager
async def process(log: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of our modules with its output in a log, and leave none behind."""
    with log.open("ab") as output:
        started = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=output, stderr=output)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def until(condition: Callable[[], Any], *, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition over facts or an awaitable answer."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.05)


@dataclass
class Scene:
    """The running simulator, seen by its members and by its control interface."""

    folder: Path
    credentials: dict[str, Any]
    control: httpx.AsyncClient
    client: BybitClient
    at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))
    prices: dict[tuple[str, str], Decimal] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return str(self.credentials["accounts"]["sub_uid"])

    @property
    def config(self) -> Path:
        return self.folder / "executor.toml"

    @property
    def log(self) -> Path:
        return self.folder / "executor.log"

    @property
    def socket(self) -> Path:
        return self.folder / "executor.sock"

    def write_settings(self, *, key: str = "exit", **changed: Any) -> None:
        pair = self.credentials["keys"][key]
        write_secret_file(
            self.folder / "executor.secrets.json",
            {"exchange_key": pair["key"], "exchange_secret": pair["secret"]},
        )
        values = {
            "environment": "simulated",
            "exchange": "simulated",
            "exchange_url": self.credentials["url"],
            "account": self.account,
            "state_dir": "executor",
            "journal_url": f"sqlite:///{self.folder / 'executor.db'}",
            "secrets_file": "executor.secrets.json",
            "ring_file": "ring.json",
            "socket": "executor.sock",
            "kill_spot": "hold",
            "kill_linear": "hold",
            "kill_inverse": "hold",
            **changed,
        }
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
        ring = ring_of(load_private_key(new_private_key()), account=self.account)
        if not (self.folder / "ring.json").exists():
            (self.folder / "ring.json").write_bytes(ring_bytes(ring))

    @contextlib.asynccontextmanager
    async def executor(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the executor and wait until it answers."""
        async with process(self.log, "-m", "trade_killswitch.cli", "--config", str(self.config)) as started:

            async def answers() -> bool:
                assert started.returncode is None, self.log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return (await self.ask("GET", "/status"))["account"] == self.account
                return False

            await until(answers, within_s=START_S)
            yield started

    async def ask(self, method: str, path: str, content: Any = None) -> Any:
        """Ask the executor over its socket."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://executor", timeout=TIMEOUT_S) as client:
            answer = await client.request(method, path, json=content)
            assert answer.is_success, answer.text
            return answer.json()

    async def ask_raw(self, path: str, content: bytes) -> Any:
        """Hand the executor bytes as they are."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://executor", timeout=TIMEOUT_S) as client:
            answer = await client.post(path, content=content, headers={"content-type": "application/json"})
            assert answer.is_success, answer.text
            return answer.json()

    async def sweep(self) -> None:
        await self.ask("POST", "/sweep", {"reason": "a test"})

    async def swept(self, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the proof of a sweep and return its report."""

        async def is_over() -> bool:
            status = await self.ask("GET", "/status")
            return status["sweep"]["running"] is None and status["sweep"]["last"] is not None

        await until(is_over, within_s=within_s)
        report: dict[str, Any] = (await self.ask("GET", "/status"))["sweep"]["last"]
        return report

    async def rows(self, kind: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", "/journal/rows?from=0&limit=512")
        return [row["fields"] for row in answer["rows"] if row["kind"] == kind]

    async def order(self, category: str, symbol: str, side: str, **changed: Any) -> str:
        """Place an order with the order key, below the market if nothing else is said; returns its id."""
        price = self.prices[category, symbol]
        content = {
            "category": category,
            "symbol": symbol,
            "side": side,
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "qty": "20",
            "price": str((price * Decimal("0.9")).quantize(Decimal("0.0001"), ROUND_DOWN)),
            **changed,
        }
        answer = await self.post("/v5/order/create", content)
        assert answer.is_ok, answer
        return str(answer.result["orderId"])

    async def post(self, path: str, content: dict[str, Any]) -> Answer:
        # A signature is good for two seconds: hundreds signed at once would not all arrive in time on a busy machine.
        async with self.at_once:
            return await self.client.post(path, json.dumps(content).encode())

    async def working(self) -> list[dict[str, Any]]:
        """What works on the account, as the exchange itself knows it."""
        state = (await self.control.get("/__sim/state")).json()
        return [order for order in state["orders"] if order["uid"] == self.account]

    async def clear(self) -> None:
        """Take away faults, orders and positions."""
        await self.no_faults()
        (await self.control.post("/__sim/limits", json={"enabled": False})).raise_for_status()
        for content in (
            {"category": "linear", "settleCoin": "USDT"},
            *({"category": "spot", "orderFilter": kind} for kind in ("Order", "StopOrder", "tpslOrder")),
        ):
            assert (await self.post("/v5/order/cancel-all", content)).is_ok
        close = {"category": "linear", "symbol": "XRPUSDT", "side": "Sell", "orderType": "Market", "qty": "0"}
        await self.post("/v5/order/create", {**close, "reduceOnly": True, "closeOnTrigger": True})

    async def fault(self, path: str, mode: str, **more: Any) -> None:
        (await self.control.post("/__sim/faults", json={"path": path, "mode": mode, **more})).raise_for_status()

    async def no_faults(self) -> None:
        (await self.control.delete("/__sim/faults")).raise_for_status()

    async def asked(self, path: str) -> list[dict[str, Any]]:
        entries = (await self.control.get("/__sim/requests?since=0")).json()
        listed = entries if isinstance(entries, list) else entries["requests"]
        return [entry for entry in listed if entry["path"] == path]


@contextlib.asynccontextmanager
async def simulator(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Run a simulator; gives what it hands out."""
    port, control_port = free_ports(2)
    values = {
        "environment": "simulated",
        "port": port,
        "control_port": control_port,
        "control_token_file": "control.token",
        "credentials_file": "credentials.json",
        "equity_usdt": "100000",
    }
    (folder / "simulator.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    arguments = ("-m", "trade_simulator.cli", "--config", str(folder / "simulator.toml"))
    async with process(folder / "simulator.log", *arguments):
        await until((folder / "credentials.json").exists, within_s=START_S)
        yield read_secret_file(folder / "credentials.json")


@contextlib.asynccontextmanager
async def scene(folder: Path, credentials: dict[str, Any], *, has_limits: bool = False) -> AsyncIterator[Scene]:
    """Prepare the executor's files beside a simulator on which nothing works and no position is open."""
    headers = {"authorization": f"Bearer {credentials['control_token']}"}
    pair = credentials["keys"]["order"]
    client = BybitClient(
        base_url=credentials["url"],
        clock=SystemClock(),
        is_simulated=True,
        key=Secret(pair["key"]),
        secret=Secret(pair["secret"]),
    )
    async with httpx.AsyncClient(
        base_url=credentials["control"].removesuffix("/__sim"), headers=headers, trust_env=False, timeout=TIMEOUT_S
    ) as control:
        made = Scene(folder=folder, credentials=credentials, control=control, client=client)
        await made.clear()
        (await control.post("/__sim/limits", json={"enabled": has_limits})).raise_for_status()
        for category in ("spot", "linear"):
            answer = await client.get_public("/v5/market/tickers", f"category={category}&symbol=XRPUSDT")
            made.prices[category, "XRPUSDT"] = Decimal(answer.result["list"][0]["lastPrice"])
        made.write_settings()
        initialise(load_settings(made.config, ExecutorSettings))
        try:
            yield made
        finally:
            await client.aclose()
