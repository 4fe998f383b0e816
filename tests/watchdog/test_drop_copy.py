"""The drop copy: whole looks, pages, and where the next look begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_watchdog import drop_copy
from trade_watchdog.drop_copy import OVERLAP_MS, WINDOW_MS, DropCopy, all_keys

NOW_MS = 1_700_000_000_000


def order(number: int) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "orderId": f"o-{number}",
        "orderLinkId": "",
        "side": "Buy",
        "qty": "1",
        "price": "100",
        "triggerPrice": "",
        "reduceOnly": False,
        "isLeverage": "",
        "createType": "CreateByUser",
        "orderStatus": "New",
        "cumExecQty": "0",
        "createdTime": str(NOW_MS),
    }


def execution(number: int) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "execId": f"e-{number}",
        "orderId": "o-1",
        "orderLinkId": "",
        "side": "Buy",
        "execQty": "1",
        "execPrice": "100",
        "execFee": "0",
        "orderQty": "1",
        "orderPrice": "100",
        "execType": "Trade",
        "createType": "",
        "execTime": str(NOW_MS),
    }


def key(number: int) -> dict[str, Any]:
    return {"apiKey": f"k-{number}", "readOnly": True, "permissions": {}, "ips": ["*"], "deadlineDay": 9}


class Exchange:
    """Lists in pages of two, whatever is asked for; remembers what was."""

    def __init__(self) -> None:
        self.working: dict[str, list[dict[str, Any]]] = {}
        self.ended: dict[str, list[dict[str, Any]]] = {}
        self.fills: dict[str, list[dict[str, Any]]] = {}
        self.keys: list[dict[str, Any]] = []
        self.asked: list[Mapping[str, Any]] = []
        self.is_failing_on = ""
        self.is_endless = False

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        lists = self.working if parameters["openOnly"] == "0" else self.ended
        return self._page(lists.get(self._name(parameters), []), parameters)

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._page(self.fills.get(parameters["category"], []), parameters)

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        page = self._page(self.keys, parameters)
        return {"result": page["list"], "nextPageCursor": page["nextPageCursor"]}

    def _name(self, parameters: Mapping[str, Any]) -> str:
        return " ".join(str(parameters[name]) for name in ("category", "settleCoin") if name in parameters)

    def _page(self, entries: list[dict[str, Any]], parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(parameters)
        if self.is_failing_on and self._name(parameters).startswith(self.is_failing_on):
            raise ExchangeUnavailable("gone")
        begin = int(parameters.get("cursor", "0"))
        more = begin + 2 < len(entries) or self.is_endless
        return {"list": entries[begin : begin + 2], "nextPageCursor": str(begin + 2) if more else ""}


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def copy(exchange: Exchange) -> DropCopy:
    return DropCopy(reading=exchange, read_until_ms=NOW_MS - 5_000)


async def test_every_list_is_read_to_its_end(exchange: Exchange, copy: DropCopy) -> None:
    exchange.working = {"spot": [order(n) for n in range(5)], "linear USDT": [order(9)]}
    exchange.ended = {"linear USDC": [order(20), order(21), order(22)]}
    exchange.fills = {"spot": [execution(1)], "linear": [execution(n) for n in (2, 3, 4)]}
    look = await copy.look(now_ms=NOW_MS)
    assert [(seen.category, seen.order_id) for seen in look.orders] == [
        *(("spot", f"o-{n}") for n in range(5)),
        ("linear", "o-9"),
        *(("linear", f"o-{n}") for n in (20, 21, 22)),
    ]
    assert [(seen.category, seen.execution_id) for seen in look.executions] == [
        ("spot", "e-1"),
        ("linear", "e-2"),
        ("linear", "e-3"),
        ("linear", "e-4"),
    ]
    assert look.until_ms == NOW_MS


async def test_executions_are_asked_for_from_before_the_last_look(exchange: Exchange, copy: DropCopy) -> None:
    await copy.look(now_ms=NOW_MS)
    begin = [asked["startTime"] for asked in exchange.asked if "startTime" in asked]
    assert begin == [NOW_MS - 5_000 - OVERLAP_MS] * 2
    exchange.asked.clear()
    await copy.look(now_ms=NOW_MS + 7)
    assert [asked["startTime"] for asked in exchange.asked if "startTime" in asked] == [NOW_MS - OVERLAP_MS] * 2


async def test_long_absence_is_read_a_week_at_a_time(exchange: Exchange, copy: DropCopy) -> None:
    copy.read_until_ms = NOW_MS - 2 * WINDOW_MS - 1
    assert (await copy.look(now_ms=NOW_MS)).until_ms == NOW_MS - WINDOW_MS - 1
    assert (await copy.look(now_ms=NOW_MS)).until_ms == NOW_MS - 1
    assert (await copy.look(now_ms=NOW_MS)).until_ms == NOW_MS


async def test_clock_that_goes_back_does_not_take_the_copy_back(exchange: Exchange, copy: DropCopy) -> None:
    await copy.look(now_ms=NOW_MS - 60_000)
    assert copy.read_until_ms == NOW_MS - 5_000


async def test_look_from_before_time_began_asks_from_its_beginning(exchange: Exchange) -> None:
    await DropCopy(reading=exchange, read_until_ms=0).look(now_ms=1)
    assert exchange.asked[0]["startTime"] == 0


async def test_ended_orders_are_read_back_to_one_that_is_known(exchange: Exchange, copy: DropCopy) -> None:
    exchange.ended = {"spot": [order(n) for n in (4, 3, 2, 1)]}
    assert len((await copy.look(now_ms=NOW_MS)).orders) == 4
    exchange.asked.clear()
    exchange.ended = {"spot": [order(n) for n in (6, 5, 4, 3, 2, 1)]}
    assert [seen.order_id for seen in (await copy.look(now_ms=NOW_MS)).orders] == ["o-6", "o-5"]
    assert sum(asked.get("openOnly") == "1" and asked["category"] == "spot" for asked in exchange.asked) == 2


async def test_look_that_fails_half_way_is_read_again_in_full(exchange: Exchange, copy: DropCopy) -> None:
    exchange.ended = {"spot": [order(1)]}
    exchange.fills = {"spot": [execution(1)]}
    exchange.is_failing_on = "linear USDC"
    with pytest.raises(ExchangeUnavailable):
        await copy.look(now_ms=NOW_MS)
    assert copy.read_until_ms == NOW_MS - 5_000
    exchange.is_failing_on = ""
    look = await copy.look(now_ms=NOW_MS)
    assert (len(look.orders), len(look.executions)) == (1, 1)


@pytest.mark.parametrize(("attribute", "name"), [("working", "spot"), ("fills", "spot")])
async def test_list_without_end_is_refused(exchange: Exchange, copy: DropCopy, attribute: str, name: str) -> None:
    setattr(exchange, attribute, {name: [order(1) | execution(1)]})
    exchange.is_endless = True
    with pytest.raises(ExchangeAnswerInvalid, match=r"^more than"):
        await copy.look(now_ms=NOW_MS)


async def test_more_executions_than_a_look_holds_make_the_next_one_shorter(exchange: Exchange, copy: DropCopy) -> None:
    copy.read_until_ms = NOW_MS - WINDOW_MS
    exchange.fills = {"spot": [execution(n) for n in range(100)]}
    with pytest.raises(ExchangeAnswerInvalid, match="executions at one look"):
        await copy.look(now_ms=NOW_MS)
    exchange.fills, exchange.asked = {}, []
    assert (await copy.look(now_ms=NOW_MS)).until_ms == NOW_MS - WINDOW_MS // 2
    assert exchange.asked[0]["endTime"] == NOW_MS - WINDOW_MS // 2 + OVERLAP_MS
    exchange.asked.clear()
    assert (await copy.look(now_ms=NOW_MS)).until_ms == NOW_MS
    assert "endTime" not in exchange.asked[0]


async def test_ended_orders_that_are_known_are_bounded(
    exchange: Exchange, copy: DropCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_copy, "ENDED_REMEMBERED", 2)
    exchange.ended = {"spot": [order(n) for n in (4, 3, 2, 1)]}
    await copy.look(now_ms=NOW_MS)
    assert [seen.order_id for seen in (await copy.look(now_ms=NOW_MS)).orders] == ["o-4", "o-3"]


@pytest.mark.parametrize(
    "answer",
    [{}, {"list": None}, {"list": [1]}, {"list": [], "nextPageCursor": 5}, {"list": [], "nextPageCursor": "c" * 1025}],
)
async def test_page_that_is_none_is_refused(
    exchange: Exchange, copy: DropCopy, answer: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_page", lambda _entries, _parameters: answer)
    with pytest.raises(ExchangeAnswerInvalid):
        await copy.look(now_ms=NOW_MS)


async def test_keys_are_read_to_the_last_page(exchange: Exchange) -> None:
    exchange.keys = [key(n) for n in range(5)]
    assert [found.key for found in await all_keys(exchange, account="1002")] == [f"k-{n}" for n in range(5)]
    assert all(asked["subMemberId"] == "1002" for asked in exchange.asked)


async def test_keys_without_end_are_refused(exchange: Exchange) -> None:
    exchange.is_endless = True
    with pytest.raises(ExchangeAnswerInvalid, match="pages of keys"):
        await all_keys(exchange, account="1002")
