"""The whole gateway with its journal in PostgreSQL, whose server dies while it is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway.test_service import ORIGIN, Running, running, short_waits
from journal.outsider import reading
from journal.postgres_server import PostgresServer

from trade_gateway.identity import load_identity
from trade_gateway.states import Fault
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import RowKind
from trade_journal.log.verify import verify_journal

__all__ = ["short_waits"]
pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Run a server of the test's own."""
    made = PostgresServer()
    yield made
    made.remove()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a writer does that tries again after pauses."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - several loops do what is waited for
            await asyncio.sleep(0.01)


async def until_active(it: Running, *, generation: int) -> None:
    await until(lambda: it.state["holders"]["own_faults"]["ceiling"] == "ACTIVE")
    await it.gateway.accept_lease(await it.lease(generation=generation))
    await it.until_state("ACTIVE")


async def test_gateway_adds_no_risk_while_its_server_is_dead_and_goes_on_after(
    tmp_path: Path, server: PostgresServer
) -> None:
    url = server.make_journal(ORIGIN)
    async with running(tmp_path, journal_at=url) as it:
        await until_active(it, generation=1)
        server.kill()
        await until(lambda: Fault.JOURNAL_UNWRITABLE.value in str(it.state["holders"]["own_faults"]["reason"]))
        assert it.state["trading_state"] == "REDUCE_ONLY"
        await asyncio.to_thread(server.start)
        await until_active(it, generation=2)
    async with running(tmp_path, journal_at=url) as it:
        await until_active(it, generation=1)
        keys = gateway_log_keys(load_identity(it.settings)[1])
    with reading(url) as reader:
        rows = reader.read(0, 1000)
        verdict = verify_journal(
            reader.stored_rows(0, 1000),
            notes=reader.checkpoints(0, 1000),
            cosigned=reader.cosigned(0, 1000),
            keys=keys,
        )
    kinds = [row.kind for row in rows]
    assert kinds.count(RowKind.PROCESS_STARTED) == kinds.count(RowKind.PROCESS_STOPPED) == 2
    assert RowKind.JOURNAL_RECOVERED in kinds
    assert verdict.is_good
    assert verdict.witnessed_rows > 0
    assert server.password not in str(rows)
