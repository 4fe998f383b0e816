"""The writer: durable before it answers, grouped, bounded, and honest about failure."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest
from journal.gate import Gate, until
from journal.outsider import Outsider, reading
from sqlalchemy import insert

from trade_core.clock import ManualClock, SystemClock
from trade_journal.errors import (
    JournalDoubtful,
    JournalFull,
    JournalRefused,
    JournalUnavailable,
    RowRefused,
)
from trade_journal.log.rows import Draft, Entry, RowKind
from trade_journal.store.schema import ROWS
from trade_journal.store.store import JournalStore
from trade_journal.writer import backlog
from trade_journal.writer import writer as writer_module
from trade_journal.writer.writer import GROUP_ROWS_MAX, JournalWriter

ORIGIN = "gateway/simulated/test"
Make = Callable[..., Entry]
NS_PER_S = 1_000_000_000
PATIENCE_S = 120


def numbers(url: str) -> list[int]:
    """Read the ``number`` field of every durable row that has one."""
    with reading(url) as reader:
        rows = reader.read(0, 1000)
    assert [row.seq for row in rows] == list(range(len(rows)))
    return [int(str(row.fields["number"])) for row in rows if "number" in row.fields]


async def test_append_answers_the_sequence_number_of_a_durable_row(
    writer: JournalWriter, journal_url: str, entry: Make
) -> None:
    for number in range(3):
        assert await writer.append(entry(fields={"number": number})) == number
        assert numbers(journal_url)[-1] == number
    assert (writer.size, writer.pending, writer.commits_total) == (3, 0, 3)
    assert writer.is_writable


async def test_concurrent_appends_share_commits_and_stay_gapless_in_order(
    writer: JournalWriter, journal_url: str, entry: Make
) -> None:
    appended = await asyncio.gather(*(writer.append(entry(fields={"number": number})) for number in range(500)))
    assert appended == list(range(500))
    assert numbers(journal_url) == list(range(500))
    assert writer.commits_total < 100


async def test_rows_that_wait_during_a_commit_go_into_the_next_one(
    writer: JournalWriter, gate: Gate, entry: Make
) -> None:
    gate.is_open.clear()
    first = asyncio.create_task(writer.append(entry()))
    await asyncio.to_thread(gate.entered.acquire)
    others = [asyncio.create_task(writer.append(entry())) for _ in range(50)]
    await until(lambda: writer.pending == 51)
    gate.is_open.set()
    assert await first == 0
    assert await asyncio.gather(*others) == list(range(1, 51))
    assert writer.commits_total == 2


async def test_group_never_exceeds_its_bound(writer: JournalWriter, gate: Gate, entry: Make) -> None:
    gate.is_open.clear()
    first = asyncio.create_task(writer.append(entry()))
    await asyncio.to_thread(gate.entered.acquire)
    others = [asyncio.create_task(writer.append(entry())) for _ in range(GROUP_ROWS_MAX + 1)]
    await until(lambda: writer.pending == GROUP_ROWS_MAX + 2)
    gate.is_open.set()
    await asyncio.gather(first, *others)
    assert writer.commits_total == 3


async def test_append_many_is_one_commit_of_consecutive_rows(writer: JournalWriter, entry: Make) -> None:
    assert await writer.append_many([entry() for _ in range(10)]) == list(range(10))
    assert writer.commits_total == 1
    for count in (0, 257):
        with pytest.raises(ValueError, match="append_many takes"):
            await writer.append_many([entry()] * count)


async def test_append_later_is_durable_soon_without_anyone_waiting(
    writer: JournalWriter, journal_url: str, entry: Make
) -> None:
    for number in range(5):
        writer.append_later(entry(fields={"number": number}))
    assert writer.pending == 5
    await until(lambda: writer.pending == 0)
    assert numbers(journal_url) == list(range(5))
    assert writer.commits_total == 1


async def test_append_takes_earlier_deferred_rows_along_in_order(
    writer: JournalWriter, journal_url: str, entry: Make
) -> None:
    writer.append_later(entry(fields={"number": 0}))
    assert await writer.append(entry(fields={"number": 1})) == 1
    assert numbers(journal_url) == [0, 1]


async def test_bad_row_fails_its_caller_alone(writer: JournalWriter, entry: Make) -> None:
    with pytest.raises(RowRefused):
        await writer.append(entry(fields={"price": 1.5}))
    with pytest.raises(RowRefused):
        writer.append_later(entry(fields={"price": 1.5}))
    assert await writer.append(entry()) == 0


async def test_full_queue_refuses_and_forgets_nothing(
    writer: JournalWriter, gate: Gate, entry: Make, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PENDING_ROWS_MAX", 10)
    gate.is_open.clear()
    first = asyncio.create_task(writer.append(entry(fields={"number": 0})))
    await asyncio.to_thread(gate.entered.acquire)
    for number in range(1, 10):
        writer.append_later(entry(fields={"number": number}))
    with pytest.raises(JournalFull):
        writer.append_later(entry())
    with pytest.raises(JournalFull):
        await writer.append(entry())
    gate.is_open.set()
    await first
    await until(lambda: writer.pending == 0)
    assert numbers(journal_url) == list(range(10))


async def test_close_commits_what_is_pending_and_refuses_what_comes(journal_url: str, entry: Make) -> None:
    writer = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())
    for number in range(1500):
        writer.append_later(entry(fields={"number": number}))
    await writer.close()
    await writer.close()
    with reading(journal_url) as reader:
        assert reader.size() == 1500
    assert not writer.is_writable
    with pytest.raises(JournalUnavailable):
        await writer.append(entry())
    with pytest.raises(JournalUnavailable):
        writer.append_later(entry())
    reopened = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())
    assert await reopened.append(entry()) == 1500
    await reopened.close()


async def test_second_writer_is_refused(writer: JournalWriter, journal_url: str) -> None:
    with pytest.raises(JournalRefused, match="another writer"):
        await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())


async def test_failed_commit_fails_every_waiter_and_keeps_deferred_rows(
    writer: JournalWriter, gate: Gate, journal_url: str, entry: Make
) -> None:
    gate.fails_before = 1
    gate.is_open.clear()
    writer.append_later(entry(fields={"number": 1}))
    waiting = [asyncio.create_task(writer.append(entry(fields={"number": 100 + n}))) for n in range(3)]
    await asyncio.to_thread(gate.entered.acquire)
    waiting += [asyncio.create_task(writer.append(entry(fields={"number": 200 + n}))) for n in range(3)]
    await until(lambda: writer.pending == 7)
    writer.append_later(entry(fields={"number": 2}))
    gate.is_open.set()
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, JournalDoubtful)
        assert answer.cause == "sqlite_full"
        assert not await answer.is_written
    await until(lambda: writer.is_writable and writer.pending == 0)
    rows = await writer.read(0, 10)
    assert [row.kind for row in rows[:1]] == [RowKind.JOURNAL_RECOVERED]
    assert {name: rows[0].fields[name] for name in ("cause", "rows_failed", "rows_kept", "rows_survived")} == {
        "cause": "sqlite_full",
        "rows_failed": 6,
        "rows_kept": 2,
        "rows_survived": 0,
    }
    assert numbers(journal_url) == [1, 2]
    assert await writer.append(entry()) == 3
    assert writer.failures_total == 1


async def test_commit_that_failed_and_yet_survived_is_not_written_twice(
    writer: JournalWriter, gate: Gate, journal_url: str, entry: Make
) -> None:
    gate.fails_after = 1
    writer.append_later(entry(fields={"number": 1}))
    with pytest.raises(JournalDoubtful) as doubt:
        await writer.append(entry(fields={"number": 2}))
    assert not doubt.value.is_written.done()
    assert await doubt.value.is_written
    await until(lambda: writer.is_writable and writer.pending == 0)
    assert numbers(journal_url) == [1, 2]
    rows = await writer.read(0, 10)
    assert [row.kind for row in rows] == [RowKind.ORDER_INTENT] * 2 + [RowKind.JOURNAL_RECOVERED]
    assert rows[2].fields["rows_survived"] == 2
    assert writer.size == 3


@pytest.mark.parametrize("survives", [False, True])
async def test_announcement_that_fails_is_tried_again(
    writer: JournalWriter, gate: Gate, journal_url: str, entry: Make, *, survives: bool
) -> None:
    gate.fails_before = 1 if survives else 2
    gate.is_open.clear()
    waiting = asyncio.create_task(writer.append(entry(fields={"number": 1})))
    writer.append_later(entry(fields={"number": 2}))
    await asyncio.to_thread(gate.entered.acquire)
    if survives:
        gate.fails_after = 1
    gate.is_open.set()
    with pytest.raises(JournalUnavailable):
        await waiting
    await until(lambda: writer.is_writable and writer.pending == 0)
    kinds = [row.kind for row in await writer.read(0, 10)]
    assert kinds.count(RowKind.JOURNAL_RECOVERED) == (2 if survives else 1)
    assert 2 in numbers(journal_url)
    assert 1 not in numbers(journal_url)


async def test_append_while_failed_is_refused_at_once_and_deferred_rows_are_kept(
    writer: JournalWriter, gate: Gate, journal_url: str, entry: Make
) -> None:
    gate.fails_before = 3
    with pytest.raises(JournalUnavailable):
        await writer.append(entry())
    assert not writer.is_writable
    with pytest.raises(JournalUnavailable, match="not writable"):
        await writer.append(entry())
    writer.append_later(entry(fields={"number": 7}))
    await until(lambda: writer.is_writable and writer.pending == 0)
    assert numbers(journal_url) == [7]


async def test_rows_of_another_hand_after_a_failure_keep_the_journal_closed(
    writer: JournalWriter, gate: Gate, entry: Make, outsider: Outsider
) -> None:
    await writer.append(entry(fields={"number": 0}))
    gate.fails_before = 1
    gate.is_open.clear()
    waiting = asyncio.create_task(writer.append(entry(fields={"number": 1})))
    await until(lambda: writer.pending == 1)
    body = b'{"actor":"gateway","at_ns":"1","fields":{},"kind":"order:intent","policy_hash":null,"seq":1}'
    leaf = hashlib.sha256(b"\x00" + body).digest()
    outsider.execute(insert(ROWS).values((1, 1, "order:intent", "gateway", body, leaf)))
    gate.is_open.set()
    with pytest.raises(JournalUnavailable):
        await waiting
    await until(lambda: "not this writer's" in writer.last_failure)
    assert not writer.is_writable


async def test_stalled_disk_fails_the_waiter_in_time_and_shows(
    journal_url: str, gate: Gate, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "COMMIT_DEADLINE_S", 0.05)
    clock = ManualClock()
    writer = await JournalWriter.open(journal_url, origin=ORIGIN, clock=clock)
    gate.is_open.clear()
    with pytest.raises(JournalDoubtful, match="no commit within") as doubt:
        await writer.append(entry(fields={"number": 1}))
    assert writer.is_writable
    clock.advance(NS_PER_S)
    assert not writer.is_writable
    gate.is_open.set()
    await until(lambda: writer.is_writable)
    assert await doubt.value.is_written
    assert numbers(journal_url) == [1]
    await writer.close()


async def test_cancelled_append_leaves_the_others_alone(writer: JournalWriter, gate: Gate, entry: Make) -> None:
    gate.is_open.clear()
    tasks = [asyncio.create_task(writer.append(entry())) for _ in range(3)]
    await until(lambda: writer.pending == 3)
    tasks[1].cancel()
    gate.is_open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, asyncio.CancelledError, int]
    await until(lambda: writer.pending == 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_defect_in_the_writer_fails_closed(
    journal_url: str, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_store: JournalStore, _drafts: Sequence[Draft]) -> int:
        raise ZeroDivisionError

    writer = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())
    monkeypatch.setattr(JournalStore, "append", broken)
    monkeypatch.setattr(writer_module, "COMMIT_DEADLINE_S", 0.2)
    with pytest.raises(JournalUnavailable):
        await writer.append(entry())
    await until(lambda: not writer.is_writable)
    with pytest.raises(JournalUnavailable, match="not writable"):
        await writer.append(entry())
    with pytest.raises(JournalUnavailable, match="could not be written"):
        await writer.close()


async def test_close_of_a_failed_journal_says_what_is_lost(journal_url: str, gate: Gate, entry: Make) -> None:
    writer = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())
    gate.fails_before = 1000
    writer.append_later(entry())
    await until(lambda: not writer.is_writable)
    with pytest.raises(JournalUnavailable, match="1 rows could not be written"):
        await writer.close()


FULL_DISK = """
import asyncio, resource, sys
from trade_core.clock import SystemClock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter

