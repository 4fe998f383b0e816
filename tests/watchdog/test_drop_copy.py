"""The drop copy: whole looks, pages, and where the next look begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_watchdog import drop_copy
from trade_watchdog.drop_copy import DAY_MS, ENDED_LISTED, HISTORY_MS, OVERLAP_MS, WINDOW_MS, DropCopy, Look, all_keys

NOW_MS = 1_700_000_000_000
S_MS = 1000


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
        self.past: dict[str, list[dict[str, Any]]] = {}
        self.page_entries = 2
        self.now_ms = NOW_MS
        self.keys: list[dict[str, Any]] = []
        self.asked: list[Mapping[str, Any]] = []
        self.is_failing_on = ""
        self.is_endless = False

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        lists = self.working if parameters["openOnly"] == "0" else self.ended
        return self._page(lists.get(self._name(parameters), []), parameters)

    async def exchange_time_ms(self) -> int:
        return self.now_ms

    async def order_history(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._page(self.past.get(self._name(parameters), []), {**parameters, "is": "history"})

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
        end = begin + self.page_entries
        return {"list": entries[begin:end], "nextPageCursor": str(end) if end < len(entries) or self.is_endless else ""}

    def windows(self, of: str) -> list[tuple[int, int | None]]:
        """Tell the windows that were asked for, once for each category: "executions" or "history"."""
        asked = [one for one in self.asked if "startTime" in one and one["category"] == "spot"]
        return [(one["startTime"], one.get("endTime")) for one in asked if ("is" in one) is (of == "history")]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


class Looking:
    """A drop copy, and our monotonic clock."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.copy = DropCopy(reading=exchange, read_until_ms=NOW_MS - 5_000)
        self.monotonic_ms = 77

    async def look(self, *, after_ms: int = 0, exchange_moves_ms: int | None = None) -> Look:
        """Let time pass, at the exchange as much unless told otherwise, and look."""
        self.monotonic_ms += after_ms
        self.exchange.now_ms += after_ms if exchange_moves_ms is None else exchange_moves_ms
        self.exchange.asked.clear()
        return await self.copy.look(now_ns=self.monotonic_ms * 1_000_000)


@pytest.fixture
def looking(exchange: Exchange) -> Looking:
    return Looking(exchange)


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_copy, "PAGES_PER_S", 1_000_000)


@pytest.mark.parametrize(
    ("changed_ms", "is_shown"),
    [(-DAY_MS, False), (-5_000 - OVERLAP_MS - 1, False), (-5_000 - OVERLAP_MS, True), (0, True), (None, True)],
)
async def test_start_with_a_mark_passes_over_what_ended_before_it(
    exchange: Exchange, looking: Looking, changed_ms: int | None, *, is_shown: bool
) -> None:
    changed = {} if changed_ms is None else {"updatedTime": str(NOW_MS + changed_ms)}
    exchange.ended = {"spot": [{**order(1), "orderStatus": "Cancelled", **changed}]}
    assert len((await looking.look()).orders) == is_shown
    assert (await looking.look(after_ms=2000)).orders == ()


async def test_start_without_a_mark_shows_whatever_has_ended(exchange: Exchange, looking: Looking) -> None:
    looking.copy.is_mark = False
    exchange.ended = {"spot": [{**order(1), "updatedTime": str(NOW_MS - DAY_MS)}]}
    assert len((await looking.look()).orders) == 1


async def test_order_that_ends_while_looks_go_on_is_shown_whatever_its_time(
    exchange: Exchange, looking: Looking
) -> None:
    await looking.look()
    exchange.ended = {"spot": [{**order(1), "updatedTime": str(NOW_MS - DAY_MS)}]}
    assert len((await looking.look(after_ms=2000)).orders) == 1


