"""An executor that dies in the middle of a kill, at each step: the next one goes on from its journal, a real one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from killswitch.kill_scene import ordered

from trade_core.alerts.model import Sender
from trade_core.alerts.outbox import Outbox
from trade_core.clock import SystemClock
from trade_core.errors import TradeError
from trade_core.trust.keys import load_private_key, new_private_key
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch import procedure
from trade_killswitch.kill_steps import KillMemory, Parts
from trade_killswitch.killer import Killer
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.procedure import RULES, Outcome, Progress, Step, Tried
from trade_killswitch.recorder import Recorder

SIGNER = LogSigner(origin="t/executor", private_key=load_private_key(new_private_key()), ring_hash="r")
KILL_ID = "0123456789abcdef"


class Down(TradeError):
    """A part that does not work just now."""


@dataclass
class World:
    """What the steps work on; it outlives the executor, as an exchange does."""

    folder: Path
    hanging: set[Step] = field(default_factory=set)
    effects: Counter[Step] = field(default_factory=Counter)
    tries: Counter[Step] = field(default_factory=Counter)
    fails: Callable[[Step], bool] = lambda _: False

    def steps(self, *, parts: Parts, order: Any, memory: KillMemory, tell: Callable[[], None]) -> Any:
        world = self

        class Steps:
            async def attempt(self, step: Step, progress: Progress) -> Tried:
                world.tries[step] += 1
                if world.fails(step):
                    raise Down(f"{step.value} does not answer")
                world.effects[step] += 1
                if step in world.hanging:  # it was done, and nobody was told
                    await asyncio.Event().wait()
                return Tried(outcome=Outcome.DONE, evidence={"step": step.value})

        return Steps()

    async def journal(self) -> JournalWriter:
        url = f"sqlite:///{self.folder / 'executor.db'}"
        return await JournalWriter.open(url, origin="t/executor", clock=SystemClock(), signer=SIGNER)

    @asynccontextmanager
    async def executor(self, *, is_killed: bool = False) -> AsyncIterator[tuple[Killer, JournalWriter]]:
        """Run one; killed, it ends without an orderly stop, and only its disk is left."""
        metrics, clock = ExecutorMetrics(), SystemClock()
        journal = await self.journal()

        class Given:
            recorder = Recorder(journal=journal, metrics=metrics, clock=clock)

        given: Any = Given()
        given.clock = clock
        sender = Sender(service="kill executor", environment="simulated", account="1")
        outbox = Outbox(sender=sender, channels=[], clock=clock, count=metrics.count_alert)
        killer = Killer(parts=cast("Parts", given), outbox=outbox, metrics=metrics)
        try:
            yield killer, journal
        finally:
            if is_killed:
                for task in (killer._running, killer._writing):
                    if task is not None:
                        task.cancel()
                        await asyncio.gather(task, return_exceptions=True)
            else:
                await killer.stop()
            await journal.close()

    async def ended(self) -> list[str]:
        """Name the steps that the journal shows as done, in order."""
        journal = await self.journal()
        try:
            rows = await journal.read(0, 500)
        finally:
            await journal.close()
        return [str(row.fields["step"]) for row in rows if row.kind is RowKind.KILL_STEP]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr("trade_killswitch.killer.KillSteps", made.steps)
    return made


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - it is what a client would do
            await asyncio.sleep(0.005)


def before(step: Step) -> set[Step]:
    """List what must have been done before a step begins."""
    rule = RULES[step]
    return set(rule.after | rule.needs).union(*(before(one) for one in rule.after | rule.needs))


@pytest.mark.parametrize("step", Step)
async def test_kill_goes_on_from_its_journal_wherever_its_executor_died(world: World, step: Step) -> None:
    world.hanging = {step}
    async with world.executor(is_killed=True) as (killer, journal):
        killer.begin(ordered(KILL_ID), authorisation={"warrant": ["an envelope"]}, by="a test")
        others = set(Step) - {step} - {one for one in Step if step in before(one)}
        await until(lambda: world.effects[step] == 1 and set(world.effects) >= others)

        async def written() -> int:
            return sum(row.kind is RowKind.KILL_STEP for row in await journal.read(0, 500))

        async with asyncio.timeout(60):
            while await written() < len(others):  # noqa: ASYNC110 - the rows follow
                await asyncio.sleep(0.005)
    world.hanging.clear()
    async with world.executor() as (killer, journal):
        assert await killer.resume(journal)
        await until(lambda: not killer.is_running)
        report = killer.status()["last"]
        assert (report["kill_id"], report["verdict"], report["unfinished"]) == (KILL_ID, "complete", [])
    # What was done and written down is not done again; what was done and not written down is done once more.
    assert world.effects == {one: 2 if one is step else 1 for one in Step} | (
        {} if step is Step.TELL else {Step.TELL: 1}
    )
    assert set(await world.ended()) == {one.value for one in Step}
    async with world.executor() as (killer, journal):
        assert not await killer.resume(journal)


async def test_kill_goes_on_over_a_death_in_every_step_one_after_the_other(world: World) -> None:
    for number, step in enumerate(RULES):
        world.hanging = {step}
        async with world.executor(is_killed=True) as (killer, journal):
            if number == 0:
                killer.begin(ordered(KILL_ID), authorisation={}, by="a test")
            else:
                assert await killer.resume(journal)
            await until(lambda dies=step: world.effects[dies] > 0)  # type: ignore[misc]
    world.hanging.clear()
    async with world.executor() as (killer, journal):
        await killer.resume(journal)
        await until(lambda: not killer.is_running)
        assert killer.status()["last"]["verdict"] == "complete"
    assert max(world.effects.values()) <= len(Step) + 1


@pytest.mark.parametrize("step", [*Step, None])
async def test_kill_is_complete_while_a_part_or_all_of_them_fail_three_times_in_ten(
    world: World, step: Step | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAUSE_FIRST_S", "PAUSE_BEFORE_DUE_S"):
        monkeypatch.setattr(procedure, name, 0.001)
    chance = random.Random(f"{step}")
    world.fails = lambda tried: step in (tried, None) and chance.random() < 0.3
    failed = 0
    for number in range(12):
        async with world.executor() as (killer, _):
            killer.begin(ordered(f"{number:016x}"), authorisation={}, by="a test")
            await until(lambda: not killer.is_running)
            report = killer.status()["last"]
            assert report["verdict"] == "complete", report
            failed += sum(one["tries"] - 1 for one in report["steps"])
    assert failed > 0
