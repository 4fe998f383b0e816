"""Journals in temporary folders, and entries to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from trade_core.clock import SystemClock
from trade_journal.rows import Entry, Fields, RowKind
from trade_journal.writer import JournalWriter

ORIGIN = "gateway/simulated/test"


@pytest.fixture
def journal_url(tmp_path: Path) -> str:
    """Name a journal that is yet to be made."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """Make entries that differ in what a test says."""

    def make(
        *, at_ns: int = 1, kind: RowKind = RowKind.ORDER_INTENT, fields: Fields | None = None, actor: str = "gateway"
    ) -> Entry:
        return Entry(at_ns=at_ns, kind=kind, actor=actor, fields={} if fields is None else fields)

    return make


@pytest_asyncio.fixture
async def writer(journal_url: str) -> AsyncIterator[JournalWriter]:
    """Open a writer on a fresh journal."""
    opened = await JournalWriter.open(journal_url, origin=ORIGIN, clock=SystemClock())
    yield opened
    await opened.close()
