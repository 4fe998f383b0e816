"""Reads through a real server: what is asked upstream, and what of the answer the bot sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway.parts import order_intent, tracked, tracked_stop
from http_double import Asked, HttpDouble, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import ManualClock
from trade_core.secrets import Secret
from trade_gateway import egress
from trade_gateway.egress import READS_PER_S, EgressBudget
from trade_gateway.ledger import OrderLedger
from trade_gateway.reads import ReadDone, ReadFailed, Reads
from trade_gateway.wire.intents import ReadIntent
from trade_gateway.wire.routes import Route

TAG = "T1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


@asynccontextmanager
async def reads_from(
    answer: Callable[[Asked], bytes | None] | bytes, clock: ManualClock
) -> AsyncIterator[tuple[Reads, OrderLedger, HttpDouble]]:
    ledger = OrderLedger()
    async with http_double((lambda _: answer) if isinstance(answer, bytes) else answer) as double:
        private = BybitClient(base_url=double.url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
        public = BybitClient(base_url=double.url, clock=clock, is_simulated=True)
        try:
            yield Reads(private=private, public=public, ledger=ledger, budget=EgressBudget(clock=clock)), ledger, double
        finally:
            await private.aclose()
            await public.aclose()


def read(route: Route, **parameters: str) -> ReadIntent:
    return ReadIntent(route=route, parameters=tuple(parameters.items()))


def with_order(ledger: OrderLedger, *, alias: str | None = "bots-own", tag: str = TAG) -> None:
    ledger.reserve(tracked(tag, intent=order_intent(client_link_id=alias)))


async def test_reads_public_question_is_asked_without_our_key(clock: ManualClock) -> None:
    async with reads_from(envelope({"timeSecond": "1"}), clock) as (reads, _, double):
        done = await reads.forward(read(Route.MARKET_TIME))
        assert done == ReadDone(ret_code=0, ret_msg="OK", result={"timeSecond": "1"})
        assert "x-bapi-sign" not in double.asked[0].headers


async def test_reads_private_question_is_signed_and_rebuilt(clock: ManualClock) -> None:
    async with reads_from(envelope({}), clock) as (reads, _, double):
        await reads.forward(read(Route.WALLET_BALANCE, accountType="UNIFIED", coin="BTC,ETH"))
        assert double.asked[0].query == "accountType=UNIFIED&coin=BTC,ETH"
        assert double.asked[0].headers["x-bapi-api-key"] == "k"


async def test_reads_question_by_the_bots_name_is_asked_by_our_tag(clock: ManualClock) -> None:
    async with reads_from(envelope({"list": [{"orderLinkId": TAG}]}), clock) as (reads, ledger, double):
        with_order(ledger)
        done = await reads.forward(read(Route.ORDER_REALTIME, category="spot", orderLinkId="bots-own"))
        assert double.asked[0].query == f"category=spot&orderLinkId={TAG}"
        assert isinstance(done, ReadDone)
        assert done.result["list"] == [{"orderLinkId": "bots-own"}]


@pytest.mark.parametrize("name", ["never-used", TAG])
async def test_reads_question_by_a_name_that_the_bot_never_used_is_answered_here(clock: ManualClock, name: str) -> None:
    async with reads_from(envelope({}), clock) as (reads, ledger, double):
        with_order(ledger)
        done = await reads.forward(read(Route.ORDER_HISTORY, category="linear", orderLinkId=name))
        assert done == ReadDone(
            ret_code=0,
            ret_msg="OK",
            result={"category": "linear", "list": [], "nextPageCursor": ""},
            is_local=True,
        )
        assert double.asked == []


@pytest.mark.parametrize("route", [Route.ORDER_REALTIME, Route.ORDER_HISTORY, Route.EXECUTION_LIST])
async def test_reads_answer_shows_the_bot_its_own_names_and_never_a_tag(clock: ManualClock, route: Route) -> None:
    items: list[Any] = [
        {"orderLinkId": TAG, "orderId": "x1"},
        {"orderLinkId": "T1nameless", "orderId": "x2"},
        {"orderLinkId": "T1of-another-gateway", "orderId": "x3"},
        {"orderLinkId": "", "orderId": "x4"},
        {"orderId": "x5"},
        "nonsense",
    ]
    async with reads_from(envelope({"list": items}), clock) as (reads, ledger, _):
        with_order(ledger)
        with_order(ledger, alias=None, tag="T1nameless")
        done = await reads.forward(read(route, category="spot"))
    assert isinstance(done, ReadDone)
    assert [item.get("orderLinkId") for item in done.result["list"][:5]] == ["bots-own", "", "", "", None]
    assert "T1" not in str(done.result)


async def test_reads_finished_order_is_still_shown_by_the_bots_name(clock: ManualClock) -> None:
    async with reads_from(envelope({"list": [{"orderLinkId": TAG}]}), clock) as (reads, ledger, _):
        with_order(ledger)
        ledger.finish(TAG, status="Filled")
        done = await reads.forward(read(Route.EXECUTION_LIST, category="spot"))
        assert isinstance(done, ReadDone)
        assert done.result["list"][0]["orderLinkId"] == "bots-own"


@pytest.mark.parametrize("result", [{}, {"list": None}, {"list": []}])
async def test_reads_answer_without_a_list_passes(clock: ManualClock, result: dict[str, Any]) -> None:
    async with reads_from(envelope(result), clock) as (reads, _, _):
        done = await reads.forward(read(Route.ORDER_REALTIME, category="spot"))
        assert isinstance(done, ReadDone)
        assert done.result == result


@pytest.mark.parametrize("items", [{"orderLinkId": TAG}, TAG, 7, True])
async def test_reads_answer_whose_list_is_none_is_no_answer(clock: ManualClock, items: object) -> None:
    async with reads_from(envelope({"list": items}), clock) as (reads, ledger, _):
        with_order(ledger)
        assert isinstance(await reads.forward(read(Route.ORDER_REALTIME, category="spot")), ReadFailed)


async def test_reads_refusal_by_the_exchange_is_handed_on(clock: ManualClock) -> None:
    async with reads_from(envelope({}, ret_code=10001, ret_msg="m"), clock) as (reads, _, _):
        assert await reads.forward(read(Route.POSITION_LIST, category="linear")) == ReadDone(
            ret_code=10001, ret_msg="m", result={}
        )


@pytest.mark.parametrize("raw", [reply(b"x"), reply(b"{}", status=500), None])
async def test_reads_exchange_that_cannot_be_asked_is_a_failure(clock: ManualClock, raw: bytes | None) -> None:
    async with reads_from(lambda _: raw, clock) as (reads, _, _):
        failed = await reads.forward(read(Route.MARKET_TIME))
        assert isinstance(failed, ReadFailed)
        assert not failed.is_budget


async def test_reads_beyond_the_budget_fail_and_ask_nothing(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "READ_PATIENCE_S", 0.02)
    async with reads_from(envelope({}), clock) as (reads, _, double):
        answers = [await reads.forward(read(Route.MARKET_TIME)) for _ in range(READS_PER_S + 1)]
        assert len(double.asked) == READS_PER_S
        assert isinstance(answers[-1], ReadFailed)
        assert answers[-1].is_budget


OPEN = {"orderLinkId": "T1own", "orderId": "x1", "orderStatus": "Untriggered", "cumExecQty": "0"}
ENDED = {**OPEN, "orderId": "x2", "orderStatus": "Deactivated", "cumExecQty": ""}
FILLED = {**OPEN, "orderId": "x3", "orderStatus": "Filled", "cumExecQty": "0.01"}
BOTS = {"orderLinkId": TAG, "orderId": "x4", "orderStatus": "Untriggered", "cumExecQty": "0"}
EXECUTION = {"orderLinkId": "T1own", "orderId": "x3", "execQty": "0.01"}


@pytest.mark.parametrize("route", [Route.ORDER_REALTIME, Route.ORDER_HISTORY, Route.EXECUTION_LIST])
async def test_reads_leave_out_what_the_gateway_placed_itself_until_it_has_filled(
    clock: ManualClock, route: Route
) -> None:
    items = [OPEN, ENDED, {**OPEN, "orderStatus": "Triggered", "cumExecQty": "0.004"}, FILLED, BOTS, EXECUTION]
    async with reads_from(envelope({"list": items}), clock) as (reads, ledger, _):
        with_order(ledger)
        ledger.reserve(tracked_stop("T1own", is_gateways=True))
        done = await reads.forward(read(route, category="linear"))
    assert isinstance(done, ReadDone)
    shown = [(item["orderId"], item["orderLinkId"]) for item in done.result["list"]]
    assert shown == [("x3", ""), ("x4", "bots-own"), ("x3", "")]
