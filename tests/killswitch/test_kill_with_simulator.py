"""Whole kills against the real simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from killswitch.kill_scene import client_of, killable, ordered, step_of
from killswitch.scene import simulator

from trade_core.secrets import Secret
from trade_journal.log.rows import RowKind

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Credentials = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Credentials]:
    """One simulator for all of them: each test begins with clear books and new keys."""
    async with simulator(tmp_path_factory.mktemp("simulator")) as credentials:
        yield credentials


async def is_refused(credentials: Credentials, role: str) -> bool:
    pair = credentials["keys"][role]
    client = client_of(credentials["url"], Secret(pair["key"]), Secret(pair["secret"]))
    try:
        return (await client.get("/v5/user/query-api")).ret_code == 10003
    finally:
        await client.aclose()


async def test_flat_account_is_killed_frozen_and_proved(tmp_path: Path, exchange: Credentials) -> None:
    async with killable(tmp_path, exchange) as killing:
        await asyncio.gather(*(killing.scene.order("linear", "XRPUSDT", "Buy") for _ in range(5)))
        report = await killing.killed()
        print(report["in_words"], [(s["step"], s["ended_s"], s["tries"]) for s in report["steps"]])
        assert report["verdict"] == "complete", report
        assert report["took_s"] < 10
        assert await killing.scene.working() == []
        assert step_of(report, "freeze")["evidence"] == {"is_frozen": True}
        assert set(step_of(report, "prove")["evidence"].values()) == {"10003"}
        assert killing.store.destroyed == ["gateway", "bot"]
        assert killing.rows.of(RowKind.KILL_REPORTED)[-1]["verdict"] == "complete"
        for role in ("order", "watch", "exit"):
            assert await is_refused(exchange, role)
        assert not await is_refused(exchange, "revoker")


async def test_open_positions_are_flattened(tmp_path: Path, exchange: Credentials) -> None:
    async with killable(tmp_path, exchange) as killing:
        made = killing.scene
        await made.order("linear", "XRPUSDT", "Buy", orderType="Market", timeInForce="IOC", qty="100")
        await made.order("spot", "XRPUSDT", "Buy", orderType="Market", timeInForce="IOC", qty="200")
        report = await killing.killed(ordered(linear="flatten", spot="flatten"))
        print(report["in_words"], report["steps"])
        assert report["verdict"] == "complete", report
        assert report["took_s"] < 30
        state = (await made.control.get("/__sim/state")).json()
        assert [one for one in state["positions"] if one["uid"] == made.account and Decimal(one["size"]) != 0] == []
