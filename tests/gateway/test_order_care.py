"""The rounds over the ledger: what must not work any longer is cancelled, and nothing else."""

from __future__ import annotations

import asyncio
import json

from gateway.house import ORDER, House, house

from trade_core.clock import NS_PER_S, ManualClock
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import OrderCare
from trade_gateway.order_desk import Placed
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import OrderIntent
from trade_gateway.wire.order_bodies import parse_order_create

TIME_TO_LIVE_S = 60


def care_of(made: House, clock: ManualClock, *, is_reduced: bool = False) -> OrderCare:
    reduced = asyncio.Event()
    if is_reduced:
        reduced.set()
    return OrderCare(
        ledger=made.ledger,
        conductor=made.conductor,
        clock=clock,
        reduced=reduced,
        time_to_live_s=lambda: TIME_TO_LIVE_S,
        on_changed=made.account.request,
    )


async def placed(made: House, **change: str) -> None:
    intent = parse_order_create(json.dumps(ORDER | change).encode())
    assert isinstance(intent, OrderIntent)
    assert isinstance(await made.desk.create(intent), Placed)


def now_after(made: House, seconds: float) -> ManualClock:
    signed_at_ns = max(order.signed_at_ns for order in made.ledger.open_orders())
    return ManualClock(monotonic_ns=signed_at_ns + int(seconds * NS_PER_S))


def cancels(made: House) -> int:
    return made.double.paths().count("/v5/order/cancel")


async def test_care_order_that_may_work_is_left_alone(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await care_of(made, now_after(made, 1)).withdraw_round() == 0
        assert cancels(made) == 0


async def test_care_order_that_adds_risk_is_cancelled_when_none_may(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await care_of(made, now_after(made, 1), is_reduced=True).withdraw_round() == 1
        assert cancels(made) == 1


async def test_care_order_that_reduces_is_left_alone_whatever_the_state(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made, side="Sell")
        care = care_of(made, now_after(made, 10 * TIME_TO_LIVE_S), is_reduced=True)
        assert await care.withdraw_round() == 0


async def test_care_order_past_its_time_to_live_is_cancelled(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await care_of(made, now_after(made, TIME_TO_LIVE_S)).withdraw_round() == 0
        assert await care_of(made, now_after(made, TIME_TO_LIVE_S + 0.001)).withdraw_round() == 1


async def test_care_disowned_order_is_cancelled_even_when_it_reduces(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made, side="Sell")
        for order in made.ledger.open_orders():
            order.is_disowned = True
        assert await care_of(made, now_after(made, 1)).withdraw_round() == 1


async def test_care_round_comes_at_once_when_the_state_becomes_restrictive(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        reduced = asyncio.Event()
        care = OrderCare(
            ledger=made.ledger,
            conductor=made.conductor,
            clock=clock,
            reduced=reduced,
            time_to_live_s=lambda: TIME_TO_LIVE_S,
            on_changed=made.account.request,
        )
        waiting = asyncio.create_task(care.wait_for_round())
        await asyncio.sleep(0)
        reduced.set()
        async with asyncio.timeout(0.5):
            await waiting
