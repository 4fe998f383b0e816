from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from killswitch.console.world import World, gateway_state, row, watchdog_state

from trade_core.clock import NS_PER_S
from trade_killswitch.console import watch as watch_module
from trade_killswitch.console.sources import Answer
from trade_killswitch.console.watch import BATCH_ROWS, CURVE_FILE, Watch


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fill(world: World, size: int, *, deployment: str = "d1") -> None:
    world.gateway.rows = [row(seq, "order:denied", code=f"C{seq}") for seq in range(size)]
    state = gateway_state(deployment=deployment)
    world.gateway.answers["/state"] = {**state, "journal": {**state["journal"], "size": size}}


def ranges(world: World) -> list[str]:
    return [path.partition("?")[2] for _, path, _ in world.gateway.asked if path.startswith("/journal/entries")]


async def test_journal_is_read_from_its_end_and_then_backwards(world: World) -> None:
    fill(world, 1200)
    await world.watch.look()
    assert ranges(world) == [f"from=688&limit={BATCH_ROWS}", f"from=176&limit={BATCH_ROWS}"]
    readings = world.watch.readings()
    assert readings.digest.denials[0].seq == 1199
    assert readings.digest_from == 176
    fill(world, 1203)
    await world.watch.look()
    assert ranges(world)[2:] == ["from=1200&limit=3", "from=0&limit=176"]
    assert world.watch.readings().digest.denials[0].seq == 1202
    await world.watch.look()
    assert len(ranges(world)) == 4
    assert world.watch.readings().digest_from == 0


async def test_journal_that_runs_ahead_is_taken_up_at_its_end(world: World) -> None:
    fill(world, 10)
    await world.watch.look()
    fill(world, 5000)
    await world.watch.look()
    assert world.watch.readings().digest.denials[0].seq == 4999


@pytest.mark.parametrize(("size", "deployment"), [(5, "d1"), (700, "another")])
async def test_another_journal_begins_the_digest_anew(world: World, size: int, deployment: str) -> None:
    fill(world, 600)
    await world.watch.look()
    fill(world, size, deployment=deployment)
    await world.watch.look()
    assert world.watch.readings().digest.denials[0].seq == size - 1


async def test_journal_that_cannot_be_read_costs_nothing_else(world: World) -> None:
    fill(world, 3)
    world.gateway.answers["/deny-codes"] = Answer(status=503, body=b"")
    await world.watch.look()
    readings = world.watch.readings()
    assert readings.gateway.failure == ""
    assert readings.digest_from is None


async def test_curve_survives_a_restart(world: World, tmp_path: Path) -> None:
    for price in ("1.01", "1.02"):
        seen = watchdog_state()
        seen["equity"]["unit_price"] = price
        world.watchdog.answers["/state"] = seen
        await world.watch.look()
        world.clock.advance(10 * NS_PER_S)
    kept = (tmp_path / CURVE_FILE).read_text()
    (tmp_path / CURVE_FILE).write_text(kept + "17000")
    samples = World(tmp_path).watch.readings().samples
    assert [str(sample.price) for sample in samples] == ["1.01", "1.02"]


async def test_curve_file_stays_within_its_bound(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "CURVE_BYTES_MAX", 100)
    monkeypatch.setattr(watch_module, "SAMPLES_MAX", 2)
    for _ in range(20):
        await world.watch.look()
        world.clock.advance(10 * NS_PER_S)
    assert (tmp_path / CURVE_FILE).stat().st_size < 200


async def test_curve_that_cannot_be_kept_costs_nothing_else(world: World, tmp_path: Path) -> None:
    (tmp_path / CURVE_FILE).mkdir()
    await world.watch.look()
    assert len(world.watch.readings().samples) == 1


async def test_look_that_fails_is_followed_by_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_SELDOM_S", 0.01)
    looks = 0

    async def failing(self: Watch) -> None:
        nonlocal looks
        looks += 1
        raise RuntimeError("a defect")

    monkeypatch.setattr(Watch, "look", failing)
    task = asyncio.create_task(world.watch.run())
    async with asyncio.timeout(60):
        while looks < 3:  # noqa: ASYNC110 - what is waited for is the loop itself
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_somebody_who_looks_is_not_kept_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_SELDOM_S", 3600)
    task = asyncio.create_task(world.watch.run())
    async with asyncio.timeout(60):
        while not world.gateway.asked:  # noqa: ASYNC110 - the first look
            await asyncio.sleep(0.01)
        world.gateway.asked.clear()
        world.watch.readings()
        while not world.gateway.asked:  # noqa: ASYNC110 - woken by the look at the page
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
