"""A whole stack, every process its own, that is killed by a touch: with one part of it broken, or with none."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from integration.bot import Bot, resting_order
from integration.security_keys import enrol, executor_of
from integration.stack import Stack, wait_until
from trust_parts import KEYS

from trade_core.ring_keeper import current_ring
from trade_core.trust.ring import read_ring
from trade_core.trust.signed_warrant import touched_envelope
from trade_killswitch.command.draft import draft_warrant

ORDERS = 3
POSITION_USDT = 50


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One part of a stack that does not work: how it is broken, and which step of a kill it leaves pending, if any."""

    signal: tuple[str, signal.Signals] | None = None
    """Sent to a process once everything works."""
    settings: Callable[[Path, int], Mapping[str, object]] | None = None
    """What the executor is told of a server on this port, which takes every connection and never says a word."""
    pending: str = ""
    unready: str = ""


def _silent_cluster(folder: Path, port: int) -> Mapping[str, object]:
    return {
        "bot_host": "kubernetes",
        "kubernetes_url": f"https://127.0.0.1:{port}",
        "kubernetes_folder": str(folder),
        "bot_namespace": "trade",
        "bot_deployment": "freqtrade",
    }


def _silent_secret_server(folder: Path, port: int) -> Mapping[str, object]:
    login = folder / "login.json"
    login.write_text(json.dumps({"role_id": "executor", "secret_id": "none"}))
    login.chmod(0o600)
    return {"vault_url": f"http://127.0.0.1:{port}", "vault_secrets": ["trade/bot"], "vault_login_file": str(login)}


def _silent_alerts(folder: Path, port: int) -> Mapping[str, object]:
    alerts = folder / "alerts.json"
    alerts.write_text(json.dumps({"channels": [{"kind": "webhook", "url": f"http://127.0.0.1:{port}/"}]}))
    alerts.chmod(0o600)
    return {"alerts_file": str(alerts)}