async def test_every_list_is_read_to_its_end(exchange: Exchange, looking: Looking) -> None:
    exchange.working = {"spot": [order(n) for n in range(5)], "linear USDT": [order(9)], "inverse": [order(10)]}
    exchange.ended = {"linear USDC": [order(20), order(21), order(22)]}
    exchange.fills = {"spot": [execution(1)], "linear": [execution(n) for n in (2, 3, 4)], "inverse": [execution(5)]}
    look = await looking.look()
    assert [(seen.category, seen.order_id) for seen in look.orders] == [
        *(("spot", f"o-{n}") for n in range(5)),
        ("linear", "o-9"),
        ("inverse", "o-10"),
        *(("linear", f"o-{n}") for n in (20, 21, 22)),
    ]
    assert [(seen.category, seen.execution_id) for seen in look.executions] == [
        ("spot", "e-1"),
        ("linear", "e-2"),
        ("linear", "e-3"),
        ("linear", "e-4"),
        ("inverse", "e-5"),
    ]
    assert (look.until_ms, look.behind_ms) == (NOW_MS, 0)


async def test_executions_are_asked_for_from_before_the_last_look(exchange: Exchange, looking: Looking) -> None:
    await looking.look()
    assert exchange.windows("executions") == [(NOW_MS - 5_000 - OVERLAP_MS, None)]
    await looking.look(after_ms=7)
    assert exchange.windows("executions") == [(NOW_MS - OVERLAP_MS, None)]


async def test_start_reads_the_history_of_orders_and_later_looks_do_not(exchange: Exchange, looking: Looking) -> None:
    exchange.past = {"spot": [order(1), order(2)], "inverse": [order(3)]}
    exchange.ended = {"spot": [order(2)]}
    assert [seen.order_id for seen in (await looking.look()).orders] == ["o-1", "o-3", "o-2"]
    assert exchange.windows("history") == [(NOW_MS - 5_000 - OVERLAP_MS, None)]
    await looking.look(after_ms=2 * S_MS)
    assert exchange.windows("history") == []


async def test_more_ended_orders_than_are_listed_are_read_from_the_history(
    exchange: Exchange, looking: Looking
) -> None:
    await looking.look()
    exchange.page_entries = 50
    exchange.ended = {"linear USDT": [order(n) for n in range(ENDED_LISTED - 1)]}
    await looking.look(after_ms=2 * S_MS)
    assert exchange.windows("history") == []
    exchange.ended = {"linear USDT": [order(n) for n in range(1000, 1000 + ENDED_LISTED)]}
    exchange.past = {"linear USDT": [order(999)]}
    assert (await looking.look(after_ms=2 * S_MS)).orders[0].order_id == "o-999"
    assert exchange.windows("history") == [(NOW_MS + 2 * S_MS - OVERLAP_MS, None)]


async def test_long_absence_is_read_in_windows_that_grow_to_a_week(exchange: Exchange, looking: Looking) -> None:
    absence_ms = DAY_MS + 2 * DAY_MS + 4 * DAY_MS + WINDOW_MS + 1
    begin_ms = looking.copy.read_until_ms = NOW_MS - absence_ms
    looks = [await looking.look() for _ in range(3)]
    assert [look.until_ms - begin_ms for look in looks] == [DAY_MS, 3 * DAY_MS, 7 * DAY_MS]
    assert [look.behind_ms for look in looks] == [absence_ms - days * DAY_MS for days in (1, 3, 7)]
    wanted = (begin_ms + 3 * DAY_MS - OVERLAP_MS, begin_ms + 7 * DAY_MS + OVERLAP_MS)
    assert exchange.windows("executions") == exchange.windows("history") == [wanted]
    assert (await looking.look()).behind_ms == 1
    assert (await looking.look()).behind_ms == 0
    assert exchange.windows("history") == [(NOW_MS - 1 - OVERLAP_MS, None)]
    await looking.look(after_ms=S_MS)
    assert exchange.windows("history") == []


