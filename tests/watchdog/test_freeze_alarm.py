"""The alarm of a freeze: told when it begins, again while it lasts, and not for the moments of a start."""

from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S, ManualClock
from trade_watchdog.effects import Alert, Severity
from trade_watchdog.freeze_alarm import AGAIN_S, START_S, FreezeAlarm

DOWN = {"unavailable": "the exchange does not answer"}


class World:
    """An alarm that began, with its clock and what it told."""

    def __init__(self, *, is_begun: bool = True) -> None:
        self.clock = ManualClock()
        self.told: list[Alert] = []
        self.alarm = FreezeAlarm(tell=self.told.append, clock=self.clock)
        if is_begun:
            self.alarm.take({})

    def pass_s(self, seconds: int) -> None:
        self.clock.advance(seconds * NS_PER_S)


@pytest.fixture
def world() -> World:
    return World()


def test_freeze_is_told_at_once_and_once(world: World) -> None:
    for _ in range(3):
        world.alarm.take(DOWN)
    (alert,) = world.told
    assert (alert.subject, alert.severity) == ("frozen:unavailable", Severity.WARNING)
    assert alert.text == "nothing new is let through: the exchange does not answer"
    assert not alert.needs_acknowledgement


def test_each_cause_is_a_matter_of_its_own(world: World) -> None:
    world.alarm.take(DOWN)
    world.alarm.take({**DOWN, "audit": "the keys are not audited"})
    assert [alert.subject for alert in world.told] == ["frozen:unavailable", "frozen:audit"]


def test_freeze_that_ended_and_begins_anew_is_told_anew(world: World) -> None:
    world.alarm.take(DOWN)
    world.alarm.take({})
    world.alarm.take(DOWN)
    assert len(world.told) == 2


def test_freeze_that_lasts_is_told_again(world: World) -> None:
    world.alarm.take(DOWN)
    world.pass_s(AGAIN_S - 1)
    world.alarm.take(DOWN)
    assert len(world.told) == 1
    world.pass_s(1)
    world.alarm.take(DOWN)
    world.alarm.take(DOWN)
    assert len(world.told) == 2


def test_moments_of_a_start_are_not_told_and_a_start_that_lasts_is() -> None:
    world = World(is_begun=False)
    world.alarm.take(DOWN)
    world.pass_s(START_S - 1)
    world.alarm.take(DOWN)
    assert world.told == []
    world.pass_s(1)
    world.alarm.take(DOWN)
    assert len(world.told) == 1


def test_freeze_right_after_the_start_has_vouched_is_told_at_once() -> None:
    world = World(is_begun=False)
    world.alarm.take(DOWN)
    world.alarm.take({})
    world.alarm.take(DOWN)
    assert len(world.told) == 1


def test_text_is_no_longer_than_an_alert(world: World) -> None:
    world.alarm.take({"audit": "x" * 1000})
    assert len(world.told[0].text) == 400
