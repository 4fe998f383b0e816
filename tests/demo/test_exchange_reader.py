"""The demo's own reads of the exchange: signed as documented, paged, and strict about what comes back."""

import hashlib
import hmac
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from trade_core.clock import ManualClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_demo.exchange_reader import MAX_PAGES, PAGE_ROWS, ApiKey, ExchangeReader, get_json

Serve = Callable[[Callable[[httpx.Request], Any]], httpx.AsyncClient]
KEY = ApiKey(key="watch-key", secret=Secret("watch-secret"))


def execution(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "execId": f"e{number}",
        "execTime": "1700000000001",
        "orderLinkId": f"t{number}",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "execPrice": "64000.1",
        "execQty": "0.001",
        "execType": "Trade",
        "isMaker": True,
        **changes,
    }


def reader(client: httpx.AsyncClient) -> ExchangeReader:
    return ExchangeReader(client=client, api_key=KEY, clock=ManualClock(wall_ns=1_700_000_000_123_456_789))


def ok(result: dict[str, Any]) -> dict[str, Any]:
    return {"retCode": 0, "result": result}


async def test_reader_signs_the_raw_query(serve: Serve) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> dict[str, Any]:
        seen.append(request)
        return ok({"list": [{"totalEquity": "4000.25"}]})

    assert await reader(serve(answer)).equity_usdt() == Decimal("4000.25")
    headers = seen[0].headers
    text = f"1700000000123watch-key5000{seen[0].url.query.decode()}"
    assert headers["X-BAPI-SIGN"] == hmac.new(b"watch-secret", text.encode(), hashlib.sha256).hexdigest()


async def test_reader_new_fills_are_oldest_first_without_known_ones_and_fees(serve: Serve) -> None:
    rows = [execution(4), execution(3, execType="Funding"), execution(2, side="Sell"), execution(1)]
    fills = await reader(serve(lambda _: ok({"list": rows, "nextPageCursor": ""}))).new_fills("spot", {"e1"})
    assert [(fill.execution_id, fill.is_exit) for fill in fills] == [("e2", True), ("e4", False)]
    assert fills[1].at_ns == 1_700_000_000_001_000_000
    assert fills[1].notional_usdt == Decimal("64.0001")


@pytest.mark.parametrize(("closed", "is_exit"), [("0.001", True), ("0", False), ("", False)])
async def test_reader_linear_exit_is_what_closes_a_position(closed: str, *, is_exit: bool, serve: Serve) -> None:
    rows = [execution(1, closedSize=closed)]
    fills = await reader(serve(lambda _: ok({"list": rows}))).new_fills("linear", set())
    assert [fill.is_exit for fill in fills] == [is_exit]


async def test_reader_pages_back_until_nothing_is_new_and_never_for_ever(serve: Serve) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> dict[str, Any]:
        asked.append(request.url.params.get("cursor", ""))
        start = len(asked) * PAGE_ROWS
        return ok({"list": [execution(start + n) for n in range(PAGE_ROWS)], "nextPageCursor": f"c{len(asked)}"})

    fills = await reader(serve(answer)).new_fills("spot", set())
    assert len(fills) == MAX_PAGES * PAGE_ROWS
    assert asked == ["", *(f"c{page}" for page in range(1, MAX_PAGES))]


@pytest.mark.parametrize(
    "answer",
    [
        {"retCode": 10002, "result": {}},
        {"retCode": 0},
        ok({}),
        ok({"list": [{}]}),
        ok({"list": [execution(1, execPrice="?")]}),
        ok({"list": [execution(1, execTime="soon")]}),
    ],
)
async def test_reader_other_answer_is_an_error(answer: dict[str, Any], serve: Serve) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        await reader(serve(lambda _: answer)).new_fills("spot", set())
    with pytest.raises(ExchangeAnswerInvalid):
        await reader(serve(lambda _: answer)).equity_usdt()


async def test_get_json_no_json_other_status_or_no_answer_is_an_error(serve: Serve) -> None:
    for response in (httpx.Response(503), httpx.Response(200, text="<html>"), httpx.Response(200, text="[]")):
        with pytest.raises(ExchangeAnswerInvalid):
            await get_json(serve(lambda _, response=response: response), "/state")

    def refuse(request: httpx.Request) -> Any:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ExchangeUnavailable, match="ConnectError"):
        await get_json(serve(refuse), "/state")
