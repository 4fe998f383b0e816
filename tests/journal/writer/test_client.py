"""A journal whose writer is another process: the promises of the writer hold over the border, and through deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from journal.gate import Gate, until
from journal.writing import ORIGIN, SIGNER, Writing, cosigned

from trade_journal.errors import (
    JournalDoubtful,
    JournalFull,
    JournalUnavailable,
    RowRefused,
)
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Draft, Entry, Row, RowKind
from trade_journal.writer import rows_in_flight
from trade_journal.writer.client import JournalClient
from trade_journal.writer.frames import REQUEST_BYTES_MAX, Append, AskCheckpoint, FrameReader, parse_request
from trade_journal.writer.peers import Peer
from trade_journal.writer.writer import HandedOver

Make = Callable[..., Entry]


async def rows_of(journal: JournalClient) -> list[Row]:
    return await journal.read(0, 1000)


async def test_append_answers_the_sequence_number_of_a_durable_row(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(3):
        assert await journal.append(entry(fields={"number": number})) == number
        assert there.numbers()[-1] == number
    assert (journal.size, journal.pending, journal.is_writable) == (3, 0, True)
    assert (journal.commits_total, journal.failures_total, journal.last_failure) == (3, 0, "")


async def test_concurrent_appends_share_commits_and_stay_in_order(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    answers = await asyncio.gather(*(journal.append(entry(fields={"number": number})) for number in range(500)))
    assert answers == list(range(500))
    assert there.numbers() == list(range(500))
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
    assert there.numbers() == [0, 1]
    assert journal.pending == 0


async def test_append_later_is_durable_soon_without_anyone_waiting(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(5):
        journal.append_later(entry(fields={"number": number}))
    await until(lambda: journal.pending == 0)
    assert there.numbers() == list(range(5))
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
    assert there.numbers() == [0, 1, 2, 3]
    assert heard == [(False, 2), (True, 1), (False, 1)]


async def test_deferred_rows_of_one_turn_are_messages_that_the_writer_takes(
    journal: JournalClient, there: Writing, entry: Make
) -> None:
    for number in range(600):
        journal.append_later(entry(fields={"number": number}))
    assert journal.pending == 600
    await until(lambda: journal.pending == 0)
    assert there.numbers() == list(range(600))


async def test_bad_row_among_deferred_ones_of_one_turn_is_told_alone(
    journal: JournalClient, there: Writing, entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    journal.append_later(entry(fields={"number": 0}))
    journal.append_later(entry(fields={"price": 1.5}))
    journal.append_later(entry(fields={"number": 1}))
    await until(lambda: journal.pending == 0)
    assert there.numbers() == [0, 1]
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
    assert there.numbers() == [0]


async def test_checkpoint_is_asked_for_behind_the_rows_that_were_deferred_just_before(
    journal: JournalClient, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bytes] = []
    connection = journal._link._connection
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
    monkeypatch.setattr(rows_in_flight, "PENDING_ROWS_BY_PEER", {Peer.GATEWAY: 10})
    gate.is_open.clear()
    for number in range(10):
        journal.append_later(entry(fields={"number": number}))
    with pytest.raises(JournalFull):
        journal.append_later(entry())
    with pytest.raises(JournalFull):
        await journal.append(entry())
    gate.is_open.set()
    await until(lambda: journal.pending == 0)
    assert there.numbers() == list(range(10))


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
    monkeypatch.setattr(rows_in_flight, "WRITTEN_WITHIN_S", 0.1)
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
    assert there.numbers() == ([1, 2, 3] if survives else [1, 3])
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
    assert (there.numbers(), journal.emergency_rows) == ([1, 2], 0)


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


async def test_shim_writes_through_its_own_door(there: Writing, entry: Make) -> None:
    shim = await there.client(Peer.SHIM)
    assert await shim.append(entry(actor="shim", kind=RowKind.SWING_TRADE_OPENED)) == 0
    with pytest.raises(RowRefused, match="not a kind that shim may write"):
        await shim.append(entry(actor="shim", kind=RowKind.ORDER_INTENT))
    await shim.close()
