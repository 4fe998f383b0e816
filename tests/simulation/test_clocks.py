"""Simulated time: every sleeper is woken in a few steps, however long the world has stood."""

from __future__ import annotations

import asyncio

import pytest
from simulation.clocks import SimulatedLoop, run

from trade_core.clock import NS_PER_S, ManualClock

DAY_NS = 86_400 * NS_PER_S


@pytest.mark.parametrize("days", [0, 1, 193, 195, 400, 10_000])
def test_loop_wakes_a_sleeper_after_any_number_of_days(days: int) -> None:
    """From the 195th day on a float of seconds cannot hold the nanosecond by which timers are compared."""
    clock = ManualClock(wall_ns=0, monotonic_ns=days * DAY_NS)

    async def slept() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)

        def stuck() -> None:
            assert loop.steps < 1000, "no time passes"

        loop.after_step = stuck
        for number in range(100):
            await asyncio.sleep(0.1 + number / 7)
        return loop.steps

    assert run(slept(), clock) < 500
    assert clock.monotonic_ns() >= days * DAY_NS + 700 * NS_PER_S
