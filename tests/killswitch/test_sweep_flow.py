"""A sweep as a dialogue: what it asks for, what it is given, what it asks for next."""

from __future__ import annotations

from typing import Any

import pytest
from killswitch.test_sweep_plan import NONE, order, stop, waiting

from trade_core.clock import NS_PER_S
from trade_journal.log.rows import RowKind
from trade_killswitch.commands import AskTime, Cancelled, Flow, ReadShelves, Record, SendCancels, Wait
from trade_killswitch.sweep_flow import PAUSE_LAST_S, PENDING_AFTER_S, SweepProgress, SweepReport, sweep
from trade_killswitch.sweep_plan import CancelOne, CancelPlain, Reading
from trade_killswitch.working_orders import BOOKS, SHELVES, Shelf, WorkingOrder

USDT = BOOKS[1]


def readings(*orders: WorkingOrder, unread: bool = False) -> list[Reading]:
    return [
        Reading(
            shelf=shelf,
            orders=None
            if unread
            else tuple(one for one in orders if one.book == shelf.book and not shelf.order_filter),
        )
        for shelf in SHELVES
    ]


class Dialogue:
    """Answers time by itself and keeps what was recorded and waited for."""

    def __init__(self, progress: SweepProgress | None = None) -> None:
        self.progress = progress or SweepProgress()
        self.flow: Flow[SweepReport] = sweep("s1", self.progress)
        self.now_ns = 7 * NS_PER_S
        self.recorded: list[tuple[RowKind, Any]] = []
        self.waited: list[float] = []
        self.report: SweepReport | None = None
        self.asked: Any = self._next(None)

    def give(self, given: Any, *, took_s: float = 0) -> Any:
        self.now_ns += round(took_s * NS_PER_S)
        self.asked = self._next(given)
        return self.asked

    def round(self, *orders: WorkingOrder, answers: Cancelled, unread: bool = False, took_s: float = 0) -> None:
        """Give a reading and how its cancels ended."""
        assert isinstance(self.asked, ReadShelves)
        assert isinstance(self.give(readings(*orders, unread=unread)), SendCancels)
        self.give(answers, took_s=took_s)

    def kinds(self) -> list[str]:
        return [kind.value for kind, _ in self.recorded]

    def _next(self, given: Any) -> Any:
        try:
            command = self.flow.send(given)
            while not isinstance(command, ReadShelves | SendCancels):
                command = self.flow.send(self._answer(command))
            return command
        except StopIteration as ended:
            self.report = ended.value
            return None

    def _answer(self, command: Any) -> Any:
        if isinstance(command, AskTime):
            return self.now_ns
        if isinstance(command, Record):
            self.recorded.append((command.kind, command.fields))
        if isinstance(command, Wait):
            self.waited.append(command.seconds)
        return None


ALL_GONE = Cancelled(acknowledged=1)
NOTHING = Cancelled(acknowledged=0, unanswered=1)


def test_empty_account_is_proved_by_its_first_reading() -> None:
    talk = Dialogue()
    talk.give(readings(), took_s=12.34567)
    assert talk.report == SweepReport(
        rounds=1, acknowledged=0, kept=0, took_s=12.346, by_kind=NONE, refusals={}, unanswered=0
    )
    assert talk.recorded == [
        (
            RowKind.SWEEP_PROVED,
            {
                "sweep_id": "s1",
                "rounds": 1,
                "acknowledged": 0,
                "working": 0,
                "working_by_kind": NONE,
                "stops_kept": 0,
                "stops_by_symbol": {},
                "refusals": {},
                "unanswered": 0,
                "took_ms": 12346,
            },
        )
    ]


def test_orders_are_recorded_then_cancelled_then_read_again() -> None:
    talk = Dialogue()
    given = talk.give(readings(order("1"), stop("2"), waiting("3"), waiting("4")))
    assert given == SendCancels(
        calls=(CancelPlain(book=USDT), CancelOne(order=waiting("3")), CancelOne(order=waiting("4")))
    )
    assert talk.recorded == [
        (
            RowKind.SWEEP_ROUND,
            {
                "sweep_id": "s1",
                "working": 3,
                "stops_kept": 1,
                "unread": 0,
                "cancels_all": ["linear/USDT"],
                "cancels_one": 2,
            },
        )
    ]
    assert isinstance(talk.give(Cancelled(acknowledged=2)), ReadShelves)
    talk.give(readings(stop("2")))
    assert talk.report is not None
    assert (talk.report.rounds, talk.report.acknowledged, talk.report.kept) == (2, 2, 1)
    assert talk.recorded[-1][1]["stops_by_symbol"] == {"linear/USDT:XRPUSDT": 1}


def test_acknowledged_cancels_are_no_proof() -> None:
    talk = Dialogue()
    for _ in range(3):
        talk.round(order("1"), answers=ALL_GONE)
    assert talk.report is None
    assert (talk.progress.rounds, talk.progress.acknowledged, talk.progress.working) == (3, 3, 1)


def test_progress_tells_what_the_last_reading_showed() -> None:
    talk = Dialogue()
    talk.round(unread=True, answers=NOTHING)
    assert (talk.progress.working, talk.progress.unread) == (0, len(SHELVES))
    talk.round(order("1"), answers=NOTHING)
    assert (talk.progress.working, talk.progress.unread) == (1, 0)


def test_pauses_stay_short_while_cancels_are_taken() -> None:
    talk = Dialogue()
    for _ in range(3):
        talk.round(order("1"), answers=ALL_GONE)
    assert talk.waited == [0.25, 0.25, 0.25]


