"""The ladder on the whole stack: the price falls, the rungs walk, and neither SIGKILL nor time makes them forget."""

from __future__ import annotations

import signal
import socket
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.security_keys import enrol, release
from integration.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Watched:
    """The watchdog of a stack, as its operator sees it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def state(self) -> dict[str, Any]:
        door = self._stack.description["watchdog"]
        headers = {"Authorization": f"Bearer {door['admin_token']}"}
        try:
            answer = httpx.get(f"{door['admin']}/state", headers=headers, timeout=30, trust_env=False)
            document: dict[str, Any] = answer.raise_for_status().json()
        except httpx.HTTPError:
            return {}
        return document

    def stage(self, rung: str) -> str:
        return str(self.state().get("rungs", {}).get(rung, {}).get("stage"))

    def wait_for(self, rung: str, stage: str) -> None:
        wait_until(lambda: self.stage(rung) == stage, what=f"{rung} {stage}")

    def command(self, *arguments: str) -> str:
        how = self._stack.description["processes"]["watchdog"]["command"]
        config = how[how.index("--config") + 1]
        done = subprocess.run([how[0], *arguments, "--config", config], capture_output=True, text=True, check=True)
        return done.stdout


class Market:
    """The price of BTC, in which nearly all of the account is."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._start = Decimal(stack.control.get("/state").json()["prices"]["linear"]["BTCUSDT"]["index"])

    def fall(self, fraction: str) -> None:
        """Set the price so much below what it was at the start."""
        price = f"{self._start * (1 - Decimal(fraction)):.2f}"
        self._stack.control.post("/price", json={"symbol": "BTCUSDT", "price": price}).raise_for_status()


def deposit(stack: Stack, watchdog: Watched) -> None:
    """Bring in so much BTC that its price is what the account is worth; the unit price must not notice."""
    before = Decimal(watchdog.state()["equity"]["unit_price"])
    stack.control.post("/flow", json={"coin": "BTC", "amount": "10"}).raise_for_status()
    wait_until(lambda: Decimal(watchdog.state()["equity"]["equity_usdt"]) > 100_000, what="the deposit is seen")
    assert abs(Decimal(watchdog.state()["equity"]["unit_price"]) - before) < Decimal("0.002")


@pytest.fixture
def still_stack(tmp_path: Any) -> Any:
    """A stack whose market barely moves, and whose account holds far more BTC than anything else."""
    running = Stack(tmp_path, "--speed", "0.001")
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()


def test_falling_price_walks_the_rungs_in_order_and_sigkill_forgets_none(still_stack: Stack) -> None:
    stack, watchdog = still_stack, Watched(still_stack)
    deposit(stack, watchdog)
    market = Market(stack)

    market.fall("0.06")
    watchdog.wait_for("daily", "fired")
    assert watchdog.stage("weekly") == "armed"
    stack.wait_for_state("ACTIVE")
    assert watchdog.command("ack") == "acknowledged: rung:daily\n"
    watchdog.wait_for("daily", "acknowledged")

    market.fall("0.09")
    watchdog.wait_for("weekly", "fired")
    stack.wait_for_state("TRIMMED")
    peaks = {name: rung["peak"] for name, rung in watchdog.state()["rungs"].items()}
    stack.kill("watchdog", signal.SIGKILL)
    stack.reap("watchdog")
    stack.restart("watchdog")
    wait_until(watchdog.state, what="the watchdog is back")
    assert {name: rung["peak"] for name, rung in watchdog.state()["rungs"].items()} == peaks
    assert [watchdog.stage(rung) for rung in ("daily", "weekly", "monthly")] == ["acknowledged", "fired", "armed"]
    stack.wait_for_state("TRIMMED")

    market.fall("0.16")
    watchdog.wait_for("monthly", "fired")
    stack.wait_for_state("HALTED")
    wait_until(lambda: watchdog.state()["actions"]["halt"]["done_for"], what="halt is done")
    latch = stack.state()["holders"]["operator_latch"]
    assert latch["ceiling"] == "HALTED"
    market.fall("0.09")
    stack.kill("watchdog", signal.SIGKILL)
    stack.reap("watchdog")
    stack.restart("watchdog")
    wait_until(watchdog.state, what="the watchdog is back")
    assert watchdog.stage("monthly") == "fired"
    assert any(row["kind"] == "watchdog:remembered" for row in stack.rows())
    assert stack.state_name() == "HALTED"

    market.fall("0.20")
    watchdog.wait_for("high_water", "fired")
    wait_until(
        lambda: watchdog.state()["actions"]["kill"]["done_for"] or watchdog.state()["actions"]["kill"]["failure"],
        what="a kill is asked for",
    )


