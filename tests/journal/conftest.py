"""Journals in temporary folders and in a PostgreSQL server of their own, and entries to put into them.

A test that takes `journal_url` runs on every kind of database; on PostgreSQL it is slow, since the server is real.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from journal.gate import Gate
from journal.outsider import Outsider
from journal.postgres_server import READER, PostgresServer

from trade_core.clock import SystemClock
from trade_journal.log.rows import Entry, Fields, RowKind
from trade_journal.writer.writer import JournalWriter

ORIGIN = "gateway/simulated/test"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one server for all tests of this process."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> PostgresServer:
    """Give the server without any journal in it."""
    postgres_server.empty()
    return postgres_server


@pytest.fixture
def origin(request: pytest.FixtureRequest) -> str:
    """Name the journal: as the module of the test does, if it does."""
    return str(getattr(request.module, "ORIGIN", ORIGIN))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path, origin: str) -> str:
    """Name a journal that has no rows: a file that is yet to be made, or an empty schema of the module's origin."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.make_journal(origin)


@pytest.fixture
def reader_url(journal_url: str, request: pytest.FixtureRequest) -> str:
    """Name the same journal as somebody would who may only read it."""
    if journal_url.startswith("sqlite:"):
        return journal_url
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(READER)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Name a SQLite journal that is yet to be made."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def outsider(journal_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Outsider:
    """Get hold of the journal's database as its owner would."""
    if journal_url.startswith("sqlite:"):
        return Outsider(journal_url, lambda: sqlite3.connect(tmp_path / "journal.db"))
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Outsider(journal_url, server.admin)


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """Make entries that differ in what a test says."""

    def make(
        *, at_ns: int = 1, kind: RowKind = RowKind.ORDER_INTENT, fields: Fields | None = None, actor: str = "gateway"
    ) -> Entry:
        return Entry(at_ns=at_ns, kind=kind, actor=actor, fields={} if fields is None else fields)

    return make


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Put a gate before every commit; whatever a test leaves behind is let through."""
    made = Gate(monkeypatch)
    yield made
    made.is_open.set()
    made.fails_before = made.fails_after = 0


@pytest_asyncio.fixture
async def writer(journal_url: str, origin: str) -> AsyncIterator[JournalWriter]:
    """Open a writer on a fresh journal."""
    opened = await JournalWriter.open(journal_url, origin=origin, clock=SystemClock())
    yield opened
    await opened.close()
