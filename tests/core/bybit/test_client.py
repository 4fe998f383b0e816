"""Against a small real server: what the client says it knows must be what happened."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from http_double import HANG, SIMULATED, HttpDouble, envelope, http_double, reply
from ports import free_port

from trade_core.bybit import client as client_module
from trade_core.bybit.client import BybitClient, WrongEnvironment
from trade_core.clock import NS_PER_MS, ManualClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, UnknownOutcome
from trade_core.secrets import Secret

NOW_MS = 1_700_000_000_123
BODY = b'{"category":"spot"}'
ANSWER = b'{"retCode":0,"retMsg":"OK","result":{},"time":1}'
# A simulated exchange's answer that is no answer: (raw bytes, what a read raises).
USELESS = {
    "not json": (reply(b"<html>"), ExchangeAnswerInvalid),
    "http 500": (reply(b'{"retCode":0}', status=500), ExchangeUnavailable),
    "http 403": (reply(b'{"retCode":0}', status=403), ExchangeUnavailable),
    "http 301": (reply(b"", status=301, headers={**SIMULATED, "location": "/elsewhere"}), ExchangeUnavailable),
    "unmarked": (reply(ANSWER, headers={}), WrongEnvironment),
    "marked otherwise": (reply(ANSWER, headers={"X-Trade-Environment": "LIVE"}), WrongEnvironment),
    "not http": (b"garbage\r\n\r\n", ExchangeUnavailable),
    "cut": (b"HTTP/1.1 200 OK\r\nX-Trade-Environment: SIMULATED\r\ncontent-length: 900\r\n\r\n{", ExchangeUnavailable),
    "closed": (None, ExchangeUnavailable),
    "false encoding": (
        reply(b"not gzip", headers={**SIMULATED, "content-encoding": "gzip"}),
        ExchangeUnavailable,
    ),
}


@asynccontextmanager
async def connected(double: HttpDouble, *, is_simulated: bool = True, url: str = "") -> AsyncIterator[BybitClient]:
    client = BybitClient(
        base_url=url or double.url,
        clock=ManualClock(wall_ns=NOW_MS * NS_PER_MS),
        is_simulated=is_simulated,
        key=Secret("key1"),
        secret=Secret("secret1"),
    )
    try:
        yield client
    finally:
        await client.aclose()


async def test_get_sends_the_query_as_it_was_signed() -> None:
    query = "category=spot&cursor=a%3Ab%2C1&symbol=BTCUSDT"
    async with http_double() as double, connected(double) as client:
        await client.get("/v5/order/realtime", query)
    asked = double.asked[0]
    signed = f"{NOW_MS}key12000{query}".encode()
    assert (asked.method, asked.path, asked.query) == ("GET", "/v5/order/realtime", query)
    assert asked.headers["x-bapi-sign"] == hmac.new(b"secret1", signed, hashlib.sha256).hexdigest()
    assert asked.headers["x-bapi-recv-window"] == "2000"


async def test_post_sends_the_body_as_it_was_signed() -> None:
    async with http_double() as double, connected(double) as client:
        answer = await client.post("/v5/order/create", BODY)
    asked = double.asked[0]
    signed = f"{NOW_MS}key12000".encode() + BODY
    assert answer.is_ok
    assert (asked.method, asked.body) == ("POST", BODY)
    assert asked.headers["x-bapi-sign"] == hmac.new(b"secret1", signed, hashlib.sha256).hexdigest()


async def test_get_public_sends_no_credential() -> None:
    async with http_double() as double, connected(double) as client:
        await client.get_public("/v5/market/time")
    assert not [name for name in double.asked[0].headers if name.startswith("x-bapi")]
    assert double.asked[0].query == ""


async def test_post_without_a_credential_is_not_sent() -> None:
    async with http_double() as double:
        client = BybitClient(base_url=double.url, clock=ManualClock(), is_simulated=True)
        with pytest.raises(ExchangeUnavailable, match="no credential"):
            await client.post("/v5/order/create", BODY)
        await client.aclose()
    assert double.asked == []


@pytest.mark.parametrize("case", USELESS)
async def test_get_with_a_useless_answer_raises_what_is_known(case: str) -> None:
    raw, error = USELESS[case]
    async with http_double(lambda _: raw) as double, connected(double) as client:
        with pytest.raises(error):
            await client.get("/v5/order/realtime", "a=b", timeout_s=0.5)
    assert len(double.asked) == 1


@pytest.mark.parametrize("case", USELESS)
async def test_post_with_a_useless_answer_is_an_unknown_outcome_and_sent_once(case: str) -> None:
    raw, _ = USELESS[case]
    async with http_double(lambda _: raw) as double, connected(double) as client:
        with pytest.raises(UnknownOutcome):
            await client.post("/v5/order/create", BODY, timeout_s=0.5)
    assert len(double.asked) == 1


async def test_post_on_a_connection_that_the_exchange_has_closed_is_never_sent_twice() -> None:
    answers = iter([envelope({}), None])
    async with http_double(lambda _: next(answers)) as double, connected(double) as client:
        await client.post("/v5/order/create", BODY)
        with pytest.raises(UnknownOutcome):
            await client.post("/v5/order/create", BODY)
    assert len(double.asked) == 2


async def test_post_timing_out_after_the_send_is_an_unknown_outcome() -> None:
    async with http_double(lambda _: HANG) as double, connected(double) as client:
        with pytest.raises(UnknownOutcome, match="sent"):
            await client.post("/v5/order/create", BODY, timeout_s=0.2)
    assert len(double.asked) == 1


async def test_get_timing_out_is_unavailable() -> None:
    async with http_double(lambda _: HANG) as double, connected(double) as client:
        with pytest.raises(ExchangeUnavailable):
            await client.get("/v5/order/realtime", timeout_s=0.2)


async def test_post_to_nobody_is_known_not_to_be_sent() -> None:
    async with connected(HttpDouble(), url=f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ExchangeUnavailable, match="not sent"):
            await client.post("/v5/order/create", BODY)


async def test_get_from_nobody_is_unavailable() -> None:
    async with connected(HttpDouble(), url=f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ExchangeUnavailable):
            await client.get("/v5/order/realtime")


async def test_post_withheld_at_the_last_moment_sends_nothing() -> None:
    async with http_double() as double, connected(double) as client:
        with pytest.raises(ExchangeUnavailable, match="withheld"):
            await client.post("/v5/order/create", BODY, may_send=lambda: False)
    assert double.asked == []


async def test_client_of_a_real_exchange_refuses_a_simulated_answer() -> None:
    async with http_double() as double, connected(double, is_simulated=False) as client:
        with pytest.raises(WrongEnvironment, match="answers as a simulated exchange"):
            await client.get("/v5/market/time")


async def test_client_of_a_real_exchange_takes_an_unmarked_answer() -> None:
    async with (
        http_double(lambda _: reply(ANSWER, headers={})) as double,
        connected(double, is_simulated=False) as client,
    ):
        assert (await client.get("/v5/market/time")).is_ok


@pytest.mark.parametrize("turns", range(1, 6))
async def test_close_that_is_cancelled_leaves_no_connection_open(turns: int) -> None:
    async with http_double() as double, connected(double) as client:
        await asyncio.gather(client.get("/v5/market/time"), client.get("/v5/market/time"), client.post("/v5/x", BODY))
        assert double.connections == 3
        closing = asyncio.create_task(client.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        async with asyncio.timeout(60):
            while double.connections:  # noqa: ASYNC110 - the server's own doing
                await asyncio.sleep(0.01)


async def test_redirect_is_never_followed() -> None:
    async with http_double() as other:
        there = reply(b"", status=307, headers={**SIMULATED, "location": f"{other.url}/v5/order/create"})
        async with http_double(lambda _: there) as double, connected(double) as client:
            with pytest.raises(UnknownOutcome):
                await client.post("/v5/order/create", BODY)
    assert other.asked == []


async def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with http_double() as double, connected(double) as client:
        assert (await client.get("/v5/market/time")).is_ok


@pytest.mark.parametrize(("excess", "is_refused"), [(0, False), (1, True)])
async def test_answer_longer_than_the_bound_is_refused(
    monkeypatch: pytest.MonkeyPatch, excess: int, is_refused: bool
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", len(ANSWER))
    raw = reply(ANSWER + b" " * excess)
    async with http_double(lambda _: raw) as double, connected(double) as client:
        if is_refused:
            with pytest.raises(ExchangeAnswerInvalid, match="longer than"):
                await client.get("/v5/market/time")
        else:
            assert (await client.get("/v5/market/time")).is_ok


async def test_rejection_by_the_exchange_is_an_answer() -> None:
    raw = envelope({}, ret_code=110007, ret_msg="insufficient")
    async with http_double(lambda _: raw) as double, connected(double) as client:
        answer = await client.post("/v5/order/create", BODY)
    assert (answer.is_ok, answer.ret_code, answer.ret_msg) == (False, 110007, "insufficient")


@pytest.mark.parametrize("method", ["get", "post"])
async def test_words_of_the_exchange_never_repeat_the_credential(method: str) -> None:
    said = envelope({}, ret_code=10003, ret_msg="key1 with secret1 is invalid, says key1")
    async with http_double(lambda _: said) as double, connected(double) as client:
        answer = await (client.get("/v5/x", "a=b") if method == "get" else client.post("/v5/x", b"{}"))
    assert answer.ret_msg == "*** with *** is invalid, says ***"
