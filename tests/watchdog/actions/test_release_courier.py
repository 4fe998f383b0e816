"""A release is brought until it is taken, over restarts, for a day."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from trade_core.clock import NS_PER_S, ManualClock
from trade_watchdog.actions import release_courier as module
from trade_watchdog.actions.release_courier import GIVE_UP_S, RELEASE_FILE, ReleaseCourier
from trade_watchdog.effects import EffectFailed


class Executor:
    """Takes a release, or does not."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked: list[bytes] = []
        self.taken: list[bytes] = []

    async def hand(self, release: bytes) -> None:
        self.asked.append(release)
        if not self.is_up:
            raise EffectFailed("the kill executor does not answer")
        self.taken.append(release)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0)


@pytest.fixture
def executor() -> Executor:
    return Executor()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def courier_of(folder: Path, executor: Executor, clock: ManualClock) -> ReleaseCourier:
    made = ReleaseCourier(state_dir=folder, hand=executor.hand, clock=clock)
    made.load()
    return made


async def run(courier: ReleaseCourier) -> None:
    """Let it work until nothing more happens by itself."""
    task = asyncio.create_task(courier.run())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_release_is_brought_once(tmp_path: Path, executor: Executor, clock: ManualClock) -> None:
    courier = courier_of(tmp_path, executor, clock)
    await run(courier)
    courier.carry(b"one")
    await run(courier)
    await run(courier)
    assert executor.asked == [b"one"]
    assert not (tmp_path / RELEASE_FILE).exists()


async def test_release_that_is_not_taken_is_brought_again_over_restarts(
    tmp_path: Path, executor: Executor, clock: ManualClock
) -> None:
    executor.is_up = False
    courier = courier_of(tmp_path, executor, clock)
    courier.carry(b"one")
    await run(courier)
    assert len(executor.asked) > 1
    assert (tmp_path / RELEASE_FILE).stat().st_mode & 0o777 == 0o600
    executor.is_up = True
    again = courier_of(tmp_path, executor, clock)
    await run(again)
    assert executor.taken == [b"one"]
    await run(courier_of(tmp_path, executor, clock))
    assert executor.taken == [b"one"]


async def test_newer_release_takes_the_place_of_one_on_its_way(
    tmp_path: Path, executor: Executor, clock: ManualClock
) -> None:
    courier = courier_of(tmp_path, executor, clock)

    async def hand(release: bytes) -> None:
        executor.taken.append(release)
        if release == b"one":
            courier.carry(b"two")

    courier.hand = hand
    courier.carry(b"one")
    await run(courier)
    assert executor.taken == [b"one", b"two"]
    assert not (tmp_path / RELEASE_FILE).exists()


async def test_release_is_given_up_after_a_day(tmp_path: Path, executor: Executor, clock: ManualClock) -> None:
    executor.is_up = False
    courier = courier_of(tmp_path, executor, clock)
    courier.carry(b"one")
    clock.advance(GIVE_UP_S * NS_PER_S)
    await run(courier)
    assert executor.asked == [b"one"]
    assert not (tmp_path / RELEASE_FILE).exists()


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"[]",
        b"{}",
        b'{"release": "?", "since_ns": 1}',
        b'{"release": "b25l", "since_ns": "1"}',
        b"\xff",
        b"[" * 16_000,
    ],
)
async def test_file_that_holds_no_release_brings_none(
    tmp_path: Path, executor: Executor, clock: ManualClock, kept: bytes
) -> None:
    (tmp_path / RELEASE_FILE).write_bytes(kept)
    await run(courier_of(tmp_path, executor, clock))
    assert executor.asked == []


async def test_full_disk_keeps_no_release_from_being_brought(
    tmp_path: Path, executor: Executor, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    courier = courier_of(tmp_path, executor, clock)
    monkeypatch.setattr(module, "write_atomically", full)
    monkeypatch.setattr(Path, "unlink", full)
    courier.carry(b"one")
    await run(courier)
    assert executor.taken == [b"one"]


def test_kept_file_is_json_with_when_it_was_taken_over(tmp_path: Path, executor: Executor, clock: ManualClock) -> None:
    courier_of(tmp_path, executor, clock).carry(b"one")
    assert json.loads((tmp_path / RELEASE_FILE).read_text()) == {"release": "b25l", "since_ns": clock.wall_ns()}
