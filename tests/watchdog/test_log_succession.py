"""A new log of the gateway: followed by the warrant in its first row for just the rows seen, and else withheld."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from trust_parts import KEYS, FastKey, touch
from watchdog.conftest import row_numbered

from trade_core.clock import SystemClock
from trade_core.trust.log_warrant import log_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant
from trade_journal.errors import Withheld
from trade_journal.log.log_succession import succession_entry
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Row, draft, leaf_hash, numbered, parse_row, row_bytes
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import verify_journal
from trade_journal.store.sealing import seal_old_rows
from trade_journal.store.segments import archive_beside
from trade_journal.store.store import JournalReader
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.identity import load_gateway_address
from trade_watchdog.log_witness import COPY_FILE, LogWitness


@pytest_asyncio.fixture
async def link(deployment: Any) -> AsyncIterator[GatewayLink]:
    made = GatewayLink(load_gateway_address(deployment.settings.gateway_handover))
    yield made
    await made.close()


def log_witness(deployment: Any, link: GatewayLink) -> LogWitness:
    return LogWitness(
        link=link,
        state_dir=deployment.state_dir,
        ring=deployment.ring,
        private_key=deployment.identity.witness_key,
    )


@pytest_asyncio.fixture
async def witness(deployment: Any, link: GatewayLink) -> AsyncIterator[LogWitness]:
    """A witness that has seen the three rows of the gateway's first log."""
    made = log_witness(deployment, link)
    made.open(has_vouched=False, clock=SystemClock())
    await made.cosigned(SystemClock())
    yield made
    made.close()


def lose_and_go_on(deployment: Any, *, size: int = 3, number: int = 2, **changed: Any) -> None:
    """Have the gateway go on in a new log behind its first rows; `changed` are fields of the warrant, or `by` whom."""
    gateway, by = deployment.gateway, changed.pop("by", KEYS[:1])
    kept = gateway.rows[:size]
    tree = Frontier().extended(leaf_hash(row_bytes(row)) for row in kept)
    gateway.log_number = number
    warrant = Warrant(
        purpose="log",
        version=1,
        deployment=deployment.ring.deployment,
        environment="simulated",
        audience="gateway",
        account=deployment.ring.account,
        ring_hash=ring_hash(deployment.ring),
        subject=log_subject(number=number, size=size, root=tree.root().hex()),
        nonce="n",
        words="the disk died",
        expires_at_ms=1,
    )
    entry = succession_entry(
        number=number,
        size=size,
        root=tree.root(),
        note=gateway.checkpoint(kept),
        warrant=touch(replace(warrant, **changed), by=by),
        at_ns=99,
    )
    first = parse_row(numbered(draft(entry).head, size))
    gateway.rows = [*kept, first, *(row_numbered(seq) for seq in range(size + 1, size + 3))]


def copied(deployment: Any, *, number: int) -> tuple[bool, int, int]:
    keys = gateway_log_keys(deployment.ring, number=number)
    reader = JournalReader(f"sqlite:///{deployment.state_dir / COPY_FILE}")
    verdict = verify_journal(reader.stored_rows(0, 1000), notes=reader.checkpoints(0, 1000), keys=keys)
    reader.close()
    return verdict.is_good, verdict.rows, verdict.witnessed_rows


async def test_new_log_is_followed_by_its_warrant(witness: LogWitness, deployment: Any, link: GatewayLink) -> None:
    lose_and_go_on(deployment)
    cosigned = await witness.cosigned(SystemClock())
    assert cosigned.decode().startswith("trade/simulated/1002/gateway/2\n6\n")
    assert copied(deployment, number=2) == (True, 6, 6)
    archive = archive_beside(deployment.state_dir / COPY_FILE)
    assert [path.name for path in archive.iterdir()] == ["rows-0000000000000000-0000000000000003.db"]
    witness.close()
    again = log_witness(deployment, link)
    again.open(has_vouched=True, clock=SystemClock())
    deployment.gateway.rows.append(row_numbered(6))
    assert (await again.cosigned(SystemClock())).decode().startswith("trade/simulated/1002/gateway/2\n7\n")
    again.close()


