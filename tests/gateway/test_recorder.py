"""Each request is one row or one count, whatever the journal does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from gateway.parts import FailingJournal, rows_of, value_of

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_gateway.metrics import Metrics
from trade_gateway.recorder import (
    ANSWER_ROWS_A_SECOND_LATER,
    ANSWER_ROWS_PER_S,
    COUNTED_ANSWERS,
    DENIAL_ROWS_A_SECOND_LATER,
    DENIAL_ROWS_PER_S,
    MAX_COUNTED_CODES,
    ROWS_AT_ONCE,
    Recorder,
)
from trade_journal.errors import JournalDoubtful, JournalFull, JournalUnavailable
from trade_journal.log.rows import REQUEST_KINDS, Draft, RowKind, draft
from trade_journal.store.store import JournalStore
from trade_journal.writer.writer import JournalWriter

CODE = "ORDER_NOT_MAKER"


def failing(error: Exception, clock: ManualClock, metrics: Metrics) -> tuple[Recorder, FailingJournal]:
    journal = FailingJournal(error)
    made = Recorder(journal=cast("JournalWriter", journal), clock=clock, metrics=metrics, policy_hash="a" * 64)
    return made, journal


def deny(recorder: Recorder, times: int, *, is_authenticated: bool = True) -> None:
    for _ in range(times):
        recorder.deny(RowKind.ORDER_DENIED, code=CODE, fields={"symbol": "X"}, is_authenticated=is_authenticated)


async def recorded(recorder: Recorder, journal: JournalWriter) -> tuple[int, int]:
    """Count denials in rows of their own, and those in counted rows."""
    recorder.flush_counts()
    rows = await rows_of(journal)
    counted = sum(cast("int", row.fields["count"]) for row in rows if row.kind is RowKind.REQUEST_COUNTED)
    return sum(row.kind in REQUEST_KINDS for row in rows), counted


async def test_recorder_durable_row_is_on_disk_with_actor_time_and_policy(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock
) -> None:
    assert await recorder.append_durable(RowKind.ORDER_INTENT, {"tag": "a"})
    (row,) = await journal.read(0, 10)
    assert (row.kind, row.actor, row.at_ns) == (RowKind.ORDER_INTENT, "gateway", clock.wall_ns())
    assert (row.fields, row.policy_hash) == ({"tag": "a"}, "a" * 64)


@pytest.mark.parametrize(("denials", "rows", "counted"), [(1, 1, 0), (20, 20, 0), (21, 20, 1), (500, 20, 480)])
async def test_recorder_denials_of_one_second_become_rows_up_to_twenty_and_counts_above(
    recorder: Recorder, journal: JournalWriter, denials: int, rows: int, counted: int
) -> None:
    deny(recorder, denials)
    assert await recorded(recorder, journal) == (rows, counted)


async def test_recorder_next_second_has_room_again(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock
) -> None:
    deny(recorder, DENIAL_ROWS_PER_S + 5)
    clock.advance(NS_PER_S)
    deny(recorder, DENIAL_ROWS_PER_S + 7)
    assert await recorded(recorder, journal) == (2 * DENIAL_ROWS_PER_S, 12)


async def test_recorder_unauthenticated_denials_are_always_counted_and_use_up_no_room(
    recorder: Recorder, journal: JournalWriter
) -> None:
    deny(recorder, 100, is_authenticated=False)
    deny(recorder, DENIAL_ROWS_PER_S)
    assert await recorded(recorder, journal) == (DENIAL_ROWS_PER_S, 100)


def count_rows(journal: FailingJournal) -> tuple[int, int]:
    """Count rows of their own, and requests in counted rows."""
    counted = [entry for entry in journal.later if entry.kind is RowKind.REQUEST_COUNTED]
    return len(journal.later) - len(counted), sum(cast("int", entry.fields["count"]) for entry in counted)


def working(clock: ManualClock, metrics: Metrics) -> tuple[Recorder, FailingJournal]:
    recorder, journal = failing(JournalUnavailable("never"), clock, metrics)
    journal.is_failing = False
    return recorder, journal


def test_recorder_denials_without_end_get_rows_for_half_a_minute_and_then_few(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    for _ in range(600):
        deny(recorder, DENIAL_ROWS_PER_S)
        clock.advance(NS_PER_S)
    recorder.flush_counts()
    rows, counted = count_rows(journal)
    assert rows + counted == 600 * DENIAL_ROWS_PER_S
    assert ROWS_AT_ONCE + 100 < rows <= ROWS_AT_ONCE + 600 * DENIAL_ROWS_A_SECOND_LATER + 600 / 300


def test_recorder_answers_without_end_get_rows_for_half_a_minute_and_then_few(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    for _ in range(600):
        for _ in range(ANSWER_ROWS_PER_S):
            recorder.answer(RowKind.READ_ANSWERED, {})
        clock.advance(NS_PER_S)
    recorder.flush_counts()
    rows, counted = count_rows(journal)
    assert rows + counted == 600 * ANSWER_ROWS_PER_S
    assert ROWS_AT_ONCE + 500 < rows <= ROWS_AT_ONCE + 600 * ANSWER_ROWS_A_SECOND_LATER


def test_recorder_flood_of_one_code_hides_no_other_and_is_shown_again_after_five_minutes(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    for _ in range(100):
        deny(recorder, DENIAL_ROWS_PER_S)
        clock.advance(NS_PER_S)
    while recorder.pending_count == 0:
        deny(recorder, 1)
    before = len(journal.later)
    recorder.deny(RowKind.REQUEST_DENIED, code="PATH_FORBIDDEN", fields={}, is_authenticated=True)
    assert [entry.fields["code"] for entry in journal.later[before:]] == ["PATH_FORBIDDEN"]
    recorder.deny(RowKind.REQUEST_DENIED, code="PATH_FORBIDDEN", fields={}, is_authenticated=True)
    assert len(journal.later) == before + 1


def test_recorder_refusals_without_end_get_few_rows_and_each_is_a_row_or_in_one(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    sent = 600 * 3 * DENIAL_ROWS_PER_S
    for _ in range(600):
        for _ in range(3 * DENIAL_ROWS_PER_S):
            recorder.refuse(RowKind.LEASE_REFUSED, "y" * 500)
        clock.advance(NS_PER_S)
    clock.advance(NS_PER_S * 300)
    recorder.refuse(RowKind.LEASE_REFUSED, "the last one")
    rows = [entry.fields for entry in journal.later if entry.kind is RowKind.LEASE_REFUSED]
    assert ROWS_AT_ONCE + 100 < len(rows) <= ROWS_AT_ONCE + 900 * DENIAL_ROWS_A_SECOND_LATER + 900 / 300
    assert len(rows) + sum(cast("int", fields.get("refused_before", 0)) for fields in rows) == sent + 1
    assert (rows[0], rows[-1]["reason"]) == ({"reason": "y" * 200}, "the last one")
    assert recorder.pending_count == 0  # they are no requests of the bot


def test_recorder_flood_of_one_kind_of_refusal_hides_no_other_and_takes_no_room_of_denials(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    for _ in range(100):
        for _ in range(DENIAL_ROWS_PER_S):
            recorder.refuse(RowKind.LEASE_REFUSED, "old")
        clock.advance(NS_PER_S)
    recorder.refuse(RowKind.RELEASE_REFUSED, "new")
    assert (journal.later[-1].kind, journal.later[-1].fields) == (RowKind.RELEASE_REFUSED, {"reason": "new"})
    deny(recorder, DENIAL_ROWS_PER_S)
    assert sum(entry.kind is RowKind.ORDER_DENIED for entry in journal.later) == DENIAL_ROWS_PER_S


async def test_recorder_counted_rows_come_once_a_second_and_later_when_their_budget_is_used_up(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = working(clock, metrics)
    for second in range(3600):
        for code in range(80):
            recorder.count(f"CODE_{code}")
        recorder.flush_due_counts()
        clock.advance(NS_PER_S)
        if second == 20:
            assert len(journal.later) == 21
    assert 200 < len(journal.later) < 400
    clock.advance(20 * NS_PER_S)
    recorder.flush_due_counts()
    assert (count_rows(journal), recorder.pending_count) == ((0, 3600 * 80), 0)


def test_recorder_flush_of_due_counts_with_nothing_counted_writes_nothing(clock: ManualClock, metrics: Metrics) -> None:
    recorder, journal = working(clock, metrics)
    recorder.flush_due_counts()
    assert journal.later == []


async def test_recorder_counted_row_says_how_many_and_between_when(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock
) -> None:
    began_ns = clock.wall_ns()
    recorder.count(CODE)
    clock.advance(300 * NS_PER_MS)
    recorder.count(CODE)
    recorder.count("OTHER_CODE")
    recorder.flush_counts()
    (row,) = await rows_of(journal)
    assert row.fields == {
        "count": 3,
        "codes": {CODE: 2, "OTHER_CODE": 1},
        "first_ns": began_ns,
        "last_ns": began_ns + 300 * NS_PER_MS,
    }


async def test_recorder_flush_with_nothing_counted_writes_nothing(recorder: Recorder, journal: JournalWriter) -> None:
    recorder.flush_counts()
    assert await rows_of(journal) == []


async def test_recorder_flush_counts_each_request_once(recorder: Recorder, journal: JournalWriter) -> None:
    recorder.count(CODE)
    recorder.flush_counts()
    recorder.flush_counts()
    assert await recorded(recorder, journal) == (0, 1)
    assert recorder.pending_count == 0


async def test_recorder_denial_is_measured_whether_row_or_count(recorder: Recorder, metrics: Metrics) -> None:
    deny(recorder, DENIAL_ROWS_PER_S + 5)
    deny(recorder, 5, is_authenticated=False)
    assert value_of(metrics, "trade_gateway_denials_total", code=CODE) == DENIAL_ROWS_PER_S + 10


async def test_recorder_with_a_journal_that_fails_says_that_a_row_is_not_durable(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, _ = failing(JournalUnavailable("disk"), clock, metrics)
    calls: list[bool] = []
    recorder.on_unwritable = lambda: calls.append(True)
    assert not await recorder.append_durable(RowKind.ORDER_INTENT, {})
    assert calls == [True]


@pytest.mark.parametrize("error", [JournalUnavailable("disk"), JournalFull("queue")])
def test_recorder_request_that_cannot_be_written_is_counted(
    error: JournalUnavailable, clock: ManualClock, metrics: Metrics
) -> None:
    recorder, _ = failing(error, clock, metrics)
    recorder.append_later(RowKind.READ_FORWARDED, {})
    deny(recorder, 3)
    assert recorder.pending_count == 4


async def test_recorder_intent_that_cannot_be_written_is_counted(clock: ManualClock, metrics: Metrics) -> None:
    recorder, _ = failing(JournalUnavailable("disk"), clock, metrics)
    await recorder.append_durable(RowKind.ORDER_INTENT, {})
    assert recorder.pending_count == 1


async def test_recorder_row_that_is_no_request_is_not_counted(clock: ManualClock, metrics: Metrics) -> None:
    recorder, _ = failing(JournalUnavailable("disk"), clock, metrics)
    recorder.append_later(RowKind.ORDER_OUTCOME, {})
    await recorder.append_durable(RowKind.PROCESS_STARTED, {})
    assert recorder.pending_count == 0


def test_recorder_counts_that_cannot_be_written_stay_and_are_written_later(
    clock: ManualClock, metrics: Metrics
) -> None:
    recorder, journal = failing(JournalUnavailable("disk"), clock, metrics)
    deny(recorder, 7, is_authenticated=False)
    recorder.flush_counts()
    assert recorder.pending_count == 7
    journal.is_failing = False
    deny(recorder, 2, is_authenticated=False)
    recorder.flush_counts()
    assert [entry.fields["count"] for entry in journal.later] == [9]


def test_recorder_counts_a_bounded_number_of_codes_and_every_request(clock: ManualClock, metrics: Metrics) -> None:
    recorder, journal = working(clock, metrics)
    for number in range(MAX_COUNTED_CODES + 10):
        recorder.count(f"CODE_{number}")
    recorder.count("CODE_0")
    recorder.flush_counts()
    (entry,) = journal.later
    codes = cast("dict[str, int]", entry.fields["codes"])
    assert (entry.fields["count"], len(codes)) == (MAX_COUNTED_CODES + 11, MAX_COUNTED_CODES)
    assert (codes["CODE_0"], codes["OTHER"]) == (2, 11)
    draft(entry)


def test_recorder_incident_is_measured_even_when_it_cannot_be_written(clock: ManualClock, metrics: Metrics) -> None:
    recorder, _ = failing(JournalFull("queue"), clock, metrics)
    recorder.append_later(RowKind.INCIDENT_OPENED, {"type": "t", "severity": "critical"})
    assert value_of(metrics, "trade_gateway_incidents_total", severity="critical") == 1


@pytest.mark.parametrize("kind", COUNTED_ANSWERS)
@pytest.mark.parametrize(("answers", "recorded_as"), [(1, (1, 0)), (20, (20, 0)), (21, (20, 1)), (500, (20, 480))])
async def test_recorder_answers_of_one_second_become_rows_up_to_twenty_and_counts_above(
    recorder: Recorder, journal: JournalWriter, kind: RowKind, answers: int, recorded_as: tuple[int, int]
) -> None:
    for _ in range(answers):
        recorder.answer(kind, {})
    assert await recorded(recorder, journal) == recorded_as


async def test_recorder_flood_of_answers_leaves_room_for_denials(recorder: Recorder, journal: JournalWriter) -> None:
    for _ in range(ANSWER_ROWS_PER_S * 3):
        recorder.answer(RowKind.READ_ANSWERED, {})
    deny(recorder, 5)
    recorder.flush_counts()
    rows = await rows_of(journal)
    assert sum(row.kind is RowKind.ORDER_DENIED for row in rows) == 5


def doubtful(recorder_clock: ManualClock, metrics: Metrics) -> tuple[Recorder, asyncio.Future[bool]]:
    is_written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    error = JournalDoubtful("the commit failed", cause="x", is_written=is_written)
    return failing(error, recorder_clock, metrics)[0], is_written


@pytest.mark.parametrize("is_written", [True, False])
async def test_recorder_request_whose_commit_failed_is_counted_unless_its_row_survived(
    clock: ManualClock, metrics: Metrics, *, is_written: bool
) -> None:
    recorder, fate = doubtful(clock, metrics)
    assert not await recorder.append_durable(RowKind.ORDER_INTENT, {})
    assert recorder.pending_count == 1  # a row or a count to come
    fate.set_result(is_written)
    await asyncio.sleep(0)
    assert recorder.pending_count == (0 if is_written else 1)


async def test_recorder_row_in_doubt_that_is_no_request_is_not_counted(clock: ManualClock, metrics: Metrics) -> None:
    recorder, fate = doubtful(clock, metrics)
    assert not await recorder.append_durable(RowKind.PROCESS_STARTED, {})
    fate.set_result(False)
    await asyncio.sleep(0)
    assert recorder.pending_count == 0


async def test_recorder_row_whose_fate_nobody_told_is_never_counted(clock: ManualClock, metrics: Metrics) -> None:
    recorder, fate = doubtful(clock, metrics)
    await recorder.append_durable(RowKind.ORDER_INTENT, {})
    fate.cancel()
    await asyncio.sleep(0)
    assert recorder.pending_count == 0


async def test_recorder_commit_that_fails_and_yet_survives_is_one_row_and_no_count(
    recorder: Recorder, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = JournalStore.append
    failures = [JournalUnavailable("injected after the commit", cause="sqlite_ioerr_fsync")]

    def append(store: JournalStore, drafts: Sequence[Draft]) -> int:
        first = written(store, drafts)
        if failures:
            raise failures.pop()
        return first

    monkeypatch.setattr(JournalStore, "append", append)
    assert not await recorder.append_durable(RowKind.ORDER_INTENT, {"tag": "a"})
    async with asyncio.timeout(60):
        while not journal.is_writable or recorder.pending_count:  # noqa: ASYNC110 - the journal's thread recovers
            await asyncio.sleep(0.01)
    assert await recorded(recorder, journal) == (1, 0)
