"""Which order is a kill of its own, and what it does; with steps that are told how to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from killswitch.kill_scene import Rows, ordered

from trade_core.alerts.channels import ChannelKind
from trade_core.alerts.channels import Outcome as SendOutcome
from trade_core.alerts.model import Message, Sender
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_S, ManualClock
from trade_journal.log.rows import Fields, RowKind
from trade_killswitch.kill_order import JOIN_WITHIN_S, KillRefused
from trade_killswitch.kill_steps import KillMemory, Parts
from trade_killswitch.killer import ROWS_MAX, KillBegun, Killer
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.procedure import Outcome, Progress, Step, Tried

FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16
ENVELOPE: Fields = {"warrant": ["an envelope"]}


class Nobody:
    """A channel that is never asked: what waits for it is what people would be told."""

    kind = ChannelKind.WEBHOOK

    async def send(self, message: Message) -> SendOutcome:
        raise AssertionError(message)

    async def close(self) -> None:
        """Hold nothing open."""


@dataclass
class World:
    """Killers one after another over the same rows; `hanging` steps do not end, `failing` ones take a minute to."""

    clock: ManualClock = field(default_factory=ManualClock)
    rows: Rows = field(default_factory=Rows)
    hanging: set[Step] = field(default_factory=set)
    failing: set[Step] = field(default_factory=set)
    short: set[Step] = field(default_factory=set)
    tried: list[tuple[str, Step]] = field(default_factory=list)
    memories: dict[str, KillMemory] = field(default_factory=dict)
    metrics: ExecutorMetrics = field(default_factory=ExecutorMetrics)
    outbox: Outbox = field(init=False)

    def steps(self, *, parts: Parts, order: Any, memory: KillMemory, tell: Callable[[], None]) -> Any:
        world = self
        world.memories[order.kill_id] = memory

        class Steps:
            async def attempt(self, step: Step, progress: Progress) -> Tried:
                world.tried.append((order.kill_id, step))
                if step in world.hanging:
                    await asyncio.Event().wait()
                if step in world.failing:
                    world.age(61)
                    return Tried(outcome=Outcome.FAILED, why="as told")
                if step in world.short:
                    return Tried(outcome=Outcome.SHORT, why="a position is left")
                if step is Step.TELL:
                    tell()
                return Tried(outcome=Outcome.DONE)

        return Steps()

    @asynccontextmanager
    async def killer(self) -> AsyncIterator[Killer]:
        self.metrics = metrics = ExecutorMetrics()
        self.outbox = outbox = Outbox(
            sender=Sender(service="kill executor", environment="simulated", account="1"),
            channels=[Nobody()],
            clock=self.clock,
            count=metrics.count_alert,
        )

        class Given:
            clock, recorder = self.clock, self.rows

        made = Killer(parts=cast("Parts", Given()), outbox=outbox, metrics=metrics)
        try:
            yield made
        finally:
            await made.stop()

    def is_told(self, subject: str) -> bool:
        """Tell whether a message of a subject was handed to the channel."""
        return self.outbox.told(subject) == {"1:webhook": "waiting"}

    def steps_of(self, kill_id: str) -> set[Step]:
        return {step for one, step in self.tried if one == kill_id}

    def age(self, seconds: float) -> None:
        self.clock.advance(int(seconds * NS_PER_S))

    @property
    def orders(self) -> list[Any]:
        return [row["kill_id"] for row in self.rows.of(RowKind.KILL_ORDERED)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("trade_killswitch.killer.KillSteps", made.steps)
    return made


def begin(killer: Killer, kill_id: str, **changed: Any) -> KillBegun:
    return killer.begin(ordered(kill_id, **changed), authorisation=ENVELOPE, by="a test")


async def settled() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


async def test_second_kill_within_minutes_is_told_from_its_beginning_to_its_end(world: World) -> None:
    async with world.killer() as killer:
        for kill_id in (FIRST, SECOND):
            begin(killer, kill_id)
            await settled()
            assert killer.status()["last"]["verdict"] == "complete"
            assert killer.status()["last"]["told"] == {"1:webhook": "waiting"}
            assert world.is_told(f"kill:begun:{kill_id}")
            assert world.is_told(f"kill:ended:{kill_id}")


@pytest.mark.parametrize(("failing", "short"), [({Step.SECRETS}, set()), (set(), {Step.FLATTEN})])
async def test_what_a_kill_left_undone_calls_for_nobody_once_another_is_in_its_place(
    world: World, failing: set[Step], short: set[Step]
) -> None:
    world.failing, world.short = failing, short
    async with world.killer() as killer:
        begin(killer, FIRST)
        await settled()
        assert world.outbox.unacknowledged == (f"kill:pending:{FIRST}",)
        world.failing.clear()
        world.short.clear()
        begin(killer, SECOND, linear="flatten")
        await settled()
        assert killer.status()["last"]["verdict"] == "complete"
        assert world.outbox.unacknowledged == ()


async def test_twenty_touches_of_one_mind_are_one_kill(world: World) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begun = [begin(killer, f"{number:016x}") for number in range(20)]
        await settled()
        assert [one.is_new for one in begun] == [True] + [False] * 19
        assert {one.kill_id for one in begun} == {"0" * 16}
    assert world.orders == ["0" * 16]


@pytest.mark.parametrize(
    ("before", "after"),
    [({"is_drill": True}, {}), ({"is_drill": True}, {"spot": "flatten"}), ({}, {"linear": "flatten"})],
)
@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_order_for_something_else_ends_the_one_that_goes_on_and_does_everything(
    world: World, before: dict[str, Any], after: dict[str, Any], is_cut_off: bool
) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begin(killer, FIRST, **before)
        await settled()
        killer.status()
        world.memories[FIRST].keys.add("a key")
        assert begin(killer, SECOND, **after) == KillBegun(kill_id=SECOND, is_new=True)
        await settled()
        assert killer.status()["running"]["kill_id"] == SECOND
        tries = len([one for one in world.tried if one[0] == FIRST])
        if not is_cut_off:
            world.hanging.clear()
            assert world.steps_of(SECOND) >= {Step.REFUSE, Step.BOT, Step.CANCEL, Step.SECRETS, Step.ALGORITHMS}
    async with world.killer() as again:
        world.hanging.clear()
        assert await again.resume(world.rows.journal()) is True
        assert world.memories[SECOND].keys == {"a key"}
        await settled()
        assert again.status()["last"]["verdict"] == "complete"
        assert again.status()["last"]["kill_id"] == SECOND
        assert world.memories[SECOND].warrant == b"an envelope"
        assert world.steps_of(SECOND) == set(Step)
    assert len([one for one in world.tried if one[0] == FIRST]) == tries
    assert world.orders == [FIRST, SECOND]
    assert world.rows.of(RowKind.KILL_ORDERED)[1]["in_place_of"] == FIRST


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_kill_that_waits_since_long_ago_is_not_joined_and_every_step_is_done_again(
    world: World, is_cut_off: bool
) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begin(killer, FIRST)
        await settled()
        if not is_cut_off:
            world.age(JOIN_WITHIN_S)
            assert begin(killer, SECOND).is_new
            assert not begin(killer, THIRD).is_new
    async with world.killer() as killer:
        assert await killer.resume(world.rows.journal())
        if is_cut_off:
            # What went on from its rows has done its steps no one knows when.
            assert begin(killer, SECOND).is_new
            assert not begin(killer, THIRD).is_new
        world.hanging.clear()
        killer.take_up_again()
        await settled()
        assert world.steps_of(SECOND) >= set(Step) - {Step.TELL}
        assert killer.status()["last"]["verdict"] == "complete"
    assert world.orders == [FIRST, SECOND]


async def test_what_was_taken_up_again_is_not_joined_by_another_order(world: World) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begin(killer, FIRST)
        await settled()
        world.age(JOIN_WITHIN_S + 1)
        killer.take_up_again()
        await settled()
        assert begin(killer, SECOND).is_new


async def test_drill_waits_for_the_end_of_a_kill_and_its_touch_is_not_used_up(world: World) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begin(killer, FIRST)
        await settled()
        for _ in range(2):
            with pytest.raises(KillRefused, match=f"kill {FIRST} is not over"):
                begin(killer, SECOND, is_drill=True)
            world.age(JOIN_WITHIN_S * 2)
        assert killer.status()["running"]["kill_id"] == FIRST
    assert world.orders == [FIRST]


async def test_touch_of_an_order_that_was_replaced_begins_nothing_twice(world: World) -> None:
    world.hanging = {Step.SECRETS}
    async with world.killer() as killer:
        begin(killer, FIRST)
        begin(killer, SECOND, spot="flatten")
        assert begin(killer, FIRST) == KillBegun(kill_id=SECOND, is_new=False)
        await settled()
    async with world.killer() as again:
        await again.resume(world.rows.journal())
        assert begin(again, FIRST) == KillBegun(kill_id=SECOND, is_new=False)
        world.hanging.clear()
        again.take_up_again()
        await settled()
        assert not again.is_running
        assert begin(again, SECOND) == KillBegun(kill_id=SECOND, is_new=False)
        with pytest.raises(KillRefused, match="takes a new touch"):
            begin(again, FIRST)
        assert begin(again, THIRD).is_new
    assert world.orders == [FIRST, SECOND, THIRD]


class ShutRows(Rows):
    """Rows that no disk takes until it is opened."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.opened = asyncio.Event()

    async def record(self, kind: RowKind, fields: Fields) -> bool:
        await self.opened.wait()
        return await super().record(kind, fields)


