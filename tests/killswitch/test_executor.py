"""What becomes of a signed request: a kill, a kill that goes on, or a sweep and a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from killswitch.test_authorisation import warrant
from killswitch.test_automatic import World as Account
from killswitch.test_automatic import arming
from killswitch.test_killer import World as Kills
from killswitch.test_killer import ordered, settled
from trust_parts import touch

from trade_core.alerts.model import Sender
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_journal.log.rows import RowKind
from trade_killswitch.executor import CLOCKS_APART_MS_MAX, REQUEST_AGE_MS_MAX, Executor
from trade_killswitch.halt_closing import HaltClosing
from trade_killswitch.kill_order import JOIN_WITHIN_S, Ending, KillRefused
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.procedure import Step
from trade_killswitch.settings import ExecutorSettings
from trade_killswitch.socket_app import KillRequest
from trade_killswitch.sweeper import Begun
from trade_killswitch.working_orders import Category

ACCOUNT = "1002"


@dataclass
class Sweeps:
    """Counts the sweeps that were asked for."""

    asked: list[str] = field(default_factory=list)

    async def begin(self, reason: str, *, by: str) -> Begun:
        self.asked.append(reason)
        return Begun(sweep_id="s", is_new=True)

    async def resume(self, journal: Any) -> None:
        """Nothing to go on with."""

    async def stop(self) -> None:
        """Nothing to end."""


class World:
    """An executor over doubles: the account's exchange, and steps that are told how to end."""

    def __init__(self, folder: Path) -> None:
        self.account = Account(folder)
        self.kills = Kills(clock=self.account.clock, rows=self.account.rows)
        self.sweeps = Sweeps()
        self.is_clock_trusted = True
        self.rows = self.account.rows

    @asynccontextmanager
    async def executor(self) -> AsyncIterator[Executor]:
        clock, metrics = self.account.clock, ExecutorMetrics()
        outbox = Outbox(
            sender=Sender(service="kill executor", environment="simulated", account=ACCOUNT),
            channels=[],
            clock=clock,
            count=metrics.count_alert,
        )
        async with self.account.automatic() as automatic:
            parts = SimpleNamespace(clock=clock, recorder=self.rows, sweeper=self.sweeps, secrets=None)
            made = Executor(
                settings=cast("ExecutorSettings", SimpleNamespace(account=ACCOUNT)),
                rings=cast("Any", None),
                journal=self.rows.journal(),
                parts=cast("Any", parts),
                readiness=automatic.readiness,
                drills=cast("Any", None),
                authorisation=automatic.authorisation,
                automatic=automatic,
                closing=HaltClosing(
                    parts=cast("Any", parts),
                    endings=dict.fromkeys(Category, Ending.HOLD),
                    drawdown=Decimal("0.15"),
                    samples=automatic.samples,
                    outbox=outbox,
                ),
                outbox=outbox,
                metrics=metrics,
                clock=clock,
                is_clock_trusted=lambda: self.is_clock_trusted,
            )
            await made._killer.resume(self.rows.journal())
            try:
                yield made
            finally:
                await made.stop()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr("trade_killswitch.killer.KillSteps", made.kills.steps)
    made.account.keys.append("stranger")
    return made


def request(world: World, **changed: Any) -> KillRequest:
    values: dict[str, Any] = {
        "request_id": "rogue_key:stranger", "condition": "rogue_key", "reason": "a test", "evidence": {},
        "account": ACCOUNT, "at_ms": world.account.clock.wall_ns() // NS_PER_MS,
    }  # fmt: skip
    return KillRequest(**{**values, **changed})


async def ask(executor: Executor, world: World, **changed: Any) -> dict[str, Any]:
    answer = await executor.ask_for_kill(request(world, **changed), by="uid 1", is_signed=True)
    await settled()
    return answer


async def test_armed_warrant_kills_once_and_is_none_after_it(world: World) -> None:
    async with world.executor() as executor:
        assert (await ask(executor, world))["kill"] == "not_armed"
        await executor.arm(arming(executor._automatic))
        begun = await ask(executor, world)
        assert begun["kill"] == "begun"
        assert executor._automatic.status()["is_armed"] is False
        for restarted in range(2):
            # The kill is over. What is asked for now is swept, and a person is called.
            assert not executor._killer.is_running
            answer = await ask(executor, world, request_id=f"rogue_key:again{restarted}")
            assert answer["kill"] == "not_armed"
            assert len(world.sweeps.asked) == 2 + restarted
    async with world.executor() as again:
        assert again._automatic.status()["is_armed"] is False
        assert (await ask(again, world))["kill"] == "not_armed"
        await again.arm(arming(again._automatic, nonce="n2"))
        assert (await ask(again, world))["kill"] == "begun"
    assert len(world.rows.of(RowKind.KILL_ORDERED)) == 2


async def test_warrant_that_only_the_row_of_its_kill_voids_is_none(world: World) -> None:
    async with world.executor() as executor:
        await executor.arm(arming(executor._automatic))
        file = world.account.folder / "standing.json"
        kept = file.read_bytes()
        assert (await ask(executor, world))["kill"] == "begun"
    file.write_bytes(kept)  # as if we had crashed before it was written
    async with world.executor() as again:
        assert again._automatic.status()["is_armed"] is False
        answer = await ask(again, world, request_id="rogue_key:again")
        assert answer["kill"] == "not_armed"
        assert "has begun already" in answer["reason"]
        assert world.sweeps.asked


