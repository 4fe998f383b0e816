"""Kills whose cancels the exchange acknowledges, refuses or carries out only in part; with the real simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from killswitch.kill_scene import KillScene, client_of, killable, ordered, step_of
from killswitch.scene import Scene, simulator, until
from killswitch.test_kill_with_simulator import FAULTED, open_positions
from killswitch.test_with_simulator import conditional_orders

from trade_core.secrets import Secret

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Credentials = dict[str, Any]
CANCELS = ("/v5/order/cancel-all", "/v5/order/cancel")
BANNED: dict[str, Any] = {"mode": "status", "status": 403, "message": "403, access too frequent"}
COMPLETE_WITHIN_S = 180


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Credentials]:
    async with simulator(tmp_path_factory.mktemp("simulator")) as credentials:
        yield credentials


async def complete(killing: KillScene) -> dict[str, Any]:
    """Wait for a kill that is complete, and see that nothing works; returns its report."""
    report = await killing.over(within_s=COMPLETE_WITHIN_S)
    assert report["verdict"] == "complete", report
    assert await killing.scene.working() == []
    return report


async def why_pending(killing: KillScene, step: str, words: str) -> None:
    """Wait until the report of a kill that goes on says so of a step."""

    def says_so() -> bool:
        running = killing.killer.status()["running"]
        return running is not None and words in step_of(running, step)["why"]

    await until(says_so)


async def plain_orders(made: Scene) -> None:
    for category in ("spot", "linear"):
        await asyncio.gather(*(made.order(category, "XRPUSDT", "Buy") for _ in range(5)))


async def test_cancels_that_are_acknowledged_and_not_carried_out_are_sent_again(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await conditional_orders(killing.scene)
        await plain_orders(killing.scene)
        for path in CANCELS:
            await killing.scene.fault(path, "error", ret_code=0, message="OK", count=1)
        killing.begin()
        await complete(killing)


async def test_cancel_all_that_leaves_every_second_order_is_sent_until_none_is_left(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await plain_orders(killing.scene)
        await killing.scene.fault("/v5/order/cancel-all", "partial", count=4)
        killing.begin()
        shown = step_of(await complete(killing), "cancel")["evidence"]
        # Of each book 5, then the 3 that were left, then the 2 of these, at the least.
        assert shown["cancels_acknowledged"] >= 2 * (5 + 3)
        assert {shown["working:spot:Order"], shown["working:linear/USDT:Order"]} == {0}


async def test_order_that_fills_partly_before_its_cancel_is_cancelled_and_its_position_closed(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await bid(made)
        killing.begin(ordered(linear="flatten"))

        async def is_filled_in_part() -> bool:
            await sell(made, "2000")
            # A market that moved may have taken the rest, too: that is a position to be closed as well.
            return [order["orderStatus"] for order in await made.working()] in ([], ["PartiallyFilled"])

        await until(is_filled_in_part)
        report = await complete(killing)
        assert step_of(report, "flatten")["evidence"]["orders_sent"] >= 1
        assert await open_positions(made) == []


async def bid(made: Scene) -> None:
    """Bid with the best buyers, for more than one seller brings."""
    answer = await made.client.get_public("/v5/market/tickers", "category=linear&symbol=XRPUSDT")
    await made.order("linear", "XRPUSDT", "Buy", price=answer.result["list"][0]["bid1Price"], qty="20000")


async def sell(made: Scene, quantity: str) -> None:
    """Let another member of the exchange sell to the best buyers."""
    pair = made.credentials["keys"]["client"]
    other = client_of(made.credentials["url"], Secret(pair["key"]), Secret(pair["secret"]))
    content = {"category": "linear", "symbol": "XRPUSDT", "side": "Sell", "orderType": "Market", "qty": quantity}
    try:
        sold = await other.post("/v5/order/create", json.dumps(content).encode())
        assert sold.is_ok, sold
    finally:
        await other.aclose()


async def test_cancels_that_are_refused_for_their_rate_are_named_until_they_are_taken(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await plain_orders(killing.scene)
        for path in CANCELS:
            await killing.scene.fault(path, "error", ret_code=10006, message="Too many visits!")
        killing.begin()
        await why_pending(killing, "cancel", "10 orders work that could add risk (spot:Order: 5, linear/USDT:Order: 5)")
        await why_pending(killing, "cancel", "cancels refused (10006: ")
        await killing.scene.no_faults()
        shown = step_of(await complete(killing), "cancel")["evidence"]
        assert shown["cancels_refused"].startswith("10006: ")


async def test_address_that_is_banned_is_named_in_every_step_and_the_kill_goes_on_after_it(
    tmp_path: Path, exchange: Credentials
) -> None:
    async with killable(tmp_path, exchange) as killing:
        await plain_orders(killing.scene)
        for path in FAULTED:
            await killing.scene.fault(path, **BANNED)
        killing.begin()
        for step in ("algorithms", "cancel", "revoke"):
            await why_pending(killing, step, "HTTP 403")
        await killing.scene.no_faults()
        await complete(killing)