FAULTS: Mapping[str, Broken] = {
    "gateway dead": Broken(signal=("gateway", signal.SIGKILL), pending="refuse"),
    "gateway hanging": Broken(signal=("gateway", signal.SIGSTOP), pending="refuse"),
    "watchdog dead": Broken(signal=("watchdog", signal.SIGKILL)),
    "watchdog hanging": Broken(signal=("watchdog", signal.SIGSTOP)),
    "cluster hanging": Broken(settings=_silent_cluster, pending="bot", unready="bot"),
    "secret server hanging": Broken(settings=_silent_secret_server, pending="secrets", unready="secrets"),
    "alerts hanging": Broken(settings=_silent_alerts),
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a kill stands once everything that can be done is: how long that took, and what is left at the exchange."""

    took_s: float
    refused_s: float | None
    pending: tuple[str, ...]
    state: str
    working: int
    open_positions: int


def kill_once(folder: Path, *, is_open: bool = False, broken: Broken | None = None) -> Done:
    """Start a stack, place orders, with a position or none, break what is to be broken, kill by a touch, end it."""
    stack = Stack(folder)
    try:
        enrol(stack)
        stack.wait_for_state("ACTIVE")
        with part_that_hangs(stack, broken):
            unready = broken.unready if broken else ""
            wait_until(lambda: unready_parts(stack) <= {unready}, what="every part of a kill is ready")
            trade(stack, is_open=is_open)
            if broken and broken.signal:
                stack.kill(*broken.signal)
            touch_kill(stack)
            pending = broken.pending if broken else ""
            report = wait_until(lambda: settled_kill(stack, pending), what="all is done that can be")
            if broken and broken.signal and broken.signal[1] is signal.SIGSTOP:
                stack.kill(broken.signal[0], signal.SIGCONT)
                wait_until(lambda: settled_kill(stack, ""), what="the rest is done once it goes on")
            return done_of(stack, report)
    finally:
        stack.stop()


@contextmanager
def part_that_hangs(stack: Stack, broken: Broken | None) -> Iterator[None]:
    """Let the executor know a server that takes connections and never answers; nothing, where none is asked for."""
    if broken is None or broken.settings is None:
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        added = broken.settings(stack.folder, server.getsockname()[1])
        stack.kill("executor", signal.SIGTERM)
        stack.reap("executor")
        command = stack.description["processes"]["executor"]["command"]
        config = Path(command[command.index("--config") + 1])
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in added.items()]
        config.write_text(config.read_text() + "".join(lines))
        stack.restart("executor")
        yield


def executor_status(stack: Stack) -> dict[str, Any]:
    """What the executor says of itself; empty while it does not answer."""
    with executor_of(stack) as executor:
        try:
            status: dict[str, Any] = executor.get("/status").raise_for_status().json()
        except httpx.HTTPError:
            return {}
    return status


def unready_parts(stack: Stack) -> set[str]:
    """Name the parts of a kill that were not seen to be ready."""
    parts: dict[str, str] = executor_status(stack).get("ready", {}).get("parts") or {"executor": "does not answer"}
    return {name for name, words in parts.items() if words != "ready"}


def trade(stack: Stack, *, is_open: bool) -> None:
    """Place orders that rest; before them, if asked, one that is filled: a position that is open."""
    bot = Bot(stack.gateway)
    try:
        if is_open:
            order = resting_order(stack, category="linear", usdt=POSITION_USDT)
            assert (placed := bot.create(order))["retCode"] == 0, placed
            price = {"symbol": order["symbol"], "price": str(float(order["price"]) * 0.999)}
            stack.control.post("/price", json=price).raise_for_status()
            wait_until(lambda: open_positions(stack), what="the order is filled")
        for number in range(ORDERS):
            placed = bot.create(resting_order(stack, usdt=20 + 10 * number))
            assert placed["retCode"] == 0, placed
    finally:
        bot.close()


def touch_kill(stack: Stack) -> None:
    """Draft a kill, touch a key for it, and hand it to the executor."""
    ring_file = Path(stack.description["ring"])
    client = {"origin": read_ring(ring_file).origins[0]}
    with executor_of(stack) as executor:
        told = executor.get("/draft", params={"purpose": "kill"}).raise_for_status().json()
        now_ms = time.time_ns() // 10**6
        payload = draft_warrant(told, ring=current_ring(ring_file), nonce="n", now_ms=now_ms)
        envelope = touched_envelope(payload, [KEYS[0].touch(payload, client=client)])
        executor.post("/kill", content=envelope).raise_for_status()


def settled_kill(stack: Stack, pending: str) -> dict[str, Any] | None:
    """Return the report of the kill once nothing but the named step is left to be done, and people were told."""
    kill = executor_status(stack).get("kill", {})
    report: dict[str, Any] | None = kill.get("running") or kill.get("last")
    return report if report and set(report["unfinished"]) <= {pending} else None


def at_exchange(stack: Stack, kind: str) -> list[dict[str, Any]]:
    """List the account's orders or positions, as the exchange itself knows them."""
    account = read_ring(Path(stack.description["ring"])).account
    listed = stack.control.get("/state").raise_for_status().json()[kind]
    return [one for one in listed if one["uid"] == account]


def open_positions(stack: Stack) -> int:
    """Count the account's positions that are not flat."""
    return sum(Decimal(one["size"]) != 0 for one in at_exchange(stack, "positions"))


def done_of(stack: Stack, report: dict[str, Any]) -> Done:
    """Put the report together with what gateway and exchange say themselves."""
    ended = {step["step"]: step["ended_s"] for step in report["steps"] if step["ended_s"] is not None}
    told_s = ended.pop("tell")
    return Done(
        took_s=max(ended.values()) if report["unfinished"] else told_s,
        refused_s=ended.get("refuse"),
        pending=tuple(report["unfinished"]),
        state=stack.state_name(),
        working=len(at_exchange(stack, "orders")),
        open_positions=open_positions(stack),
    )
