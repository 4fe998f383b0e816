"""The executor's requests on a real socket, against a small server in the exchange's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from http_double import HANG, Asked, HttpDouble, envelope, http_double, reply
from killswitch.test_sweep_plan import order, waiting
from killswitch.test_working_orders import row

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.errors import ExchangeUnavailable
from trade_core.secrets import Secret
from trade_killswitch import exchange as exchange_module
from trade_killswitch import exchange_calls
from trade_killswitch.commands import Cancelled
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.sweep_plan import CancelOne, CancelPlain
from trade_killswitch.working_orders import BOOKS, SHELVES, SPOT, OrderFilter, Shelf

Answer = Callable[[Asked], bytes | None]
EMPTY = {"list": [], "nextPageCursor": ""}


@asynccontextmanager
async def exchange(answer: Answer, *, requests_per_s: int = 1000) -> AsyncIterator[tuple[ExitExchange, HttpDouble]]:
    async with http_double(answer) as double:
        client = BybitClient(
            base_url=double.url,
            clock=SystemClock(),
            is_simulated=True,
            key=Secret("exitkey"),
            secret=Secret("exitsecret"),
            user_agent="trade-kill-executor",
        )
        made = ExitExchange(
            client=client, requests_per_s=requests_per_s, metrics=ExecutorMetrics(), clock=SystemClock()
        )
        try:
            yield made, double
        finally:
            await made.close()


async def test_every_shelf_is_asked_for_by_category_coin_and_filter() -> None:
    async with exchange(lambda _: envelope(EMPTY)) as (made, double):
        readings = await made.read_shelves()
    assert [reading.shelf for reading in readings] == list(SHELVES)
    assert all(reading.orders == () for reading in readings)
    queries = {one.query for one in double.asked}
    assert "category=spot&limit=50&orderFilter=OcoOrder" in queries
    assert "category=linear&limit=50&settleCoin=USDC&orderFilter=StopOrder" in queries
    assert "category=inverse&limit=50" in queries
    assert len(queries) == len(SHELVES)
    assert double.asked[0].headers["user-agent"] == "trade-kill-executor"


async def test_shelf_is_read_over_its_pages_with_the_cursor_as_it_was_given() -> None:
    def answer(asked: Asked) -> bytes:
        if "category=inverse&limit=50" not in asked.query or "orderFilter" in asked.query:
            return envelope(EMPTY)
        if "cursor" not in asked.query:
            return envelope({"list": [row(orderId="1")], "nextPageCursor": "a%3D1%26b"})
        assert asked.query.endswith("&cursor=a%3D1%26b")
        return envelope({"list": [row(orderId="2")], "nextPageCursor": ""})

    async with exchange(answer) as (made, _):
        readings = {reading.shelf: reading.orders for reading in await made.read_shelves()}
    found = readings[Shelf(book=BOOKS[3])]
    assert found is not None
    assert [one.order_id for one in found] == ["1", "2"]


@pytest.mark.parametrize(
    "bad",
    [
        envelope({}, ret_code=10006, ret_msg="Too many visits!"),
        envelope({"list": "x"}),
        envelope({"list": [row(orderId="")]}),
        envelope({"list": [row()], "nextPageCursor": "a b"}),
        envelope({"list": [row()], "nextPageCursor": ["x"]}),
        envelope({"list": [row()], "nextPageCursor": "for-ever"}),
        reply(b"{}", status=502),
        reply(b"<html>"),
        reply(b'{"retCode":0,"result":{"list":[]}}', headers={}),
        None,
    ],
    ids=[
        "refused",
        "no list",
        "no id",
        "odd cursor",
        "no text",
        "endless",
        "502",
        "no JSON",
        "not simulated",
        "closed",
    ],
)
async def test_list_that_cannot_be_read_to_its_end_is_unread_and_others_are_read(bad: bytes | None) -> None:
    def answer(asked: Asked) -> bytes | None:
        return bad if "category=inverse" in asked.query else envelope(EMPTY)

    async with exchange(answer, requests_per_s=5000) as (made, _):
        readings = await made.read_shelves()
    unread = [reading.shelf for reading in readings if reading.orders is None]
    assert unread == [shelf for shelf in SHELVES if shelf.book == BOOKS[3]]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (reply(b"{}", status=403), "/v5/order/realtime: HTTP 403"),
        (envelope({}, ret_code=10006, ret_msg="Too many visits!"), "/v5/order/realtime: the exchange answers 10006"),
        (envelope({"list": "x"}), "/v5/order/realtime: a list is no list"),
    ],
    ids=["banned", "rate limit", "no list"],
)
async def test_unread_list_says_why(bad: bytes, why: str) -> None:
    async with exchange(lambda _: bad) as (made, _):
        readings = await made.read_shelves()
    assert {(reading.orders, reading.why) for reading in readings} == {(None, why)}


async def test_page_that_fails_once_is_asked_for_again() -> None:
    failed: set[str] = set()

    def answer(asked: Asked) -> bytes | None:
        if asked.query in failed:
            return envelope(EMPTY)
        failed.add(asked.query)
        return None

    async with exchange(answer) as (made, _):
        assert all(reading.orders == () for reading in await made.read_shelves())


async def test_hanging_list_is_unread_within_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_calls, "REQUEST_TIMEOUT_S", 0.1)
    async with exchange(lambda _: HANG) as (made, _):
        async with asyncio.timeout(60):
            readings = await made.read_shelves()
    assert all(reading.orders is None for reading in readings)


async def test_list_that_is_not_read_within_its_bound_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "READING_TIMEOUT_S", 0.1)
    async with exchange(lambda _: HANG) as (made, _):
        readings = await made.read_shelves()
    assert {(reading.orders, reading.why) for reading in readings} == {(None, "no answer within 0.1 s")}


async def test_cancels_name_book_kind_and_order() -> None:
    answers: dict[str, Any] = {
        "/v5/order/cancel-all": {"list": [{"orderId": "a"}, {"orderId": "b"}], "success": "1"},
        "/v5/order/cancel": {"orderId": "c"},
    }
    calls = [
        CancelPlain(book=SPOT),
        CancelPlain(book=BOOKS[1]),
        CancelOne(order=waiting("s", SPOT, OrderFilter.TPSL)),
        CancelOne(order=order("l")),
    ]
    async with exchange(lambda asked: envelope(answers[asked.path])) as (made, double):
        assert await made.send_cancels(calls) == Cancelled(acknowledged=6)
    bodies = sorted((one.path, tuple(sorted(one.json().items()))) for one in double.asked)
    expected = [
        ("/v5/order/cancel-all", {"category": "spot", "orderFilter": "Order"}),
        ("/v5/order/cancel-all", {"category": "linear", "orderFilter": "Order", "settleCoin": "USDT"}),
        (
            "/v5/order/cancel",
            {"category": "spot", "symbol": "XRPUSDT", "orderId": "s", "orderFilter": "tpslOrder"},
        ),
        ("/v5/order/cancel", {"category": "linear", "symbol": "XRPUSDT", "orderId": "l"}),
    ]
    assert bodies == sorted((path, tuple(sorted(body.items()))) for path, body in expected)


async def test_refused_and_unanswered_cancels_are_counted_and_sent_once() -> None:
    def answer(asked: Asked) -> bytes | None:
        match asked.json()["orderId"]:
            case "gone":
                return envelope({}, ret_code=110001, ret_msg="order not exists or too late to cancel")
            case "lost":
                return None
            case "html":
                return reply(b"<html>")
            case _:
                return envelope({"orderId": "x"})

    calls = [CancelOne(order=order(name)) for name in ("gone", "lost", "html", "taken")]
    async with exchange(answer) as (made, double):
        found = await made.send_cancels(calls)
    assert found == Cancelled(acknowledged=1, refusals=((110001, 1),), unanswered=2)
    assert len(double.asked) == 4


async def test_hanging_cancels_end_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "CANCELS_TIMEOUT_S", 0.2)
    calls = [CancelOne(order=order(str(number))) for number in range(40)]
    async with exchange(lambda _: HANG) as (made, _):
        async with asyncio.timeout(60):
            assert await made.send_cancels(calls) == Cancelled(acknowledged=0, unanswered=40)


async def test_no_cancels_send_nothing() -> None:
    async with exchange(lambda _: None) as (made, double):
        assert await made.send_cancels([]) == Cancelled(acknowledged=0)
    assert double.asked == []


async def test_cancel_all_that_lists_nothing_acknowledges_nothing() -> None:
    async with exchange(lambda _: envelope({"success": "1"})) as (made, _):
        assert await made.send_cancels([CancelPlain(book=SPOT)]) == Cancelled(acknowledged=0)


async def test_requests_stay_within_the_budget() -> None:
    async with exchange(lambda _: envelope({"orderId": "x"}), requests_per_s=20) as (made, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await made.send_cancels([CancelOne(order=order(str(number))) for number in range(30)])
        assert loop.time() - began >= 0.45  # a burst of 20, and the other 10 at 20 a second


async def test_key_information_is_what_the_exchange_says() -> None:
    async with exchange(lambda _: envelope({"userID": 7})) as (made, double):
        assert await made.key_information() == {"userID": 7}
    assert double.paths() == ["/v5/user/query-api"]
    async with exchange(lambda _: envelope({}, ret_code=10003)) as (made, _):
        with pytest.raises(ExchangeUnavailable, match="10003"):
            await made.key_information()