async def test_request_during_its_own_kill_is_that_kill_until_it_waits_for_long(world: World) -> None:
    world.kills.hanging = {Step.SECRETS}
    async with world.executor() as executor:
        await executor.arm(arming(executor._automatic))
        begun = await ask(executor, world)
        assert await ask(executor, world) == {"kill": "joined", "kill_id": begun["kill_id"]}
        assert world.sweeps.asked == []
        world.account.clock.advance(int(JOIN_WITHIN_S * NS_PER_S))
        assert (await ask(executor, world))["kill"] == "not_armed"
        assert len(world.sweeps.asked) == 1


async def test_old_kill_that_waits_does_not_swallow_an_armed_one(world: World) -> None:
    world.kills.hanging = {Step.SECRETS}
    async with world.executor() as executor:
        executor._killer.begin(ordered("1" * 16), authorisation={}, by="a person")
        await settled()
        await executor.arm(arming(executor._automatic))
        world.account.clock.advance(int(JOIN_WITHIN_S * NS_PER_S))
        begun = await ask(executor, world)
        assert begun["kill"] == "begun"
        assert world.kills.steps_of(begun["kill_id"]) >= {Step.REFUSE, Step.BOT, Step.CANCEL}


async def test_drill_does_not_swallow_an_armed_kill(world: World) -> None:
    world.kills.hanging = {Step.SECRETS}
    async with world.executor() as executor:
        executor._killer.begin(ordered("1" * 16, is_drill=True), authorisation={}, by="a person")
        await settled()
        await executor.arm(arming(executor._automatic))
        assert (await ask(executor, world))["kill"] == "begun"


async def test_unsigned_request_is_a_sweep_also_while_armed(world: World) -> None:
    async with world.executor() as executor:
        await executor.arm(arming(executor._automatic))
        answer = await executor.ask_for_kill(request(world), by="uid 1", is_signed=False)
        assert (answer["kill"], answer["reason"]) == ("not_armed", "the request is not signed by the watchdog")
        assert executor._automatic.status()["is_armed"] is True


@pytest.mark.parametrize(
    ("age_ms", "is_kill"),
    [
        (0, True),
        (REQUEST_AGE_MS_MAX, True),
        (REQUEST_AGE_MS_MAX + 1, False),
        (90 * 86_400_000, False),
        (-CLOCKS_APART_MS_MAX, True),
        (-CLOCKS_APART_MS_MAX - 1, False),
        (None, False),
    ],
)
async def test_request_counts_within_its_minute_and_is_a_sweep_before_and_after(
    world: World, age_ms: int | None, is_kill: bool
) -> None:
    async with world.executor() as executor:
        await executor.arm(arming(executor._automatic))
        now_ms = world.account.clock.wall_ns() // NS_PER_MS
        answer = await ask(executor, world, at_ms=None if age_ms is None else now_ms - age_ms)
        assert answer["kill"] == ("begun" if is_kill else "not_armed")
        assert len(world.sweeps.asked) == (0 if is_kill else 1)
        assert executor._automatic.status()["is_armed"] is not is_kill
    assert (REQUEST_AGE_MS_MAX, CLOCKS_APART_MS_MAX) == (60_000, 5_000)


async def test_request_cannot_be_judged_by_a_clock_that_leapt(world: World) -> None:
    world.is_clock_trusted = False
    async with world.executor() as executor:
        await executor.arm(arming(executor._automatic))
        answer = await ask(executor, world)
        assert (answer["kill"], len(world.sweeps.asked)) == ("not_armed", 1)
        assert "our clock is not to be trusted" in answer["reason"]


@pytest.mark.parametrize(
    ("environment", "drill_allowed", "is_taken"),
    [("simulated", False, True), ("testnet", True, True), ("testnet", False, False), ("live", False, False)],
)
async def test_drill_is_taken_on_a_spare_account_alone_and_a_kill_everywhere(
    world: World, environment: str, *, drill_allowed: bool, is_taken: bool
) -> None:
    async with world.executor() as executor:
        executor._settings = cast(
            "ExecutorSettings",
            SimpleNamespace(account=ACCOUNT, is_simulated=environment == "simulated", drill_allowed=drill_allowed),
        )
        drill = touch(warrant(purpose="drill"))
        if is_taken:
            assert (await executor.kill(drill, by="a test"))["kill"] == "begun"
        else:
            for asked in (executor.kill(drill, by="a test"), drafted(executor)):
                with pytest.raises(KillRefused, match="setting drill_allowed"):
                    await asked
            assert world.rows.of(RowKind.KILL_ORDERED) == []
        assert (await executor.kill(touch(warrant(nonce="n2")), by="a test"))["kill"] == "begun"
        await settled()


async def drafted(executor: Executor) -> Any:
    return executor.kill_draft(is_drill=True)


async def test_kill_takes_the_place_of_what_a_halt_closes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gave_way: list[str] = []
    monkeypatch.setattr(HaltClosing, "give_way", lambda _: gave_way.append("closing"))
    world.kills.hanging = {Step.SECRETS}
    async with world.executor() as executor:
        assert not executor._closing.is_killing()
        executor._settings = cast("ExecutorSettings", SimpleNamespace(account=ACCOUNT))
        await executor.kill(touch(warrant()), by="a test")
        await settled()
        assert executor._closing.is_killing()
    assert gave_way == ["closing"]
