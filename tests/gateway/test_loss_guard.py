"""What could be lost now, of what is held, against the rungs of the ladder."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import pytest
from gateway.parts import rows_of
from gateway.policy.parts import POLICY

from trade_core.clock import NS_PER_S, ManualClock
from trade_gateway import loss_guard
from trade_gateway.limits_view import losses
from trade_gateway.loss_guard import HOLDS_NS, LiveLoss, LossGuard
from trade_gateway.recorder import Recorder
from trade_gateway.states import Fault
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter


@dataclass
class Board:
    is_there: bool = True  # as at the start
    detail: str = ""

    def set_fault(self, fault: Fault, *, is_there: bool) -> None:
        assert fault is Fault.LOSS_UNBOUNDED
        self.is_there = is_there

    def explain_fault(self, fault: Fault, detail: str) -> None:
        assert fault is Fault.LOSS_UNBOUNDED
        self.detail = detail


class Guarded:
    """A guard whose account is in the test's hand. Each USDT held costs a hostile bot half a percent to sell."""

    def __init__(self, recorder: Recorder, clock: ManualClock) -> None:
        self.board, self.clock = Board(), clock
        self.equity: Decimal | None = Decimal(4000)
        self.held = Decimal(0)
        self.is_trusted = True
        self.guard = LossGuard(losses_now=self._losses, clock=clock, recorder=recorder, faults=self.board)

    def _losses(self) -> LiveLoss | None:
        if self.equity is None:
            return None
        hostile, stress = losses(POLICY, equity_usdt=self.equity, held_usdt=self.held)
        return LiveLoss(hostile=hostile, stress=stress, held_usdt=self.held, is_trusted=self.is_trusted)

    def look(self, held: str | None = None, *, after_ns: int = 0) -> bool:
        self.clock.advance(after_ns)
        self.held = self.held if held is None else Decimal(held)
        self.guard.look()
        return self.board.is_there


@pytest.fixture
def it(recorder: Recorder, clock: ManualClock) -> Guarded:
    return Guarded(recorder, clock)


def test_guard_clears_the_fault_of_the_start_once_the_loss_is_known(it: Guarded) -> None:
    it.equity = None
    assert it.look("0")
    it.equity, it.is_trusted = Decimal(4000), False
    assert it.look()
    it.is_trusted = True
    assert not it.look()
    assert it.board.detail == ""


# Of the example: 80 USDT and 640 are the last rung; 1,191.04 more than the limit cost 5.96 on top of 74.04.
@pytest.mark.parametrize(
    ("held", "is_held_back"), [("4000", False), ("5191.04", False), ("5191.05", True), ("400000", True)]
)
async def test_guard_holds_back_while_more_is_held_than_the_rungs_permit(
    it: Guarded, journal: JournalWriter, held: str, *, is_held_back: bool
) -> None:
    it.look("0")
    assert it.look(held) is is_held_back
    rows = [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
    assert len(rows) == is_held_back


async def test_guard_names_loss_rung_and_what_is_held(it: Guarded, journal: JournalWriter) -> None:
    assert it.look("30000")
    # 24 of adding, and (6000 + 30000) x 0.5004 % of reducing: 204.144 of 4000
    reason = "a hostile bot can lose 5.10 % of equity in a day, more than the daily rung of 5.00 %"
    assert it.board.detail == f"{reason} (204.14 USDT), with 30000.00 USDT held"
    (row,) = await rows_of(journal)
    assert row.fields == {
        "type": "hostile loss beyond a rung",
        "severity": "critical",
        "hostile_loss_usdt": "204.14",
        "held_usdt": "30000.00",
        "reason": reason,
    }


def test_guard_holds_back_at_a_figure_of_any_size(it: Guarded) -> None:
    it.look("0")
    assert it.look("1e30")
    assert it.board.detail.endswith(f"with 1{'0' * 30}.00 USDT held")


def test_guard_holds_back_when_its_words_fail(it: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    it.look("0")

    def fail(fault: Fault, detail: str) -> None:
        raise ValueError("no words")

    monkeypatch.setattr(it.board, "explain_fault", fail)
    with pytest.raises(ValueError, match="no words"):
        it.look("30000")
    assert it.board.is_there


def test_guard_raises_from_a_view_that_is_not_trusted_and_clears_from_none_such(it: Guarded) -> None:
    it.look("0")
    it.is_trusted = False
    assert it.look("30000")
    assert it.look("0", after_ns=2 * HOLDS_NS)
    it.is_trusted = True
    assert not it.look()


def test_guard_leaves_the_fault_as_it_is_while_no_equity_is_known(it: Guarded) -> None:
    assert not it.look("0")
    it.equity = None
    assert not it.look("30000")
    it.equity = Decimal(4000)
    assert it.look()
    it.equity = None
    assert it.look("0", after_ns=2 * HOLDS_NS)


async def test_guard_holds_back_until_a_minute_within_the_rungs_has_passed_and_writes_one_row(
    it: Guarded, journal: JournalWriter
) -> None:
    assert it.look("30000")
    for _ in range(3):  # a price that trembles
        assert it.look("0", after_ns=HOLDS_NS - 1)
        assert it.look("30000", after_ns=NS_PER_S)
    detail = it.board.detail
    assert it.look("0", after_ns=HOLDS_NS - 1)
    assert it.board.detail == detail
    assert len(await rows_of(journal)) == 1
    assert not it.look("0", after_ns=1)
    assert it.board.detail == ""
    assert not it.look("0", after_ns=1)
    assert it.look("30000")
    assert len(await rows_of(journal)) == 2
    assert HOLDS_NS == 60 * NS_PER_S


async def test_guard_keeps_looking(it: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_guard, "LOOK_EVERY_S", 0.001)
    task = asyncio.create_task(it.guard.run())
    async with asyncio.timeout(60):
        for held in ("30000", "0", "40000"):
            it.held = Decimal(held)
            it.clock.advance(HOLDS_NS)
            while it.board.is_there is (it.held == 0):  # noqa: ASYNC110 - the guard's doing
                await asyncio.sleep(0.001)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
