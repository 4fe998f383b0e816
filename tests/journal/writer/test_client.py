"""A journal whose writer is another process: the promises of the writer hold over the border, and through deaths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from journal.gate import Gate, until
from journal.writing import ORIGIN, SIGNER, Writing, cosigned, writing

from trade_core.clock import SystemClock
from trade_journal.errors import (
    JournalDoubtful,
    JournalFull,
    JournalRefused,
    JournalUnavailable,
    RowRefused,
)
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Draft, Entry, Row, RowKind
from trade_journal.store.store import JournalReader
from trade_journal.writer import client as client_module
from trade_journal.writer.client import JournalClient
from trade_journal.writer.frames import REQUEST_BYTES_MAX, Append, AskCheckpoint, FrameReader, parse_request
from trade_journal.writer.peers import PENDING_ROWS_BY_PEER, Peer
from trade_journal.writer.writer import HandedOver

Make = Callable[..., Entry]


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Writing]:
    """A running journal writer."""
    async with writing(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def journal(there: Writing) -> AsyncIterator[JournalClient]:
    """A client of it; what a test leaves unwritten is lost with it."""
    opened = await there.client()
    yield opened
    try:
        await opened.close()
    except JournalUnavailable:
        assert opened.pending


def numbers(there: Writing) -> list[object]:
    reader = JournalReader(there.url)
    rows = reader.read(0, 1000)
    reader.close()
    assert [row.seq for row in rows] == list(range(len(rows)))
    return [row.fields["number"] for row in rows if "number" in row.fields]


async def rows_of(journal: JournalClient) -> list[Row]:
    return await journal.read(0, 1000)


async def test_append_answers_the_sequence_number_of_a_durable_row(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(3):
        assert await journal.append(entry(fields={"number": number})) == number
        assert numbers(there)[-1] == number
    assert (journal.size, journal.pending, journal.is_writable) == (3, 0, True)
    assert (journal.commits_total, journal.failures_total, journal.last_failure) == (3, 0, "")


async def test_concurrent_appends_share_commits_and_stay_in_order(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    answers = await asyncio.gather(*(journal.append(entry(fields={"number": number})) for number in range(500)))
    assert answers == list(range(500))
    assert numbers(there) == list(range(500))
    assert journal.commits_total < 100


async def test_append_many_is_one_commit_of_consecutive_rows(journal: JournalClient, entry: Make) -> None:
    assert await journal.append_many([entry() for _ in range(10)]) == list(range(10))
    assert journal.commits_total == 1
    for count in (0, 257):
        with pytest.raises(ValueError, match="append_many takes"):
            await journal.append_many([entry()] * count)


async def test_append_takes_earlier_deferred_rows_along_in_order(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    journal.append_later(entry(fields={"number": 0}))
    assert journal.pending == 1
    assert await journal.append(entry(fields={"number": 1})) == 1
    assert numbers(there) == [0, 1]
    assert journal.pending == 0


async def test_append_later_is_durable_soon_without_anyone_waiting(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(5):
        journal.append_later(entry(fields={"number": number}))
    await until(lambda: journal.pending == 0)
    assert numbers(there) == list(range(5))
    assert journal.commits_total == 1


async def test_deferred_rows_of_one_turn_are_one_message_and_keep_their_place(
    journal: JournalClient, there: Writing, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[bool, int]] = []
    hand_over = there.writer.hand_over

    def noting(drafts: Sequence[Draft], *, is_urgent: bool) -> HandedOver:
        heard.append((is_urgent, len(drafts)))
        return hand_over(drafts, is_urgent=is_urgent)

    monkeypatch.setattr(there.writer, "hand_over", noting)
    journal.append_later(entry(fields={"number": 0}))
    journal.append_later(entry(fields={"number": 1}))
    asyncio.get_running_loop().call_soon(journal.append_later, entry(fields={"number": 3}))
    assert await journal.append(entry(fields={"number": 2})) == 2
    await until(lambda: journal.pending == 0)
    assert numbers(there) == [0, 1, 2, 3]
    assert heard == [(False, 2), (True, 1), (False, 1)]


async def test_deferred_rows_of_one_turn_are_messages_that_the_writer_takes(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(600):
        journal.append_later(entry(fields={"number": number}))
    assert journal.pending == 600
    await until(lambda: journal.pending == 0)
    assert numbers(there) == list(range(600))


async def test_bad_row_among_deferred_ones_of_one_turn_is_told_alone(
    journal: JournalClient, there: Writing, entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    journal.append_later(entry(fields={"number": 0}))
    journal.append_later(entry(fields={"price": 1.5}))
    journal.append_later(entry(fields={"number": 1}))
    await until(lambda: journal.pending == 0)
    assert numbers(there) == [0, 1]
    assert caplog.text.count("price: a float has no place in a row") == 1


async def test_row_that_cannot_be_said_is_refused_at_once_and_takes_no_room(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    journal.append_later(entry(fields={"number": 0}))
    for fields in ({"a": 2**70}, {"a": ["x" * 500] * 40}):
        with pytest.raises(RowRefused):
            journal.append_later(entry(fields=fields))
    assert journal.pending == 1
    await until(lambda: journal.pending == 0)
    assert numbers(there) == [0]


async def test_checkpoint_is_asked_for_behind_the_rows_that_were_deferred_just_before(
    journal: JournalClient, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bytes] = []
    connection = journal._connection
    assert connection is not None
    monkeypatch.setattr(connection, "write", lambda data, write=connection.write: (said.append(data), write(data)))
    journal.append_later(entry())
    assert read_checkpoint(parse_note(await journal.checkpoint())).size == 1
    heard = [type(parse_request(body)) for body in FrameReader(bytes_max=REQUEST_BYTES_MAX).feed(b"".join(said))]
    assert heard == [Append, AskCheckpoint]


@pytest.mark.parametrize("fields", [{"price": 1.5}, {"Name": 1}, {"a": "x" * 600}, {"a": "\ud800"}, {"a": 2**64}])
async def test_bad_row_fails_its_caller_alone(journal: JournalClient, entry: Make, fields: dict[str, object]) -> None:
    with pytest.raises(RowRefused):
        await journal.append(entry(fields=fields))
    assert await journal.append(entry()) == 0
    assert journal.pending == 0


async def test_bad_row_that_nobody_waits_for_is_told_in_the_log(
    journal: JournalClient, entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    journal.append_later(entry(fields={"price": 1.5}))
    await until(lambda: journal.pending == 0)
    assert "price: a float has no place in a row" in caplog.text


async def test_row_of_another_actor_or_kind_is_refused(journal: JournalClient, entry: Make) -> None:
    with pytest.raises(RowRefused, match="actor"):
        await journal.append(entry(actor="shim"))
    with pytest.raises(RowRefused, match="not a kind that gateway may write"):
        await journal.append(entry(kind=RowKind.SWING_TRADE_LESSON))
    with pytest.raises(RowRefused, match=r"bytes; at most"):
        await journal.append(entry(fields={"a": ["x" * 500] * 10_000}))
    assert await journal.append(entry()) == 0


async def test_full_queue_refuses_and_forgets_nothing(
    journal: JournalClient, there: Writing, gate: Gate, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PENDING_ROWS_BY_PEER", {Peer.GATEWAY: 10})
    gate.is_open.clear()
    for number in range(10):
        journal.append_later(entry(fields={"number": number}))
    with pytest.raises(JournalFull):
        journal.append_later(entry())
    with pytest.raises(JournalFull):
        await journal.append(entry())
    gate.is_open.set()
    await until(lambda: journal.pending == 0)
    assert numbers(there) == list(range(10))


async def test_cancelled_append_leaves_the_others_alone(journal: JournalClient, gate: Gate, entry: Make) -> None:
    gate.is_open.clear()
    tasks = [asyncio.create_task(journal.append(entry())) for _ in range(3)]
    await until(lambda: journal.pending == 3)
    tasks[1].cancel()
    gate.is_open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, asyncio.CancelledError, int]
    await until(lambda: journal.pending == 0)


async def test_stalled_disk_fails_the_waiter_in_time_and_tells_its_fate_later(
    journal: JournalClient, gate: Gate, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WRITTEN_WITHIN_S", 0.1)
    gate.is_open.clear()
    with pytest.raises(JournalDoubtful, match="no commit within") as doubt:
        await journal.append(entry())
    assert journal.pending == 1
    gate.is_open.set()
    assert await doubt.value.is_written
    await until(lambda: journal.pending == 0)


@pytest.mark.parametrize("survives", [False, True])
async def test_failed_commit_is_doubtful_and_deferred_rows_are_written_once(
    journal: JournalClient, there: Writing, gate: Gate, entry: Make, *, survives: bool
) -> None:
    if survives:
        gate.fails_after = 1
    else:
        gate.fails_before = 1
    journal.append_later(entry(fields={"number": 1}))
    with pytest.raises(JournalDoubtful) as doubt:
        await journal.append(entry(fields={"number": 2}))
    assert not journal.is_writable
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append(entry())
    journal.append_later(entry(fields={"number": 3}))
    assert await doubt.value.is_written is survives
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(there) == ([1, 2, 3] if survives else [1, 3])
    assert await journal.append(entry(fields={"number": 4})) > 0


async def test_segment_serves_what_reduces_while_the_writer_lives_and_cannot_write(
    journal: JournalClient, there: Writing, gate: Gate, entry: Make
) -> None:
    gate.fails_before = 1_000_000
    with pytest.raises(JournalUnavailable):
        await journal.append(entry(fields={"adds_risk": True}))
    await until(lambda: not journal.is_writable)
    assert await journal.append(entry(fields={"adds_risk": False, "number": 1})) == 0
    assert await journal.append(entry(kind=RowKind.CANCEL_INTENT, fields={"number": 2})) == 1
    assert [row.fields.get("number") for row in await rows_of(journal)] == [1, 2]
    await until(lambda: journal.emergency_rows == 2)
    for refused in ({"adds_risk": True}, {}):
        with pytest.raises(JournalUnavailable, match="not writable"):
            await journal.append(entry(fields=refused))
    gate.fails_before = 0
    await until(lambda: journal.is_writable)
    assert (numbers(there), journal.emergency_rows) == ([1, 2], 0)


async def test_checkpoints_and_cosigned_ones_cross_the_border(journal: JournalClient, entry: Make) -> None:
    await journal.append(entry())
    note = await journal.checkpoint()
    checkpoint = read_checkpoint(parse_note(note))
    assert (checkpoint.size, checkpoint.origin) == (1, ORIGIN)
    assert await journal.has_signed(checkpoint)
    other = Checkpoint(origin=ORIGIN, size=1, root=bytes(32), ring_hash=checkpoint.ring_hash)
    assert not await journal.has_signed(other)
    journal.keep_cosigned(cosigned(note))
    await until(lambda: journal.witnessed_size == 1)
    stored = await journal.stored(0, 10)
    assert [row.seq for row in stored] == [0]
    assert SIGNER.origin == ORIGIN


# Deaths of the writer.


async def test_rows_in_flight_when_the_writer_ends_are_told_once_it_is_back(
    journal: JournalClient, there: Writing, gate: Gate, entry: Make
) -> None:
    await journal.append(entry(fields={"number": 0}))
    gate.is_open.clear()
    written = asyncio.create_task(journal.append(entry(fields={"number": 1})))
    await asyncio.to_thread(gate.entered.acquire)
    await asyncio.to_thread(gate.entered.acquire)
    journal.append_later(entry(fields={"number": 2}))
    journal.append_later(entry(fields={"number": 3}))
    await until(lambda: there.writer.pending == 3)
    for room in there.server._rooms:  # the connection dies with the answers in it
        for connection in list(room.connections):
            connection._transport.abort()  # type: ignore[union-attr]
    with pytest.raises(JournalDoubtful, match="connection") as doubt:
        await written
    assert not journal.is_writable
    with pytest.raises(JournalUnavailable, match="not writable"):
        await journal.append(entry())
    journal.append_later(entry(fields={"number": 4}))
    gate.is_open.set()
    assert await doubt.value.is_written
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(there) == [0, 1, 2, 3, 4]


async def test_rows_that_never_reached_the_writer_are_told_as_not_written_and_deferred_ones_come(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    await journal.append(entry(fields={"number": 0}))
    for room in there.server._rooms:
        for connection in list(room.connections):
            connection._transport.pause_reading()  # type: ignore[union-attr]
    lost = asyncio.create_task(journal.append(entry(fields={"number": 1})))
    journal.append_later(entry(fields={"number": 2}))
    journal.append_later(entry(fields={"number": 3}))
    await asyncio.sleep(0.05)
    await there.stop()
    with pytest.raises(JournalDoubtful) as doubt:
        await lost
    assert not doubt.value.is_written.done()
    await there.start()
    assert not await doubt.value.is_written
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(there) == [0, 2, 3]
    assert await journal.append(entry(fields={"number": 4})) == 3


async def test_writer_that_is_gone_refuses_at_once_and_heals_by_itself(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    await journal.append(entry(fields={"number": 0}))
    note = await journal.checkpoint()
    await there.stop()
    await until(lambda: not journal.is_writable)
    for asked in (
        journal.append(entry(kind=RowKind.CANCEL_INTENT)),
        journal.read(0, 1),
        journal.checkpoint(),
        journal.has_signed(read_checkpoint(parse_note(note))),
    ):
        with pytest.raises(JournalUnavailable):
            await asked
    journal.keep_cosigned(cosigned(note))
    journal.append_later(entry(fields={"number": 1}))
    await there.start()
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(there) == [0, 1]
    await until(lambda: journal.witnessed_size == 1)


async def test_same_bytes_twice_are_two_rows_over_a_reconnection(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    await there.stop()
    await until(lambda: not journal.is_writable)
    for _ in range(2):
        journal.append_later(entry(fields={"number": 1}))
    await there.start()
    await until(lambda: journal.is_writable and journal.pending == 0)
    assert numbers(there) == [1, 1]


async def test_rows_of_another_process_under_our_name_end_the_writing_for_good(
    journal: JournalClient, there: Writing, entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await journal.append(entry(fields={"number": 0}))
    connection = journal._connection
    assert connection is not None
    journal._socket = there.folder / "elsewhere.sock"
    connection.abort()
    await until(lambda: not journal.is_writable)
    other = await there.client()
    await other.append(entry(fields={"number": 66}))
    await other.close()
    journal._socket = there.socket(Peer.GATEWAY)
    await until(lambda: "another process writes here" in journal.last_failure)
    await asyncio.sleep(0.2)
    assert not journal.is_writable
    assert "not written any more" in caplog.text
    with pytest.raises(JournalUnavailable):
        await journal.append(entry())


async def test_silent_writer_is_not_writable_until_it_speaks(
    journal: JournalClient, there: Writing, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert there.server._heart is not None
    there.server._heart.cancel()
    await until(lambda: not journal.is_writable)
    assert "silent" in journal.last_failure
    with pytest.raises(JournalUnavailable, match="silent"):
        await journal.append(entry(kind=RowKind.CANCEL_INTENT))
    assert await journal.read(0, 1) == []  # an answer is a sign of life
    assert journal.is_writable
    assert await journal.append(entry()) == 0


# Beginnings and ends.


async def test_client_waits_for_a_writer_that_starts_later(tmp_path: Path, entry: Make) -> None:
    there = Writing(tmp_path)
    opening = asyncio.create_task(there.client())
    await asyncio.sleep(0.2)
    assert not opening.done()
    await there.start()
    journal = await opening
    assert await journal.append(entry()) == 0
    await journal.close()
    await there.stop()


async def test_client_without_a_writer_gives_up_and_names_the_socket(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"within 0\.2 s: .*/gateway\.sock: no journal writer there"):
        await Writing(tmp_path).client(within_s=0.2)


async def test_client_of_another_journal_is_refused_at_once(there: Writing) -> None:
    with pytest.raises(JournalRefused, match=f"this is the journal of {ORIGIN}"):
        await JournalClient.open(there.socket(Peer.GATEWAY), origin="trade/simulated/9/gateway", clock=SystemClock())


async def test_second_client_is_refused_and_told_who_is_there(journal: JournalClient, there: Writing) -> None:
    with pytest.raises(JournalUnavailable, match="another gateway is connected"):
        await there.client(within_s=0.3)
    assert journal.is_writable


async def test_close_writes_what_is_pending_and_refuses_what_comes(there: Writing, entry: Make) -> None:
    journal = await there.client()
    for number in range(1500):
        journal.append_later(entry(fields={"number": number % 7}))
    await journal.close()
    await journal.close()
    assert JournalReader(there.url).size() == 1500
    assert not journal.is_writable
    with pytest.raises(JournalUnavailable):
        await journal.append(entry())
    with pytest.raises(JournalUnavailable):
        journal.append_later(entry())
    again = await there.client()
    assert await again.append(entry()) == 1500
    await again.close()


async def test_close_without_a_writer_says_what_is_lost(there: Writing, entry: Make) -> None:
    journal = await there.client()
    await there.stop()
    await until(lambda: not journal.is_writable)
    journal.append_later(entry())
    with pytest.raises(JournalUnavailable, match="1 rows could not be written"):
        await journal.close()
    await there.start()


async def test_deferred_rows_are_kept_within_their_bound_while_there_is_no_writer(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    await there.stop()
    await until(lambda: not journal.is_writable)
    bound = PENDING_ROWS_BY_PEER[Peer.GATEWAY]
    for number in range(bound):
        journal.append_later(entry(fields={"number": number}))
    with pytest.raises(JournalFull):
        journal.append_later(entry())
    await there.start()
    await until(lambda: journal.pending == 0)
    assert JournalReader(there.url).size() == bound


async def test_shim_writes_through_its_own_door(there: Writing, entry: Make) -> None:
    shim = await there.client(Peer.SHIM)
    assert await shim.append(entry(actor="shim", kind=RowKind.SWING_TRADE_OPENED)) == 0
    with pytest.raises(RowRefused, match="not a kind that shim may write"):
        await shim.append(entry(actor="shim", kind=RowKind.ORDER_INTENT))
    await shim.close()
