"""The audit over time: what is told once, what is told again, what waits, and what is bounded."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_core.trust.baseline import baseline_of
from trade_core.trust.tag import TaggedOrder, make_tag
from trade_journal.log.rows import RowKind
from trade_watchdog.audit import order_audit
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.audit.order_audit import OVERDUE_S, Finding, OrderAudit
from trade_watchdog.audit.provenance import Provenance
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

KEY = b"k" * 32
S = 1_000_000_000
NOW = 100 * S


def order(number: int = 1, *, is_tagged: bool = True) -> SeenOrder:
    quantity = Decimal(number)
    shape = TaggedOrder(
        category="linear", symbol="BTCUSDT", side="Buy", quantity=quantity, price=Decimal(100), is_reducing=False
    )
    tag = make_tag(shape, key=KEY, deployment="d", account="1002", nonce=number.to_bytes(9))
    return SeenOrder(
        category="linear",
        symbol="BTCUSDT",
        order_id=f"o-{number}",
        link_id=tag if is_tagged else "",
        side="Buy",
        quantity=quantity,
        price=Decimal(100),
        trigger_price=None,
        is_reduce_only=False,
        is_leverage=False,
        create_type="CreateByUser",
        status="New",
        filled=Decimal(0),
        created_at_ms=1_000,
    )


def execution(of: SeenOrder, number: int = 1, *, execution_type: str = "Trade") -> SeenExecution:
    return SeenExecution(
        category=of.category,
        symbol=of.symbol,
        execution_id=f"e-{number}",
        order_id=of.order_id,
        link_id=of.link_id,
        side=of.side,
        quantity=of.quantity,
        price=of.price,
        fee=Decimal(0),
        order_quantity=of.quantity,
        order_price=of.price,
        execution_type=execution_type,
        create_type=of.create_type,
        executed_at_ms=2_000,
    )


class World:
    """One audit, and the rows and looks that a test gives it."""

    def __init__(self) -> None:
        self.journaled = JournaledOrders()
        self.audit = OrderAudit(
            journaled=self.journaled,
            baseline=baseline_of(taken_at_ms=0),
            tag_key=KEY,
            deployment="d",
            account="1002",
        )
        self.now_ns = NOW
        self.read_at_ns: int | None = None

    def record(self, seen: SeenOrder) -> None:
        self.journaled.take(
            seq=len(self.journaled),
            at_ns=0,
            kind=RowKind.ORDER_INTENT,
            fields={
                "tag": seen.link_id,
                "category": seen.category,
                "symbol": seen.symbol,
                "side": seen.side,
                "quantity": str(seen.quantity),
                "price": str(seen.price),
                "reduce_only": seen.is_reduce_only,
            },
        )

    def look(self, *orders: SeenOrder, executions: tuple[SeenExecution, ...] = ()) -> list[Finding]:
        return self.audit.judge(
            orders=orders, executions=executions, now_ns=self.now_ns, journal_read_at_ns=self.read_at_ns
        )

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)

    def read_journal(self) -> None:
        self.read_at_ns = self.now_ns


@pytest.fixture
def world() -> World:
    return World()


def whose(findings: list[Finding]) -> list[tuple[str, Provenance]]:
    return [(finding.order_id, finding.provenance) for finding in findings]


def test_order_with_a_row_is_not_told(world: World) -> None:
    world.record(order())
    assert world.look(order()) == []
    assert (world.audit.pending, world.audit.unproven) == (0, 0)


def test_rogue_order_is_told_once_and_in_full(world: World) -> None:
    rogue = order(is_tagged=False)
    assert world.look(rogue) == [
        Finding(
            provenance=Provenance.ROGUE,
            reason="its order link id is no tag of this deployment for it",
            category="linear",
            symbol="BTCUSDT",
            side="Buy",
            order_id="o-1",
            link_id="",
            quantity=Decimal(1),
        )
    ]
    assert world.look(rogue) == []
    (other,) = world.look(rogue, order(2, is_tagged=False))
    assert (other.order_id, other.figure) == ("o-2", "2 BTCUSDT of 0")


def test_order_that_is_amended_behind_the_gateway_is_told(world: World) -> None:
    world.record(order())
    assert world.look(order()) == []
    assert whose(world.look(replace(order(), quantity=Decimal(9)))) == [("o-1", Provenance.ROGUE)]


def test_order_waits_for_the_journal_and_is_ours_when_its_row_comes(world: World) -> None:
    assert world.look(order()) == []
    assert world.audit.pending == 1
    world.record(order())
    world.pass_s(1)
    assert world.look() == []
    assert world.audit.pending == 0


def test_order_that_ended_while_it_waited_is_still_judged(world: World) -> None:
    world.look(order())
    world.pass_s(1)
    world.read_journal()
    assert whose(world.look()) == [("o-1", Provenance.ROGUE)]


def test_reading_that_began_when_the_order_was_seen_does_not_prove_it_rogue(world: World) -> None:
    world.read_journal()
    assert world.look(order()) == []
    world.now_ns += 1
    world.read_journal()
    assert whose(world.look()) == [("o-1", Provenance.ROGUE)]


def test_order_is_unproven_once_the_journal_is_overdue_and_ours_when_it_is_read(world: World) -> None:
    world.look(order())
    world.pass_s(OVERDUE_S)
    assert world.look() == []
    world.now_ns += 1
    assert whose(world.look()) == [("o-1", Provenance.UNPROVEN)]
    assert (world.audit.unproven, world.audit.pending) == (1, 1)
    assert world.look() == []
    world.record(order())
    assert world.look() == []
    assert (world.audit.unproven, world.audit.pending) == (0, 0)


def test_two_orders_with_one_tag_are_told(world: World) -> None:
    world.record(order())
    twin = replace(order(), order_id="o-twin")
    assert whose(world.look(order(), twin)) == [("o-twin", Provenance.ROGUE)]
    assert world.look(order()) == []


def test_order_with_the_tag_of_one_whose_execution_alone_was_seen_is_told(world: World) -> None:
    world.record(order())
    assert world.look(executions=(execution(order()),)) == []
    assert whose(world.look(replace(order(), order_id="o-twin"))) == [("o-twin", Provenance.ROGUE)]
    assert world.look(order()) == []


def test_execution_that_borrows_the_tag_of_an_order_does_not_make_that_one_rogue(world: World) -> None:
    world.record(order())
    thief = replace(execution(order()), order_id="o-thief", order_quantity=Decimal(9))
    assert whose(world.look(executions=(thief,))) == [("o-thief", Provenance.ROGUE)]
    assert world.look(order()) == []


def test_execution_of_an_order_that_nobody_saw_is_told(world: World) -> None:
    fill = execution(order(is_tagged=False))
    assert whose(world.look(executions=(fill,))) == [("o-1", Provenance.ROGUE)]
    assert world.look(executions=(fill,)) == []


def test_order_that_borrows_the_tag_of_another_does_not_make_that_one_rogue(world: World) -> None:
    world.record(order())
    thief = replace(order(), order_id="o-thief", quantity=Decimal(9))
    assert whose(world.look(thief, order())) == [("o-thief", Provenance.ROGUE)]


def test_execution_of_a_persons_reducing_order_is_told_as_that_order(world: World) -> None:
    """An execution alone would be rogue: it does not say that its order reduced."""
    hand = replace(order(is_tagged=False), is_reduce_only=True)
    assert whose(world.look(hand, executions=(execution(hand),))) == [("o-1", Provenance.REDUCES)]


def test_execution_of_ours_does_not_wait(world: World) -> None:
    world.record(order())
    assert world.look(executions=(execution(order()),)) == []
    assert world.audit.pending == 0


def test_execution_waits_for_the_journal_too(world: World) -> None:
    fill = execution(order())
    assert world.look(executions=(fill,)) == []
    assert world.audit.pending == 1
    world.pass_s(OVERDUE_S + 1)
    assert whose(world.look(executions=(fill,))) == [("o-1", Provenance.UNPROVEN)]
    assert (world.audit.pending, world.audit.unproven) == (1, 1)
    world.record(order())
    world.read_journal()
    assert world.look(order()) == []
    assert (world.audit.pending, world.audit.unproven) == (0, 0)


def test_execution_of_an_order_that_was_judged_is_not_told_again(world: World) -> None:
    rogue = order(is_tagged=False)
    assert len(world.look(rogue, executions=(execution(rogue),))) == 1
    world.record(order(2))
    assert world.look(order(2), executions=(execution(order(2), 2),)) == []


def test_takeover_of_an_order_of_ours_is_told(world: World) -> None:
    world.record(order())
    taken = execution(order(), execution_type="BustTrade")
    assert whose(world.look(order(), executions=(taken,))) == [("o-1", Provenance.EXCHANGES)]


def test_bounds_and_patience_are_those_that_are_written_down() -> None:
    assert (OVERDUE_S, order_audit.MAX_REMEMBERED, order_audit.MAX_PENDING) == (10, 50_000, 5_000)


def test_funding_is_no_order(world: World) -> None:
    assert world.look(executions=(execution(order(is_tagged=False), execution_type="Funding"),)) == []


def test_memory_is_bounded_and_forgets_the_oldest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_audit, "MAX_REMEMBERED", 2)
    rogues = [order(number, is_tagged=False) for number in (1, 2, 3)]
    assert len(world.look(*rogues)) == 3
    assert whose(world.look(*rogues[1:])) == []
    assert whose(world.look(rogues[0])) == [("o-1", Provenance.ROGUE)]


def test_orders_that_are_listed_again_are_the_last_to_be_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_audit, "MAX_REMEMBERED", 2)
    first, second, third = (order(number, is_tagged=False) for number in (1, 2, 3))
    world.look(first, second)
    world.look(first)
    world.look(third)
    assert world.look(first) == []


def test_more_pending_than_fits_is_said_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_audit, "MAX_PENDING", 2)
    world.look(order(1), order(2))
    assert not world.audit.is_overwhelmed
    world.look(order(3))
    assert (world.audit.is_overwhelmed, world.audit.pending) == (True, 2)
    for number in (1, 2, 3):
        world.record(order(number))
    world.look()
    assert (world.audit.is_overwhelmed, world.audit.pending) == (True, 0)


def test_executions_that_pend_are_bounded_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_audit, "MAX_PENDING", 1)
    world.look(executions=tuple(execution(order(number), number) for number in (1, 2, 3)))
    assert (world.audit.is_overwhelmed, world.audit.pending) == (True, 1)


def test_order_is_strange_unless_its_tag_is_ours_for_just_this_order(world: World) -> None:
    ours = order(1)
    assert not world.audit.is_strange(ours)
    assert world.audit.is_strange(order(1, is_tagged=False))
    assert world.audit.is_strange(replace(ours, quantity=Decimal(2)))


def test_execution_of_an_order_of_ours_is_told_from_a_stranger_s() -> None:
    audit = World().audit
    assert audit.is_adding(execution(order()))
    assert not audit.is_adding(execution(order(is_tagged=False)))
