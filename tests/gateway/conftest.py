"""A real journal on disk, and the recorder that writes into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from trade_core.clock import ManualClock, SystemClock
from trade_gateway.metrics import Metrics
from trade_gateway.recorder import Recorder
from trade_journal.errors import JournalUnavailable
from trade_journal.writer.writer import JournalWriter


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def metrics() -> Metrics:
    """Metrics on a registry of their own."""
    return Metrics()


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    """An open journal; what a test leaves unwritten is lost with it."""
    opened = await JournalWriter.open(f"sqlite:///{tmp_path}/gateway.db", origin="trade/test", clock=SystemClock())
    yield opened
    try:
        await opened.close()
    except JournalUnavailable:
        assert not opened.is_writable


@pytest.fixture
def recorder(journal: JournalWriter, clock: ManualClock, metrics: Metrics) -> Recorder:
    """The recorder of that journal."""
    return Recorder(journal=journal, clock=clock, metrics=metrics, policy_hash="a" * 64)
