"""A state folder and its journal belong together from the first row on."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_gateway.genesis import GENESIS_FILE, check_genesis, permit_genesis, remember_genesis
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter

RING = "r" * 64


async def begin(journal: JournalWriter, *, ring: str = RING, boot: str = "b") -> None:
    fields = {"ring_hash": ring, "boot_nonce": boot}
    await journal.append(Entry(at_ns=1, kind=RowKind.PROCESS_STARTED, actor="gateway", fields=fields))


async def other_journal(folder: Path) -> JournalWriter:
    return await JournalWriter.open(f"sqlite:///{folder}/other.db", origin="trade/test", clock=SystemClock())


async def test_genesis_first_start_and_every_later_one_pass(tmp_path: Path, journal: JournalWriter) -> None:
    permit_genesis(tmp_path)
    await check_genesis(tmp_path, journal, ring_hash=RING)
    await begin(journal)
    await remember_genesis(tmp_path, journal)
    await check_genesis(tmp_path, journal, ring_hash=RING)
    await begin(journal, boot="second")
    await remember_genesis(tmp_path, journal)
    await check_genesis(tmp_path, journal, ring_hash=RING)


async def test_genesis_wiped_journal_is_refused(tmp_path: Path, journal: JournalWriter) -> None:
    permit_genesis(tmp_path)
    await begin(journal)
    await remember_genesis(tmp_path, journal)
    wiped = await other_journal(tmp_path)
    with pytest.raises(ConfigurationError, match="it is empty"):
        await check_genesis(tmp_path, wiped, ring_hash=RING)
    await wiped.close()


async def test_genesis_journal_of_another_folder_is_refused(tmp_path: Path, journal: JournalWriter) -> None:
    permit_genesis(tmp_path)
    await begin(journal)
    await remember_genesis(tmp_path, journal)
    foreign = await other_journal(tmp_path)
    await begin(foreign, boot="another")
    with pytest.raises(ConfigurationError, match="another row"):
        await check_genesis(tmp_path, foreign, ring_hash=RING)
    await foreign.close()


async def test_genesis_crash_before_the_file_is_forgiven_and_a_foreign_journal_is_not(
    tmp_path: Path, journal: JournalWriter
) -> None:
    permit_genesis(tmp_path)
    await begin(journal)
    await check_genesis(tmp_path, journal, ring_hash=RING)
    with pytest.raises(ConfigurationError, match="rows of another deployment"):
        await check_genesis(tmp_path, journal, ring_hash="another")


async def test_genesis_without_permit_is_refused_whatever_the_journal_has(
    tmp_path: Path, journal: JournalWriter
) -> None:
    # Wiping the file with the journal must not begin anew: the new journal would know of no halt.
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="wiped or foreign"):
            await check_genesis(tmp_path, journal, ring_hash=RING)
        await begin(journal)


async def test_genesis_permit_is_used_once(tmp_path: Path, journal: JournalWriter) -> None:
    permit_genesis(tmp_path)
    await remember_genesis(tmp_path, journal)  # nothing was begun
    await begin(journal)
    await remember_genesis(tmp_path, journal)
    used = (tmp_path / GENESIS_FILE).read_bytes()
    wiped = await other_journal(tmp_path)
    await begin(wiped, boot="second")
    await remember_genesis(tmp_path, wiped)
    assert (tmp_path / GENESIS_FILE).read_bytes() == used
    await wiped.close()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"first_leaf_hash": 1}', "\x00", "[" * 60_000])
async def test_genesis_file_that_says_nothing_is_refused(tmp_path: Path, journal: JournalWriter, content: str) -> None:
    (tmp_path / GENESIS_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=GENESIS_FILE):
        await check_genesis(tmp_path, journal, ring_hash=RING)
