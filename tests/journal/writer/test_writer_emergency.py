"""The writer with an emergency segment: what cancels, halts or reduces is durable while the journal fails."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from journal.gate import Gate, until

from trade_core.clock import SystemClock
from trade_journal.errors import JournalDamaged, JournalDoubtful, JournalUnavailable
from trade_journal.log.rows import Entry, Fields, Row, RowKind, draft, numbered
from trade_journal.store.held import HeldJournal
from trade_journal.store.records import row_values
from trade_journal.store.store import JournalReader, JournalStore
from trade_journal.writer.emergency_segment import SEGMENT_ROWS_MAX, EmergencySegment
from trade_journal.writer.writer import JournalWriter

ORIGIN = "gateway/simulated/test"


def segment_path(folder: Path) -> Path:
    return folder / "emergency.segment"


async def opened(folder: Path) -> JournalWriter:
    return await JournalWriter.open(
        f"sqlite:///{folder}/journal.db", origin=ORIGIN, clock=SystemClock(), emergency=segment_path(folder)
    )


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    """An open journal with its segment."""
    writer = await opened(tmp_path)
    yield writer
    await writer.close()


def made(kind: RowKind, **fields: str | bool | int) -> Entry:
    return Entry(at_ns=1, kind=kind, actor="gateway", fields=fields)


def new_risk(number: int) -> Entry:
    return made(RowKind.ORDER_INTENT, adds_risk=True, number=number)


def reducing(number: int) -> Entry:
    return made(RowKind.ORDER_INTENT, adds_risk=False, number=number)


def cancel(number: int) -> Entry:
    return made(RowKind.CANCEL_INTENT, number=number)


def halt() -> Entry:
    return made(RowKind.STATE_CHANGED, holder="operator_latch", ceiling="HALTED", number=1000)


async def failed(journal: JournalWriter, gate: Gate, *, times: int = 1_000_000) -> None:
    """Let the journal fail, from a commit of new risk on."""
    gate.fails_before = times
    with pytest.raises(JournalUnavailable):
        await journal.append(new_risk(0))
    assert not journal.is_writable


def recover(gate: Gate) -> None:
    gate.fails_before = 0


async def rows_of(journal: JournalWriter) -> list[Row]:
    rows = await journal.read(0, 1000)
    assert [row.seq for row in rows] == list(range(len(rows)))
    return rows


def numbers(rows: list[Row]) -> list[Fields]:
    return [row.fields["number"] for row in rows if "number" in row.fields]  # type: ignore[misc]


async def test_segment_serves_cancel_halt_and_reducing_order_with_their_final_numbers(
    journal: JournalWriter, gate: Gate
) -> None:
    assert await journal.append(new_risk(7)) == 0
    await failed(journal, gate)
    assert [await journal.append(one) for one in (cancel(1), reducing(2), halt())] == [1, 2, 3]
    assert not journal.is_writable
    assert (journal.size, journal.end, journal.emergency_rows, journal.pending) == (1, 4, 3, 0)
    assert numbers(await rows_of(journal)) == [7, 1, 2, 1000]
    recover(gate)
    await until(lambda: journal.is_writable)
    rows = await rows_of(journal)
    assert numbers(rows) == [7, 1, 2, 1000]
    assert rows[4].kind is RowKind.JOURNAL_RECOVERED
    assert rows[4].fields["rows_from_segment"] == 3
    assert (journal.size, journal.end, journal.emergency_rows) == (5, 5, 0)
    assert await journal.append(new_risk(8)) == 5


async def test_segment_refuses_new_risk_and_everything_else_that_waits(journal: JournalWriter, gate: Gate) -> None:
    await failed(journal, gate)
    release = made(RowKind.STATE_CHANGED, holder="operator_latch", ceiling="ACTIVE")
    for refused in (new_risk(1), release, made(RowKind.POLICY_CHANGED), made(RowKind.RELEASE_ANNOUNCED)):
        with pytest.raises(JournalUnavailable, match="not writable"):
            await journal.append(refused)
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append_many([cancel(1), cancel(2)])
    recover(gate)
    await until(lambda: journal.is_writable)
    assert [row.kind for row in await rows_of(journal)] == [RowKind.JOURNAL_RECOVERED]


async def test_first_reducing_order_that_meets_the_failure_is_served_too(journal: JournalWriter, gate: Gate) -> None:
    gate.fails_before = 1_000_000
    assert await journal.append(reducing(1)) == 0
    assert not journal.is_writable
    recover(gate)
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [1]


async def test_reducing_order_whose_commit_survived_its_failure_is_told_as_written_and_there_once(
    journal: JournalWriter, gate: Gate
) -> None:
    gate.fails_after = 1
    with pytest.raises(JournalDoubtful) as doubt:
        await journal.append(reducing(1))
    assert await doubt.value.is_written
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [1]


async def test_rows_that_nobody_waits_for_come_after_those_of_the_segment(journal: JournalWriter, gate: Gate) -> None:
    gate.fails_before = 1_000_000
    journal.append_later(made(RowKind.ORDER_OUTCOME, number=50))
    await until(lambda: not journal.is_writable)
    assert await journal.append(cancel(1)) == 0
    journal.append_later(made(RowKind.CANCEL_OUTCOME, number=51))
    recover(gate)
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(await rows_of(journal)) == [1, 50, 51]


async def test_recovery_that_fails_half_way_loses_no_row_and_writes_none_twice(
    journal: JournalWriter, gate: Gate
) -> None:
    await failed(journal, gate)
    assert await journal.append(cancel(1)) == 0
    recover(gate)
    gate.fails_after = 1  # the announcement: its commit survives
    await until(lambda: gate.fails_after == 0)
    assert await journal.append(cancel(2)) >= 2
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [1, 2]


async def test_segment_that_is_full_refuses_and_the_rows_in_it_stay(journal: JournalWriter, gate: Gate) -> None:
    await failed(journal, gate)
    answers = await asyncio.gather(
        *(journal.append(cancel(number)) for number in range(SEGMENT_ROWS_MAX + 5)), return_exceptions=True
    )
    assert answers[:SEGMENT_ROWS_MAX] == list(range(SEGMENT_ROWS_MAX))
    for answer in answers[SEGMENT_ROWS_MAX:]:
        assert isinstance(answer, JournalUnavailable)
        assert answer.cause == "segment_full"
    recover(gate)
    await until(lambda: journal.is_writable)
    assert numbers(await journal.read(0, 1000)) == list(range(SEGMENT_ROWS_MAX))


async def test_segment_whose_disk_fails_too_refuses_and_serves_the_next_emergency_again(
    journal: JournalWriter, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed(journal, gate)

    def failing(_segment: EmergencySegment, _rows: object) -> None:
        raise JournalUnavailable("the segment's disk is gone", cause="segment")

    with monkeypatch.context() as patched:
        patched.setattr(EmergencySegment, "append", failing)
        with pytest.raises(JournalDoubtful, match="disk is gone") as doubt:
            await journal.append(cancel(1))
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append(cancel(2))
    recover(gate)
    assert not await doubt.value.is_written
    await until(lambda: journal.is_writable)
    await failed(journal, gate)
    assert await journal.append(cancel(3)) == 1
    recover(gate)
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [3]


async def test_journal_that_cannot_be_read_again_numbers_nothing_and_says_so_at_once(
    journal: JournalWriter, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object, **__: object) -> JournalStore:
        raise JournalUnavailable("cannot be opened", cause="sqlite_cantopen")

    with monkeypatch.context() as patched:
        patched.setattr(JournalStore, "open", unreadable)
        patched.setattr(HeldJournal, "open", unreadable)
        gate.fails_before = 1
        with pytest.raises(JournalUnavailable):
            await journal.append(reducing(1))
        await until(lambda: "cannot be opened; nor read: cannot be opened" in journal.last_failure)
        for number in range(3):
            with pytest.raises(JournalUnavailable, match="not writable"):
                await journal.append(cancel(number))
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == []


@pytest.fixture
def locker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Somebody else who has the journal's file open, and may lock it. The writer waits a moment for a lock."""
    monkeypatch.setattr("trade_journal.store.sqlite_database.BUSY_TIMEOUT_S", 0.02)
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as connection:
        yield connection


