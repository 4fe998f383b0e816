"""Flows meet the world: a real journal and a small exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway.parts import rows_of, tracked
from http_double import HANG, Asked, HttpDouble, envelope, http_double

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_MS, ManualClock, SystemClock
from trade_core.secrets import Secret
from trade_gateway import cancel_room
from trade_gateway import conductor as conductor_module
from trade_gateway import upstream as upstream_module
from trade_gateway.cancel_room import MAX_CANCELS_AT_ONCE, CancelRoom
from trade_gateway.commands import (
    Acknowledged,
    AppendBeside,
    AppendDurable,
    AppendLater,
    Flow,
    NotSent,
    SendCancel,
    SendOrder,
    Wait,
)
from trade_gateway.conductor import Conductor, TooManyFlows
from trade_gateway.ledger import OrderLedger
from trade_gateway.order_flow import Placement, PlaceResult, place_order
from trade_gateway.recorder import Recorder
from trade_gateway.upstream import Upstream
from trade_journal.errors import RowRefused
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter


@asynccontextmanager
async def conducting(
    recorder: Recorder,
    answer: Callable[[Asked], bytes | None] | None = None,
    *,
    permits: Callable[[bool], bool] = lambda _: True,
) -> AsyncIterator[tuple[Conductor, HttpDouble]]:
    clock = SystemClock()
    async with http_double(answer or (lambda _: envelope({"orderId": "x1"}))) as double:
        client = BybitClient(base_url=double.url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
        made = Conductor(recorder=recorder, upstream=Upstream(client=client, clock=clock), clock=clock, permits=permits)
        try:
            yield made, double
        finally:
            await client.aclose()


def of(*commands: Any) -> Flow[list[Any]]:
    heard = []
    for command in commands:
        heard.append((yield command))
    return heard


async def test_conductor_gives_each_command_its_result_in_order(recorder: Recorder, journal: JournalWriter) -> None:
    async with conducting(recorder) as (conductor, double):
        heard = await conductor.run(
            of(
                AppendDurable(kind=RowKind.ORDER_INTENT, fields={"tag": "a"}),
                SendOrder(body=b"{}", adds_risk=True),
                AppendLater(kind=RowKind.ORDER_OUTCOME, fields={"tag": "a"}),
                SendCancel(body=b"{}"),
            )
        )
        assert heard[0] is True
        assert isinstance(heard[1], Acknowledged)
        assert heard[2] is None
        assert double.paths() == ["/v5/order/create", "/v5/order/cancel"]
    assert [row.kind for row in await rows_of(journal)] == [RowKind.ORDER_INTENT, RowKind.ORDER_OUTCOME]


@pytest.mark.parametrize("adds_risk", [True, False])
async def test_conductor_withholds_what_the_state_forbids(recorder: Recorder, adds_risk: bool) -> None:
    asked: list[bool] = []

    def permits(adds: bool) -> bool:
        asked.append(adds)
        return False

    async with conducting(recorder, permits=permits) as (conductor, double):
        (heard,) = await conductor.run(of(SendOrder(body=b"{}", adds_risk=adds_risk)))
        assert heard == NotSent(reason="trading state", is_withheld=True)
        assert set(asked) == {adds_risk}
        assert double.asked == []


async def test_conductor_asks_the_state_again_after_the_row_is_durable(recorder: Recorder) -> None:
    order, ledger = tracked(), OrderLedger()
    ledger.reserve(order)
    is_halted = False

    def halting(flow: Flow[Placement]) -> Flow[Placement]:
        nonlocal is_halted
        command = next(flow)
        is_durable = yield command
        is_halted = True  # between the commit and the write
        command = flow.send(is_durable)
        while True:
            heard = yield command
            try:
                command = flow.send(heard)
            except StopIteration as ended:
                result: Placement = ended.value
                return result

    async with conducting(recorder, permits=lambda _: not is_halted) as (conductor, double):
        placement = await conductor.run(halting(place_order(order, ledger=ledger, arrived_at_ns=0)))
        assert placement.result is PlaceResult.WITHHELD
        assert double.asked == []


async def test_conductor_cancel_is_sent_in_every_state(recorder: Recorder) -> None:
    async with conducting(recorder, permits=lambda _: False) as (conductor, double):
        (heard,) = await conductor.run(of(SendCancel(body=b"{}")))
        assert isinstance(heard, Acknowledged)
        assert double.paths() == ["/v5/order/cancel"]


async def test_conductor_wait_lasts_until_its_time_and_tells_the_time(recorder: Recorder) -> None:
    async with conducting(recorder) as (conductor, _):
        until_ns = SystemClock().monotonic_ns() + 20 * NS_PER_MS
        past, future = await conductor.run(of(Wait(until_ns=0), Wait(until_ns=until_ns)))
        assert past < until_ns <= future


async def test_conductor_client_that_leaves_does_not_stop_a_flow(recorder: Recorder, journal: JournalWriter) -> None:
    order, ledger = tracked(), OrderLedger()
    ledger.reserve(order)
    reached = asyncio.Event()

    def answer(_: Asked) -> bytes:
        reached.set()
        return envelope({"orderId": "x1"})

    async with conducting(recorder, answer) as (conductor, double):
        client = asyncio.create_task(conductor.place(place_order(order, ledger=ledger, arrived_at_ns=0)))
        await asyncio.sleep(0)
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        await conductor.drain(within_s=60)
        assert reached.is_set()
        assert conductor.orders_under_way == 0
        assert len(double.asked) == 1
    assert ledger.find(order_id="x1", client_link_id=None) is order
    assert [row.kind for row in await rows_of(journal)] == [RowKind.ORDER_INTENT, RowKind.ORDER_OUTCOME]


async def test_conductor_drain_gives_up_in_time(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "CANCEL_TIMEOUT_S", 0.3)
    async with conducting(recorder, lambda _: HANG) as (conductor, _):
        client = asyncio.create_task(conductor.run(of(SendCancel(body=b"{}"))))
        await asyncio.sleep(0)
        await conductor.drain(within_s=0.01)
        assert not client.done()
        await client


async def test_conductor_with_nothing_under_way_drains_at_once(recorder: Recorder) -> None:
    async with conducting(recorder) as (conductor, _):
        await conductor.drain(within_s=60)


async def test_conductor_refuses_more_orders_than_it_follows_and_no_cancel(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor_module, "MAX_ORDERS_UNDER_WAY", 1)
    monkeypatch.setattr(upstream_module, "SEND_TIMEOUT_S", 0.3)
    answer = lambda asked: HANG if asked.path.endswith("create") else envelope({"orderId": "x1"})  # noqa: E731
    async with conducting(recorder, answer) as (conductor, double):
        first = asyncio.create_task(conductor.place(of(SendOrder(body=b"{}", adds_risk=True))))
        await asyncio.sleep(0)
        with pytest.raises(TooManyFlows):
            await conductor.place(of(SendOrder(body=b"{}", adds_risk=True)))
        (heard,) = await conductor.run(of(SendCancel(body=b"{}")))
        assert isinstance(heard, Acknowledged)
        await first
        assert sorted(double.paths()) == ["/v5/order/cancel", "/v5/order/create"]


async def test_conductor_own_cancels_that_hang_give_their_places_to_the_next(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel_room, "PATIENCE_S", 0.01)
    monkeypatch.setattr(upstream_module, "CANCEL_TIMEOUT_S", 60)
    is_held = [True]
    async with conducting(recorder, lambda _: HANG if is_held[0] else envelope({"orderId": "x1"})) as (it, double):
        hanging = [it.start(of(SendCancel(body=b"{}", is_own=True))) for _ in range(2 * MAX_CANCELS_AT_ONCE)]
        async with asyncio.timeout(60):
            while len(double.asked) < len(hanging):  # noqa: ASYNC110 - the server's doing
                await asyncio.sleep(0.005)
            is_held[0] = False
            (heard,) = await it.run(of(SendCancel(body=b"{}", is_own=True)))
        assert isinstance(heard, Acknowledged)
        assert not any(task.done() for task in hanging)


async def test_conductor_own_cancels_begin_together_no_more_than_there_are_places(recorder: Recorder) -> None:
    at_once: list[int] = []
    under_way = 0

    async def cancel() -> Acknowledged:
        nonlocal under_way
        under_way += 1
        at_once.append(under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return Acknowledged(order_id="x1", signed_at_ns=0)

    room = CancelRoom()
    heard = await asyncio.gather(*(room.send(cancel) for _ in range(3 * MAX_CANCELS_AT_ONCE)))
    assert len(heard) == 3 * MAX_CANCELS_AT_ONCE
    assert max(at_once) == MAX_CANCELS_AT_ONCE


async def test_conductor_own_cancel_ends_with_the_flow_that_is_ended() -> None:
    ended: list[bool] = []

    async def cancel() -> Acknowledged:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError

    sending = asyncio.create_task(CancelRoom().send(cancel))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.sleep(0)
    assert ended == [True]


async def test_conductor_row_beside_is_on_disk_although_nobody_waits(
    recorder: Recorder, journal: JournalWriter
) -> None:
    async with conducting(recorder) as (conductor, _):
        assert await conductor.run(of(AppendBeside(kind=RowKind.ORDER_CANCELED_BY_GATEWAY, fields={"tag": "a"}))) == [
            None
        ]
        await conductor.drain(within_s=60)
    assert [row.kind for row in await rows_of(journal)] == [RowKind.ORDER_CANCELED_BY_GATEWAY]


async def test_conductor_row_beside_that_no_journal_takes_stops_nothing(
    recorder: Recorder, journal: JournalWriter, caplog: pytest.LogCaptureFixture
) -> None:
    row = AppendBeside(kind=RowKind.ORDER_CANCELED_BY_GATEWAY, fields={"tag": "\x00" * 600})
    async with conducting(recorder) as (conductor, _):
        _, heard = await conductor.run(of(row, SendCancel(body=b"{}", is_own=True)))
        await conductor.drain(within_s=60)
    assert isinstance(heard, Acknowledged)
    assert await rows_of(journal) == []
    assert "was not written" in caplog.text


class HangingJournal:
    """Stands where a journal stands whose disk hangs, until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.rows: list[Entry] = []

    async def append(self, entry: Entry) -> int:
        self.rows.append(entry)
        await self.let_go.wait()
        return len(self.rows)


