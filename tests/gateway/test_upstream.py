"""What each answer of a real server means for an order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from http_double import HANG, Asked, HttpDouble, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, ManualClock
from trade_core.secrets import Secret
from trade_gateway import upstream as upstream_module
from trade_gateway.commands import (
    Acknowledged,
    AskOrder,
    CannotAsk,
    Found,
    NotFound,
    NotSent,
    Rejected,
    Unknown,
)
from trade_gateway.upstream import AMBIGUOUS_CODES, ASKS_PER_S, Upstream
from trade_gateway.wire.intents import Category

QUESTION = AskOrder(category=Category.SPOT, symbol="BTCUSDT", tag="T1tag")
LISTED = {"orderLinkId": "T1tag", "orderId": "x1", "orderStatus": "New", "cumExecQty": "0.5"}


@asynccontextmanager
async def upstream_to(
    answer: Callable[[Asked], bytes | None] | bytes, clock: ManualClock
) -> AsyncIterator[tuple[Upstream, HttpDouble]]:
    async with http_double((lambda _: answer) if isinstance(answer, bytes) else answer) as double:
        client = BybitClient(base_url=double.url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
        try:
            yield Upstream(client=client, clock=clock), double
        finally:
            await client.aclose()


def yes() -> bool:
    return True


def listing(*items: Any) -> bytes:
    return envelope({"list": list(items)})


async def test_upstream_order_taken_is_acknowledged(clock: ManualClock) -> None:
    async with upstream_to(envelope({"orderId": "x1"}), clock) as (upstream, double):
        assert await upstream.send_order(b"{}", may_send=yes) == Acknowledged(
            order_id="x1", signed_at_ns=clock.monotonic_ns()
        )
        assert double.paths() == ["/v5/order/create"]


@pytest.mark.parametrize("ret_code", [10001, 10006, 110007, 170131])
async def test_upstream_order_refused_by_code_is_rejected(clock: ManualClock, ret_code: int) -> None:
    async with upstream_to(envelope({}, ret_code=ret_code, ret_msg="m"), clock) as (upstream, _):
        assert await upstream.send_order(b"{}", may_send=yes) == Rejected(ret_code=ret_code, ret_msg="m")


@pytest.mark.parametrize("ret_code", sorted(AMBIGUOUS_CODES))
async def test_upstream_order_answered_ambiguously_is_unknown(clock: ManualClock, ret_code: int) -> None:
    async with upstream_to(envelope({}, ret_code=ret_code), clock) as (upstream, double):
        assert isinstance(await upstream.send_order(b"{}", may_send=yes), Unknown)
        assert len(double.asked) == 1


@pytest.mark.parametrize("ret_code", [10000, 10016, 170007, 170147])
async def test_upstream_cancel_answered_ambiguously_is_unknown(clock: ManualClock, ret_code: int) -> None:
    async with upstream_to(envelope({}, ret_code=ret_code), clock) as (upstream, _):
        assert isinstance(await upstream.send_cancel(b"{}"), Unknown)


@pytest.mark.parametrize("result", [{}, {"orderId": ""}, {"orderId": 5}, {"orderId": "a b"}, {"orderId": "x" * 65}])
async def test_upstream_order_taken_without_a_proper_id_is_unknown(clock: ManualClock, result: dict[str, Any]) -> None:
    async with upstream_to(envelope(result), clock) as (upstream, _):
        assert isinstance(await upstream.send_order(b"{}", may_send=yes), Unknown)


@pytest.mark.parametrize("raw", [reply(b"x"), reply(b"{}", status=500), reply(b"", status=403)])
async def test_upstream_useless_answer_is_unknown(clock: ManualClock, raw: bytes) -> None:
    async with upstream_to(raw, clock) as (upstream, double):
        assert isinstance(await upstream.send_order(b"{}", may_send=yes), Unknown)
        assert len(double.asked) == 1


async def test_upstream_order_not_answered_in_time_is_unknown(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "SEND_TIMEOUT_S", 0.1)
    async with upstream_to(HANG, clock) as (upstream, _):
        signed_at_ns = clock.monotonic_ns()
        result = await upstream.send_order(b"{}", may_send=yes)
    assert isinstance(result, Unknown)
    assert result.signed_at_ns == signed_at_ns


@pytest.mark.parametrize("permits", [0, 1])
async def test_upstream_order_forbidden_at_any_last_moment_is_withheld(clock: ManualClock, permits: int) -> None:
    answers = iter([True] * permits)
    async with upstream_to(envelope({"orderId": "x1"}), clock) as (upstream, double):
        result = await upstream.send_order(b"{}", may_send=lambda: next(answers, False))
        assert isinstance(result, NotSent)
        assert result.is_withheld
        assert double.asked == []


async def test_upstream_order_to_nobody_is_not_sent(clock: ManualClock) -> None:
    async with upstream_to(envelope({}), clock) as (_, double):
        url = double.url
    client = BybitClient(base_url=url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
    result = await Upstream(client=client, clock=clock).send_order(b"{}", may_send=yes)
    await client.aclose()
    assert isinstance(result, NotSent)
    assert not result.is_withheld


async def test_upstream_cancel_taken_is_acknowledged(clock: ManualClock) -> None:
    async with upstream_to(envelope({"orderId": "x1"}), clock) as (upstream, double):
        assert isinstance(await upstream.send_cancel(b"{}"), Acknowledged)
        assert double.paths() == ["/v5/order/cancel"]


async def test_upstream_question_finds_an_open_order(clock: ManualClock) -> None:
    async with upstream_to(listing({"orderLinkId": "other"}, LISTED), clock) as (upstream, double):
        assert await upstream.ask_order(QUESTION) == Found(
            order_id="x1", status="New", filled="0.5", asked_at_ns=clock.monotonic_ns()
        )
        assert double.paths() == ["/v5/order/realtime"]
        assert double.asked[0].parameter("orderLinkId") == "T1tag"


async def test_upstream_question_looks_into_the_history_too(clock: ManualClock) -> None:
    def answer(asked: Asked) -> bytes:
        return listing(LISTED) if asked.path.endswith("history") else listing()

    async with upstream_to(answer, clock) as (upstream, _):
        assert isinstance(await upstream.ask_order(QUESTION), Found)


async def test_upstream_not_found_takes_both_and_names_the_time_before_asking(clock: ManualClock) -> None:
    asked_at_ns = clock.monotonic_ns()

    def answer(_: Asked) -> bytes:
        clock.advance(NS_PER_S)
        return listing()

    async with upstream_to(answer, clock) as (upstream, double):
        assert await upstream.ask_order(QUESTION) == NotFound(asked_at_ns=asked_at_ns)
        assert double.paths() == ["/v5/order/realtime", "/v5/order/history"]


@pytest.mark.parametrize("failing", ["/v5/order/realtime", "/v5/order/history"])
@pytest.mark.parametrize(
    "raw",
    [
        reply(b"x"),
        reply(b"{}", status=500),
        envelope({}, ret_code=10016),
        envelope({}),
        envelope({"list": {}}),
        envelope({"list": ["T1tag"]}),
        envelope({"list": None}),
        None,
    ],
)
async def test_upstream_half_an_answer_is_never_not_found(clock: ManualClock, failing: str, raw: bytes | None) -> None:
    async with upstream_to(lambda asked: raw if asked.path == failing else listing(), clock) as (upstream, _):
        assert isinstance(await upstream.ask_order(QUESTION), CannotAsk)


@pytest.mark.parametrize(
    "changed",
    [
        {"cumExecQty": "NaN"},
        {"cumExecQty": "1e3"},
        {"cumExecQty": "-0.1"},
        {"orderId": ""},
        {"orderId": None},
        {"orderStatus": ""},
        {"orderStatus": "x" * 600},
    ],
)
async def test_upstream_nonsense_about_an_order_is_no_answer(clock: ManualClock, changed: dict[str, Any]) -> None:
    async with upstream_to(listing({**LISTED, **changed}), clock) as (upstream, _):
        assert isinstance(await upstream.ask_order(QUESTION), CannotAsk)


async def test_upstream_question_past_its_deadline_asks_nothing(clock: ManualClock) -> None:
    late = AskOrder(category=Category.SPOT, symbol="BTCUSDT", tag="T1tag", deadline_ns=clock.monotonic_ns())
    async with upstream_to(listing(LISTED), clock) as (upstream, double):
        assert isinstance(await upstream.ask_order(late), CannotAsk)
        assert double.asked == []


async def test_upstream_question_is_cut_short_by_its_deadline(clock: ManualClock) -> None:
    soon = AskOrder(
        category=Category.SPOT, symbol="BTCUSDT", tag="T1tag", deadline_ns=clock.monotonic_ns() + NS_PER_S // 10
    )
    async with upstream_to(HANG, clock) as (upstream, _):
        assert isinstance(await upstream.ask_order(soon), CannotAsk)


async def test_upstream_questions_have_a_budget(clock: ManualClock) -> None:
    async with upstream_to(listing(), clock) as (upstream, double):
        answers = [await upstream.ask_order(QUESTION) for _ in range(ASKS_PER_S)]
        assert len(double.asked) == ASKS_PER_S
        assert [a.is_budget for a in answers if isinstance(a, CannotAsk)] == [True] * (ASKS_PER_S // 2)
        clock.advance(NS_PER_S)
        assert isinstance(await upstream.ask_order(QUESTION), NotFound)
