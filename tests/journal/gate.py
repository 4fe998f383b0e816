"""Where a test stands between the writer and its store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Draft
from trade_journal.store.store import JournalStore


class Gate:
    """Holds commits back, or makes them fail, where the writer meets the store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.entered = threading.Semaphore(0)
        self.fails_before = 0
        self.fails_after = 0
        self._append = JournalStore.append
        monkeypatch.setattr(JournalStore, "append", lambda store, drafts: self._gated(store, drafts))  # noqa: PLW0108 - a bound method would not get the store

    def _gated(self, store: JournalStore, drafts: Sequence[Draft]) -> int:
        self.entered.release()
        assert self.is_open.wait(30)
        if self.fails_before:
            self.fails_before -= 1
            raise JournalUnavailable("injected before the commit", cause="sqlite_full")
        first = self._append(store, drafts)
        if self.fails_after:
            self.fails_after -= 1
            raise JournalUnavailable("injected after the commit", cause="sqlite_ioerr_fsync")
        return first


async def until(condition: Callable[[], bool]) -> None:
    """Poll until a condition holds; the test's failure when it never does."""
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - the other side is a thread without an event
            await asyncio.sleep(0.005)
