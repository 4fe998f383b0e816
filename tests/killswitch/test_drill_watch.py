"""The watch over the schedule: what it reads, when it tells, and how often."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from trade_core.alerts.model import Alert
from trade_core.clock import NS_PER_S, ManualClock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Row, RowKind
from trade_killswitch import drill_watch
from trade_killswitch.drill_schedule import DAY_NS
from trade_killswitch.drill_watch import DrillWatch

REPORT: dict[str, Any] = {"kill_id": "k", "is_drill": True, "verdict": "complete", "took_ms": 4200}


class World:
    """A journal that grows, and whoever is told."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall_ns=0)
        self.rows: list[Row] = []
        self.told: list[Alert] = []
        self.is_broken = False
        self.overdue = Gauge("overdue", "x", registry=CollectorRegistry())
        self.watch = DrillWatch(rows=self, every_days=90, tell=self.told.append, overdue=self.overdue, clock=self.clock)

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        if self.is_broken:
            raise JournalUnavailable("gone")
        return self.rows[from_seq : from_seq + limit]

    def write(self, kind: RowKind, **fields: Any) -> None:
        row = Row(seq=len(self.rows), at_ns=self.clock.wall_ns(), kind=kind, actor="executor", fields=fields)
        self.rows.append(row)

    async def after(self, days: float) -> None:
        self.clock.advance(int(days * DAY_NS))
        await self.watch.look()


@pytest.fixture
def world() -> World:
    return World()


async def test_nothing_is_known_before_the_first_row(world: World) -> None:
    assert world.watch.status() is None
    await world.after(1000)
    assert (world.watch.status(), world.told) == (None, [])


async def test_overdue_drill_is_told_once_a_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_watch, "ROWS_AT_ONCE", 2)
    for _ in range(5):
        world.write(RowKind.PROCESS_STARTED, process="executor")
    await world.after(89)
    assert (world.told, world.overdue._value.get()) == ([], 0)
    await world.after(1)
    assert [alert.subject for alert in world.told] == ["drill:overdue"]
    assert world.overdue._value.get() == 1
    for _ in range(3):
        await world.after(0.3)
    assert len(world.told) == 1
    await world.after(0.1)
    assert len(world.told) == 2


async def test_complete_drill_ends_it_and_a_failed_one_begins_it(world: World) -> None:
    world.write(RowKind.PROCESS_STARTED, process="executor")
    await world.after(91)
    world.write(RowKind.KILL_REPORTED, **REPORT)
    await world.after(0.01)
    status = world.watch.status()
    assert status is not None
    assert (status["is_overdue"], status["took_ms"]) == (False, 4200)
    assert (len(world.told), world.overdue._value.get()) == (1, 0)
    world.write(RowKind.KILL_REPORTED, **{**REPORT, "verdict": "pending"})
    await world.after(0.01)
    assert len(world.told) == 2
    assert "did not come to a complete end" in world.told[1].text


async def test_kill_in_earnest_and_other_rows_are_no_drill(world: World) -> None:
    world.write(RowKind.PROCESS_STARTED, process="executor")
    world.write(RowKind.KILL_REPORTED, **{**REPORT, "is_drill": False})
    world.write(RowKind.KILL_ORDERED, **REPORT)
    await world.after(91)
    assert len(world.told) == 1


async def test_journal_that_cannot_be_read_is_looked_at_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(RowKind.PROCESS_STARTED, process="executor")
    world.is_broken = True
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        world.is_broken = False
        world.clock.advance(91 * DAY_NS + NS_PER_S)
        if looks == 2:
            raise StopAsyncIteration

    monkeypatch.setattr(drill_watch.asyncio, "sleep", sleep)
    with pytest.raises((StopAsyncIteration, RuntimeError)):
        await world.watch.run()
    assert len(world.told) == 1
