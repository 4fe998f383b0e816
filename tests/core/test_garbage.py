from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from trade_core import garbage
from trade_core.clock import NS_PER_S, ManualClock
from trade_core.garbage import ENOUGH, LATEST_S, MIDDLE, YOUNG, Garbage


class Knot:
    """Refers to itself, so that nothing but the search finds it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def old_knot() -> weakref.ref[Knot]:
    """Leave garbage that is found by a look through everything alone, when there is enough to look for."""
    knot = Knot()
    for _ in range(ENOUGH):
        gc.collect(1)
    return weakref.ref(knot)


def test_garbage_sets_aside_what_lives_at_the_start_and_leaves_the_young_to_python() -> None:
    Garbage(clock=ManualClock(), is_quiet=lambda: True)
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (YOUNG, MIDDLE, 1_000_000_000)


def test_garbage_among_the_young_is_found_without_being_looked_for() -> None:
    Garbage(clock=ManualClock(), is_quiet=lambda: False)
    knot = weakref.ref(Knot())
    young = [[number] for number in range(YOUNG + 1)]
    assert young
    assert knot() is None


def test_garbage_of_a_quiet_process_is_looked_for() -> None:
    it = Garbage(clock=ManualClock(), is_quiet=lambda: True)
    knot = old_knot()
    assert it.work()
    assert knot() is None


def test_garbage_is_not_looked_for_without_enough_to_look_through() -> None:
    it = Garbage(clock=ManualClock(), is_quiet=lambda: True)
    gc.collect(1)
    assert not it.work()


def test_garbage_of_a_busy_process_waits_until_its_time_is_over_and_then_again() -> None:
    clock = ManualClock()
    it = Garbage(clock=clock, is_quiet=lambda: False)
    knot = old_knot()
    clock.advance(LATEST_S * NS_PER_S - 1)
    assert not it.work()
    assert knot() is not None
    clock.advance(1)
    assert it.work()
    assert knot() is None
    old_knot()
    assert not it.work()


async def test_garbage_is_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_EVERY_S", 0)
    it = Garbage(clock=ManualClock(), is_quiet=lambda: True)
    running = asyncio.create_task(it.run())
    for _ in range(2):
        knot = old_knot()
        for _ in range(3):
            await asyncio.sleep(0)
        assert knot() is None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
