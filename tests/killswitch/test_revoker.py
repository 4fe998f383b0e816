"""The master account through the revoker key: what is asked, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from http_double import Asked, HttpDouble, envelope, http_double, reply
from killswitch.kill_scene import client_of

from trade_core.clock import SystemClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_killswitch.algorithms import running_algorithms, still_running, stop_algorithms
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.revoker import NO_ANSWER, RevokerExchange

Answer = Callable[[Asked], bytes | None]


@asynccontextmanager
async def revoker(answer: Answer) -> AsyncIterator[tuple[RevokerExchange, ExchangeCalls, HttpDouble]]:
    async with http_double(answer) as double:
        calls = ExchangeCalls(
            client=client_of(double.url, Secret("revoker"), Secret("secret")),
            requests_per_s=1000,
            metrics=ExecutorMetrics(),
            clock=SystemClock(),
        )
        made = RevokerExchange(
            calls=calls, account="1002", client_of=lambda key, secret: client_of(double.url, key, secret)
        )
        try:
            yield made, calls, double
        finally:
            await made.close()


def key(name: str) -> dict[str, Any]:
    return {"apiKey": name, "readOnly": False}


async def test_keys_are_listed_over_every_page() -> None:
    def answer(asked: Asked) -> bytes:
        assert asked.parameter("subMemberId") == "1002"
        if asked.parameter("cursor") is None:
            return envelope({"result": [key("a")], "nextPageCursor": "a+b=="})
        assert asked.parameter("cursor") == "a+b=="
        return envelope({"result": [key("b")], "nextPageCursor": ""})

    async with revoker(answer) as (made, _, double):
        assert [one.key for one in await made.keys()] == ["a", "b"]
    assert len(double.asked) == 2


@pytest.mark.parametrize(
    "bad", [envelope({"result": None}), envelope({"result": [{}]}), envelope({}, ret_code=10005), None]
)
async def test_list_that_cannot_be_read_is_no_empty_list(bad: bytes | None) -> None:
    async with revoker(lambda _: bad) as (made, _, __):
        with pytest.raises((ExchangeAnswerInvalid, ExchangeUnavailable)):
            await made.keys()


async def test_key_is_deleted_by_its_id_and_account_is_only_ever_frozen() -> None:
    async with revoker(lambda _: envelope({})) as (made, _, double):
        assert await made.delete("k1") == "0"
        assert await made.freeze() == "0"
    asked = [(one.path, one.json()) for one in double.asked]
    assert asked == [
        ("/v5/user/delete-sub-api", {"apikey": "k1"}),
        ("/v5/user/frozen-sub-member", {"subuid": 1002, "frozen": 1}),
    ]
    async with revoker(lambda _: envelope({}, ret_code=10005)) as (made, _, __):
        assert await made.delete("k1") == "10005"
    async with revoker(lambda _: None) as (made, _, __):
        assert await made.delete("k1") == await made.freeze() == NO_ANSWER


@pytest.mark.parametrize(("status", "is_frozen"), [(4, True), (1, False), (2, False), ("4", False), (None, False)])
async def test_account_is_frozen_when_the_masters_list_says_so(status: object, is_frozen: bool) -> None:
    members = [{"uid": "1001", "status": 4}, {"uid": "1002", "status": status}]
    async with revoker(lambda _: envelope({"subMembers": members})) as (made, _, __):
        assert await made.is_frozen() is is_frozen


@pytest.mark.parametrize("content", [{}, {"subMembers": []}, {"subMembers": [{"uid": "1001", "status": 4}]}])
async def test_account_that_is_not_listed_is_not_called_frozen(content: dict[str, Any]) -> None:
    async with revoker(lambda _: envelope(content)) as (made, _, __):
        with pytest.raises(ExchangeAnswerInvalid):
            await made.is_frozen()


async def test_refusals_are_asked_for_with_each_id_and_one_that_never_was() -> None:
    def answer(asked: Asked) -> bytes | None:
        match asked.headers["x-bapi-api-key"]:
            case "living":
                return envelope({}, ret_code=10004)
            case "odd":
                return reply(b"", status=401)
            case "silent":
                return None
            case _:
                return envelope({}, ret_code=10003)

    async with revoker(answer) as (made, _, double):
        found = await made.refusals(["dead", "living", "odd", "silent"])
    assert found.answers == {"dead": "10003", "living": "10004", "odd": "HTTP 401", "silent": NO_ANSWER}
    assert found.to_unknown == "10003"
    assert len({one.headers["x-bapi-api-key"] for one in double.asked}) == 5
    assert set(double.paths()) == {"/v5/user/query-api"}


async def test_algorithms_are_found_over_pages_and_stopped_by_id() -> None:
    def answer(asked: Asked) -> bytes:
        if asked.path == "/v5/strategy/stop":
            return envelope({})
        rows = [{"strategyId": "s1", "terminateType": 0}, {"strategyId": "s2", "terminateType": 2}]
        return envelope({"list": rows if asked.parameter("cursor") is None else [], "nextCursor": "n"})

    async with revoker(answer) as (_, calls, double):
        assert await running_algorithms(calls) == ["s1"]
        await stop_algorithms(calls, ["s1"])
    assert [one.json() for one in double.asked if one.method == "POST"] == [{"strategyId": "s1"}]


def test_algorithm_that_does_not_say_that_it_ended_runs() -> None:
    assert still_running([{"strategyId": "a"}, {"strategyId": "b", "terminateType": 1}]) == ["a"]
    for bad in ("x", {}, {"strategyId": ""}, {"strategyId": 7}, {"strategyId": "x" * 65}, {"strategyId": "\u0661"}):
        with pytest.raises(ExchangeAnswerInvalid):
            still_running([bad])
