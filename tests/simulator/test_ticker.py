"""The tick loop: its pace, its lag, its end."""

from __future__ import annotations

import asyncio

import pytest

from trade_core.clock import ManualClock, SystemClock
from trade_simulator.ticker import LagHistogram, TickLoop


def test_histogram_without_ticks_shows_zeros() -> None:
    assert LagHistogram().as_json() == {"p50": 0.0, "p99": 0.0, "max": 0.0, "count": 0}


def test_histogram_quantiles_are_exact_to_a_tenth() -> None:
    histogram = LagHistogram()
    for lag_ms in range(1, 101):
        histogram.record(float(lag_ms))
    assert histogram.quantile_ms(0.5) == pytest.approx(50, rel=0.1)
    assert histogram.quantile_ms(0.99) == pytest.approx(99, rel=0.1)
    assert histogram.as_json()["max"] == 100


def test_histogram_counts_lags_beyond_its_last_edge() -> None:
    histogram = LagHistogram()
    histogram.record(1e9)
    assert histogram.quantile_ms(0.99) == 1e9


async def test_loop_ticks_until_told_to_stop() -> None:
    stop = asyncio.Event()
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 3:
            stop.set()

    loop = TickLoop(step=step, clock=SystemClock())
    await asyncio.wait_for(loop.run(stop), 60)
    assert len(steps) == 3
    assert loop.lag.as_json()["count"] == 3


async def test_loop_records_how_late_a_step_was_done() -> None:
    stop = asyncio.Event()
    clock = ManualClock()

    def step() -> None:
        clock.advance(40_000_000)
        stop.set()

    loop = TickLoop(step=step, clock=clock)
    await loop.run(stop)
    assert loop.lag.as_json()["max"] == 40.0


async def test_loop_that_fell_behind_drops_the_missed_ticks() -> None:
    stop = asyncio.Event()
    clock = ManualClock()
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        clock.advance(10_000_000_000 if len(steps) == 1 else 0)
        if len(steps) == 2:
            stop.set()

    loop = TickLoop(step=step, clock=clock)
    await asyncio.wait_for(loop.run(stop), 60)
    # The second tick is due anew: had the missed ones been kept, it would be ten seconds late too.
    assert loop.lag.quantile_ms(0.5) < 1


async def test_step_that_fails_ends_the_loop() -> None:
    def step() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await TickLoop(step=step, clock=ManualClock()).run(asyncio.Event())
