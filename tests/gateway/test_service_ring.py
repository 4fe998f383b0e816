"""The whole gateway in this process when its key ring changes: at work, over restarts, and with rows that were lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway.test_service import CODE, Running, rows_in, running, short_waits
from trust_parts import KEYS, enrolled

from trade_core.ring_keeper import BOOK_FILE, current_ring
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import read_ring, ring_hash
from trade_journal.log.rows import RowKind

__all__ = ["short_waits"]


async def until_active(it: Running, *, generation: int = 1) -> None:
    await it.until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
    await it.gateway.accept_lease(await it.lease(generation=generation))
    await it.until_state("ACTIVE")


async def test_gateway_enrols_two_keys_and_believes_leases_under_the_new_ring_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await until_active(it)
        first = read_ring(it.settings.ring_file)
        assert it.state["ring_hash"] == ring_hash(first)
        await it.gateway.accept_ring(enrolled(first, CODE))
        second = current_ring(it.settings.ring_file)
        assert (second.version, it.state["ring_hash"]) == (2, ring_hash(second))
        assert [one["label"] for one in it.state["ring"]["credentials"]] == ["first", "second"]
        assert it.state["trading_state"] == "REDUCE_ONLY"
        with pytest.raises(NotTrusted, match="ring_hash"):
            await it.gateway.accept_lease(await it.lease(generation=2, ring_hash=ring_hash(first)))
        await until_active(it, generation=2)
        with pytest.raises(NotTrusted):
            await it.gateway.accept_ring(enrolled(first, CODE, keys=KEYS[::-1]))
    async with running(tmp_path) as it:
        assert it.state["ring"]["version"] == 2
        await until_active(it)
    rows = [row for row in await rows_in(tmp_path) if row.kind.value.startswith("ring:")]
    assert [row.kind for row in rows] == [RowKind.RING_CHANGED, RowKind.RING_REFUSED]


async def test_gateway_finds_its_ring_in_the_journal_where_the_book_was_not_written(tmp_path: Path) -> None:
    async with running(tmp_path) as it:
        await it.gateway.accept_ring(enrolled(read_ring(it.settings.ring_file), CODE))
        hashed, book = it.state["ring_hash"], it.settings.state_dir / BOOK_FILE
    book.unlink()
    async with running(tmp_path) as it:
        assert it.state["ring_hash"] == hashed
    assert book.exists()
