from __future__ import annotations

import asyncio

import pytest

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.token_bucket import TokenBucket
from trade_gateway import egress
from trade_gateway.egress import (
    ORDERS_PER_S,
    READS_PER_S,
    SIGNED_READS_PER_S,
    EgressBudget,
    check_pace,
)


def taken(bucket: TokenBucket, tries: int) -> int:
    return sum(bucket.take_now() for _ in range(tries))


def test_bucket_permits_a_burst_of_its_rate_and_no_more() -> None:
    assert taken(TokenBucket(rate=10, clock=ManualClock()), 50) == 10


@pytest.mark.parametrize(("after_ns", "more"), [(NS_PER_S // 10 - 1, 0), (NS_PER_S // 10, 1), (NS_PER_S, 10)])
def test_bucket_fills_with_time(after_ns: int, more: int) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=10, clock=clock)
    taken(bucket, 10)
    clock.advance(after_ns)
    assert taken(bucket, 50) == more


def test_bucket_never_holds_more_than_its_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=10, clock=clock)
    clock.advance(3600 * NS_PER_S)
    assert taken(bucket, 50) == 10


def test_bucket_does_not_care_for_the_wall_clock() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=10, clock=clock)
    taken(bucket, 10)
    clock.leap_wall(3600 * NS_PER_S)
    assert taken(bucket, 50) == 0


def test_bucket_says_how_long_to_the_next_token() -> None:
    bucket = TokenBucket(rate=10, clock=ManualClock())
    assert bucket.seconds_to_next() == 0
    taken(bucket, 10)
    assert bucket.seconds_to_next() == pytest.approx(0.1)


def test_budget_denies_the_order_for_which_there_is_no_room() -> None:
    budget = EgressBudget(clock=ManualClock())
    assert sum(budget.permits_order() for _ in range(30)) == ORDERS_PER_S


async def test_budget_reads_do_not_use_up_the_room_of_orders() -> None:
    budget = EgressBudget(clock=ManualClock())
    for _ in range(READS_PER_S):
        assert await budget.wait_for_read(is_public=True)
    assert budget.permits_order()


async def test_budget_of_signed_reads_is_not_used_up_by_a_flood_of_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_MAX_WAITING_READS", 2)
    clock = ManualClock()
    budget = EgressBudget(clock=clock)
    flood = [asyncio.create_task(budget.wait_for_read(is_public=True)) for _ in range(READS_PER_S + 10)]
    await asyncio.sleep(0)
    for _ in range(SIGNED_READS_PER_S):
        assert await budget.wait_for_read(is_public=False)
    waiting = asyncio.create_task(budget.wait_for_read(is_public=False))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(NS_PER_S)
    assert await waiting
    assert (await asyncio.gather(*flood)).count(False) == 8


async def test_budget_read_waits_for_its_turn() -> None:
    clock = ManualClock()
    budget = EgressBudget(clock=clock)
    for _ in range(READS_PER_S):
        await budget.wait_for_read(is_public=True)
    waiting = asyncio.create_task(budget.wait_for_read(is_public=True))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(NS_PER_S)
    assert await waiting


async def test_budget_read_gives_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "READ_PATIENCE_S", 0.05)
    budget = EgressBudget(clock=ManualClock())
    for _ in range(READS_PER_S):
        await budget.wait_for_read(is_public=True)
    assert not await budget.wait_for_read(is_public=True)


async def test_budget_refuses_reads_at_once_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_MAX_WAITING_READS", 2)
    clock = ManualClock()
    budget = EgressBudget(clock=clock)
    for _ in range(READS_PER_S):
        await budget.wait_for_read(is_public=True)
    waiting = [asyncio.create_task(budget.wait_for_read(is_public=True)) for _ in range(2)]
    await asyncio.sleep(0)
    assert not await budget.wait_for_read(is_public=True)
    clock.advance(NS_PER_S)
    assert await asyncio.gather(*waiting) == [True, True]
    assert await budget.wait_for_read(is_public=True)


def test_bucket_of_a_slow_rate_holds_its_own_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate=0.5, burst=3, clock=clock)
    assert taken(bucket, 50) == 3
    clock.advance(2 * 10**9)
    assert taken(bucket, 50) == 1


def test_budget_of_a_load_test_has_the_pace_that_it_was_given() -> None:
    budget = EgressBudget(clock=ManualClock(), orders_per_s=300)
    assert sum(budget.permits_order() for _ in range(1000)) == 300


@pytest.mark.parametrize("orders_per_s", [1, ORDERS_PER_S])
def test_pace_of_an_ordinary_gateway_fits_any_exchange(orders_per_s: int) -> None:
    check_pace(orders_per_s, is_simulated=False)


@pytest.mark.parametrize("orders_per_s", [ORDERS_PER_S + 1, 50_000])
def test_pace_of_a_load_test_is_refused_for_any_exchange_but_the_simulated_one(orders_per_s: int) -> None:
    check_pace(orders_per_s, is_simulated=True)
    with pytest.raises(ValueError, match="more than 10 a second is for load tests of the simulated exchange only"):
        check_pace(orders_per_s, is_simulated=False)
