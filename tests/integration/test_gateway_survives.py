"""Death, silence and return of each process while a bot trades: one stack, which each test leaves as it found it.

Its second test releases what the first has halted, and its last one halts.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from integration.bot import Bot, resting_order
from integration.security_keys import ran
from integration.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]


def working_at_exchange(stack: Stack) -> set[str]:
    orders: list[dict[str, Any]] = stack.control.get("/state").json()["orders"]
    return {
        str(order["orderId"]) for order in orders if order["orderStatus"] in ("New", "PartiallyFilled", "Untriggered")
    }


def test_halt_denies_new_risk_lets_cancels_pass_and_outlives_a_restart(settled_stack: Stack) -> None:
    stack = settled_stack
    bot = Bot(stack.gateway)
    order = resting_order(stack)
    order_id = bot.create(order)["result"]["orderId"]
    assert stack.admin.post("/halt", json={"reason": "a test"}).json()["trading_state"] == "HALTED"
    assert bot.post("/v5/order/create", order)["retMsg"].startswith("STATE_HALTED")
    cancel = {"category": "spot", "symbol": order["symbol"], "orderId": order_id}
    # The gateway cancels it by itself meanwhile; whoever comes second finds it gone.
    assert bot.post("/v5/order/cancel", cancel)["retCode"] in (0, 170213)
    wait_until(lambda: not working_at_exchange(stack), what="no working order")
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    assert stack.state()["holders"]["operator_latch"]["reason"] == "a test"
    bot.close()


def test_release_by_a_touch_takes_effect_after_a_minute_and_is_remembered(stack: Stack) -> None:
    stack.admin.post("/halt", json={"reason": "a test"})
    command = stack.description["processes"]["gateway"]["command"]
    asked = [command[0], "release", "--config", command[command.index("--config") + 1]]
    key = Path(stack.description["processes"]["simulator"]["command"][0]).with_name("trade-security-key")
    keys = [stack.folder / "blue.key", stack.folder / "green.key"]
    enrolled = ran([key, "enrol", "--describe", stack.folder / "stack.json", *keys])
    assert enrolled.returncode == 0, enrolled.stderr
    origin = json.loads(enrolled.stdout)["origin"]
    for _ in range(2):
        ran([*asked, "--draft", stack.folder / "draft", "--reason", "the test is over"])
        signed = ran([key, "sign", stack.folder / "draft", "--file", keys[0], "--origin", origin])
        (stack.folder / "signed").write_text(signed.stdout)
        announced = ran([*asked, "--warrant", stack.folder / "signed"])
        assert "takes effect in 60 s" in announced.stdout, announced.stderr
        assert stack.state()["trading_state"] == "HALTED"
    once_more = ran([*asked, "--warrant", stack.folder / "signed"])
    assert "did not rise" in once_more.stderr
    stack.wait_for_state("ACTIVE")
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("ACTIVE")
    refused = ran([*asked, "--draft", stack.folder / "draft", "--reason", "again"])
    assert (refused.returncode, "nothing to release" in refused.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
def test_watchdog_silent_makes_the_gateway_reduce_only_when_its_lease_ends(
    settled_stack: Stack, number: signal.Signals
) -> None:
    stack = settled_stack
    bot = Bot(stack.gateway)
    assert bot.create(resting_order(stack))["retCode"] == 0
    stack.kill("watchdog", number)
    stack.wait_for_state("REDUCE_ONLY")
    answer = bot.post("/v5/order/create", resting_order(stack, symbol="ETHUSDT", usdt=64))
    assert (answer["retCode"], answer["retMsg"].split(":")[0]) == (110066, "STATE_REDUCE_ONLY")
    if number is signal.SIGSTOP:
        stack.kill("watchdog", signal.SIGCONT)
    else:
        stack.restart("watchdog")
    stack.wait_for_state("ACTIVE")
    bot.close()


def test_exchange_silent_is_denied_with_a_reason_and_recovers(settled_stack: Stack) -> None:
    stack = settled_stack
    bot = Bot(stack.gateway)
    order = resting_order(stack)
    stack.kill("simulator", signal.SIGSTOP)
    try:
        answer = bot.post("/v5/order/create", order)
        assert answer["retCode"] in (10016, 110066)
        assert stack.state()["trading_state"] in ("ACTIVE", "REDUCE_ONLY")
    finally:
        stack.kill("simulator", signal.SIGCONT)
    stack.wait_for_state("ACTIVE")
    wait_until(lambda: not stack.state()["unknown_outcomes"], what="unknown outcomes resolved")
    assert bot.create(order)["retCode"] == 0
    assert len(working_at_exchange(stack)) == 1
    bot.close()


@pytest.mark.parametrize("fault", ["lose_response", "drop"])
def test_lost_answer_of_an_order_is_resolved_by_its_tag(settled_stack: Stack, fault: str) -> None:
    stack = settled_stack
    bot = Bot(stack.gateway)
    stack.control.post("/faults", json={"path": "/v5/order/create", "mode": fault, "count": 1}).raise_for_status()
    answer = bot.create(resting_order(stack))
    if fault == "lose_response":
        assert answer["retCode"] == 0
        assert working_at_exchange(stack) == {answer["result"]["orderId"]}
    else:
        assert answer["retCode"] == 10016
        assert working_at_exchange(stack) == set()
    assert len(stack.requests_at_exchange("/v5/order/create")) <= 1
    wait_until(lambda: not stack.state()["unknown_outcomes"], what="nothing unknown is left")
    bot.close()


def test_halt_cancels_what_adds_risk(settled_stack: Stack) -> None:
    stack = settled_stack
    bot = Bot(stack.gateway)
    for symbol in ("XRPUSDT", "ETHUSDT", "BTCUSDT"):
        assert bot.create(resting_order(stack, symbol=symbol, usdt=64))["retCode"] == 0
    assert len(working_at_exchange(stack)) == 3
    stack.admin.post("/halt", json={"reason": "a test"})
    wait_until(lambda: not working_at_exchange(stack), what="no working order that adds risk")
    bot.close()
