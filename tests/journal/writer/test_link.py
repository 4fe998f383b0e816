"""The client's way to the writer: it outlives deaths of the writer, tells what became of rows in flight, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from journal.gate import Gate, until
from journal.writing import ORIGIN, Writing, cosigned

from trade_core.clock import SystemClock
from trade_journal.errors import JournalDoubtful, JournalFull, JournalRefused, JournalUnavailable
from trade_journal.log.checkpoint import read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Entry, RowKind
from trade_journal.store.store import JournalReader
from trade_journal.writer import client, server
from trade_journal.writer.client import JournalClient
from trade_journal.writer.frames import AskRows, Request
from trade_journal.writer.peers import PENDING_ROWS_BY_PEER, Peer

Make = Callable[..., Entry]


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
    assert there.numbers() == [0, 1, 2, 3, 4]


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
    assert there.numbers() == [0, 2, 3]
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
    assert there.numbers() == [0, 1]
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
    assert there.numbers() == [1, 1]


async def test_rows_of_another_process_under_our_name_end_the_writing_for_good(
    journal: JournalClient, there: Writing, entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await journal.append(entry(fields={"number": 0}))
    connection = journal._link._connection
    assert connection is not None
    journal._link._socket = there.folder / "elsewhere.sock"
    connection.abort()
    await until(lambda: not journal.is_writable)
    other = await there.client()
    await other.append(entry(fields={"number": 66}))
    await other.close()
    journal._link._socket = there.socket(Peer.GATEWAY)
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


async def test_connection_that_ends_while_the_client_catches_up_is_made_again_at_once(
    there: Writing, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWERED_WITHIN_S", 600)  # longer than this test may take
    asked: list[server._Connection] = []
    hear = server._Connection._hear

    def cut_off_at_first(peer: server._Connection, request: Request) -> None:
        if isinstance(request, AskRows):
            asked.append(peer)
            if len(asked) == 1:
                peer._transport.abort()  # type: ignore[union-attr]
                return
        hear(peer, request)

    monkeypatch.setattr(server._Connection, "_hear", cut_off_at_first)
    journal = await there.client(within_s=30)
    assert await journal.append(entry()) == 0
    assert asked[0] is not asked[1]
    await journal.close()
