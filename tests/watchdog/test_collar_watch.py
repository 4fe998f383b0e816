"""Collars held against the index: which orders wait for which candles, and what becomes of those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from watchdog.audit_world import NOW_MS, listed_order, tag
from watchdog.audit_world import AuditWorld as World

from trade_watchdog import collar_watch
from trade_watchdog.audit.listing import seen_order
from trade_watchdog.collar_watch import GIVEN_UP_MS, JUDGED_BACK_MS, SETTLED_MS, CollarWatch
from trade_watchdog.drop_copy import Look

LATER_MS = NOW_MS + SETTLED_MS


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def collars(world: World) -> CollarWatch:
    return world.auditor.collars


def look(*orders: dict[str, Any], at_ms: int = LATER_MS, category: str = "spot") -> Look:
    seen = tuple(seen_order(one, category=category) for one in orders)
    return Look(orders=seen, executions=(), until_ms=at_ms, behind_ms=0)


def candles(price: str) -> list[list[str]]:
    first = NOW_MS // 60_000 * 60_000 - 2 * 60_000
    return [[str(first + number * 60_000), price, price, price, price] for number in range(4)]


async def test_order_is_held_against_the_index_once(world: World, collars: CollarWatch) -> None:
    collars.take(look(listed_order(orderLinkId=tag())))
    assert collars.waiting == 1
    assert await collars.measure() == []
    collars.take(look(listed_order(orderLinkId=tag())))
    assert (await collars.measure(), collars.waiting, len(world.questions)) == ([], 0, 1)
    first = (NOW_MS - 65_000) // 60_000 * 60_000
    assert world.questions[0] == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "interval": "1",
        "start": first,
        "end": (NOW_MS + 2_000) // 60_000 * 60_000,
        "limit": 200,
    }


async def test_order_outside_every_collar_is_found(world: World, collars: CollarWatch) -> None:
    world.candles = candles("90")
    collars.take(look(listed_order(orderLinkId=tag()), listed_order(2, orderLinkId="")))
    (found,) = await collars.measure()
    assert (found.name, found.detail) == ("o-1", "spot BTCUSDT bought at 100 where the collar ended at 91.809")
    assert await collars.measure() == []


async def test_order_that_filled_at_once_is_held_and_one_that_never_filled_is_not(collars: CollarWatch) -> None:
    collars.take(look(listed_order(orderLinkId=tag(), orderStatus="Cancelled")))
    assert collars.waiting == 0
    collars.take(look(listed_order(orderLinkId=tag(), orderStatus="Filled", cumExecQty="1")))
    assert collars.waiting == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"orderLinkId": ""},
        {"side": "Sell"},
        {"price": ""},
        {"symbol": "BTCPERP"},
        {"createdTime": str(LATER_MS - JUDGED_BACK_MS - 1)},
        {"createdTime": "0"},
    ],
)
def test_strangers_exits_and_old_orders_are_not_held(collars: CollarWatch, changes: dict[str, Any]) -> None:
    collars.take(look(listed_order(**{"orderLinkId": tag(), **changes})))
    assert collars.waiting == 0


async def test_candle_of_the_running_minute_is_given_time_to_settle(world: World, collars: CollarWatch) -> None:
    collars.take(look(listed_order(orderLinkId=tag()), at_ms=LATER_MS - 1))
    assert (await collars.measure(), world.questions, collars.waiting) == ([], [], 1)
    collars.take(look(at_ms=LATER_MS))
    await collars.measure()
    assert (len(world.questions), collars.waiting) == (1, 0)


async def test_index_that_cannot_be_read_is_asked_for_again_and_given_up_in_the_end(
    world: World, collars: CollarWatch
) -> None:
    world.candles = candles("1")
    world.is_down = True
    collars.take(look(listed_order(orderLinkId=tag())))
    for _ in range(2):
        assert await collars.measure() == []
    assert (collars.waiting, collars.given_up) == (1, 0)
    assert collars.detail == "the index of BTCUSDT cannot be read: the exchange does not answer"
    collars.take(look(at_ms=LATER_MS + GIVEN_UP_MS))
    await collars.measure()
    assert (collars.waiting, collars.given_up) == (1, 0)
    collars.take(look(at_ms=LATER_MS + GIVEN_UP_MS + 1))
    assert await collars.measure() == []
    assert (collars.waiting, collars.given_up) == (0, 1)


async def test_minutes_that_are_not_told_are_waited_for_and_given_up_in_the_end(
    world: World, collars: CollarWatch
) -> None:
    world.candles = []
    collars.take(look(listed_order(orderLinkId=tag())))
    assert (await collars.measure(), collars.waiting, collars.detail) == ([], 1, "")
    collars.take(look(at_ms=LATER_MS + GIVEN_UP_MS + 1))
    assert (await collars.measure(), collars.waiting) == ([], 0)
    assert (collars.given_up, collars.detail) == (1, "the index of BTCUSDT is not told whole")


async def test_policy_that_is_not_known_is_said_and_proves_nothing(world: World, collars: CollarWatch) -> None:
    world.candles = candles("1")
    world.limits = None
    collars.take(look(listed_order(orderLinkId=tag())))
    assert (await collars.measure(), world.questions, collars.waiting) == ([], [], 1)
    assert collars.detail == "the journal does not show every policy that may have been in force"


async def test_requests_a_round_are_bounded_and_every_symbol_has_its_turn(
    world: World, collars: CollarWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collar_watch, "REQUESTS_A_ROUND", 1)
    monkeypatch.setattr(type(collars.audit), "is_strange", lambda _self, _order: False)
    world.candles = []
    names = ["AUSDT", "BUSDT", "CUSDT"]
    collars.take(look(*(listed_order(number, symbol=name) for number, name in enumerate(names))))
    for _ in range(4):
        await collars.measure()
    assert [one["symbol"] for one in world.questions] == [*names, "AUSDT"]


async def test_orders_of_one_symbol_are_asked_for_at_once_as_far_as_a_page_goes(
    world: World, collars: CollarWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(collars.audit), "is_strange", lambda _self, _order: False)
    made = [NOW_MS, NOW_MS - 60_000, NOW_MS - 5 * 3_600_000]
    collars.take(look(*(listed_order(number, createdTime=str(at_ms)) for number, at_ms in enumerate(made))))
    await collars.measure()
    assert collars.waiting == 2
    await collars.measure()
    assert (collars.waiting, len(world.questions)) == (0, 2)


def test_orders_that_wait_and_orders_remembered_are_bounded(
    collars: CollarWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(collars.audit), "is_strange", lambda _self, _order: False)
    monkeypatch.setattr(collar_watch, "MAX_WAITING", 3)
    monkeypatch.setattr(collar_watch, "MAX_REMEMBERED", 4)
    collars.take(look(*(listed_order(number) for number in range(5))))
    assert (collars.waiting, collars.given_up, collars.detail) == (3, 2, "more than 3 orders wait")
    collars.take(look(*(listed_order(number) for number in range(5))))
    assert collars.given_up == 3
