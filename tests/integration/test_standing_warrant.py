"""An automatic kill that nobody allows any more, with all real processes: a halt, a sweep and a call, and no kill."""

from __future__ import annotations

import time
from typing import Any

import pytest
from integration.bot import resting_order
from integration.security_keys import add_key, arm, enrol, executor_of, handed_to_arm, last_kill
from integration.stack import Stack, wait_until
from trust_parts import FastKey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ARMED_FOR_MS = 15_000


def status(stack: Stack) -> dict[str, Any]:
    with executor_of(stack) as executor:
        found: dict[str, Any] = executor.get("/status").raise_for_status().json()
    return found


def judged(stack: Stack) -> dict[str, str]:
    """Why each request to kill that was judged was none, by its condition, as the executor's journal tells."""
    with executor_of(stack) as executor:
        rows = executor.get("/journal/rows?from=0&limit=512").raise_for_status().json()["rows"]
    found = [row["fields"] for row in rows if row["kind"] == "kill:judged"]
    assert not any(fields["holds"] for fields in found), found
    return {fields["condition"]: fields["why"] for fields in found}


def fell_back(stack: Stack, condition: str) -> str:
    """Wait until a request to kill was a halt, a sweep and a call; answers why it was no kill."""
    why: str = wait_until(lambda: judged(stack).get(condition), what=f"{condition} is judged")
    wait_until(lambda: status(stack)["sweep"]["last"], what="the sweep is proved")
    assert f"kill:{condition}" in str(status(stack)["unacknowledged"])
    stack.wait_for_state("HALTED")
    assert last_kill(stack) is None
    return why


def test_warrant_of_another_account_of_an_earlier_ring_or_lapsed_kills_nobody(own_stack: Stack) -> None:
    stack = own_stack
    enrol(stack)
    foreign = handed_to_arm(stack, account="9999")
    assert (foreign.status_code, "account" in foreign.text) == (403, True), foreign.text
    assert status(stack)["armed"]["is_armed"] is False

    arm(stack)
    add_key(stack, FastKey("third"))
    assert "ring" in status(stack)["armed"]["reason"]
    thief = {"uid": stack.state()["account"], "permissions": {"Spot": ["SpotTrade"]}, "readOnly": False, "ips": []}
    stack.control.post("/key", json=thief).raise_for_status()
    assert "ring" in fell_back(stack, "rogue_key")

    answer = handed_to_arm(stack, expires_at_ms=time.time_ns() // 10**6 + ARMED_FOR_MS)
    assert answer.is_success, answer.text
    wait_until(lambda: "expired" in status(stack)["armed"]["reason"], what="it has lapsed")
    order = {**resting_order(stack, symbol="BTCUSDT", usdt=300), "timeInForce": "GTC"}
    stack.control.post("/order", json=order).raise_for_status()
    assert "expired" in fell_back(stack, "rogue_order")
    wait_until(lambda: not stack.control.get("/state").json()["orders"], what="the order is swept")
