"""The guard of the executor's journal: another hand calls a person and is named, and takes nothing from a kill."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trade_core.clock import SystemClock
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter
from trade_killswitch import journal_guard
from trade_killswitch.journal_guard import SUBJECT, WORDS, JournalGuard
from trade_killswitch.own_samples import READY


class Around:
    """The journal's count, the rows, and who is called."""

    def __init__(self) -> None:
        self.journal = SimpleNamespace(foreign_writes=0)
        self.rows: list[tuple[RowKind, Any]] = []
        self.told: list[tuple[str, str]] = []
        self.guard = JournalGuard(
            journal=self.journal,
            recorder=self,  # type: ignore[arg-type]
            tell=lambda subject, text: self.told.append((subject, text)),
        )

    async def record(self, kind: RowKind, fields: Any) -> bool:
        self.rows.append((kind, fields))
        return True


async def test_journal_that_nobody_else_wrote_to_is_ready() -> None:
    around = Around()
    await around.guard.look()
    assert (around.guard.words, around.told, around.rows) == (READY, [], [])


async def test_another_hand_is_told_and_an_incident_each_time_and_named_until_the_next_start() -> None:
    around = Around()
    for around.journal.foreign_writes in (1, 1, 2, 0):
        await around.guard.look()
        assert around.guard.words == WORDS
    assert around.told == [(SUBJECT, WORDS)] * 2
    incident = {"type": "foreign write", "severity": "critical", "reason": WORDS}
    assert around.rows == [(RowKind.INCIDENT_OPENED, incident)] * 2


async def test_it_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_guard, "LOOK_EVERY_S", 0)
    around = Around()
    task = asyncio.create_task(around.guard.keep_looking())
    await asyncio.sleep(0)
    around.journal.foreign_writes = 1
    async with asyncio.timeout(60):
        while not around.rows:  # noqa: ASYNC110 - the guard has no event
            await asyncio.sleep(0)
    task.cancel()


async def test_another_hand_in_a_journal_on_the_disk_is_told(tmp_path: Path) -> None:
    file = tmp_path / "executor.db"
    writer = await JournalWriter.open(f"sqlite:///{file}", origin="trade/simulated/1/executor", clock=SystemClock())
    around = Around()
    guard = JournalGuard(
        journal=writer,
        recorder=around,  # type: ignore[arg-type]
        tell=lambda subject, text: around.told.append((subject, text)),
    )
    await writer.append(Entry(at_ns=1, kind=RowKind.PROCESS_STARTED, actor="executor", fields={"process": "executor"}))
    await guard.look()
    assert guard.words == READY
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA user_version = 1")
        other.execute("PRAGMA user_version = 0")
    async with asyncio.timeout(60):
        while guard.words == READY:
            await asyncio.sleep(0.05)
            await guard.look()
    assert around.told == [(SUBJECT, WORDS)]
    await writer.close()
