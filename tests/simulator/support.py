"""What the simulator's tests share: a signer of their own, an in-process exchange, and a real process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from ports import free_port

from trade_core.clock import Clock
from trade_simulator.assembly import Simulator, assemble
from trade_simulator.settings import SimulatorSettings

START_S = 300
PATIENCE_S = 120
TOKEN = "control-token-of-the-tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key and its secret."""

    key: str
    secret: str


def signed_headers(key: Key, payload: bytes, *, now_ms: int, recv_window: int | None = 5000) -> dict[str, str]:
    """Sign as the documentation says; written apart from the code it checks."""
    window = "" if recv_window is None else str(recv_window)
    origin = f"{now_ms}{key.key}{window}".encode() + payload
    headers = {
        "X-BAPI-API-KEY": key.key,
        "X-BAPI-TIMESTAMP": str(now_ms),
        "X-BAPI-SIGN": hmac.new(key.secret.encode(), origin, hashlib.sha256).hexdigest(),
    }
    return headers if recv_window is None else headers | {"X-BAPI-RECV-WINDOW": window}


class Venue:
    """An exchange in this process, spoken to over ASGI; its clock moves only when told to."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        settings = SimulatorSettings.model_validate(
            {
                "environment": "simulated",
                "port": 1,
                "control_port": 2,
                "control_token_file": "token",
                "credentials_file": "credentials",
            },
            context={"folder": folder},
        )
        self.clock = clock
        self.simulator: Simulator = assemble(settings, clock=clock, control_token=TOKEN, stop=asyncio.Event())
        self.exchange = self.simulator.exchange
        self.opening = self.simulator.opening
        application, control = (listener.app for listener in self.simulator.listeners)
        self.http = _client(application, "http://127.0.0.1:1")
        self.control_http = _client(control, "http://127.0.0.1:2")
        self.control_http.headers["Authorization"] = f"Bearer {TOKEN}"

    def now_ms(self) -> int:
        """Give the clock's time."""
        return self.clock.wall_ns() // 1_000_000

    def key(self, role: str) -> Key:
        """Give the key of a role."""
        made = self.opening.keys[role]
        return Key(key=made.api_key, secret=made.secret)

    async def get(self, path: str, role: str | Key | None = None, **query: object) -> httpx.Response:
        """Send a GET, signed when a role or key is named."""
        raw = urlencode({name: str(value) for name, value in query.items()})
        headers = {} if role is None else self._sign(role, raw.encode())
        return await self.http.get(f"{path}?{raw}" if raw else path, headers=headers)

    async def post(self, path: str, role: str | Key, body: Mapping[str, Any] | bytes) -> httpx.Response:
        """Send a signed POST."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self._sign(role, raw) | {"Content-Type": "application/json"}
        return await self.http.post(path, content=raw, headers=headers)

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Use the control interface; the answer must be a success."""
        answer = await self.control_http.request(method, f"/__sim/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _sign(self, role: str | Key, payload: bytes) -> dict[str, str]:
        key = self.key(role) if isinstance(role, str) else role
        return signed_headers(key, payload, now_ms=self.now_ms())


def _client(application: Any, url: str) -> httpx.AsyncClient:
    # An error inside the application must reach the test, never become a 500 that looks like an answer.
    transport = httpx.ASGITransport(app=application, client=("127.0.0.1", 40000), raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url=url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A simulator process that is ready."""

    url: str
    ws: str
    control_url: str
    token: str
    accounts: Mapping[str, str]
    keys: Mapping[str, Key]
    process: subprocess.Popen[bytes]
    log: Path

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Use the control interface; the answer must be a success."""
        answer = httpx.request(
            method,
            f"{self.control_url}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


def write_settings(folder: Path, **changed: object) -> Path:
    """Write a settings file for a simulator on free ports."""
    values: dict[str, object] = {
        "environment": "simulated",
        "port": free_port(),
        "control_port": free_port(),
        "control_token_file": "control.token",
        "credentials_file": "credentials.json",
        **changed,
    }
    path = folder / "simulator.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items()))
    return path


def command(config: Path) -> list[str]:
    """Give the command line of a simulator."""
    return [str(Path(sys.executable).with_name("trade-simulator")), "--config", str(config)]


@contextlib.contextmanager
def running(folder: Path, **changed: object) -> Iterator[Simulation]:
    """Run a simulator process; it must end cleanly, and without a line at ERROR."""
    config = write_settings(folder, **changed)
    log = folder / "simulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command(config), stdout=output, stderr=output)
    try:
        content = json.loads(_await_file(folder / "credentials.json", process, log))
        yield Simulation(
            url=content["url"],
            ws=content["ws"],
            control_url=content["control"],
            token=content["control_token"],
            accounts=content["accounts"],
            keys={role: Key(**pair) for role, pair in content["keys"].items()},
            process=process,
            log=log,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.returncode == 0, log.read_text()
    assert " ERROR " not in log.read_text(), log.read_text()


def _await_file(path: Path, process: subprocess.Popen[bytes], log: Path) -> bytes:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if path.exists():
            return path.read_bytes()
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"not ready within {START_S} s: {log.read_text()}")


def eventually(ask: Any, *, within_s: float = PATIENCE_S, what: str = "condition") -> Any:
    """Ask until the answer is true, up to a deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {within_s} s")
