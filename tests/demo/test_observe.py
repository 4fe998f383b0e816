"""The observers: rows become counts, fills are matched with intents, and strange answers change nothing."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from trade_core.clock import ManualClock
from trade_core.errors import ExchangeAnswerInvalid
from trade_demo.observe import (
    NOT_PLACED,
    ROWS_PER_REQUEST,
    GatewayObserver,
    ProcessObserver,
    note_gateway_state,
    note_row,
    note_simulator_state,
)
from trade_demo.process import ProcessSpec, RunningProcess
from trade_demo.view import Fill, HappeningKind, View

Serve = Callable[[Callable[[httpx.Request], Any]], httpx.AsyncClient]
INTENT = {"tag": "t1", "symbol": "BTCUSDT", "side": "Buy", "quantity": "0.001", "price": "64000"}


@pytest.fixture
def view() -> View:
    return View(clock=ManualClock())


def fill(tag: str, *, is_exit: bool = False) -> Fill:
    return Fill(
        execution_id=tag,
        at_ns=1,
        order_link_id=tag,
        symbol="BTCUSDT",
        side="Sell" if is_exit else "Buy",
        price=Decimal(64000),
        quantity=Decimal("0.001"),
        is_exit=is_exit,
        is_maker=True,
    )


def row(sequence: int, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"seq": sequence, "at_ns": 1, "kind": kind, "actor": "gateway", "fields": fields}


def test_rows_of_an_order_s_way_are_counted(view: View) -> None:
    started = view.started_wall_ns
    note_row("order:intent", INTENT, at_ns=started, view=view)
    note_row("order:outcome", {"tag": "t1", "result": "acknowledged"}, at_ns=started + 12_340_000_000, view=view)
    note_row("order:outcome", {"tag": "t2", "result": "acknowledged"}, at_ns=started + 99_000_000_000, view=view)
    note_row("cancel:intent", {"symbol": "BTCUSDT"}, at_ns=started, view=view)
    counts = view.counts
    assert (counts.orders_intended, counts.orders_acknowledged, counts.cancels) == (1, 2, 1)
    assert view.first_ack_s == Decimal("12.3")


def test_rows_order_found_later_counts_as_acknowledged(view: View) -> None:
    note_row("order:outcome", {"tag": "t", "result": "unknown"}, at_ns=1, view=view)
    note_row("order:resolved", {"tag": "t", "result": "found"}, at_ns=1, view=view)
    assert view.counts.orders_acknowledged == 1


@pytest.mark.parametrize("result", sorted(NOT_PLACED))
def test_rows_order_not_placed_is_a_problem_and_not_counted(result: str, view: View) -> None:
    note_row("order:outcome", {"tag": "t", "result": result}, at_ns=1, view=view)
    assert view.counts.orders_acknowledged == 0
    assert view.first_ack_s is None
    assert [item.kind for item in view.take_happenings()] == [HappeningKind.PROBLEM]


@pytest.mark.parametrize("status", ["Filled", "Cancelled"])
def test_rows_order_that_ended_is_nothing_new(status: str, view: View) -> None:
    note_row("order:resolved", {"tag": "t", "result": "ended", "status": status}, at_ns=1, view=view)
    assert view.counts.orders_acknowledged == 0
    assert view.take_happenings() == []


def test_rows_of_denials_are_counted_by_code(view: View) -> None:
    note_row("order:denied", {"code": "NOT_POST_ONLY", "symbol": "BTCUSDT"}, at_ns=1, view=view)
    note_row("request:denied", {"code": "PATH_UNKNOWN"}, at_ns=1, view=view)
    note_row("request:counted", {"codes": {"PATH_UNKNOWN": 7}, "count": 7}, at_ns=1, view=view)
    assert view.counts.denials == {"NOT_POST_ONLY": 1, "PATH_UNKNOWN": 8}
    assert "NOT_POST_ONLY symbol=BTCUSDT" in [item.text for item in view.take_happenings()]


def test_rows_with_control_characters_are_neutralised(view: View) -> None:
    note_row("order:denied", {"code": "\x1b[2J", "symbol": "\nX"}, at_ns=1, view=view)
    assert all(text.isprintable() for text in (*view.counts.denials, *(item.text for item in view.take_happenings())))


async def test_gateway_observer_asks_for_each_row_once_and_pages(serve: Serve, view: View) -> None:
    total = ROWS_PER_REQUEST + 3
    asked: list[int] = []

    def answer(request: httpx.Request) -> dict[str, Any]:
        first = int(request.url.params["from"])
        asked.append(first)
        last = min(total, first + int(request.url.params["limit"]))
        return {"rows": [row(n, "read:answered", {}) for n in range(first, last)]}

    observer = GatewayObserver(client=serve(answer), view=view)
    await observer.read_rows()
    await observer.read_rows()
    assert asked == [0, ROWS_PER_REQUEST, total]
    assert view.journal_rows == total


async def test_gateway_observer_matches_a_fill_with_an_intent_read_later(serve: Serve, view: View) -> None:
    rows: list[dict[str, Any]] = []
    observer = GatewayObserver(client=serve(lambda _: {"rows": rows}), view=view)
    observer.note_fills([fill("t1"), fill("stranger", is_exit=True)])
    await observer.read_rows()
    assert (view.counts.entry_fills, view.counts.journaled_entry_fills) == (1, 0)
    rows.append(row(0, "order:intent", INTENT))
    await observer.read_rows()
    rows.clear()
    await observer.read_rows()
    counts = view.counts
    assert (counts.journaled_entry_fills, counts.exit_fills, counts.journaled_exit_fills) == (1, 1, 0)
    assert counts.turnover_usdt == Decimal(128)


@pytest.mark.parametrize("answer", [{}, {"rows": None}, {"rows": [{}]}, {"rows": [row(0, "order:intent", {})]}])
async def test_gateway_observer_strange_rows_are_an_error_and_read_again(
    answer: dict[str, Any], serve: Serve, view: View
) -> None:
    observer = GatewayObserver(client=serve(lambda _: answer), view=view)
    with pytest.raises(ExchangeAnswerInvalid):
        await observer.read_rows()
    assert view.journal_rows == 0


def test_gateway_state_is_taken_over_with_its_reasons(view: View) -> None:
    holders = {
        "lease": {"ceiling": "REDUCE_ONLY", "reason": "no fresh lease", "since": 1},
        "own_faults": {"ceiling": "ACTIVE", "reason": "", "since": 1},
    }
    note_gateway_state({"trading_state": "REDUCE_ONLY", "holders": holders, "lease": {"age_s": 2.5}}, view)
    assert (view.trading_state, view.reasons, view.lease_age_s) == ("REDUCE_ONLY", ("no fresh lease",), Decimal("2.5"))
    note_gateway_state({"trading_state": "ACTIVE", "holders": holders, "journal": {"size": 9}}, view)
    assert (view.trading_state, view.reasons, view.journal_rows) == ("ACTIVE", (), 9)
    assert [item.kind for item in view.take_happenings()] == [HappeningKind.STATE, HappeningKind.STATE]


def test_simulator_state_is_taken_over_for_the_account_and_category(view: View) -> None:
    state = {
        "prices": {"spot": {"BTCUSDT": {"last": "64000.5"}}, "linear": {"BTCUSDT": {"last": "1"}}},
        "orders": [
            {"uid": "2", "orderStatus": "New"},
            {"uid": "2", "orderStatus": "Filled"},
            {"uid": "3", "orderStatus": "New"},
        ],
        "tick_lag_ms": {"p99": 4},
    }
    note_simulator_state(state, account="2", category="spot", view=view)
    assert view.prices == {"BTCUSDT": Decimal("64000.5")}
    assert (view.working_orders, view.tick_lag_p99_ms) == (1, Decimal(4))


@pytest.mark.parametrize("state", [{}, {"prices": None, "orders": None}, {"prices": {"spot": {"X": "nan"}}}])
def test_simulator_state_incomplete_leaves_things_unknown(state: dict[str, Any], view: View) -> None:
    note_simulator_state(state, account="2", category="spot", view=view)
    assert (view.prices, view.working_orders, view.tick_lag_p99_ms) == ({}, 0, None)


async def test_process_observer_reports_a_death_once(view: View) -> None:
    class Ended:
        pid = 4242

    spec = ProcessSpec(name="gateway", command=("x",), environment={}, log_file=Path("/logs/gateway.log"))
    running = RunningProcess(spec=spec, process=Ended())  # type: ignore[arg-type]
    observer = ProcessObserver(running=[running], view=view)
    await observer.read()
    assert view.processes == {"gateway": "running"}
    running.exit_code = -9
    await observer.read()
    await observer.read()
    assert view.processes == {"gateway": "died (-9)"}
    assert [item.kind for item in view.take_happenings()] == [HappeningKind.PROCESS]
    running.is_stopping = True
    await observer.read()
    assert view.processes == {"gateway": "ended"}