def test_pauses_double_up_to_their_bound_while_nothing_moves() -> None:
    talk = Dialogue()
    for _ in range(9):
        talk.round(order("1"), answers=NOTHING)
    assert talk.waited == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]
    assert PAUSE_LAST_S == 15.0
    talk.round(order("1"), answers=ALL_GONE)
    assert talk.waited[-1] == 0.25


def test_pauses_double_while_lists_cannot_be_read_although_cancels_are_taken() -> None:
    talk = Dialogue()
    for _ in range(2):
        talk.round(unread=True, answers=ALL_GONE)
    assert talk.waited == [0.5, 1.0]


@pytest.mark.parametrize(("took_s", "expected"), [(PENDING_AFTER_S - 0.001, False), (PENDING_AFTER_S, True)])
def test_sweep_is_pending_once_it_has_taken_its_time(took_s: float, expected: bool) -> None:
    talk = Dialogue()
    talk.round(order("1"), answers=NOTHING, took_s=took_s)
    assert talk.progress.is_pending is expected
    assert ("sweep:pending" in talk.kinds()) is expected
    assert PENDING_AFTER_S == 20


def test_pending_is_said_once_with_what_is_in_the_way() -> None:
    talk = Dialogue()
    answers = Cancelled(acknowledged=0, refusals=((10006, 2),), unanswered=3)
    talk.round(unread=True, answers=answers, took_s=30)
    talk.round(unread=True, answers=answers, took_s=30)
    said = [fields for kind, fields in talk.recorded if kind is RowKind.SWEEP_PENDING]
    assert len(said) == 1
    assert said[0]["sweep_id"] == "s1"
    assert said[0]["working"] == 0
    assert said[0]["unread"][:2] == ["spot all", "spot Order"]
    assert said[0]["refusals"] == {"10006": 2}
    assert said[0]["unanswered"] == 3


def test_pending_sweep_records_only_rounds_that_differ() -> None:
    talk = Dialogue()
    talk.round(order("1"), answers=NOTHING)
    talk.round(order("1"), answers=NOTHING, took_s=30)
    assert talk.kinds() == ["sweep:round", "sweep:round", "sweep:pending"]
    for _ in range(5):
        talk.round(order("1"), answers=NOTHING)
    assert talk.kinds() == ["sweep:round", "sweep:round", "sweep:pending"]
    talk.round(order("1"), order("2"), answers=NOTHING)
    talk.round(order("1"), answers=NOTHING)
    assert talk.kinds()[3:] == ["sweep:round", "sweep:round"]


def test_pending_sweep_ends_with_its_proof() -> None:
    talk = Dialogue()
    talk.round(order("1"), answers=NOTHING, took_s=3600)
    talk.give(readings())
    assert talk.report is not None
    assert talk.report.took_s == 3600
    assert talk.kinds()[-1] == "sweep:proved"


def test_kept_stops_are_counted_by_book_and_symbol_within_a_bound() -> None:
    talk = Dialogue()
    many = [order(str(n), is_conditional=True, is_reducing=True, is_waiting=True, symbol=f"S{n:02}") for n in range(25)]
    talk.give(readings(*many, many[0]))
    told = talk.recorded[0][1]
    assert told["stops_kept"] == 25
    assert list(told["stops_by_symbol"]) == [f"linear/USDT:S{n:02}" for n in range(20)]


def test_unread_lists_are_named_by_their_kind() -> None:
    talk = Dialogue()
    lists = readings()
    lists[2] = Reading(shelf=lists[2].shelf, orders=None, why="HTTP 403")
    assert lists[2].shelf == Shelf(book=BOOKS[0], order_filter=lists[2].shelf.order_filter)
    assert isinstance(talk.give(lists), SendCancels)
    talk.give(NOTHING, took_s=21)
    assert talk.recorded[-1][1]["unread"] == ["spot StopOrder"]


def test_nothing_is_in_the_way_that_was_not_looked_for() -> None:
    assert SweepProgress().in_the_way() == "the books were not read yet"


def test_orders_that_stay_are_named_by_their_kind() -> None:
    talk = Dialogue()
    talk.round(order("1"), waiting("2"), waiting("3"), answers=ALL_GONE)
    said = "3 orders work that could add risk (linear/USDT:Order: 1, linear/USDT:StopOrder: 2)"
    assert talk.progress.in_the_way() == said


def test_lists_and_answers_that_are_in_the_way_are_named() -> None:
    talk = Dialogue()
    lists = readings()
    for index, why in ((0, "HTTP 403"), (3, "HTTP 403"), (5, "no answer within 10 s")):
        lists[index] = Reading(shelf=lists[index].shelf, orders=None, why=why)
    talk.give(lists)
    talk.give(Cancelled(acknowledged=0, refusals=((110001, 1), (10006, 2)), unanswered=3))
    talk.give(lists)
    talk.give(Cancelled(acknowledged=0, refusals=((10006, 2),), unanswered=1))
    assert talk.progress.in_the_way() == (
        "0 orders work that could add risk; 3 lists cannot be read (HTTP 403, no answer within 10 s); "
        "cancels refused (10006: 4, 110001: 1); 4 cancels not answered"
    )
    talk.give(readings())
    assert talk.report is not None
    assert (talk.report.refusals, talk.report.unanswered) == ({"10006": 4, "110001": 1}, 4)
    assert talk.recorded[-1][1]["refusals"] == {"10006": 4, "110001": 1}
    assert talk.recorded[-1][1]["unanswered"] == 4
