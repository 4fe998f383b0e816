"""No secret of a running stack stands anywhere that a person, a scraper, a thief of logs or the bot could read.

The secrets are those that the stack made for itself: whatever its owner-only files hold. The test first makes every
kind of trouble that writes text, an exchange that repeats keys and secrets in its words among them, then looks for each
of them, whole, in rows, logs, metrics, states, answers and process listings.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.bot import Bot, resting_order
from integration.stack import Stack, wait_until

from trade_core.clock import SystemClock
from trade_journal.log.rows import Entry, RowKind
from trade_journal.trades.lesson import write_lesson as trade_lesson
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.writer.client import JournalClient
from trade_journal.writer.peers import Peer

pytestmark = pytest.mark.slow
HAS_CONSOLE = True

SHORTEST_SECRET = 16
SECRET_FILES = ("*secrets.json", "identity.json", "log-key.json", "credentials.json", "handover/*.json", "*.token")
# What names a thing and opens nothing: it stands in documents that everybody may read.
PUBLIC_NAMES = frozenset({"admin_url", "control", "deployment", "exchange_key", "key", "ring_hash", "url", "ws"})


def texts(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give every text of a JSON document with the name that it stands under."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from texts(value, str(key))
    elif isinstance(content, list):
        for value in content:
            yield from texts(value, name)
    elif isinstance(content, str):
        yield name, content


def secrets_of(state_dir: Path) -> dict[str, str]:
    """Return each secret with the file that holds it."""
    found: dict[str, str] = {}
    for pattern in SECRET_FILES:
        for path in sorted(state_dir.rglob(pattern)):
            content = {"token": path.read_text().strip()} if path.suffix == ".token" else json.loads(path.read_text())
            for name, text in texts(content):
                if name not in PUBLIC_NAMES and len(text) >= SHORTEST_SECRET:
                    found[text] = f"{path.relative_to(state_dir)}: {name}"
    return found


@pytest.fixture(scope="module")
def secrets(stack: Stack) -> dict[str, str]:
    found = secrets_of(stack.folder / "state")
    for service in ("gateway", "journal-writer", "simulator", "watchdog", "executor"):
        assert any(where.startswith(service) for where in found.values()), service
    assert stack.gateway["secret"] in found
    assert stack.gateway["admin_token"] in found
    return found


@pytest.fixture(scope="module")
def answers(stack: Stack, secrets: dict[str, str]) -> list[str]:
    """Make trouble of every kind, and return all that was answered."""
    said: list[str] = []
    bot = Bot(stack.gateway)
    order = resting_order(stack)
    placed = bot.create(order)
    said += [json.dumps(placed), json.dumps(bot.post("/v5/order/create", order))]
    cancel = {"category": order["category"], "symbol": order["symbol"], "orderId": placed["result"]["orderId"]}
    said.append(json.dumps(bot.post("/v5/order/cancel", cancel)))
    said.append(json.dumps(bot.post("/v5/order/create", {**order, "orderType": "Market"})))
    said.append(json.dumps(bot.post("/v5/order/create", "{not json")))
    said.append(json.dumps(bot.get("/v5/user/query-api")))
    said.append(bot.http.get("/v5/nowhere").text)
    said.append(bot.http.post("/v5/order/create", content=b"{}", headers={"X-BAPI-API-KEY": bot.key}).text)
    wrong = {**bot.headers("{}"), "X-BAPI-SIGN": "0" * 64}
    said.append(bot.http.post("/v5/order/create", content=b"{}", headers=wrong).text)
    # The exchange says no, fails, answers nonsense, and repeats what it was sent.
    for fault in (
        {"mode": "error", "ret_code": 10003},
        {"mode": "error", "ret_code": 10016},
        {"mode": "status", "status": 500},
        {"mode": "status", "status": 401},
    ):
        words = {"path": "/v5/order/create", "count": 1, "message": repeated(stack, "gateway"), **fault}
        stack.control.post("/faults", json=words).raise_for_status()
        answer = json.dumps(bot.post("/v5/order/create", {**order, "qty": str(float(order["qty"]) + 1)}))
        assert exchange_key(stack, "gateway")["exchange_key"] not in answer
        said.append(answer)
        stack.control.delete("/faults")
    watchdogs_trouble(stack)
    write_lesson(stack)
    for role in ("gateway", "watchdog"):
        admin = stack.description[role]
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {admin['admin_token']}"}):
            with httpx.Client(base_url=admin["admin"], headers=headers, timeout=30) as client:
                said += [client.get(path).text for path in ("/state", "/metrics", "/healthz", "/readyz", "/nowhere")]
                said += [client.post(path, content=b"{}").text for path in ("/lease", "/release", "/halt")]
    said += executors_answers(stack)
    # What halts: a bot that reaches for the money, with its own secret in what it says.
    said.append(json.dumps(bot.post("/v5/asset/withdraw/create", {"coin": "USDT", "address": stack.gateway["secret"]})))
    assert "PATH_FORBIDDEN" in said[-1]
    said.append(stack.admin.post("/halt", json={"reason": "the canary's last trouble"}).text)
    wait_until(lambda: stack.state_name() == "HALTED", what="halted")
    said.append(stack.admin.get("/state").text)
    bot.close()
    return said


def exchange_key(stack: Stack, service: str) -> dict[str, str]:
    """Read what a service calls the exchange with."""
    found: dict[str, str] = json.loads((stack.folder / "state" / service / "secrets.json").read_text())
    return found


def repeated(stack: Stack, service: str) -> str:
    """Say what an exchange would that repeats the credential of whoever called it."""
    own = exchange_key(stack, service)
    return f"key {own['exchange_key']} refused; got Authorization: Bearer {own['exchange_secret']}"


def watchdogs_trouble(stack: Stack) -> None:
    """Have the exchange refuse the watchdog's readings, in words and by a status, until each has been met."""
    for fault in ({"mode": "error", "ret_code": 10003}, {"mode": "status", "status": 401}):
        words = {"path": "/v5/account/wallet-balance", "count": 2, "message": repeated(stack, "watchdog"), **fault}
        stack.control.post("/faults", json=words).raise_for_status()
        wait_until(lambda: not stack.control.get("/faults").json(), what="the wallet was asked for")


