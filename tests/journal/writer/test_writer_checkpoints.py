"""Checkpoints of the writer: over durable rows only, kept before they are given out, checked at the next opening."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal.gate import until
from journal.outsider import Outsider, reading
from sqlalchemy import Executable, Table, delete, insert, literal, select, update

from trade_core.clock import SystemClock
from trade_journal.errors import FOREIGN_WRITE, JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.checkpoint import LogSigner, cosign, open_checkpoint
from trade_journal.log.note import COSIGNATURE_V1, Verifier, parse_note
from trade_journal.log.rows import Entry, RowKind, draft, leaf_hash
from trade_journal.log.tree import root_of
from trade_journal.log.verify import PublicKeys, verify_journal
from trade_journal.store import opening, schema
from trade_journal.store.schema import CHECKPOINTS, COSIGNATURES, ROWS
from trade_journal.store.store import JournalStore
from trade_journal.writer import backlog
from trade_journal.writer.writer import JournalWriter

ORIGIN = "trade/simulated/1002/gateway"
SIGNER = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
OTHER = LogSigner(origin=ORIGIN, private_key=Ed25519PrivateKey.generate(), ring_hash="ab" * 32)
Make = Callable[..., Entry]


@pytest_asyncio.fixture
async def signing(journal_url: str) -> AsyncIterator[JournalWriter]:
    """Open a writer that signs, on a fresh journal."""
    opened = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    yield opened
    await opened.close()


def size_and_root(note: bytes) -> tuple[int, bytes]:
    checkpoint, _ = open_checkpoint(note, log=SIGNER.verifier())
    assert checkpoint.ring_hash == SIGNER.ring_hash
    return checkpoint.size, checkpoint.root


async def recovered(writer: JournalWriter) -> None:
    while not writer.is_writable:  # noqa: ASYNC110 - the writer's own thread has no event to wait for
        await asyncio.sleep(0.01)


def edit_with_hash(outsider: Outsider, seq: int) -> None:
    """Change what a row says, so that its hash fits again."""
    ((body,),) = outsider.execute(select(ROWS.c.body).where(ROWS.c.seq == seq))
    edited = body.replace(b"number", b"nombre")
    outsider.tamper(update(ROWS).where(ROWS.c.seq == seq).values(body=edited, leaf_hash=leaf_hash(edited)))


def tree_of(url: str) -> tuple[int, bytes]:
    with reading(url) as reader:
        rows = reader.stored_rows(0, 1000)
    return len(rows), root_of(row.leaf_hash for row in rows)


def kept(url: str) -> list[bytes]:
    with reading(url) as reader:
        return reader.checkpoints(0, 10)


def kept_cosigned(url: str) -> list[bytes]:
    with reading(url) as reader:
        return reader.cosigned(0, 10)


async def test_checkpoint_stands_for_every_row_handed_over(
    signing: JournalWriter, journal_url: str, entry: Make
) -> None:
    await signing.append(entry())
    for number in range(5):
        signing.append_later(entry(fields={"number": number}))
    note = await signing.checkpoint()
    assert size_and_root(note) == tree_of(journal_url)
    assert size_and_root(note)[0] == 6
    assert kept(journal_url) == [note]


async def test_checkpoint_of_an_empty_journal_is_given(signing: JournalWriter) -> None:
    assert size_and_root(await signing.checkpoint())[0] == 0


async def test_checkpoint_without_new_rows_is_the_same_and_kept_once(
    signing: JournalWriter, journal_url: str, entry: Make
) -> None:
    await signing.append(entry())
    first = await signing.checkpoint()
    assert await signing.checkpoint() == first
    await signing.append(entry())
    second = await signing.checkpoint()
    assert size_and_root(second)[0] == 2
    assert kept(journal_url) == [first, second]


async def test_checkpoints_asked_for_at_once_are_one(signing: JournalWriter, journal_url: str, entry: Make) -> None:
    await signing.append(entry())
    notes = await asyncio.gather(*(signing.checkpoint() for _ in range(8)))
    assert len(set(notes)) == 1
    assert len(kept(journal_url)) == 1


async def test_checkpoint_that_cannot_be_kept_is_not_given(
    signing: JournalWriter, journal_url: str, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await signing.append(entry())

    def failing(_store: JournalStore, _note: bytes) -> None:
        raise JournalUnavailable("injected", cause="sqlite_full")

    with monkeypatch.context() as patched:
        patched.setattr(JournalStore, "append_checkpoint", failing)
        with pytest.raises(JournalUnavailable, match="injected"):
            await signing.checkpoint()
    async with asyncio.timeout(60):
        await recovered(signing)
    assert size_and_root(await signing.checkpoint()) == tree_of(journal_url)


async def test_checkpoint_without_a_signer_is_refused(writer: JournalWriter) -> None:
    with pytest.raises(ValueError, match="without a signer"):
        await writer.checkpoint()


async def test_checkpoint_of_a_closing_journal_is_refused(journal_url: str) -> None:
    opened = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    await opened.close()
    with pytest.raises(JournalUnavailable, match="closing"):
        await opened.checkpoint()


async def filled(url: str, entry: Make) -> None:
    """Write ten rows with checkpoints after the fourth and the eighth."""
    opened = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    for number in range(10):
        await opened.append(entry(fields={"number": number}))
        if number in (3, 7):
            await opened.checkpoint()
    await opened.close()


async def test_reopened_journal_goes_on_from_its_last_checkpoint(journal_url: str, entry: Make) -> None:
    await filled(journal_url, entry)
    opened = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    await opened.append(entry())
    assert size_and_root(await opened.checkpoint()) == tree_of(journal_url)
    await opened.close()
    assert [size_and_root(note)[0] for note in kept(journal_url)] == [4, 8, 11]


async def test_row_deleted_after_the_last_checkpoint_is_found_at_opening(
    journal_url: str, outsider: Outsider, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(journal_url, entry)
    monkeypatch.setattr(opening, "CHECKED_ROWS", 1)
    outsider.tamper(delete(ROWS).where(ROWS.c.seq == 8))
    with pytest.raises(JournalDamaged, match="row 8 is missing; found 9: not gapless"):
        await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)


NUMBER_1 = CHECKPOINTS.c.number == 1
FIRST_NOTE = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.number == 0).scalar_subquery()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (delete(ROWS).where(ROWS.c.seq > 6), "7 rows, while its last checkpoint vouches for 8: cut off"),
        (update(CHECKPOINTS).where(NUMBER_1).values(tree=bytes(32)), "another root than was signed"),
        (update(CHECKPOINTS).where(NUMBER_1).values(tree=bytes(33)), "the tree beside a checkpoint"),
        (update(CHECKPOINTS).where(NUMBER_1).values(note=b"\0"), "a checkpoint that it keeps: a note"),
        (update(CHECKPOINTS).where(NUMBER_1).values(note=FIRST_NOTE), "another root than was signed|the tree beside"),
    ],
    ids=str,
)
async def test_tampered_end_is_found_at_opening(
    journal_url: str, outsider: Outsider, entry: Make, statement: Executable, message: str
) -> None:
    await filled(journal_url, entry)
    outsider.tamper(statement)
    with pytest.raises(JournalDamaged, match=message):
        await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)


@pytest.mark.parametrize("column", ["tree", "note"])
async def test_text_in_place_of_bytes_is_found_at_opening(
    sqlite_url: str, tmp_path: Path, entry: Make, column: str
) -> None:
    await filled(sqlite_url, entry)
    outsider = Outsider(sqlite_url, lambda: sqlite3.connect(tmp_path / "journal.db"))
    outsider.tamper(f"UPDATE checkpoints SET {column} = 'text' WHERE number = 1")
    with pytest.raises(JournalDamaged, match=r"the tree beside a checkpoint|a checkpoint that it keeps: a note"):
        await JournalWriter.open(sqlite_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)


async def test_journal_signed_by_another_key_is_refused(journal_url: str, entry: Make) -> None:
    await filled(journal_url, entry)
    with pytest.raises(JournalDamaged, match="0 signatures by"):
        await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=OTHER)


async def test_checkpoint_that_stands_for_other_rows_is_a_defect(journal_url: str, entry: Make) -> None:
    store = JournalStore.open(journal_url, origin=ORIGIN)
    note = SIGNER.sign(store.tree()).rendered().encode()
    store.append([draft(entry())])
    with pytest.raises(ValueError, match="does not stand for these 1"):
        store.append_checkpoint(note)
    store.close()


def refused_changes(table: Table) -> list[Executable | str]:
    """Give statements that would change or delete a record, leave a gap, or number one anew."""
    number = table.c.number
    values = [column for column in table.c if column.name != "number"]
    added = [
        insert(table).from_select(list(table.c), select(literal(new), *values).where(number == 1)) for new in (-1, 0, 3)
    ]
    return [update(table).values(size=3), delete(table), delete(table).where(number == 1), *added]


async def test_checkpoints_are_never_changed_by_this_program(journal_url: str, outsider: Outsider, entry: Make) -> None:
    await filled(journal_url, entry)
    before = outsider.execute(select(CHECKPOINTS))
    for statement in refused_changes(CHECKPOINTS):
        assert outsider.is_refused(statement), statement
    assert outsider.execute(select(CHECKPOINTS)) == before


@pytest.mark.parametrize("newer_tables", [["checkpoints", "cosignatures"], ["cosignatures"]])
async def test_journal_of_an_older_format_is_taken_over_with_all_its_rows(
    newer_tables: list[str], sqlite_url: str, tmp_path: Path, entry: Make
) -> None:
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    store.append([draft(entry(fields={"number": number})) for number in range(3)])
    store.close()
    with sqlite3.connect(tmp_path / "journal.db", isolation_level=None) as older:
        for table in newer_tables:
            older.execute(f"DROP TABLE {table}")
        older.execute(f"UPDATE journal_format SET version = {schema.FORMAT_VERSION - len(newer_tables)}")
    with pytest.raises(JournalRefused), reading(sqlite_url) as reader:
        reader.size()
    with pytest.raises(JournalRefused, match="expected 'trade/simulated/1003/gateway'"):
        JournalStore.open(sqlite_url, origin="trade/simulated/1003/gateway")
    opened = await JournalWriter.open(sqlite_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    assert size_and_root(await opened.checkpoint()) == tree_of(sqlite_url)
    assert opened.size == 3
    await opened.close()
    assert schema.FORMAT_VERSION == 3


def cosigned(note: bytes) -> bytes:
    return cosign(parse_note(note), name="witness", private_key=WITNESS, at_s=1).rendered().encode()


async def test_cosigned_checkpoint_is_kept_and_counts_after_a_restart(
    signing: JournalWriter, journal_url: str, entry: Make
) -> None:
    await signing.append(entry())
    note = cosigned(await signing.checkpoint())
    await signing.append(entry())
    await signing.checkpoint()  # later than the one that comes back
    signing.keep_cosigned(note)
    while signing.witnessed_size == 0:  # noqa: ASYNC110 - the writer's own thread has no event to wait for
        await asyncio.sleep(0.01)
    await signing.close()
    assert kept_cosigned(journal_url) == [note]
    again = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    assert (again.size, again.witnessed_size) == (2, 1)
    keys = PublicKeys(
        log=SIGNER.verifier(), witness=Verifier(name="witness", kind=COSIGNATURE_V1, public=WITNESS.public_key())
    )
    with reading(journal_url) as reader:
        verdict = verify_journal(
            reader.stored_rows(0, 10), notes=reader.checkpoints(0, 10), cosigned=reader.cosigned(0, 10), keys=keys
        )
    assert (verdict.is_good, verdict.signed_rows, verdict.witnessed_rows) == (True, 2, 1)
    await again.close()


async def test_last_cosigned_checkpoint_is_kept_at_the_end(
    signing: JournalWriter, journal_url: str, entry: Make
) -> None:
    await signing.append(entry())
    note = cosigned(await signing.checkpoint())
    signing.keep_cosigned(note)
    await signing.close()
    assert kept_cosigned(journal_url) == [note]


async def test_cosigned_checkpoint_that_cannot_be_kept_fails_the_journal_until_it_recovers(
    signing: JournalWriter, journal_url: str, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await signing.append(entry())
    note = cosigned(await signing.checkpoint())

    def fail(_self: JournalStore, _note: bytes) -> None:
        raise JournalUnavailable("disk full", cause="sqlite_full")

    with monkeypatch.context() as patched:
        patched.setattr(JournalStore, "append_cosigned", fail)
        signing.keep_cosigned(note)
        while signing.failures_total == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await recovered(signing)
    assert kept_cosigned(journal_url) == []
    signing.keep_cosigned(note)
    await signing.close()
    assert kept_cosigned(journal_url) == [note]


async def test_journal_knows_the_checkpoints_that_it_gave_out(signing: JournalWriter, entry: Make) -> None:
    await signing.append(entry())
    checkpoint, _ = open_checkpoint(await signing.checkpoint(), log=SIGNER.verifier())
    assert await signing.has_signed(checkpoint)
    assert not await signing.has_signed(replace(checkpoint, size=checkpoint.size + 1))
    assert not await signing.has_signed(replace(checkpoint, root=b"f" * 32))


def test_cosigned_checkpoint_of_more_rows_than_there_are_is_refused(journal_url: str, entry: Make) -> None:
    store = JournalStore.open(journal_url, origin=ORIGIN)
    store.append([draft(entry())])
    foreign = SIGNER.sign(store.tree().extended([b"f" * 32])).rendered().encode()
    with pytest.raises(ValueError, match="of 2 rows does not stand for these 1"):
        store.append_cosigned(cosigned(foreign))
    store.close()


def test_cosigned_checkpoints_are_never_changed_or_deleted(journal_url: str, outsider: Outsider, entry: Make) -> None:
    store = JournalStore.open(journal_url, origin=ORIGIN)
    store.append([draft(entry())])
    note = cosigned(SIGNER.sign(store.tree()).rendered().encode())
    for _ in range(2):
        store.append_cosigned(note)
    store.close()
    before = outsider.execute(select(COSIGNATURES))
    for statement in refused_changes(COSIGNATURES):
        assert outsider.is_refused(statement), statement
    assert outsider.execute(select(COSIGNATURES)) == before


@pytest.mark.parametrize("table", ["checkpoints", "cosignatures"])
async def test_replacing_a_record_is_refused_by_the_file(
    sqlite_url: str, tmp_path: Path, entry: Make, table: str
) -> None:
    await filled(sqlite_url, entry)
    outsider = Outsider(sqlite_url, lambda: sqlite3.connect(tmp_path / "journal.db"))
    columns = "size, note, tree" if table == "checkpoints" else "size, note"
    if table == "cosignatures":
        for number in (0, 1):
            outsider.execute(f"INSERT INTO cosignatures SELECT {number}, size, note FROM checkpoints WHERE number = 1")
    assert outsider.is_refused(f"INSERT OR REPLACE INTO {table} SELECT 0, {columns} FROM {table} WHERE number = 1")


async def test_idle_writer_notices_another_hand_at_a_row_that_is_signed_says_so_and_goes_on(
    sqlite_url: str, tmp_path: Path, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_EVERY_S", 0.02)
    writer = await JournalWriter.open(sqlite_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    await writer.append_many([entry(fields={"number": number}) for number in range(50)])
    await writer.checkpoint()
    assert writer.foreign_writes == 0
    edit_with_hash(Outsider(sqlite_url, lambda: sqlite3.connect(tmp_path / "journal.db")), 0)
    await until(lambda: writer.foreign_writes > 0 and writer.is_writable)
    await writer.append(entry(fields={"number": 2}))
    with reading(sqlite_url) as reader:
        recovered = [row.fields["cause"] for row in reader.read(50, 100) if row.kind is RowKind.JOURNAL_RECOVERED]
    assert recovered
    assert set(recovered) == {FOREIGN_WRITE}
    await writer.close()


async def test_row_that_is_not_signed_yet_and_edited_with_its_hash_is_not_taken_for_the_writers_own(
    sqlite_url: str, tmp_path: Path, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LOOK_EVERY_S", 0.02)
    writer = await JournalWriter.open(sqlite_url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
    await writer.append_many([entry(fields={"number": number}) for number in range(3)])
    edit_with_hash(Outsider(sqlite_url, lambda: sqlite3.connect(tmp_path / "journal.db")), 1)
    await until(lambda: writer.foreign_writes > 0 and "rows before 3 are not this writer's" in writer.last_failure)
    with pytest.raises(JournalUnavailable):
        await writer.append(entry())
    assert not writer.is_writable
    await writer.close()
