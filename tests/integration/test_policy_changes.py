"""A policy file that changes under a running gateway: real processes, from the file to the wire.

The tests share a stack and go on from the policy that the one before left: first those that loosen, then those that
tighten; the last one halts.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from integration.bot import Bot, resting_order
from integration.security_keys import enrol, release
from integration.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]
ANNOUNCED_S = 60


def policy_file(stack: Stack) -> Path:
    return Path(stack.gateway["policy"])


def write(stack: Stack, pattern: str, by: str, *, text: str | None = None) -> str:
    """Change the file in one step, as an editor does; returns what it said before."""
    before = policy_file(stack).read_text()
    changed = re.sub(pattern, by, before if text is None else text, count=1, flags=re.M | re.S)
    beside = policy_file(stack).with_suffix(".new")
    beside.write_text(changed)
    beside.rename(policy_file(stack))
    return before


def described(stack: Stack) -> dict[str, Any]:
    policy: dict[str, Any] = stack.state()["policy"]
    return policy


def kinds(stack: Stack) -> list[str]:
    return [row["kind"] for row in stack.rows() if row["kind"].startswith(("policy:", "release:"))]


def denials(stack: Stack) -> list[dict[str, Any]]:
    return [row for row in stack.rows() if row["kind"] == "order:denied"]


def test_file_that_cannot_be_used_adds_no_risk_until_it_is_good_again(settled_stack: Stack) -> None:
    stack, bot = settled_stack, Bot(settled_stack.gateway)
    path, before = policy_file(stack), stack.state()["policy_hash"]
    whole = path.read_text()
    for content in (whole[: len(whole) // 2], "", None, whole.replace('collar = "0.003"', 'collar = "nan"')):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        stack.wait_for_state("REDUCE_ONLY")
        state = stack.state()
        assert "policy file" in state["holders"]["own_faults"]["reason"]
        assert (state["policy"]["file"]["status"], state["policy_hash"]) == ("unusable", before)
        answer = bot.post("/v5/order/create", resting_order(stack, symbol="ETHUSDT"))
        assert answer["retMsg"].startswith("STATE_REDUCE_ONLY"), answer
        path.write_text(whole)
        stack.wait_for_state("ACTIVE")
    assert kinds(stack).count("policy:refused") == 4
    path.write_text("half a fi")
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("REDUCE_ONLY")
    wait_until(lambda: described(stack)["file"]["status"] == "unusable", what="seen after a restart")
    path.write_text(whole)
    stack.wait_for_state("ACTIVE")
    bot.close()


def test_loosening_takes_a_warrant_a_minute_and_the_watchdog_s_own_judgement(settled_stack: Stack) -> None:
    stack, bot = settled_stack, Bot(settled_stack.gateway)
    before = stack.state()["policy_hash"]
    write(stack, r'^max_order_notional_usdt = "[^"]*"', 'max_order_notional_usdt = "300"')
    wait_until(lambda: described(stack)["file"]["status"] == "needs_warrant", what="seen")
    assert described(stack)["file"]["changes"] == ["loosens max_order_notional_usdt: 250 -> 300"]
    answer = bot.create(resting_order(stack, symbol="ETHUSDT", usdt=280))
    assert answer["retMsg"].startswith("ORDER_NOTIONAL_ABOVE_MAXIMUM"), answer
    assert stack.state()["policy_hash"] == before
    stack.wait_for_state("ACTIVE")
    enrol(stack)
    stack.wait_for_state("ACTIVE")
    began = time.monotonic()
    announced = release(stack, "--policy")
    assert announced.returncode == 0, announced.stderr
    assert "loosens max_order_notional_usdt: 250 -> 300" in announced.stdout
    assert "hostile loss 74.04 USDT (0.0185) -> 74.04 USDT (0.0185)" in announced.stdout
    assert stack.state()["policy_hash"] == before
    wait_until(lambda: stack.state()["policy_hash"] != before, what="in force")
    assert time.monotonic() - began > ANNOUNCED_S - 1
    stack.wait_for_state("ACTIVE")  # the watchdog has verified the warrant by itself
    assert bot.create(resting_order(stack, symbol="ETHUSDT", usdt=280))["retCode"] == 0
    assert kinds(stack)[-4:] == ["policy:refused", "release:announced", "policy:recorded", "policy:changed"]
    loosened = stack.state()["policy_hash"]
    for name in ("gateway", "watchdog"):
        stack.kill(name)
        stack.restart(name)
    stack.wait_for_state("ACTIVE")
    assert stack.state()["policy_hash"] == described(stack)["authorised_hash"] == loosened
    refused = release(stack, "--policy")
    assert (refused.returncode, "what is in force" in refused.stderr) == (2, True), refused.stderr
    bot.close()


def test_symbol_taken_off_the_list_is_cancelled_denied_and_its_holding_can_be_sold(settled_stack: Stack) -> None:
    stack, bot = settled_stack, Bot(settled_stack.gateway)
    order = resting_order(stack, usdt=40)
    order_id = bot.create(order)["result"]["orderId"]
    write(stack, r'^\[\[symbols\]\]\ncategory = "spot"\nsymbol = "XRPUSDT"\n[^\[]*', "")
    wait_until(lambda: described(stack)["former_symbols"] == ["spot XRPUSDT"], what="in force")

    def working() -> set[str]:
        orders = stack.control.get("/state").json()["orders"]
        return {str(one["orderId"]) for one in orders if one["orderStatus"] in ("New", "PartiallyFilled")}

    wait_until(lambda: order_id not in working(), what="the order of the symbol is cancelled")
    answer = bot.create(order)
    assert answer["retMsg"].startswith("SYMBOL_NOT_PERMITTED"), answer
    exit_order = {**order, "side": "Sell", "price": str(round(float(order["price"]) / 0.97 * 1.01, 3)), "qty": "5"}
    sold = bot.create(exit_order)
    assert sold["retMsg"].startswith("ORDER_SELL_EXCEEDS_HOLDINGS"), sold  # judged as an exit, of what is not held
    stack.wait_for_state("ACTIVE")
    bot.close()


def test_tightening_is_in_force_at_once_is_on_every_decision_and_outlives_sigkill(settled_stack: Stack) -> None:
    stack, bot = settled_stack, Bot(settled_stack.gateway)
    authorised, in_force = described(stack)["authorised_hash"], stack.state()["policy_hash"]
    assert bot.create(resting_order(stack, symbol="BTCUSDT", usdt=64))["retCode"] == 0
    before = write(stack, r'^max_order_notional_usdt = "[^"]*"', 'max_order_notional_usdt = "30"')
    wait_until(lambda: stack.state()["policy_hash"] != in_force, what="in force")
    tightened, already = stack.state()["policy_hash"], len(denials(stack))
    answer = bot.create(resting_order(stack, symbol="ETHUSDT", usdt=64))
    assert answer["retMsg"].startswith("ORDER_NOTIONAL_ABOVE_MAXIMUM"), answer
    denied = wait_until(lambda: denials(stack)[already:], what="the row")
    assert denied[-1]["policy_hash"] == tightened
    assert described(stack)["authorised_hash"] == authorised
    generation = stack.state()["lease"]["generation"]
    wait_until(lambda: stack.state()["lease"]["generation"] > generation, what="leases go on")
    write(stack, "^", "", text=before)
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("ACTIVE")
    assert stack.state()["policy_hash"] == tightened
    assert described(stack)["file"]["status"] == "needs_warrant"
    bot.close()


def test_halt_voids_a_looser_policy_that_is_announced(settled_stack: Stack) -> None:
    stack = settled_stack
    before = stack.state()["policy_hash"]
    write(stack, r"^max_open_orders = \d+", "max_open_orders = 40")
    wait_until(lambda: "max_open_orders" in str(described(stack)["file"]["changes"]), what="seen")
    assert described(stack)["file"]["status"] == "needs_warrant"
    assert release(stack, "--policy").returncode == 0
    assert described(stack)["release_pending"]["in_s"] > 0
    stack.admin.post("/halt", json={"reason": "a test"})
    wait_until(lambda: "release:voided" in kinds(stack), what="voided")
    assert described(stack)["release_pending"] is None
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    assert stack.state()["policy_hash"] == before