async def test_log_that_was_lost_is_not_believed_again(witness: LogWitness, deployment: Any) -> None:
    lost = [*deployment.gateway.rows, row_numbered(3)]
    lose_and_go_on(deployment)
    await witness.cosigned(SystemClock())
    deployment.gateway.rows, deployment.gateway.log_number = lost, 1
    with pytest.raises(Withheld):
        await witness.cosigned(SystemClock())
    assert witness.size == 6


async def test_new_log_is_lost_too_and_succeeded(witness: LogWitness, deployment: Any) -> None:
    lose_and_go_on(deployment)
    await witness.cosigned(SystemClock())
    lose_and_go_on(deployment, size=6, number=3)
    assert (await witness.cosigned(SystemClock())).decode().startswith("trade/simulated/1002/gateway/3\n9\n")
    assert copied(deployment, number=3) == (True, 9, 9)


async def test_new_log_behind_rows_that_are_all_sealed_is_followed(
    witness: LogWitness, deployment: Any, link: GatewayLink
) -> None:
    witness.close()
    keys = gateway_log_keys(deployment.ring)
    url = f"sqlite:///{deployment.state_dir / COPY_FILE}"
    assert seal_old_rows(url, origin=keys.journal, keys=keys, written_before_ns=2**62) is not None
    again = log_witness(deployment, link)
    again.open(has_vouched=True, clock=SystemClock())
    await again.cosigned(SystemClock())  # an idle journal is cosigned again, over the same rows
    lose_and_go_on(deployment)
    assert (await again.cosigned(SystemClock())).decode().startswith("trade/simulated/1002/gateway/2\n6\n")
    again.close()
    assert copied(deployment, number=2) == (True, 6, 6)
    names = sorted(path.name for path in archive_beside(deployment.state_dir / COPY_FILE).iterdir())
    assert names == ["rows-0000000000000000-0000000000000003.db", "rows-0000000000000003-0000000000000003.db"]
    third = log_witness(deployment, link)
    third.open(has_vouched=True, clock=SystemClock())
    assert third.size == 6
    third.close()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"by": [FastKey("stranger")]}, r"nobody has ordered: .*no security key"),
        ({"account": "9"}, "nobody has ordered: warrant: account"),
        ({"subject": f"log:3:3:{'ab' * 32}"}, "begins log 3 after log 1"),
        ({"subject": f"log:2:3:{'ab' * 32}"}, "over other rows than its warrant names"),
        ({"size": 2}, "nobody has ordered: row 3: says nothing of a new log"),
        ({"size": 3, "number": 3}, "0 signatures by trade/simulated/1002/gateway "),
    ],
)
async def test_new_log_that_nobody_has_ordered_for_these_rows_is_withheld(
    witness: LogWitness, deployment: Any, changed: dict[str, Any], why: str
) -> None:
    lose_and_go_on(deployment, **changed)
    with pytest.raises(Withheld, match=why):
        await witness.cosigned(SystemClock())
    assert (witness.size, copied(deployment, number=1)) == (3, (True, 3, 3))


async def test_new_log_behind_other_rows_is_withheld(witness: LogWitness, deployment: Any) -> None:
    other: Row = row_numbered(1, path="/v5/other")
    deployment.gateway.rows[1] = other
    lose_and_go_on(deployment)
    with pytest.raises(Withheld, match="behind other rows than the 3 that were seen"):
        await witness.cosigned(SystemClock())


async def test_new_log_without_its_first_row_is_withheld(witness: LogWitness, deployment: Any) -> None:
    lose_and_go_on(deployment)
    deployment.gateway.rows = deployment.gateway.rows[:3]
    with pytest.raises(Withheld, match="has no row 3, and so many rows were seen"):
        await witness.cosigned(SystemClock())
