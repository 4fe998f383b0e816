"""A running journal writer, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from journal.writing import Writing, writing

from trade_journal.errors import JournalUnavailable
from trade_journal.writer.client import JournalClient


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Writing]:
    """A running journal writer."""
    async with writing(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def journal(there: Writing) -> AsyncIterator[JournalClient]:
    """A client of it; what a test leaves unwritten is lost with it."""
    opened = await there.client()
    yield opened
    try:
        await opened.close()
    except JournalUnavailable:
        assert opened.pending
