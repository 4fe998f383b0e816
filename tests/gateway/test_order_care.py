"""The rounds over the ledger: what must not work any longer is cancelled, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from gateway.house import ORDER, House, house
from gateway.parts import rows_of, tracked_stop

from trade_core.clock import NS_PER_S, ManualClock
from trade_gateway.ledger import TrackedOrder
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import ORPHAN_GRACE_NS, OrderCare
from trade_gateway.order_desk import Placed
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import OrderIntent
from trade_gateway.wire.order_bodies import parse_order_create
from trade_journal.writer.writer import JournalWriter

TIME_TO_LIVE_S = 60


def care_of(
    made: House,
    clock: ManualClock,
    *,
    is_reduced: bool = False,
    flat: Callable[[str, int], bool] = lambda _symbol, _since: False,
) -> OrderCare:
    reduced = asyncio.Event()
    if is_reduced:
        reduced.set()
    return OrderCare(
        ledger=made.ledger,
        conductor=made.conductor,
        clock=clock,
        reduced=reduced,
        time_to_live_s=lambda: TIME_TO_LIVE_S,
        is_flat=flat,
        permits_symbol=lambda key: key in made.desk.policy.symbols,
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
            is_flat=lambda _symbol, _since_ns: False,
            permits_symbol=lambda _: True,
            on_changed=made.account.request,
        )
        waiting = asyncio.create_task(care.wait_for_round())
        await asyncio.sleep(0)
        reduced.set()
        async with asyncio.timeout(0.5):
            await waiting


def stop_of(made: House, tag: str = "T1stop", *, is_gateways: bool = False) -> TrackedOrder:
    stop = tracked_stop(tag, is_gateways=is_gateways)
    stop.is_in_flow = False
    stop.signed_at_ns = 5
    made.ledger.reserve(stop)
    made.ledger.acknowledge(tag, f"x-{tag}")
    return stop


async def test_care_stop_with_a_position_outlives_every_state_and_age(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        stop_of(made)
        stop_of(made, "T1own", is_gateways=True)
        for _ in range(3):
            clock.advance(1000 * TIME_TO_LIVE_S * NS_PER_S)
            assert await care_of(made, clock, is_reduced=True).withdraw_round() == 0


async def test_care_stop_whose_position_is_gone_is_withdrawn_after_the_bot_had_its_time(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock) as made:
        asked: list[tuple[str, int]] = []
        is_flat = [True]

        def flat(symbol: str, since_ns: int) -> bool:
            asked.append((symbol, since_ns))
            return is_flat[0]

        stop_of(made)
        care = care_of(made, clock, flat=flat)
        assert await care.withdraw_round() == 0
        assert asked == [("BTCUSDT", 5)]
        clock.advance(ORPHAN_GRACE_NS)
        assert await care.withdraw_round() == 0
        is_flat[0] = False  # another position was opened meanwhile, which this stop was never meant for
        clock.advance(1)
        assert await care.withdraw_round() == 1
        assert cancels(made) == 1
        reasons = [row.fields["reason"] for row in await rows_of(journal) if "reason" in row.fields]
        assert reasons == ["the position that it protected is gone"]


async def test_care_stop_of_the_gateway_is_none_of_its_business(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        stop_of(made, is_gateways=True)
        care = care_of(made, clock, flat=lambda _symbol, _since: True)
        await care.withdraw_round()
        clock.advance(10 * ORPHAN_GRACE_NS)
        assert await care.withdraw_round() == 0


async def test_care_disowned_stop_is_cancelled(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> None:
    async with house(recorder, metrics, clock) as made:
        stop_of(made).disown()
        assert await care_of(made, clock).withdraw_round() == 1


async def test_care_order_on_a_symbol_that_is_permitted_no_more_is_cancelled(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        await placed(made, side="Sell", price="30001")
        made.desk.policy = replace(made.desk.policy, symbols={})
        assert await care_of(made, now_after(made, 1)).withdraw_round() == 1
        assert cancels(made) == 1