async def test_locked_database_refuses_new_risk_and_serves_what_cancels_halts_or_reduces(
    tmp_path: Path, locker: sqlite3.Connection
) -> None:
    journal = await opened(tmp_path)
    assert await journal.append(new_risk(7)) == 0
    locker.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="SQLITE_BUSY"):
        await journal.append(new_risk(0))
    assert [await journal.append(one) for one in (cancel(1), reducing(2), halt())] == [1, 2, 3]
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append(new_risk(8))
    assert not journal.is_writable
    assert numbers(await rows_of(journal)) == [7, 1, 2, 1000]
    # Another opening was tried, and refused, meanwhile: the numbers go on.
    await asyncio.to_thread(locked_out_again, journal)
    assert await journal.append(cancel(3)) == 4
    locker.execute("ROLLBACK")
    await until(lambda: journal.is_writable)
    rows = await rows_of(journal)
    assert numbers(rows) == [7, 1, 2, 1000, 3]
    assert (rows[5].kind, rows[5].fields["cause"]) == (RowKind.JOURNAL_RECOVERED, "sqlite_busy")
    assert await journal.append(new_risk(9)) == 6
    await journal.close()


def locked_out_again(journal: JournalWriter) -> None:
    """Wait until a writer that is not writable has tried to open its journal once more."""
    opening, tried = JournalStore.open, threading.Event()

    def seen(*args: Any, **named: Any) -> JournalStore:
        tried.set()
        return opening(*args, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(JournalStore, "open", seen)
        assert tried.wait(20)
    assert not journal.is_writable


async def test_reducing_order_that_meets_the_lock_first_is_served_too(
    tmp_path: Path, locker: sqlite3.Connection
) -> None:
    journal = await opened(tmp_path)
    locker.execute("BEGIN EXCLUSIVE")
    assert await journal.append(reducing(1)) == 0
    assert not journal.is_writable
    locker.execute("ROLLBACK")
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [1]
    await journal.close()


async def test_rows_that_who_locked_the_database_leaves_there_are_never_taken_for_the_writers(
    tmp_path: Path, locker: sqlite3.Connection
) -> None:
    journal = await opened(tmp_path)
    await journal.append(new_risk(7))
    locker.execute("BEGIN IMMEDIATE")
    assert await journal.append(cancel(1)) == 1
    locker.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", row_values(draft(new_risk(8)), 1))
    locker.execute("COMMIT")
    await until(lambda: "rows from 1 on are not this writer's" in journal.last_failure)
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append(cancel(2))
    await journal.close()
    assert EmergencySegment.open(segment_path(tmp_path), origin=ORIGIN).rows[0][0] == 1


async def test_journal_that_is_damaged_is_not_looked_at_again(
    journal: JournalWriter, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object, **__: object) -> JournalStore:
        raise JournalDamaged("row 0 is not what was written")

    def looked(*_: object, **__: object) -> HeldJournal:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(JournalStore, "open", damaged)
        patched.setattr(HeldJournal, "open", looked)
        await failed(journal, gate, times=1)
        await until(lambda: journal.last_failure == "row 0 is not what was written")
        with pytest.raises(JournalUnavailable, match="not writable"):
            await journal.append(cancel(1))
    await until(lambda: journal.is_writable)


async def test_rows_left_in_the_segment_are_the_first_after_a_restart(tmp_path: Path, gate: Gate) -> None:
    journal = await opened(tmp_path)
    await journal.append(new_risk(0))
    await failed(journal, gate)
    assert await journal.append(halt()) == 1
    await journal.close()  # the disk is still full
    assert JournalReader(f"sqlite:///{tmp_path}/journal.db").size() == 1

    again = await opened(tmp_path)  # and full still: the row is shown, and the next one is numbered after it
    assert numbers(await again.read(0, 10)) == [0, 1000]
    assert await again.append(cancel(2)) == 2
    recover(gate)
    await until(lambda: again.is_writable)
    rows = await rows_of(again)
    assert numbers(rows) == [0, 1000, 2]
    assert (rows[3].kind, rows[3].fields["cause"]) == (RowKind.JOURNAL_RECOVERED, "restart")
    await again.close()

    third = await opened(tmp_path)
    assert third.is_writable
    assert numbers(await rows_of(third)) == [0, 1000, 2]
    await third.close()


def in_segment(folder: Path, *rows: tuple[int, Entry]) -> None:
    segment = EmergencySegment.open(segment_path(folder), origin=ORIGIN)
    segment.append([(seq, numbered(draft(one).head, seq)) for seq, one in rows])
    segment.close()


async def test_death_between_the_recovery_and_the_emptying_of_the_segment_writes_nothing_twice(tmp_path: Path) -> None:
    journal = await opened(tmp_path)
    for number in range(3):
        await journal.append(cancel(number))
    await journal.close()
    in_segment(tmp_path, (0, cancel(0)), (1, cancel(1)))
    again = await opened(tmp_path)
    assert again.is_writable
    assert numbers(await rows_of(again)) == [0, 1, 2]
    await again.close()


@pytest.mark.parametrize(
    ("first", "said"),
    [(2, r"1 rows, while its emergency segment goes on from row 2: cut off"), (0, "are not those of")],
)
async def test_segment_that_contradicts_the_journal_is_refused(tmp_path: Path, first: int, said: str) -> None:
    journal = await opened(tmp_path)
    await journal.append(new_risk(0))
    await journal.close()
    in_segment(tmp_path, (first, cancel(9)))
    with pytest.raises(JournalDamaged, match=said):
        await opened(tmp_path)
    with pytest.raises(JournalDamaged, match=said):  # the lock was let go
        await opened(tmp_path)


async def test_torn_row_in_the_segment_is_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_segment(tmp_path, (0, cancel(0)), (1, cancel(1)))
    data = bytearray(segment_path(tmp_path).read_bytes())
    end = data.rindex(b'"seq":1}')
    data[end] ^= 1
    segment_path(tmp_path).write_bytes(data)
    with caplog.at_level(logging.WARNING):
        journal = await opened(tmp_path)
    assert "torn row" in caplog.text
    await until(lambda: journal.is_writable)
    assert numbers(await rows_of(journal)) == [0]
    await journal.close()


async def test_segment_holds_rows_and_nothing_else(tmp_path: Path) -> None:
    segment = EmergencySegment.open(segment_path(tmp_path), origin=ORIGIN)
    segment.append([(0, b"no row")])
    segment.close()
    with pytest.raises(JournalDamaged, match="not a row"):
        await opened(tmp_path)


async def test_closing_while_the_journal_fails_keeps_what_the_segment_has(tmp_path: Path, gate: Gate) -> None:
    journal = await opened(tmp_path)
    await failed(journal, gate)
    await journal.append(cancel(1))
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await journal.append(cancel(2))
    recover(gate)
    again = await opened(tmp_path)
    await until(lambda: again.is_writable)
    assert numbers(await rows_of(again)) == [1]
    await again.close()
