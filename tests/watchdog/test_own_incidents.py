"""The watchdog's own incidents: open until a person has dealt with each, in rows that are only added."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from trade_core.clock import ManualClock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, RowKind
from trade_journal.trades.remark import RemarkRefused
from trade_journal.writer.writer import JournalWriter
from trade_watchdog import own_incidents as module
from trade_watchdog.own_incidents import ACTOR, NoIncident, NotSettled, OwnIncidents, Settlement

Until = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    """Open a journal with a row that is no incident."""
    url = f"sqlite:///{tmp_path / 'watchdog.db'}"
    made = await JournalWriter.open(url, origin="trade/simulated/1002/watchdog", clock=ManualClock())
    await made.append(Entry(at_ns=1, kind=RowKind.PROCESS_STARTED, actor=ACTOR, fields={"process": ACTOR}))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def incidents(journal: JournalWriter) -> OwnIncidents:
    return OwnIncidents(journal=journal, clock=ManualClock())


async def opened(journal: JournalWriter, kind: str = "rogue order") -> int:
    fields = {"type": kind, "severity": "critical", "detail": "order 7"}
    return await journal.append(Entry(at_ns=2, kind=RowKind.INCIDENT_OPENED, actor=ACTOR, fields=fields))


async def look(incidents: OwnIncidents, until: Until, is_true: Callable[[], bool]) -> None:
    reading = asyncio.create_task(incidents.run())
    try:
        await until(is_true)
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def test_incident_is_open_until_it_is_settled_and_who_did_what_is_a_row(
    incidents: OwnIncidents, journal: JournalWriter, until: Until
) -> None:
    first, second = await opened(journal), await opened(journal, "outflow nobody announced")
    await look(incidents, until, lambda: len(incidents.open_ones()) == 2)
    newest, oldest = incidents.open_ones()
    assert (newest.row, newest.kind) == (second, "outflow nobody announced")
    assert (oldest.row, oldest.at_ns, oldest.severity, oldest.detail) == (first, 2, "critical", "detail=order 7")
    settled = await incidents.settle(first, text=" cancelled it by hand ", by="kim")
    assert settled == Settlement(row=3, by="kim", mitigation="cancelled it by hand", is_new=True)
    assert [incident.row for incident in incidents.open_ones()] == [second]
    (row,) = await journal.read(settled.row, 1)
    assert (row.kind, row.actor) == (RowKind.INCIDENT_MITIGATED, ACTOR)
    assert row.fields == {
        "incident": first,
        "type": "rogue order",
        "mitigation": "cancelled it by hand",
        "by": "kim",
    }


async def test_settling_again_writes_nothing_and_answers_the_first_word(
    incidents: OwnIncidents, journal: JournalWriter
) -> None:
    incident = await opened(journal)
    answers = await asyncio.gather(
        incidents.settle(incident, text="first", by="kim"), incidents.settle(incident, text="second", by="lee")
    )
    assert answers[1] == Settlement(row=answers[0].row, by="kim", mitigation="first")
    assert journal.size == answers[0].row + 1


async def test_what_was_settled_before_the_start_is_remembered(
    incidents: OwnIncidents, journal: JournalWriter, until: Until
) -> None:
    incident = await opened(journal)
    await incidents.settle(incident, text="looked", by="kim")
    later = await opened(journal)
    again = OwnIncidents(journal=journal, clock=ManualClock())
    assert await again.settle(incident, text="anew", by="lee") == Settlement(row=2, by="kim", mitigation="looked")
    assert [one.row for one in again.open_ones()] == [later]


async def test_row_that_is_no_incident_or_not_there_is_named(incidents: OwnIncidents, journal: JournalWriter) -> None:
    with pytest.raises(NoIncident, match="row 0 of the watchdog's journal is process:started, no incident"):
        await incidents.settle(0, text="x", by="kim")
    with pytest.raises(NoIncident, match="no row 9 in the watchdog's journal, which has 1"):
        await incidents.settle(9, text="x", by="kim")
    assert journal.size == 1


@pytest.mark.parametrize(("text", "sentence"), [(" ", "is empty"), ("x" * 401, "401 characters; at most 400")])
async def test_remark_that_says_nothing_or_too_much_is_refused(
    incidents: OwnIncidents, journal: JournalWriter, text: str, sentence: str
) -> None:
    incident = await opened(journal)
    with pytest.raises(RemarkRefused, match=sentence):
        await incidents.settle(incident, text=text, by="kim")
    assert journal.size == incident + 1


async def test_row_that_cannot_be_written_settles_nothing(
    incidents: OwnIncidents, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = await opened(journal)

    async def fails(_: Entry) -> int:
        raise JournalUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "append", fails)
        with pytest.raises(NotSettled, match="the disk is full"):
            await incidents.settle(incident, text="x", by="kim")
    assert [one.row for one in incidents.open_ones()] == [incident]
    assert (await incidents.settle(incident, text="x", by="kim")).is_new


async def test_list_and_memory_are_bounded_and_an_old_one_can_be_settled_all_the_same(
    incidents: OwnIncidents, journal: JournalWriter, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    monkeypatch.setattr(module, "SETTLED_MAX", 1)
    monkeypatch.setattr(module, "PAGE_ROWS", 2)
    rows = [await opened(journal) for _ in range(4)]
    await look(incidents, until, lambda: [one.row for one in incidents.open_ones()] == [rows[3], rows[2]])
    assert (await incidents.settle(rows[0], text="x", by="kim")).is_new
    assert (await incidents.settle(rows[3], text="x", by="kim")).is_new
    assert not (await incidents.settle(rows[3], text="y", by="kim")).is_new


async def test_journal_that_cannot_be_read_is_read_later(
    incidents: OwnIncidents, journal: JournalWriter, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    await opened(journal)
    failures: list[int] = []
    stored = journal.stored

    async def fails_twice(from_seq: int, limit: int) -> object:
        if len(failures) < 2:
            failures.append(from_seq)
            raise JournalUnavailable("locked")
        return await stored(from_seq, limit)

    monkeypatch.setattr(journal, "stored", fails_twice)
    await look(incidents, until, lambda: bool(incidents.open_ones()))
    assert failures == [0, 0]
