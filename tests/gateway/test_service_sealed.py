"""A gateway that starts over a sealed journal knows what the segments say, and does not start when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway.test_service import journal_url, running

from trade_gateway.identity import load_identity
from trade_journal.errors import JournalRefused
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.store.sealing import Sealed, seal_old_rows


async def sealed_after_a_halt(folder: Path) -> Sealed:
    """Halt, let the halt be witnessed, stop, and seal the journal; the file in use holds nothing of the halt then."""
    async with running(folder) as it:
        await it.gateway.halt("by hand", by="operator")
        await it.gateway.accept_lease(await it.lease())
        await it.until(lambda: it.journal.witnessed_size > 0)
        settings = it.settings
    keys = gateway_log_keys(load_identity(settings)[1])
    sealed = seal_old_rows(journal_url(settings), origin=keys.log.name, keys=keys, written_before_ns=2**62)
    assert sealed is not None
    return sealed


async def test_halt_in_a_sealed_segment_still_holds(tmp_path: Path) -> None:
    sealed = await sealed_after_a_halt(tmp_path)
    async with running(tmp_path) as it:
        assert it.state["holders"]["operator_latch"]["reason"] == "by hand"
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "HALTED"
        assert it.state["journal"]["witnessed_size"] >= sealed.end


async def test_gateway_does_not_start_without_a_segment(tmp_path: Path) -> None:
    sealed = await sealed_after_a_halt(tmp_path)
    sealed.path.unlink()
    with pytest.raises(JournalRefused, match=r"the sealed segment of rows 0 to .* is missing"):
        async with running(tmp_path):
            pass
