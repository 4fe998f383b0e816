"""The daily comparison at work: when a day is due, what is told, and what is tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from watchdog.keepers import EffectsList, JournalList, keeper_of

from trade_core.clock import ManualClock
from trade_core.errors import ConfigurationError, ExchangeUnavailable
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.verify import StoredRow
from trade_watchdog.audit.reconciliation import DAY_MS, begin_ms
from trade_watchdog.reconciler import SETTLE_MS, STATE_FILE, Reconciler

NS_PER_MS = 1_000_000
DAY = "2026-11-25"
BEGIN = begin_ms(DAY)
EXECUTION = {
    "symbol": "BTCUSDT",
    "execId": "e-1",
    "orderId": "o-1",
    "orderLinkId": "T-1",
    "side": "Buy",
    "execQty": "1",
    "execPrice": "100",
    "execFee": "0",
    "orderQty": "1",
    "orderPrice": "100",
    "execType": "Trade",
    "createType": "",
    "execTime": str(BEGIN + 7),
}


def _at(at_ms: int) -> dict[str, str]:
    name = "e-1" if at_ms == BEGIN + 7 else f"e-{at_ms}"
    return {**EXECUTION, "execId": name, "execTime": str(at_ms)}


class World:
    """An exchange with one execution on the day, and a copy of a journal with its fill."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(wall_ns=(BEGIN + 5000) * NS_PER_MS)
        self.journal = JournalList()
        self.effects = EffectsList()
        self.is_down = False
        self.asked: list[Mapping[str, Any]] = []
        self.filled = "1"
        self.also_at_ms: list[int] = []
        self.reads_behind = 0
        self.is_open = True
        self.folder = folder
        self.reconciler = Reconciler(
            reading=self,
            open_copy=lambda: self if self.is_open else None,
            history=keeper_of(journal=self.journal, clock=self.clock).history,
            effects=self.effects,
            state_dir=folder,
            clock=self.clock,
        )

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(parameters)
        if self.is_down:
            raise ExchangeUnavailable("the exchange does not answer")
        assert parameters["endTime"] - parameters["startTime"] <= 7 * DAY_MS
        if (tag := parameters.get("orderLinkId")) is not None:
            at_ms = [at for at in self.also_at_ms if parameters["startTime"] <= at <= parameters["endTime"]]
            is_there = (parameters["category"], tag) == ("spot", "T-1")
            return {"list": [_at(at) for at in at_ms] if is_there else []}
        if parameters["category"] == "linear" or not parameters["startTime"] <= BEGIN + 7 <= parameters["endTime"]:
            return {"list": []}
        return {"list": [EXECUTION]} if "cursor" in parameters else {"list": [], "nextPageCursor": "1"}

    async def statement(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(parameters)
        is_of_day = parameters["startTime"] <= BEGIN + 7 <= parameters["endTime"]
        trade = {
            "tradeId": "e-1",
            "orderId": "o-1",
            "transactionTime": str(BEGIN + 7),
            "category": "linear",
            "symbol": "BTCUSDT",
            "currency": "USDT",
            "qty": EXECUTION["execQty"],
        }
        return {"list": [trade] if is_of_day else []}

    def size(self) -> int:
        return 1

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        self.reads_behind -= 1
        fields = {"tag": "T-1", "filled": "2" if self.reads_behind >= 0 else self.filled}
        at_ns = (BEGIN + 7) * NS_PER_MS
        body = row_bytes(Row(seq=0, at_ns=at_ns, kind=RowKind.ORDER_FILLED, actor="gateway", fields=fields))
        return [StoredRow(seq=0, body=body, leaf_hash=leaf_hash(body))]

    def close(self) -> None:
        return None

    def pass_ms(self, duration_ms: int) -> None:
        self.clock.advance(duration_ms * NS_PER_MS)

    def rows(self) -> list[Any]:
        return self.journal.fields_of("reconciliation:recorded")

    def done(self) -> str:
        return str(json.loads((self.folder / STATE_FILE).read_bytes())["day"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("trade_watchdog.reconciler.PAGES_PER_S", 1000)
    return World(tmp_path)


async def test_day_is_reconciled_once_and_only_when_it_is_settled(world: World) -> None:
    await world.reconciler.step()
    assert (world.done(), world.asked) == ("2026-11-24", [])
    world.pass_ms(DAY_MS + SETTLE_MS - 5000 - 1)
    await world.reconciler.step()
    assert world.asked == []
    world.pass_ms(1)
    for _ in range(2):
        await world.reconciler.step()
    assert world.done() == DAY
    assert world.rows() == [
        {
            "day": DAY,
            "executions": 1,
            "statement_trades": 1,
            "orders": 1,
            "orders_of_others": 0,
            "differing": 0,
            "differences": [],
        }
    ]
    assert world.journal.fields_of("incident:opened") == []


async def test_day_that_differs_is_an_incident_and_an_alert(world: World) -> None:
    world.filled = "2"
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    await world.reconciler.step()
    words = f"{DAY}: journal, drop copy and statement differ 1 times: tag T-1: 1 in the drop copy, 2 in the journal"
    assert world.journal.fields_of("incident:opened") == [
        {"type": "reconciliation", "severity": "critical", "day": DAY, "detail": words}
    ]
    assert [alert.text for alert in world.effects.alerts] == [words]


@pytest.mark.parametrize(
    ("at_ms", "is_explained"),
    [
        (BEGIN - 5 * 3_600_000, True),
        (BEGIN - 6 * DAY_MS - 1, True),
        (BEGIN - 27 * DAY_MS, True),
        (BEGIN - 27 * DAY_MS - 1, False),
        (BEGIN + DAY_MS + SETTLE_MS + 1, True),
    ],
)
async def test_order_that_nobody_cancelled_is_read_whole_before_it_differs(
    world: World, at_ms: int, is_explained: bool
) -> None:
    """An exit may rest for weeks, and a machine that sleeps cancels nothing; each fill has its row in the end."""
    world.filled = "2"
    world.also_at_ms = [BEGIN + 7, at_ms]
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    await world.reconciler.step()
    assert world.rows()[0]["differing"] == int(not is_explained)
    assert len(world.effects.alerts) == int(not is_explained)


@pytest.mark.parametrize(("reads_behind", "differing"), [(1, 0), (3, 0), (4, 1)])
async def test_fill_whose_row_comes_after_the_list_is_waited_for(
    world: World, reads_behind: int, differing: int
) -> None:
    """An order that still works fills between the exchange's list and the copy of the journal."""
    world.filled, world.reads_behind = "3", reads_behind
    world.also_at_ms = [BEGIN - 5 * 3_600_000, BEGIN + 7, BEGIN + DAY_MS + SETTLE_MS]
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    await world.reconciler.step()
    assert world.rows()[0]["differing"] == differing


async def test_day_that_agrees_reads_no_order_whole(world: World) -> None:
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    await world.reconciler.step()
    assert not any("orderLinkId" in asked for asked in world.asked)


async def test_orders_that_are_read_whole_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_watchdog.reconciler.WHOLE_LIVES_MAX", 0)
    world.filled = "2"
    world.also_at_ms = [BEGIN + 7, BEGIN - 5 * 3_600_000]
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    await world.reconciler.step()
    assert world.rows()[0]["differing"] == 1


async def test_day_that_cannot_be_read_is_tried_again(world: World) -> None:
    await world.reconciler.step()
    world.pass_ms(DAY_MS + SETTLE_MS)
    world.is_down = True
    await world.reconciler.step()
    assert (world.rows(), world.done(), world.reconciler.failure) == ([], "2026-11-24", "the exchange does not answer")
    world.is_down, world.is_open = False, False
    await world.reconciler.step()
    assert world.reconciler.failure == "the copy of the gateway's journal is not open"
    world.is_open = True
    await world.reconciler.step()
    assert (len(world.rows()), world.done(), world.reconciler.failure) == (1, DAY, "")


async def test_days_that_were_missed_are_made_up_for_as_far_as_the_exchange_remembers(world: World) -> None:
    await world.reconciler.step()
    world.pass_ms(3 * DAY_MS + SETTLE_MS)
    for _ in range(5):
        await world.reconciler.step()
    assert [row["day"] for row in world.rows()] == [DAY, "2026-11-26", "2026-11-27"]
    world.pass_ms(20 * DAY_MS)
    for _ in range(9):
        await world.reconciler.step()
    assert [row["day"] for row in world.rows()][3:] == [f"2026-12-{number:02}" for number in range(12, 18)]


@pytest.mark.parametrize("content", ["", "{}", '{"day": 5}', '{"day": "yesterday"}'])
async def test_memory_that_names_no_day_is_refused(world: World, content: str) -> None:
    (world.folder / STATE_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match="names no day"):
        await world.reconciler.step()