def entry(number):
    return Entry(at_ns=1, kind=RowKind.ORDER_INTENT, actor="gateway", fields={"number": number, "text": "x" * 500})

async def main(url):
    writer = await JournalWriter.open(url, origin="gateway/simulated/test", clock=SystemClock())
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    number = 0
    try:
        while number < 5000:
            await writer.append(entry(number))
            number += 1
    except JournalUnavailable:
        print("acknowledged", number, flush=True)
    assert not writer.is_writable
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    async with asyncio.timeout(60):
        while not writer.is_writable:
            await asyncio.sleep(0.02)
    await writer.append(entry(9999))
    await writer.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
def test_full_disk_fails_the_append_and_recovers_when_there_is_room(sqlite_url: str) -> None:
    command = [sys.executable, "-c", FULL_DISK, sqlite_url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    acknowledged = int(run.stdout.split()[1])
    assert 10 < acknowledged < 5000
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    found = [row for first in range(0, store.size(), 1000) for row in store.read(first, 1000)]
    store.close()
    written = [row.fields["number"] for row in found if row.kind is RowKind.ORDER_INTENT]
    assert written[:acknowledged] == list(range(acknowledged))
    assert written[-1] == 9999
    assert RowKind.JOURNAL_RECOVERED in {row.kind for row in found}


KILLED = """
import asyncio, sys
from trade_core.clock import SystemClock
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter

async def client(writer, name):
    number = 0
    while True:
        fields = {"client": name, "number": number}
        seq = await writer.append(Entry(at_ns=1, kind=RowKind.ORDER_INTENT, actor="gateway", fields=fields))
        sys.stdout.write(f"{seq} {name} {number}\\n")
        sys.stdout.flush()
        number += 1

async def main(url):
    writer = await JournalWriter.open(url, origin="gateway/simulated/test", clock=SystemClock())
    await asyncio.gather(*(client(writer, name) for name in range(8)))

asyncio.run(main(sys.argv[1]))
"""


def reopened(url: str) -> JournalStore:
    """Open a journal whose writer was killed; a server lets go of its lock once it has noticed that."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return JournalStore.open(url, origin=ORIGIN)
        except JournalRefused as error:
            if "another writer" not in str(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged_rows", [1, 37, 500, 2000])
def test_acknowledged_rows_survive_sigkill(journal_url: str, acknowledged_rows: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, journal_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged_rows)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    acknowledged = [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]
    assert len(acknowledged) >= acknowledged_rows
    store = reopened(journal_url)
    rows = [row for first in range(0, store.size(), 1000) for row in store.read(first, 1000)]
    store.close()
    for seq, client, number in acknowledged:
        assert rows[seq].fields == {"client": client, "number": number}