def test_release_lets_the_account_go_on_and_money_that_leaves_unannounced_halts_it(still_stack: Stack) -> None:
    stack, watchdog = still_stack, Watched(still_stack)
    deposit(stack, watchdog)
    Market(stack).fall("0.16")
    stack.wait_for_state("HALTED")
    enrol(stack)
    said = release(stack, *(part for rung in ("daily", "weekly", "monthly") for part in ("--rebase", rung)))
    assert said.returncode == 0, said.stderr
    (announced,) = [row for row in stack.rows() if row["kind"] == "release:announced"]
    assert "re-base the rungs daily, weekly, monthly" in announced["fields"]["words"]
    stack.wait_for_state("ACTIVE")
    rungs = watchdog.state()["rungs"]
    assert {rungs[name]["stage"] for name in ("daily", "weekly", "monthly")} == {"armed"}
    assert Decimal(rungs["monthly"]["peak"]) < Decimal("0.9") < Decimal(rungs["high_water"]["peak"])
    assert stack.state()["holders"]["operator_latch"]["ceiling"] == "ACTIVE"

    assert watchdog.command("announce", "3", "BTC").startswith("announced: at most 3 BTC within 24 hours")
    price = watchdog.state()["equity"]["unit_price"]
    for amount, state in (("-3", "ACTIVE"), ("-1", "HALTED")):
        units = Decimal(watchdog.state()["equity"]["units"])
        stack.control.post("/flow", json={"coin": "BTC", "amount": amount}).raise_for_status()
        wait_until(lambda before=units: Decimal(watchdog.state()["equity"]["units"]) < before, what="it left")
        stack.wait_for_state(state)
    assert abs(Decimal(watchdog.state()["equity"]["unit_price"]) - Decimal(price)) < Decimal("0.005")
    assert "nobody had announced it" in stack.state()["holders"]["operator_latch"]["reason"]


def executor_status(stack: Stack) -> dict[str, Any]:
    """What the executor says of itself; empty while nobody listens on its socket."""
    path = stack.description["killswitch"]["socket"]
    with socket.socket(socket.AF_UNIX) as door:
        if door.connect_ex(path):
            return {}
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://executor", timeout=5) as executor:
        status: dict[str, Any] = executor.get("/status").raise_for_status().json()
    return status


def bitcoin(stack: Stack) -> Decimal:
    """The BTC of the account, as the exchange itself counts it."""
    wallet = stack.control.get("/state").raise_for_status().json()["wallets"][stack.state()["account"]]
    return sum((Decimal(held["walletBalance"]) for held in wallet["coin"] if held["coin"] == "BTC"), Decimal(0))


def test_halt_closes_what_the_settings_say_and_leaves_what_was_there_before(still_stack: Stack) -> None:
    stack, watchdog = still_stack, Watched(still_stack)
    before = bitcoin(stack)
    deposit(stack, watchdog)
    stack.kill("executor", signal.SIGTERM)
    stack.reap("executor")
    how = stack.description["processes"]["executor"]["command"]
    settings = Path(how[how.index("--config") + 1])
    settings.write_text(settings.read_text() + 'on_halt_spot = "flatten"\n')
    stack.restart("executor")
    wait_until(
        lambda: executor_status(stack).get("ready", {}).get("parts", {}).get("own_samples") == "ready",
        within_s=60,
        what="own samples",
    )
    Market(stack).fall("0.17")
    watchdog.wait_for("monthly", "fired")
    stack.wait_for_state("HALTED", within_s=20)
    wait_until(
        lambda: watchdog.state()["actions"]["flatten"]["done_for"],
        within_s=120,
        what=f"{executor_status(stack)['on_halt']} {watchdog.state()['actions']}",
    )
    assert before <= bitcoin(stack) < before + Decimal("0.001")
    assert stack.state_name() == "HALTED"
