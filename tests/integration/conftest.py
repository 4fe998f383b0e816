"""Running stacks for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.bot import Bot
from integration.stack import Stack, wait_until


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for a module's tests, in state ACTIVE; with the console for a module that says HAS_CONSOLE."""
    has_console = getattr(request.module, "HAS_CONSOLE", False)
    running = Stack(tmp_path_factory.mktemp("stack"), has_console=has_console)
    try:
        assert (running.description["processes"]["console"] is not None) is has_console
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()


@pytest.fixture
def settled_stack(stack: Stack) -> Stack:
    """The module's stack, ACTIVE again, without the orders, faults and requests of the test before.

    For tests that leave it ACTIVE, whatever they break meanwhile: a stack takes 16 s of computing to start.
    """
    stack.control.delete("/faults").raise_for_status()
    stack.wait_for_state("ACTIVE")
    bot = Bot(stack.gateway)
    for order in stack.control.get("/state").json()["orders"]:
        if order["orderStatus"] in ("New", "PartiallyFilled", "Untriggered"):
            named = {name: order[name] for name in ("category", "symbol", "orderId")}
            # The gateway cancels by itself what is too old; whoever comes second finds it gone.
            assert bot.post("/v5/order/cancel", named)["retCode"] in (0, 110001, 170213)
    bot.close()
    wait_until(lambda: stack.state()["working_orders"] == 0, what="nothing works")
    stack.control.delete("/requests").raise_for_status()
    return stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of a test's own, to be broken."""
    running = Stack(tmp_path)
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()
