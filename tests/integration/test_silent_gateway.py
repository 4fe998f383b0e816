"""A gateway that hangs with orders at the exchange: the watchdog notices, the executor sweeps, the books prove it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from integration.bot import Bot, resting_order
from integration.stack import PATIENCE_S, Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]
SILENT_S = 15
SPOT_ORDERS, LINEAR_ORDERS = 340, 260


@pytest.fixture(scope="module")
def rich_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with room for hundreds of orders."""
    stack = Stack(tmp_path_factory.mktemp("rich"), "--equity", "40000")
    yield stack
    stack.stop()


def working(stack: Stack) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = stack.control.get("/state", timeout=PATIENCE_S).json()["orders"]
    return orders


def executor_status(stack: Stack) -> dict[str, Any]:
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=PATIENCE_S) as client:
        status: dict[str, Any] = client.get("/status").json()
        return status


# They share a stack and stand in order: the first says that nothing was swept since it began.


def test_gateway_that_answers_is_not_swept(rich_stack: Stack) -> None:
    stack = rich_stack
    bot = Bot(stack.gateway)
    order = resting_order(stack)
    placed = bot.create(order)
    assert placed["retCode"] == 0
    deadline = time.monotonic() + SILENT_S + 3
    while time.monotonic() < deadline:
        assert executor_status(stack)["sweep"] == {"running": None, "last": None}
        time.sleep(1)
    assert len(working(stack)) == 1
    # The next test places the like, which would be a duplicate.
    cancel = {"category": "spot", "symbol": order["symbol"], "orderId": placed["result"]["orderId"]}
    assert bot.post("/v5/order/cancel", cancel)["retCode"] == 0
    bot.close()


def test_orders_of_a_stopped_gateway_are_swept_and_proved_gone(rich_stack: Stack) -> None:
    stack = rich_stack
    bot = Bot(stack.gateway)
    for category in ("spot", "linear"):
        assert bot.create(resting_order(stack, category=category))["retCode"] == 0
    stack.kill("gateway", signal.SIGSTOP)
    # An owned gateway would place its own; these come behind its back, with its key.
    crowd = [resting_order(stack, usdt=6)] * SPOT_ORDERS
    crowd += [resting_order(stack, category="linear", usdt=6)] * LINEAR_ORDERS

    def place(order: dict[str, Any]) -> None:
        stack.control.post("/order", json=order, timeout=PATIENCE_S).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(place, crowd))
    # A sweep that began while they came is followed by another one.
    wait_until(lambda: not working(stack), what="nothing works at the exchange")
    last = wait_until(lambda: executor_status(stack)["sweep"]["last"], what="the proof")
    assert last["kept"] == 0
    asked = stack.requests_at_exchange("/v5/order/cancel-all")
    assert asked
    assert all(request["key"] != stack.gateway["key"] for request in asked)
    stack.kill("gateway", signal.SIGCONT)
    wait_until(lambda: stack.state()["working_orders"] == 0, what="the gateway has noticed")
    bot.close()
