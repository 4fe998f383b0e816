"""What a try of a step does, with doubles for what it works with; against the simulator in test_kill_with_simulator."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from killswitch.kill_scene import ordered

from trade_core.clock import ManualClock
from trade_killswitch.gateway_halt import GatewayNotHalted, Halted
from trade_killswitch.kill_order import Authority
from trade_killswitch.kill_steps import KillMemory, KillSteps, Parts
from trade_killswitch.procedure import RULES, Outcome, Step, Tried, fresh
from trade_killswitch.sweeper import Begun


@dataclass
class Gateway:
    """A gateway that halts, and takes or refuses what it is handed."""

    refuses: bool = False
    handed: list[bytes] = field(default_factory=list)

    async def halt(self, reason: str) -> Halted:
        return Halted(trading_state="HALTED", in_flight=2)

    async def kill(self, envelope: bytes, *, within_s: float) -> Halted:
        self.handed.append(envelope)
        if self.refuses:
            raise GatewayNotHalted("the gateway does not take the warrant: HTTP 409")
        return Halted(trading_state="KILLED", in_flight=0)


def steps_with(gateway: Gateway | None, *, authority: Authority, warrant: bytes, told: list[str]) -> KillSteps:
    class Given:
        clock = ManualClock()
        sign_notice = staticmethod(lambda standing: b"notice of " + standing)

    given: Any = Given()
    given.gateway = gateway
    order = replace(ordered(), authority=authority)
    memory = KillMemory(warrant=warrant)
    return KillSteps(parts=cast("Parts", given), order=order, memory=memory, tell=lambda: told.append("told"))


async def refused(gateway: Gateway, *, authority: Authority, warrant: bytes) -> Tried:
    return await steps_with(gateway, authority=authority, warrant=warrant, told=[]).attempt(Step.REFUSE, fresh())


@pytest.mark.parametrize(
    ("authority", "handed"),
    [
        (Authority.TOUCH, b"envelope"),
        (Authority.RECOVERY_KEY, b"envelope"),
        (Authority.STANDING_WARRANT, b"notice of envelope"),
    ],
)
async def test_gateway_is_killed_by_what_it_can_verify(authority: Authority, handed: bytes) -> None:
    gateway = Gateway()
    tried = await refused(gateway, authority=authority, warrant=b"envelope")
    assert gateway.handed == [handed]
    assert (tried.outcome, tried.evidence) == (
        Outcome.DONE,
        {"trading_state": "KILLED", "in_flight": 2},
    )


async def test_gateway_that_does_not_take_the_notice_is_halted_and_that_is_said() -> None:
    tried = await refused(Gateway(refuses=True), authority=Authority.STANDING_WARRANT, warrant=b"envelope")
    assert tried.outcome is Outcome.DONE
    assert tried.evidence["trading_state"] == "HALTED"
    assert tried.evidence["warrant"] == "the gateway does not take the warrant: HTTP 409"


async def test_drill_kills_no_gateway() -> None:
    gateway = Gateway()
    tried = await refused(gateway, authority=Authority.TOUCH, warrant=b"")
    assert (gateway.handed, tried.evidence["trading_state"]) == ([], "HALTED")


async def test_gateway_that_was_too_slow_is_killed_when_people_are_told() -> None:
    gateway, told = Gateway(refuses=True), list[str]()
    steps = steps_with(gateway, authority=Authority.STANDING_WARRANT, warrant=b"envelope", told=told)
    await steps.attempt(Step.REFUSE, fresh())
    tried = await steps.attempt(Step.TELL, fresh())
    assert tried.evidence == {"handed_over": True, "gateway": "the gateway does not take the warrant: HTTP 409"}
    gateway.refuses = False
    tried = await steps.attempt(Step.TELL, fresh())
    assert (tried.outcome, tried.evidence) == (Outcome.DONE, {"handed_over": True, "gateway": "KILLED"})
    assert gateway.handed == [b"notice of envelope"] * 3
    await steps.attempt(Step.TELL, fresh())
    assert len(gateway.handed) == 3
    assert told == ["told"] * 3


@pytest.mark.parametrize("warrant", [b"", b"envelope"])
async def test_people_are_told_without_a_gateway(warrant: bytes) -> None:
    told: list[str] = []
    steps = steps_with(None, authority=Authority.TOUCH, warrant=warrant, told=told)
    assert (await steps.attempt(Step.TELL, fresh())).evidence == {"handed_over": True}
    assert told == ["told"]


async def test_gateway_that_was_killed_in_the_first_second_is_not_asked_again() -> None:
    gateway = Gateway()
    steps = steps_with(gateway, authority=Authority.TOUCH, warrant=b"envelope", told=[])
    await steps.attempt(Step.REFUSE, fresh())
    await steps.attempt(Step.TELL, fresh())
    assert gateway.handed == [b"envelope"]


class Sweeper:
    """A sweep that is not proved; to begin it takes its time."""

    def __init__(self, clock: ManualClock, *, begins_in_s: float) -> None:
        self._clock = clock
        self._begins_in_s = begins_in_s

    async def begin(self, reason: str, *, by: str) -> Begun:
        self._clock.advance(self._begins_in_s)
        return Begun(sweep_id="s1", is_new=True)

    async def proof(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    def in_the_way(self) -> str:
        return "2 orders work that could add risk (spot:Order: 2); cancels refused (10006: 3)"


async def test_books_that_are_not_proved_empty_in_time_are_told_with_what_is_in_the_way() -> None:
    steps = steps_with(None, authority=Authority.TOUCH, warrant=b"", told=[])
    parts: Any = steps.parts
    parts.sweeper = Sweeper(parts.clock, begins_in_s=RULES[Step.CANCEL].try_s)
    tried = await steps.attempt(Step.CANCEL, fresh())
    assert (tried.outcome, tried.why) == (Outcome.FAILED, parts.sweeper.in_the_way())
