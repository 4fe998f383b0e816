"""The rounds over the ledger: what must not work any longer is cancelled, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from gateway.house import HANG, ORDER, House, house
from gateway.parts import rows_of, tracked, tracked_stop
from http_double import Asked, envelope

from trade_core.clock import NS_PER_S, Clock, ManualClock, SystemClock
from trade_gateway import order_care, upstream
from trade_gateway.cancel_room import MAX_CANCELS_AT_ONCE
from trade_gateway.commands import Flow, Wait
from trade_gateway.ledger import OrderLedger, TrackedOrder
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import ORPHAN_GRACE_NS, RESOLVED_AT_ONCE, OrderCare
from trade_gateway.order_desk import Placed
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import OrderIntent
from trade_gateway.wire.order_bodies import parse_order_create
from trade_journal.writer.writer import JournalWriter

TIME_TO_LIVE_S = 60


def care_of(
    made: House,
    clock: Clock,
    *,
    is_reduced: bool = False,
    flat: Callable[[str, int], bool] = lambda _symbol, _since: False,
) -> OrderCare:
    return OrderCare(
        ledger=made.ledger,
        conductor=made.conductor,
        clock=clock,
        is_reduced=lambda: is_reduced,
        time_to_live_s=lambda: TIME_TO_LIVE_S,
        is_flat=flat,
        permits_symbol=lambda key: key in made.desk.policy.symbols,
        on_changed=made.account.request,
    )


async def placed(made: House, **change: str) -> None:
    intent = parse_order_create(json.dumps(ORDER | change).encode())
    assert isinstance(intent, OrderIntent)
    assert isinstance(await made.desk.create(intent), Placed)


async def withdrawn(made: House, care: OrderCare) -> int:
    """Make a round and wait for what it began."""
    begun = care.withdraw_round()
    await made.conductor.drain(within_s=60)
    return begun


def now_after(made: House, seconds: float) -> ManualClock:
    signed_at_ns = max(order.signed_at_ns for order in made.ledger.open_orders())
    return ManualClock(monotonic_ns=signed_at_ns + int(seconds * NS_PER_S))


def cancels(made: House) -> int:
    return made.double.paths().count("/v5/order/cancel")


async def test_care_order_that_may_work_is_left_alone(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await withdrawn(made, care_of(made, now_after(made, 1))) == 0
        assert cancels(made) == 0


async def test_care_order_that_adds_risk_is_cancelled_when_none_may(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await withdrawn(made, care_of(made, now_after(made, 1), is_reduced=True)) == 1
        assert cancels(made) == 1


async def test_care_order_that_reduces_is_left_alone_whatever_the_state(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made, side="Sell")
        care = care_of(made, now_after(made, 10 * TIME_TO_LIVE_S), is_reduced=True)
        assert await withdrawn(made, care) == 0


async def test_care_order_past_its_time_to_live_is_cancelled(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        assert await withdrawn(made, care_of(made, now_after(made, TIME_TO_LIVE_S))) == 0
        assert await withdrawn(made, care_of(made, now_after(made, TIME_TO_LIVE_S + 0.001))) == 1


async def test_care_disowned_order_is_cancelled_even_when_it_reduces(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made, side="Sell")
        for order in made.ledger.open_orders():
            order.is_disowned = True
        assert await withdrawn(made, care_of(made, now_after(made, 1))) == 1


async def test_care_round_comes_at_once_when_it_is_wanted(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(recorder, metrics, clock) as made:
        monkeypatch.setattr(order_care, "ROUND_EVERY_S", 60)
        care = care_of(made, clock)
        waiting = asyncio.create_task(care.wait_for_round())
        await asyncio.sleep(0)
        care.want_round()
        async with asyncio.timeout(60):
            await waiting
        monkeypatch.setattr(order_care, "ROUND_EVERY_S", 0.01)
        await care.wait_for_round()  # what was wanted was had: the next one waits for its time


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
            assert await withdrawn(made, care_of(made, clock, is_reduced=True)) == 0


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
        assert await withdrawn(made, care) == 0
        assert asked == [("BTCUSDT", 5)]
        clock.advance(ORPHAN_GRACE_NS)
        assert await withdrawn(made, care) == 0
        is_flat[0] = False  # another position was opened meanwhile, which this stop was never meant for
        clock.advance(1)
        assert await withdrawn(made, care) == 1
        assert cancels(made) == 1
        reasons = [row.fields["reason"] for row in await rows_of(journal) if "reason" in row.fields]
        assert reasons == ["the position that it protected is gone"]


async def test_care_stop_of_the_gateway_is_none_of_its_business(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        stop_of(made, is_gateways=True)
        care = care_of(made, clock, flat=lambda _symbol, _since: True)
        await withdrawn(made, care)
        clock.advance(10 * ORPHAN_GRACE_NS)
        assert await withdrawn(made, care) == 0


async def test_care_disowned_stop_is_cancelled(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> None:
    async with house(recorder, metrics, clock) as made:
        stop_of(made).disown()
        assert await withdrawn(made, care_of(made, clock)) == 1


async def test_care_order_on_a_symbol_that_is_permitted_no_more_is_cancelled(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        await placed(made, side="Sell", price="30001")
        made.desk.policy = replace(made.desk.policy, symbols={})
        assert await withdrawn(made, care_of(made, now_after(made, 1))) == 1
        assert cancels(made) == 1


async def test_care_orders_are_withdrawn_while_the_cancel_of_another_hangs(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CANCEL_TIMEOUT_S", 60)
    many = 3 * MAX_CANCELS_AT_ONCE
    async with house(recorder, metrics, clock) as made:
        for number in range(1, many + 1):
            made.ledger.reserve(tracked(f"T1{number}"))
            made.ledger.acknowledge(f"T1{number}", f"x{number}")
        answer = made.answer

        def hang_for_the_first(asked: Asked) -> bytes | None:
            is_held = asked.path.endswith("cancel") and asked.json()["orderId"] == "x1"
            return HANG if is_held else answer(asked)

        made.double.answer = hang_for_the_first
        care = care_of(made, clock, is_reduced=True)
        assert care.withdraw_round() == many
        async with asyncio.timeout(60):
            while cancels(made) < many:  # noqa: ASYNC110 - the exchange's doing
                await asyncio.sleep(0.005)
        assert {asked.json()["orderId"] for asked in made.sent("/v5/order/cancel")} == {
            f"x{number}" for number in range(1, many + 1)
        }


async def test_care_order_whose_withdrawal_is_under_way_is_not_withdrawn_twice_and_keeps_no_other_waiting(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CANCEL_TIMEOUT_S", 60)
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        made.answers["/v5/order/cancel"] = HANG
        care = care_of(made, now_after(made, 1), is_reduced=True)
        assert care.withdraw_round() == 1
        while not cancels(made):  # noqa: ASYNC110 - the exchange's doing
            await asyncio.sleep(0.005)
        del made.answers["/v5/order/cancel"]
        await placed(made, price="29999")
        assert care.withdraw_round() == 1
        async with asyncio.timeout(60):
            while cancels(made) < 2:  # noqa: ASYNC110 - the exchange's doing
                await asyncio.sleep(0.005)
        assert [asked.json()["orderId"] for asked in made.sent("/v5/order/cancel")] == ["x1", "x2"]


async def test_care_order_that_begins_to_work_while_none_may_add_risk_is_withdrawn_at_once(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as made:
        made.ledger.on_working = care_of(made, clock, is_reduced=True).look_at
        await placed(made)
        await made.conductor.drain(within_s=60)
        assert cancels(made) == 1


async def test_care_withdrawal_that_fails_is_told_and_tried_again(
    recorder: Recorder,
    metrics: Metrics,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house(recorder, metrics, clock) as made:
        await placed(made)
        care = care_of(made, now_after(made, 1), is_reduced=True)
        with monkeypatch.context() as patched:
            patched.setattr(order_care, "withdraw_order", lambda *_, **__: iter(()))  # no flow at all
            assert await withdrawn(made, care) == 1
        assert cancels(made) == 0
        assert "the next round tries again" in caplog.text
        assert await withdrawn(made, care) == 1
        assert cancels(made) == 1


def unknown(made: House, number: int) -> TrackedOrder:
    order = tracked(f"T1{number}")
    order.is_in_flow = False
    made.ledger.reserve(order)
    return order


def shown_as_cancelled(asked: Asked) -> bytes:
    tag = asked.parameter("orderLinkId")
    shown = {"orderLinkId": tag, "orderId": f"x{tag}", "orderStatus": "Cancelled", "cumExecQty": "0"}
    return envelope({"list": [shown]})


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_true():  # noqa: ASYNC110 - the exchange's doing
            await asyncio.sleep(0.005)


async def test_care_question_that_hangs_keeps_no_other_waiting_and_few_are_asked_at_once(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "ASK_TIMEOUT_S", 60)
    monkeypatch.setattr(order_care, "RESOLVE_FOR_NS", 60 * NS_PER_S)
    async with house(recorder, metrics, clock) as made:
        orders = [unknown(made, number) for number in range(2 * RESOLVED_AT_ONCE)]
        hanging = orders[: RESOLVED_AT_ONCE - 1]

        def answer(asked: Asked) -> bytes:
            is_held = asked.parameter("orderLinkId") in {order.tag for order in hanging}
            return HANG if is_held else shown_as_cancelled(asked)

        made.double.answer = answer
        round_ = asyncio.create_task(care_of(made, SystemClock()).resolve_round())
        await until(lambda: made.ledger.unresolved() == hanging)
        assert not round_.done()
        hanging.append(unknown(made, 99))  # those that come meanwhile have the next round
        assert {asked.parameter("orderLinkId") for asked in made.double.asked} == {order.tag for order in orders}
        made.double.answer = shown_as_cancelled
        made.double.nothing_hangs.set()
        assert not await round_
        assert made.ledger.unresolved() == hanging[-1:]


async def test_care_asks_no_more_at_once_than_was_decided(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "ASK_TIMEOUT_S", 60)
    async with house(recorder, metrics, clock) as made:
        orders = [unknown(made, number) for number in range(2 * RESOLVED_AT_ONCE)]
        made.double.answer = lambda _: HANG
        round_ = asyncio.create_task(care_of(made, SystemClock()).resolve_round())
        await until(lambda: len(made.double.asked) == RESOLVED_AT_ONCE)
        await asyncio.sleep(0.02)
        assert len(made.double.asked) == RESOLVED_AT_ONCE == 4
        assert made.ledger.unresolved() == orders
        made.double.answer = shown_as_cancelled
        made.double.nothing_hangs.set()
        assert await round_


async def test_care_resolution_that_fails_is_told_after_the_others_were_asked(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(recorder, metrics, clock) as made:
        first, *rest = [unknown(made, number) for number in range(RESOLVED_AT_ONCE + 2)]
        asked: list[TrackedOrder] = []

        def resolve(order: TrackedOrder, *, ledger: OrderLedger, deadline_ns: int) -> Flow[bool]:
            asked.append(order)
            if order is first:
                raise RuntimeError("a fault of ours")
            yield Wait(until_ns=0)
            ledger.finish(order.tag, status="NotFound")
            return True

        monkeypatch.setattr(order_care, "resolve_order", resolve)
        care = care_of(made, clock)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await care.resolve_round()
        assert asked == [first, *rest]
        assert made.ledger.unresolved() == [first]