async def test_rows_that_the_disk_does_not_take_are_bounded_and_steps_go_first(world: World) -> None:
    world.rows = rows = ShutRows()
    world.hanging = {Step.BOT}
    first = 300
    async with world.killer() as killer:
        for number in range(first):
            begin(killer, f"{number:016x}", spot=("hold", "flatten")[number % 2])
            await settled()
        assert killer.status()["running"]["kill_id"] == f"{first - 1:016x}"
        rows.opened.set()
        await settled()
        for _ in range(ROWS_MAX):
            await settled()
        # One was on its way to the disk, and as many as may wait were waiting.
        assert len(rows.rows) == ROWS_MAX + 1
        assert world.orders == [f"{number:016x}" for number in range(first)]
        kept = [row["kill_id"] for row in rows.of(RowKind.KILL_STEP)]
        assert kept == sorted(kept)
        assert kept[-1] == f"{first - 1:016x}"
    assert world.metrics.registry.get_sample_value("trade_executor_rows_lost_total") > 0


async def test_orders_alone_are_bounded_too(world: World) -> None:
    world.rows = rows = ShutRows()
    world.hanging = set(Step)
    orders = ROWS_MAX + 20
    async with world.killer() as killer:
        for number in range(orders):
            begin(killer, f"{number:016x}", spot=("hold", "flatten")[number % 2])
        rows.opened.set()
        for _ in range(ROWS_MAX):
            await settled()
        assert world.orders == [f"{number:016x}" for number in range(orders - ROWS_MAX, orders)]
    assert world.metrics.registry.get_sample_value("trade_executor_rows_lost_total") == orders - ROWS_MAX
