"""The three tellings of a day: what agrees, and each way in which one differs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_watchdog.audit.reconciliation import (
    DAY_MS,
    DIFFERENCES_SHOWN,
    JournaledFills,
    Reconciliation,
    StatementTrade,
    begin_ms,
    day_of,
    next_day,
    reconcile,
)
from trade_watchdog.audit.sightings import SeenExecution

DAY = "2026-11-25"
BEGIN = begin_ms(DAY)


def execution(number: int, *, order: int = 1, quantity: str = "1", at_ms: int = BEGIN, **changes: str) -> SeenExecution:
    plain = SeenExecution(
        category="spot",
        symbol="BTCUSDT",
        execution_id=f"e-{number}",
        order_id=f"o-{order}",
        link_id=f"T-{order}",
        side="Buy",
        quantity=Decimal(quantity),
        price=Decimal(100),
        fee=Decimal(0),
        order_quantity=Decimal(9),
        order_price=Decimal(100),
        execution_type="Trade",
        create_type="",
        executed_at_ms=at_ms,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def stated(number: int, *, order: int = 1, at_ms: int = BEGIN, quantity: str | None = "1") -> StatementTrade:
    amount = None if quantity is None else Decimal(quantity)
    return StatementTrade(trade_id=f"e-{number}", order_id=f"o-{order}", at_ms=at_ms, quantity=amount)


def filled_to(amount: Decimal, *, at_ms: int = BEGIN - 1) -> JournaledFills:
    return JournaledFills(filled=amount, at_ms=at_ms)


def test_days_begin_at_midnight_utc_and_follow_each_other() -> None:
    assert BEGIN == 1_795_564_800_000
    assert (day_of(BEGIN), day_of(BEGIN - 1), day_of(BEGIN + DAY_MS)) == (DAY, "2026-11-24", "2026-11-26")
    assert [next_day(day) for day in (DAY, "2026-12-31", "2028-02-28")] == ["2026-11-26", "2027-01-01", "2028-02-29"]
    assert begin_ms(next_day(DAY)) == BEGIN + DAY_MS


def test_three_that_agree_differ_in_nothing() -> None:
    found = reconcile(
        day=DAY,
        executions=[execution(1), execution(2, quantity="0.5"), execution(3, order=2, at_ms=BEGIN + DAY_MS - 1)],
        statement=[
            stated(1, quantity=None),
            stated(1),
            stated(2, quantity="0.5"),
            stated(2, quantity=None),
            stated(3, order=2),
        ],
        journaled={"T-1": filled_to(Decimal("1.5")), "T-2": filled_to(Decimal(1)), "T-9": filled_to(Decimal(7))},
    )
    assert found == Reconciliation(
        day=DAY, executions=3, statement_trades=3, orders=2, orders_of_others=0, differing=0, differences=()
    )


def test_day_without_trades_agrees() -> None:
    found = reconcile(day=DAY, executions=[], statement=[], journaled={})
    assert (found.executions, found.differing) == (0, 0)


def test_what_is_beside_the_day_is_not_of_it_but_counts_for_its_orders() -> None:
    found = reconcile(
        day=DAY,
        executions=[
            execution(1, at_ms=BEGIN - 1),
            execution(2),
            execution(3, at_ms=BEGIN + DAY_MS),
            execution(4, order=2, at_ms=BEGIN + DAY_MS),
        ],
        statement=[stated(1, at_ms=BEGIN - 1), stated(2), stated(3, at_ms=BEGIN + DAY_MS)],
        journaled={"T-1": filled_to(Decimal(3)), "T-2": filled_to(Decimal(55))},
    )
    assert (found.executions, found.statement_trades, found.orders, found.differing) == (1, 1, 1, 0)


def test_funding_is_no_trade() -> None:
    found = reconcile(
        day=DAY,
        executions=[execution(1, execution_type="Funding")],
        statement=[],
        journaled={"T-1": filled_to(Decimal(1))},
    )
    assert (found.executions, found.differing) == (0, 0)


def test_execution_that_is_listed_twice_is_one() -> None:
    found = reconcile(
        day=DAY,
        executions=[execution(1), execution(1)],
        statement=[stated(1)],
        journaled={"T-1": filled_to(Decimal(1))},
    )
    assert (found.executions, found.differing) == (1, 0)


@pytest.mark.parametrize(
    ("executions", "statement", "words"),
    [
        ([execution(1)], [], "order o-1: 1 executions of 1 in the drop copy, 0 executions of 0 in the statement"),
        ([], [stated(1)], "order o-1: 0 executions of 0 in the drop copy, 1 executions of 1 in the statement"),
        (
            [execution(1)],
            [stated(1), stated(2)],
            "order o-1: 1 executions of 1 in the drop copy, 2 executions of 2 in the statement",
        ),
        (
            [execution(1)],
            [stated(1, quantity="0.9")],
            "order o-1: 1 executions of 1 in the drop copy, 1 executions of 0.9 in the statement",
        ),
        (
            [execution(1)],
            [stated(1, quantity=None)],
            "order o-1: 1 executions of 1 in the drop copy, 1 executions of 0 in the statement",
        ),
    ],
)
def test_statement_that_says_another_number_or_amount_is_named(
    executions: list[SeenExecution], statement: list[StatementTrade], words: str
) -> None:
    found = reconcile(day=DAY, executions=executions, statement=statement, journaled={"T-1": filled_to(Decimal(1))})
    assert (found.differences, found.disputed) == ((words,), ())


@pytest.mark.parametrize("filled", ["0", "0.9", "1.1"])
def test_journal_that_says_another_amount_is_named(filled: str) -> None:
    found = reconcile(
        day=DAY, executions=[execution(1)], statement=[stated(1)], journaled={"T-1": filled_to(Decimal(filled))}
    )
    assert found.differences == (f"tag T-1: 1 in the drop copy, {filled} in the journal",)
    assert found.disputed == ("T-1",)


def test_order_that_the_journal_does_not_know_is_counted_apart() -> None:
    found = reconcile(
        day=DAY,
        executions=[execution(1), execution(2), execution(3, order=2)],
        statement=[stated(1), stated(2), stated(3, order=2)],
        journaled={"T-2": filled_to(Decimal(1))},
    )
    assert (found.orders, found.orders_of_others, found.differing) == (1, 1, 0)


def test_differences_are_counted_in_full_and_shown_in_part() -> None:
    executions = [execution(number, order=number) for number in range(DIFFERENCES_SHOWN + 5)]
    found = reconcile(day=DAY, executions=executions, statement=[], journaled={})
    assert (found.differing, len(found.differences)) == (DIFFERENCES_SHOWN + 5, DIFFERENCES_SHOWN)
    assert DIFFERENCES_SHOWN == 20


@pytest.mark.parametrize(
    ("at_ms", "is_told"), [(BEGIN - 1, False), (BEGIN, True), (BEGIN + DAY_MS - 1, True), (BEGIN + DAY_MS, False)]
)
def test_fill_of_the_day_that_the_exchange_does_not_list_is_named(at_ms: int, is_told: bool) -> None:
    found = reconcile(day=DAY, executions=[], statement=[], journaled={"T-1": filled_to(Decimal(2), at_ms=at_ms)})
    assert (found.orders, found.differing) == (int(is_told), int(is_told))
    assert found.differences == (("tag T-1: 0 in the drop copy, 2 in the journal",) if is_told else ())
