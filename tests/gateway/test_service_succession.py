"""A gateway whose journal goes on in a new log: HALTED by a row that a person has ordered, and no start by another."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway.deployment import LOG_PRIVATE
from gateway.test_service import journal_url, running
from trust_parts import KEYS, FastKey, touch

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_core.ring_keeper import current_ring
from trade_core.trust.log_warrant import log_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant
from trade_gateway.identity import load_identity
from trade_gateway.settings import GatewaySettings
from trade_journal.log.checkpoint import open_checkpoint
from trade_journal.log.log_succession import succession_entry
from trade_journal.log.ring_keys import gateway_log_keys, gateway_log_signer
from trade_journal.log.rows import draft
from trade_journal.store.store import JournalStore


async def gone_on(folder: Path, *, key: FastKey = KEYS[0]) -> GatewaySettings:
    """Let a gateway begin, and write the first row of a new log behind what it wrote, ordered by a key."""
    async with running(folder, has_security_keys=True) as it:
        settings = it.settings
    ring = current_ring(settings.ring_file)
    store = JournalStore.open(journal_url(settings), origin=gateway_log_keys(ring).journal)
    tree = store.tree()
    warrant = Warrant(
        purpose="log",
        version=1,
        deployment=ring.deployment,
        environment="simulated",
        audience="gateway",
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=log_subject(number=2, size=tree.size, root=tree.root().hex()),
        nonce="n",
        words="the disk died",
        expires_at_ms=1,
    )
    entry = succession_entry(
        number=2,
        size=tree.size,
        root=tree.root(),
        note=gateway_log_signer(ring, LOG_PRIVATE, number=2).sign(tree).rendered().encode(),
        warrant=touch(warrant, by=[key]),
        at_ns=SystemClock().wall_ns(),
    )
    store.append([draft(entry)])
    store.append_checkpoint(gateway_log_signer(ring, LOG_PRIVATE, number=2).sign(store.tree()).rendered().encode())
    store.close()
    return settings


async def test_new_log_begins_halted_and_is_believed_from_its_row_on(tmp_path: Path) -> None:
    settings = await gone_on(tmp_path)
    keys = gateway_log_keys(load_identity(settings)[1], number=2)
    async with running(tmp_path, log_number=2) as it:
        assert it.state["holders"]["operator_latch"]["ceiling"] == "HALTED"
        assert "the journal was lost" in it.state["holders"]["operator_latch"]["reason"]
        assert it.state["latch_subject"].startswith("latch:")
        checkpoint, _ = open_checkpoint(await it.gateway.checkpoint(), log=keys.log)
        assert checkpoint.origin.endswith("/gateway/2")
        await it.gateway.accept_lease(await it.lease())
        assert it.state["trading_state"] == "HALTED"
        assert it.state["lease"]["generation"] == 1


async def test_new_log_that_nobody_has_ordered_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    await gone_on(tmp_path, key=FastKey("stranger"))
    with pytest.raises(ConfigurationError, match=r"goes on in a new log that nobody has ordered: .*no security key"):
        async with running(tmp_path, log_number=2):
            pass