async def test_conductor_waits_for_a_row_no_longer_than_it_was_told_and_the_row_goes_on(recorder: Recorder) -> None:
    recorder._journal = journal = HangingJournal()  # type: ignore[assignment]
    row = AppendDurable(kind=RowKind.CANCEL_INTENT, fields={"tag": "a"}, within_ns=NS_PER_MS)
    async with conducting(recorder) as (conductor, double):
        is_durable, heard = await conductor.run(of(row, SendCancel(body=b"{}")))
        assert is_durable is False
        assert isinstance(heard, Acknowledged)
        assert double.paths() == ["/v5/order/cancel"]
        assert [entry.fields for entry in journal.rows] == [{"tag": "a"}]
        waiting = asyncio.create_task(conductor.drain(within_s=60))
        await asyncio.sleep(0)
        assert not waiting.done()  # an orderly stop does not leave the row behind
        journal.let_go.set()
        await waiting


async def test_conductor_row_that_is_durable_in_time_is_told_so(recorder: Recorder, journal: JournalWriter) -> None:
    row = AppendDurable(kind=RowKind.CANCEL_INTENT, fields={"tag": "a"}, within_ns=60_000 * NS_PER_MS)
    async with conducting(recorder) as (conductor, _):
        assert await conductor.run(of(row)) == [True]
    assert [row.kind for row in await rows_of(journal)] == [RowKind.CANCEL_INTENT]


