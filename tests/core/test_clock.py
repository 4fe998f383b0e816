from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S, ManualClock, SystemClock


def test_manual_clock_advance_moves_both_clocks() -> None:
    clock = ManualClock(wall_ns=100, monotonic_ns=7)
    clock.advance(5)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (105, 12)


def test_manual_clock_negative_advance_raises_and_moves_nothing() -> None:
    clock = ManualClock(wall_ns=100, monotonic_ns=7)
    with pytest.raises(ValueError, match="forward only"):
        clock.advance(-1)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (100, 7)


@pytest.mark.parametrize("offset_ns", [-NS_PER_S, NS_PER_S])
def test_manual_clock_leap_moves_the_wall_alone(offset_ns: int) -> None:
    clock = ManualClock(wall_ns=10 * NS_PER_S, monotonic_ns=7)
    clock.leap_wall(offset_ns)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (10 * NS_PER_S + offset_ns, 7)


def test_system_clock_monotonic_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic_ns() for _ in range(1000)]
    assert readings == sorted(readings)


def test_system_clock_wall_is_of_this_century() -> None:
    assert 1_700_000_000 * NS_PER_S < SystemClock().wall_ns() < 4_100_000_000 * NS_PER_S
