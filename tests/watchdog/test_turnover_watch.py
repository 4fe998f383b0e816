"""The turnover, look by look: what a start reads back, what is not computable, and what is told how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from watchdog.audit_world import KEY, NOW_MS, WIDE

from trade_core.errors import ExchangeUnavailable
from trade_core.trust.baseline import baseline_of
from trade_core.trust.tag import TaggedOrder, make_tag
from trade_watchdog import drop_copy, turnover_watch
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitAlarm
from trade_watchdog.audit.listing import seen_execution, seen_order
from trade_watchdog.audit.order_audit import OrderAudit
from trade_watchdog.audit.turnover_audit import WINDOW_MS
from trade_watchdog.drop_copy import OVERLAP_MS, PAGES_MAX, Look
from trade_watchdog.turnover_watch import NOT_READ_BACK, ORDER_AGE_MAX_MS, POLICY_LEEWAY_MS, TurnoverWatch

LIMITS = replace(WIDE, allocated_capital_usdt=Decimal(1000), turnover_budget_24h=Decimal("0.5"))


def link_id(number: int, *, is_reducing: bool = False, category: str = "linear") -> str:
    shape = TaggedOrder(
        category=category,
        symbol="BTCUSDT",
        side="Buy",
        quantity=Decimal(1),
        price=Decimal(100),
        is_reducing=is_reducing,
    )
    return make_tag(shape, key=KEY, deployment="d", account="1002", nonce=number.to_bytes(9))


def order(number: int, **changes: Any) -> Any:
    plain = {
        "symbol": "BTCUSDT",
        "orderId": f"o-{number}",
        "orderLinkId": link_id(number),
        "side": "Buy",
        "qty": "1",
        "price": "100",
        "triggerPrice": "",
        "reduceOnly": False,
        "orderStatus": "New",
        "cumExecQty": "0",
        "createdTime": str(NOW_MS),
    }
    return seen_order({**plain, **changes}, category="linear")


def execution(number: int, **changes: Any) -> dict[str, Any]:
    plain = {
        "symbol": "BTCUSDT",
        "execId": f"e-{number}",
        "orderId": f"o-{number}",
        "orderLinkId": link_id(number),
        "side": "Buy",
        "execQty": "1",
        "execPrice": "100",
        "execFee": "0",
        "orderQty": "1",
        "orderPrice": "100",
        "execType": "Trade",
        "execTime": str(NOW_MS - 60_000),
    }
    return {**plain, **changes}


class Exchange:
    """Lists the executions of linear contracts in the window that is asked for, a page at a time."""

    def __init__(self) -> None:
        self.executed: list[dict[str, Any]] = []
        self.asked: list[Mapping[str, Any]] = []
        self.failures = 0
        self.page = 100

    async def exchange_time_ms(self) -> int:
        return NOW_MS

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(parameters)
        if self.failures:
            self.failures -= 1
            raise ExchangeUnavailable("the exchange does not answer")
        if parameters["category"] != "linear":
            return {"list": []}
        begin, end = parameters["startTime"], parameters["endTime"]
        listed = [one for one in self.executed if begin <= int(one["execTime"]) <= end]
        first = int(parameters.get("cursor", "0"))
        more = str(first + self.page) if first + self.page < len(listed) else ""
        return {"list": listed[first : first + self.page], "nextPageCursor": more}


class Bench:
    """A watch, its exchange, and the policies that it is told of."""

    def __init__(self, **options: Any) -> None:
        self.exchange = Exchange()
        self.limits: list[AuditedLimits] | None = [LIMITS]
        self.since: list[int] = []
        audit = OrderAudit(
            journaled=JournaledOrders(),
            baseline=baseline_of(taken_at_ms=options.pop("taken_at_ms", 1)),
            tag_key=KEY,
            deployment="d",
            account="1002",
        )
        self.watch = TurnoverWatch(
            reading=self.exchange,  # type: ignore[arg-type]
            audit=audit,
            recent_limits=self.recent_limits,
            **options,
        )

    def recent_limits(self, since_ms: int) -> list[AuditedLimits] | None:
        self.since.append(since_ms)
        return self.limits

    def look(self, *orders: Any, executed: tuple[dict[str, Any], ...] = (), behind_ms: int = 0) -> Any:
        executions = tuple(seen_execution(one, category="linear") for one in executed)
        return self.watch.take(Look(orders=orders, executions=executions, until_ms=NOW_MS, behind_ms=behind_ms))


@pytest.fixture(autouse=True)
def _no_pauses_between_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_copy, "PAGES_AT_ONCE", PAGES_MAX)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_start_reads_the_last_day_back_from_the_exchange(bench: Bench) -> None:
    bench.exchange.executed = [execution(1), execution(2, execTime=str(NOW_MS - WINDOW_MS))]
    assert bench.look() is None
    assert (bench.watch.used_usdt, bench.watch.detail) == (None, NOT_READ_BACK)
    await bench.watch.read_back()
    assert bench.look() is None
    assert (bench.watch.used_usdt, bench.watch.budget_usdt, bench.watch.detail) == (100, 500, "")
    assert [(one["category"], one["startTime"], one["endTime"]) for one in bench.exchange.asked] == [
        (category, NOW_MS - WINDOW_MS - OVERLAP_MS, NOW_MS) for category in ("spot", "linear")
    ]


async def test_nothing_before_the_deployment_began_is_asked_for() -> None:
    bench = Bench(taken_at_ms=NOW_MS - 5_000)
    await bench.watch.read_back()
    assert bench.exchange.asked[0]["startTime"] == NOW_MS - 5_000 - OVERLAP_MS


async def test_day_that_does_not_fit_is_read_in_shorter_windows(bench: Bench) -> None:
    bench.exchange.page = 1
    hour = 3_600_000
    bench.exchange.executed = [
        execution(number, execTime=str(NOW_MS - number * hour // 2), execQty="0.1") for number in range(1, 41)
    ]
    await bench.watch.read_back()
    bench.look()
    assert bench.watch.used_usdt == 400


async def test_minute_that_does_not_fit_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.exchange.page = 1
    bench.exchange.executed = [execution(number) for number in range(PAGES_MAX + 1)]

    async def end(_pause_s: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(turnover_watch, "asyncio", SimpleNamespace(sleep=end))
    with pytest.raises(asyncio.CancelledError):
        await bench.watch.read_back_until_done()
    assert bench.look() is None
    assert bench.watch.detail == f"{NOT_READ_BACK}: more than 2000 executions at one look"
    assert bench.watch.used_usdt is None


async def test_reading_back_that_fails_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnover_watch, "AGAIN_S", 0)
    bench.exchange.failures = 3
    bench.exchange.executed = [execution(1)]
    async with asyncio.timeout(60):
        await bench.watch.read_back_until_done()
    bench.look()
    assert (bench.exchange.failures, bench.watch.used_usdt) == (0, 100)


async def test_what_a_look_shows_again_counts_once_and_strangers_and_exits_never(bench: Bench) -> None:
    bench.exchange.executed = [execution(1)]
    await bench.watch.read_back()
    exit_fill = execution(3, orderLinkId=link_id(3, is_reducing=True))
    bench.look(executed=(execution(1), execution(2), exit_fill, execution(4, orderLinkId="")))
    assert bench.watch.used_usdt == 200


async def test_order_counts_when_two_looks_in_a_row_show_it_working(bench: Bench) -> None:
    await bench.watch.read_back()
    exit_order = order(3, reduceOnly=True, orderLinkId=link_id(3, is_reducing=True))
    bench.look(order(1), exit_order, order(4, orderLinkId=""))
    assert bench.watch.used_usdt == 0
    bench.look(order(1, cumExecQty="0.25"), order(2), exit_order, order(4, orderLinkId=""))
    assert bench.watch.used_usdt == 75
    bench.look(order(1, orderStatus="Cancelled"), order(2))
    assert bench.watch.used_usdt == 100


async def test_turnover_beyond_the_budget_is_told_once_until_it_is_within_again(bench: Bench) -> None:
    bench.exchange.executed = [execution(number) for number in range(1, 5)]
    await bench.watch.read_back()
    assert bench.look(order(6)) is None
    assert bench.look(order(6)) is None
    found = bench.look(order(6), executed=(execution(5, execQty="0.01"),))
    assert (found.alarm, found.detail) == (LimitAlarm.TURNOVER, "501 USDT of 500 USDT were added in 24 hours")
    assert bench.look(order(6)) is None
    bench.look()
    bench.look(order(6))
    assert bench.look(order(6)) is not None


async def test_what_an_earlier_run_has_judged_is_told_when_more_is_added() -> None:
    bench = Bench(judged_until_ms=NOW_MS - 60_000)
    bench.exchange.executed = [execution(number) for number in range(1, 7)]
    await bench.watch.read_back()
    assert bench.look() is None
    assert bench.watch.used_usdt == 600
    assert bench.look(executed=(execution(7, execTime=str(NOW_MS - 59_999)),)) is not None


@pytest.mark.parametrize("limits", [None, []])
async def test_policy_that_is_not_known_is_said_and_halts_nothing(bench: Bench, limits: Any) -> None:
    bench.exchange.executed = [execution(number) for number in range(1, 7)]
    await bench.watch.read_back()
    bench.limits = limits
    assert bench.look() is None
    assert bench.watch.detail == "the journal does not show every policy that may have been in force"
    bench.limits = [LIMITS]
    assert bench.look() is not None


async def test_gap_is_said_and_halts_nothing(bench: Bench) -> None:
    bench.exchange.executed = [execution(number) for number in range(1, 7)]
    await bench.watch.read_back()
    assert bench.look(behind_ms=1) is None
    assert (bench.watch.used_usdt, bench.watch.detail) == (None, "a gap is read from the exchange's history")


async def test_day_with_too_many_executions_is_said_and_halts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trade_watchdog.audit.turnover_audit.MAX_EXECUTIONS", 5)
    bench.exchange.executed = [execution(number) for number in range(1, 7)]
    await bench.watch.read_back()
    assert bench.look() is None
    assert bench.watch.detail.endswith("executions in 24 hours")


async def test_policies_are_asked_for_since_a_day_before_the_newest_order_was_made(bench: Bench) -> None:
    await bench.watch.read_back()
    bench.look(order(4, orderLinkId=""))
    bench.look(order(1, createdTime=str(NOW_MS - 7_000)), order(2, createdTime=str(NOW_MS - 9_000)))
    assert bench.since == [NOW_MS - ORDER_AGE_MAX_MS - POLICY_LEEWAY_MS, NOW_MS - 7_000 - POLICY_LEEWAY_MS]
