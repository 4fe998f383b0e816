from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.clock_watch import LEAP_NS, SETTLE_NS, ClockWatch


def ticks(watch: ClockWatch, clock: ManualClock, count: int, *, every_ns: int = NS_PER_S) -> list[bool]:
    answers = []
    for _ in range(count):
        clock.advance(every_ns)
        answers.append(watch.is_trusted())
    return answers


def test_clock_watch_steady_clock_is_trusted() -> None:
    clock = ManualClock()
    assert all(ticks(ClockWatch(clock=clock), clock, 100))


def test_clock_watch_slow_drift_is_followed() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock=clock)
    for _ in range(100):
        clock.leap_wall(-LEAP_NS // 2)
        assert all(ticks(watch, clock, 1))


@pytest.mark.parametrize(("leap_ns", "is_trusted"), [(LEAP_NS, True), (LEAP_NS + 1, False), (-LEAP_NS - 1, False)])
def test_clock_watch_leap_past_a_second_is_not_trusted(leap_ns: int, is_trusted: bool) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock=clock)
    clock.leap_wall(leap_ns)
    assert watch.is_trusted() is is_trusted


def test_clock_watch_trusts_again_a_minute_after_a_leap_forward() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock=clock)
    clock.leap_wall(3600 * NS_PER_S)
    assert not watch.is_trusted()
    assert not any(ticks(watch, clock, 1, every_ns=SETTLE_NS - 1))
    assert all(ticks(watch, clock, 10))


def test_clock_watch_set_back_is_not_trusted_before_it_has_caught_up() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock=clock)
    clock.leap_wall(-3600 * NS_PER_S)
    assert not any(ticks(watch, clock, 3598))
    assert all(ticks(watch, clock, 10))