def write_lesson(stack: Stack) -> None:
    """Journal a trade as the shim does, and what a person learned from it."""
    folder = stack.folder / "state"
    settings = ShimSettings.model_validate(
        {
            "environment": "simulated",
            "account": json.loads((folder / "watchdog/state/public.json").read_text())["account"],
            "state_dir": str(stack.folder),
            "journal_socket": str(folder / "journal-writer" / "shim.sock"),
            "bot_database": str(stack.folder / "none.sqlite"),
        }
    )

    async def written() -> None:
        shim = await JournalClient.open(
            settings.journal_socket, origin=settings.origin, clock=SystemClock(), peer=Peer.SHIM, within_s=10
        )
        opened = {"trade_id": "1", "pair": "BTC/USDT"}
        await shim.append(Entry(at_ns=1, kind=RowKind.SWING_TRADE_OPENED, actor="shim", fields=opened))
        await shim.close()
        await trade_lesson(settings, trade_id="1", text="wait for the turn", clock=SystemClock())

    asyncio.run(written())


def executors_answers(stack: Stack) -> list[str]:
    """Have the executor sweep against a failing exchange, and return all that it says."""
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=30) as client:
        fault = {"path": "/v5/order/realtime", "count": 4, "mode": "error", "ret_code": 10003}
        fault["message"] = repeated(stack, "executor")
        stack.control.post("/faults", json=fault).raise_for_status()
        said = [client.post("/sweep", json={"reason": "the canary"}).text, client.post("/kill", content=b"{}").text]
        wait_until(lambda: client.get("/status").json()["sweep"]["last"], what="the sweep is proved")
        stack.control.delete("/faults")
        paths = ("/status", "/metrics", "/journal/rows", "/journal/entries", "/journal/checkpoint", "/nowhere")
        return said + [client.get(path).text for path in paths]


def found_in(secrets: dict[str, str], content: bytes | str) -> list[str]:
    """Name the secrets that stand in it."""
    raw = content.encode() if isinstance(content, str) else content
    return [where for secret, where in secrets.items() if secret.encode() in raw]


def test_no_answer_holds_a_secret(secrets: dict[str, str], answers: list[str]) -> None:
    assert len(answers) > 40
    assert found_in(secrets, "\n".join(answers)) == []


def test_no_row_holds_a_secret(stack: Stack, secrets: dict[str, str], answers: list[str]) -> None:
    expected = {
        "order:intent",
        "order:denied",
        "state:changed",
        "config:loaded",
        "incident:opened",
        "swing_trade:lesson",
    }
    wait_until(lambda: expected <= {row["kind"] for row in stack.rows()}, what=f"rows of {expected}")
    rows = stack.rows()
    assert found_in(secrets, json.dumps(rows)) == []


def test_no_journal_or_copy_of_one_holds_a_secret(stack: Stack, secrets: dict[str, str], answers: list[str]) -> None:
    files = [path for path in (stack.folder / "state").rglob("*") if path.is_file() and ".db" in path.name]
    files += list((stack.folder / "state").rglob("*.segment"))
    assert len(files) >= 3
    assert {path.name: found for path in files if (found := found_in(secrets, path.read_bytes()))} == {}


def test_no_log_holds_a_secret(stack: Stack, secrets: dict[str, str], answers: list[str]) -> None:
    logs = [*Path(stack.description["logs"]).glob("*.log"), stack.folder / "demo.log"]
    assert len(logs) >= 4
    assert sum(log.stat().st_size for log in logs) > 1000
    assert {log.name: found for log in logs if (found := found_in(secrets, log.read_bytes()))} == {}


def test_no_process_listing_holds_a_secret(stack: Stack, secrets: dict[str, str]) -> None:
    pids = [process["pid"] for process in stack.description["processes"].values() if process]
    assert len(pids) >= 4
    for pid in [*pids, stack.process.pid]:
        for name in ("cmdline", "environ"):
            assert found_in(secrets, Path(f"/proc/{pid}/{name}").read_bytes()) == [], (pid, name)


def test_secrets_are_readable_by_their_owner_alone(stack: Stack, secrets: dict[str, str]) -> None:
    for path in (stack.folder / "state").rglob("*"):
        if path.is_file() and found_in(secrets, path.read_bytes()):
            assert path.stat().st_mode & 0o077 == 0, path
    assert Path(stack.folder / "stack.json").stat().st_mode & 0o077 == 0