async def test_conductor_cancel_passes_although_no_journal_takes_its_row(recorder: Recorder) -> None:
    row = AppendDurable(kind=RowKind.CANCEL_INTENT, fields={"tag": "\x00" * 600}, within_ns=60_000 * NS_PER_MS)
    async with conducting(recorder) as (conductor, _):
        is_durable, heard = await conductor.run(of(row, SendCancel(body=b"{}")))
    assert is_durable is False
    assert isinstance(heard, Acknowledged)


async def test_conductor_fault_of_ours_hands_the_order_to_the_resolver(recorder: Recorder, clock: ManualClock) -> None:
    order, ledger = tracked("\x00" * 600), OrderLedger()  # no row takes a tag of this length
    ledger.reserve(order)
    async with conducting(recorder) as (conductor, double):
        with pytest.raises(RowRefused):
            await conductor.run(place_order(order, ledger=ledger, arrived_at_ns=0))
        assert double.asked == []
    assert ledger.unresolved() == [order]
    assert order.is_disowned


@pytest.mark.parametrize(("adds_risk", "is_sent"), [(True, False), (False, True)])
async def test_conductor_withholds_new_risk_that_another_policy_decided(
    recorder: Recorder, adds_risk: bool, is_sent: bool
) -> None:
    async with conducting(recorder) as (conductor, double):
        old = recorder.policy_hash
        recorder.policy_hash = "b" * 64
        (heard,) = await conductor.run(of(SendOrder(body=b"{}", adds_risk=adds_risk, policy_hash=old)))
        assert isinstance(heard, Acknowledged) is is_sent
        assert bool(double.paths()) is is_sent
        (heard,) = await conductor.run(of(SendOrder(body=b"{}", adds_risk=True, policy_hash="b" * 64)))
        assert isinstance(heard, Acknowledged)


async def test_conductor_writes_the_policy_that_decided_on_the_row(recorder: Recorder, journal: JournalWriter) -> None:
    async with conducting(recorder) as (conductor, _):
        row = AppendDurable(kind=RowKind.ORDER_INTENT, fields={"tag": "a"}, policy_hash="c" * 64)
        await conductor.run(of(row, AppendDurable(kind=RowKind.ORDER_INTENT, fields={"tag": "b"})))
    assert [row.policy_hash for row in await rows_of(journal)] == ["c" * 64, recorder.policy_hash]