async def test_absence_longer_than_the_exchange_remembers_is_refused(looking: Looking) -> None:
    looking.copy.read_until_ms = NOW_MS - HISTORY_MS
    await looking.look()
    looking.copy.read_until_ms = NOW_MS - HISTORY_MS - 1
    with pytest.raises(ExchangeAnswerInvalid, match="nobody has looked for 700 days"):
        await looking.look()


async def test_beginning_that_nobody_has_read_up_to_is_read_as_far_as_it_is_remembered(
    exchange: Exchange, looking: Looking
) -> None:
    looking.copy.read_until_ms, looking.copy.is_mark = 1, False
    assert (await looking.look()).until_ms == NOW_MS - HISTORY_MS + DAY_MS
    assert exchange.windows("executions")[0][0] == NOW_MS - HISTORY_MS - OVERLAP_MS
    looking.copy.read_until_ms = 1
    with pytest.raises(ExchangeAnswerInvalid, match="nobody has looked"):
        await looking.look()


async def test_exchange_clock_that_leaps_ahead_moves_the_beginning_by_the_time_that_passed(
    exchange: Exchange, looking: Looking
) -> None:
    await looking.look()
    look = await looking.look(after_ms=2 * S_MS, exchange_moves_ms=3_600_000)
    assert look.until_ms == looking.copy.read_until_ms == NOW_MS + 2 * S_MS + 20
    assert exchange.windows("executions") == [(NOW_MS - OVERLAP_MS, None)]
    await looking.look(after_ms=2 * S_MS)
    assert exchange.windows("executions") == [(NOW_MS + 2 * S_MS + 20 - OVERLAP_MS, None)]


async def test_exchange_clock_that_goes_back_takes_the_beginning_back(exchange: Exchange, looking: Looking) -> None:
    await looking.look()
    await looking.look(after_ms=60 * S_MS, exchange_moves_ms=-3_600_000)
    assert exchange.windows("executions") == [(NOW_MS - 3_600_000 - 60 * S_MS - OVERLAP_MS, None)]
    assert looking.copy.read_until_ms == NOW_MS - 3_600_000


async def test_mark_ahead_of_the_exchange_counts_up_to_its_time(exchange: Exchange, looking: Looking) -> None:
    looking.copy.read_until_ms = NOW_MS + DAY_MS
    assert (await looking.look()).until_ms == NOW_MS
    assert exchange.windows("executions") == [(NOW_MS - OVERLAP_MS, None)]


async def test_look_from_before_time_began_asks_from_its_beginning(exchange: Exchange, looking: Looking) -> None:
    exchange.now_ms, looking.copy.read_until_ms = 1, 0
    await looking.look()
    assert exchange.windows("executions") == [(0, None)]


async def test_ended_orders_are_read_back_to_one_that_is_known(exchange: Exchange, looking: Looking) -> None:
    exchange.ended = {"spot": [order(n) for n in (4, 3, 2, 1)]}
    assert len((await looking.look()).orders) == 4
    exchange.ended = {"spot": [order(n) for n in (6, 5, 4, 3, 2, 1)]}
    assert [seen.order_id for seen in (await looking.look()).orders] == ["o-6", "o-5"]
    assert sum(asked.get("openOnly") == "1" and asked["category"] == "spot" for asked in exchange.asked) == 2


async def test_look_that_fails_half_way_is_read_again_in_full(exchange: Exchange, looking: Looking) -> None:
    exchange.ended = {"spot": [order(1)]}
    exchange.fills = {"spot": [execution(1)]}
    exchange.is_failing_on = "linear USDC"
    with pytest.raises(ExchangeUnavailable):
        await looking.look()
    assert looking.copy.read_until_ms == NOW_MS - 5_000
    exchange.is_failing_on = ""
    look = await looking.look()
    assert (len(look.orders), len(look.executions)) == (1, 1)
    assert exchange.windows("history") == [(NOW_MS - 5_000 - OVERLAP_MS, None)]


@pytest.mark.parametrize("attribute", ["working", "fills", "past"])
async def test_list_without_end_is_refused(exchange: Exchange, looking: Looking, attribute: str) -> None:
    setattr(exchange, attribute, {"spot": [order(1) | execution(1)]})
    exchange.is_endless = True
    with pytest.raises(ExchangeAnswerInvalid, match=r"^more than"):
        await looking.look()


@pytest.mark.parametrize(("attribute", "words"), [("fills", "2000 executions"), ("past", "1000 ended orders")])
async def test_more_than_a_look_holds_makes_the_next_one_shorter(
    exchange: Exchange, looking: Looking, attribute: str, words: str
) -> None:
    begin_ms = looking.copy.read_until_ms = NOW_MS - DAY_MS
    setattr(exchange, attribute, {"spot": [execution(n) | order(n) for n in range(100)]})
    with pytest.raises(ExchangeAnswerInvalid, match=f"more than {words} at one look"):
        await looking.look()
    exchange.fills, exchange.past = {}, {}
    assert (await looking.look()).until_ms == begin_ms + DAY_MS // 2
    assert exchange.windows("executions") == [(begin_ms - OVERLAP_MS, begin_ms + DAY_MS // 2 + OVERLAP_MS)]
    assert (await looking.look()).until_ms == NOW_MS
    assert exchange.windows("executions")[0][1] is None


async def test_window_is_never_shorter_than_the_shortest(exchange: Exchange, looking: Looking) -> None:
    looking.copy.read_until_ms = NOW_MS - DAY_MS
    looking.copy.window_ms = drop_copy.WINDOW_MIN_MS + 2
    exchange.fills = {"spot": [execution(n) for n in range(100)]}
    with pytest.raises(ExchangeAnswerInvalid):
        await looking.look()
    assert looking.copy.window_ms == drop_copy.WINDOW_MIN_MS


async def test_long_list_is_read_at_a_pace(
    exchange: Exchange, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(drop_copy, "PAGES_PER_S", 10)
    monkeypatch.setattr("trade_watchdog.drop_copy.asyncio.sleep", sleep)
    exchange.fills = {"spot": [execution(n) for n in range(14)]}
    await looking.look()
    assert pauses == [0.1, 0.1]


async def test_ended_orders_that_are_known_are_bounded(
    exchange: Exchange, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_copy, "ENDED_REMEMBERED", 2)
    exchange.ended = {"spot": [order(n) for n in (4, 3, 2, 1)]}
    await looking.look()
    assert [seen.order_id for seen in (await looking.look()).orders] == ["o-4", "o-3"]


@pytest.mark.parametrize(
    "answer",
    [{}, {"list": None}, {"list": [1]}, {"list": [], "nextPageCursor": 5}, {"list": [], "nextPageCursor": "c" * 1025}],
)
async def test_page_that_is_none_is_refused(
    exchange: Exchange, looking: Looking, answer: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_page", lambda _entries, _parameters: answer)
    with pytest.raises(ExchangeAnswerInvalid):
        await looking.look()


async def test_keys_are_read_to_the_last_page(exchange: Exchange) -> None:
    exchange.keys = [key(n) for n in range(5)]
    assert [found.listed.key for found in await all_keys(exchange, account="1002")] == [f"k-{n}" for n in range(5)]
    assert all(asked["subMemberId"] == "1002" for asked in exchange.asked)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"), (None, ""), (5, ""), ("x" * 41, ""), ("a\u202eb", "")],
)
async def test_key_has_the_time_at_which_it_was_made_when_the_exchange_says_one(
    exchange: Exchange, written: object, kept: str
) -> None:
    exchange.keys = [{**key(1), "createdAt": written}]
    assert [found.created_at for found in await all_keys(exchange, account="1002")] == [kept]


async def test_keys_without_end_are_refused(exchange: Exchange) -> None:
    exchange.is_endless = True
    with pytest.raises(ExchangeAnswerInvalid, match="pages of keys"):
        await all_keys(exchange, account="1002")
