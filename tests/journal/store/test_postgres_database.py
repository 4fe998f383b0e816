"""The lease, and what becomes of a writer whose server refuses, goes away, or dies under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from journal.outsider import Outsider, reading
from journal.postgres_server import WRITER, PostgresServer, self_signed
from sqlalchemy import delete

from trade_core.clock import SystemClock
from trade_journal.errors import JournalDoubtful, JournalError, JournalRefused, JournalUnavailable
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.store.postgres_address import schema_of
from trade_journal.store.schema import ROWS
from trade_journal.store.store import JournalStore
from trade_journal.writer import writer as writer_module
from trade_journal.writer.writer import JournalWriter

pytestmark = pytest.mark.slow
ORIGIN = "trade/simulated/1002/gateway"
SCHEMA = schema_of(ORIGIN)
# The server's call returns when the sessions are gone, 10 s at most.
OWN_SESSIONS = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{WRITER}'"
Make = Callable[..., Entry]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_journal(ORIGIN)


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """Run a server of the test's own, which may die."""
    server = PostgresServer()
    yield server
    server.remove()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the other side is a thread, or a server
            await asyncio.sleep(0.01)


def test_second_writer_is_refused_by_origin_and_pid(url: str) -> None:
    first = JournalStore.open(url, origin=ORIGIN)
    with pytest.raises(
        JournalRefused, match=r"another writer .*\(pid \d+ at the server, trade-journal pid \d+\)"
    ) as no:
        JournalStore.open(url, origin=ORIGIN)
    assert f"journal '{ORIGIN}'" in str(no.value)
    first.close()
    JournalStore.open(url, origin=ORIGIN).close()


def test_lost_connection_ends_the_lease_and_the_old_writer_keeps_nothing_more(
    url: str, postgres_server: PostgresServer, entry: Make
) -> None:
    first = JournalStore.open(url, origin=ORIGIN)
    first.append([draft(entry())])
    postgres_server.run(OWN_SESSIONS)
    second = JournalStore.open(url, origin=ORIGIN)
    for _ in range(2):
        with pytest.raises(JournalUnavailable) as lost:
            first.append([draft(entry())])
        assert lost.value.cause.startswith("postgres_")
    assert second.append([draft(entry())]) == 1
    first.close()
    second.close()


def test_rows_on_another_connection_than_the_lease_s_are_not_kept(
    url: str, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JournalStore.open(url, origin=ORIGIN)
    database = store._database
    monkeypatch.setattr(database, "_backend", 1, raising=True)
    with pytest.raises(JournalUnavailable, match="not the connection that has the lease") as pooled:
        store.append([draft(entry())])
    assert pooled.value.cause == "postgres_pooled"
    assert store.read(0, 10) == []
    store.close()


async def test_writer_thrown_out_by_the_server_reads_what_became_of_its_rows_and_goes_on(
    url: str, postgres_server: PostgresServer, entry: Make
) -> None:
    writer = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock())
    await writer.append(entry())
    postgres_server.run(OWN_SESSIONS)
    with pytest.raises(JournalDoubtful) as doubt:
        await writer.append(entry())
    assert doubt.value.cause == "postgres_admin_shutdown"
    assert not await doubt.value.is_written
    await until(lambda: writer.is_writable)
    assert await writer.append(entry()) == 2
    rows = await writer.read(0, 10)
    assert [row.kind for row in rows] == [RowKind.ORDER_INTENT, RowKind.JOURNAL_RECOVERED, RowKind.ORDER_INTENT]
    assert rows[1].fields["cause"] == "postgres_admin_shutdown"
    await writer.close()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("53100", "postgres_disk_full"),
        ("25006", "postgres_read_only_sql_transaction"),
        ("40001", "postgres_serialization_failure"),
        ("57P01", "postgres_admin_shutdown"),
        ("53200", "postgres_out_of_memory"),
    ],
)
async def test_error_of_the_server_is_named_and_the_writer_recovers(
    *, url: str, postgres_server: PostgresServer, entry: Make, code: str, cause: str
) -> None:
    writer = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock())
    postgres_server.run(
        f"CREATE FUNCTION {SCHEMA}.fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no: \x1b[31m' USING ERRCODE = '{code}'; END $$",
        f"CREATE TRIGGER fail AFTER INSERT ON {SCHEMA}.rows EXECUTE FUNCTION {SCHEMA}.fail()",
    )
    with pytest.raises(JournalDoubtful) as failed:
        await writer.append(entry())
    assert failed.value.cause == cause
    assert "\x1b" not in str(failed.value)
    await until(lambda: "triggers" in writer.last_failure)
    assert not writer.is_writable
    postgres_server.run(f"DROP FUNCTION {SCHEMA}.fail() CASCADE")
    await until(lambda: writer.is_writable)
    await writer.append(entry())
    await writer.close()


def test_server_that_does_not_let_us_in_is_named_without_the_password(
    url: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:*:hunter2\n")
    wrong.chmod(0o600)
    for at, named in (
        (url.replace(str(postgres_server.passfile), str(wrong)), "password authentication failed"),
        (postgres_server.url(database="nothing"), 'database "nothing" does not exist'),
        (postgres_server.url("nobody"), "password authentication failed"),
        (postgres_server.url().replace(str(postgres_server.port), "1"), "connection"),
        (postgres_server.url(host="127.0.0.1").replace(str(postgres_server.port), "1"), "refused"),
    ):
        with pytest.raises(JournalUnavailable, match=named) as refused:
            JournalStore.open(at, origin=ORIGIN)
        assert refused.value.cause == "postgres_connection"
        assert "hunter2" not in str(refused.value)
        assert postgres_server.password not in str(refused.value)
    with pytest.raises(JournalUnavailable), reading(postgres_server.url(database="nothing")) as reader:
        reader.size()


def test_password_comes_from_libpq_s_own_file_too(
    url: str, postgres_server: PostgresServer, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres_server.passfile))
    monkeypatch.setenv("PGOPTIONS", "-c synchronous_commit=off")  # what we say ourselves is not overruled
    store = JournalStore.open(url.replace(f"passfile={postgres_server.passfile}&", ""), origin=ORIGIN)
    assert store.append([draft(entry())]) == 0
    store.close()


def test_server_that_asks_for_the_password_in_clear_is_not_told_it(
    url: str, mortal: PostgresServer, entry: Make
) -> None:
    mortal.make_journal(ORIGIN)
    mortal.ask_in_clear()
    with pytest.raises(JournalUnavailable, match="password") as refused:
        JournalStore.open(mortal.url(), origin=ORIGIN)
    assert mortal.password not in str(refused.value)


def test_journal_over_the_network_interface_is_the_same(postgres: PostgresServer, entry: Make) -> None:
    postgres.make_journal(ORIGIN)
    store = JournalStore.open(postgres.url(host="127.0.0.1"), origin=ORIGIN)
    assert store.append([draft(entry())]) == 0
    store.close()


def test_server_that_must_prove_who_it_is_does_or_is_told_nothing(mortal: PostgresServer, entry: Make) -> None:
    mortal.make_journal(ORIGIN)
    trusted = mortal.prove_itself()
    url = mortal.url(host="localhost", more=f"&sslmode=verify-full&sslrootcert={trusted}")
    store = JournalStore.open(url, origin=ORIGIN)
    assert store.append([draft(entry())]) == 0
    store.close()
    trusted.write_bytes(self_signed("localhost")[0])
    with pytest.raises(JournalUnavailable, match="certificate verify failed"):
        JournalStore.open(url, origin=ORIGIN)
    with pytest.raises(JournalUnavailable, match="certificate"):
        JournalStore.open(url.replace("@localhost", "@127.0.0.1"), origin=ORIGIN)


def waiting(server: PostgresServer) -> bool:
    """Say whether a commit waits for a standby."""
    with server.admin() as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone()
    return found is not None and found[0] > 0


@pytest.mark.parametrize(("ended_by", "cause"), [("terminate", "postgres_connection"), ("cancel", "postgres_warning")])
async def test_commit_that_never_reached_its_standby_is_in_doubt_until_it_is_read(
    *, mortal: PostgresServer, entry: Make, monkeypatch: pytest.MonkeyPatch, ended_by: str, cause: str
) -> None:
    monkeypatch.setattr(writer_module, "COMMIT_DEADLINE_S", 60.0)
    writer = await JournalWriter.open(mortal.make_journal(ORIGIN), origin=ORIGIN, clock=SystemClock())
    mortal.setting("synchronous_standby_names", "nobody")
    append = asyncio.create_task(writer.append(entry()))
    await until(lambda: waiting(mortal))
    mortal.run(
        f"SELECT pg_{ended_by}_backend(pid) FROM pg_stat_activity WHERE usename = '{WRITER}' AND state = 'active'"
    )
    with pytest.raises(JournalDoubtful) as doubt:
        await append
    assert doubt.value.cause == cause
    mortal.setting("synchronous_standby_names", None)
    assert await doubt.value.is_written
    await until(lambda: writer.is_writable)
    assert await writer.append(entry()) == 2
    rows = await writer.read(0, 10)
    assert rows[1].fields["rows_survived"] == 1
    await writer.close()


async def test_server_that_comes_back_without_an_acknowledged_row_is_not_written_to(
    url: str, postgres_server: PostgresServer, entry: Make
) -> None:
    writer = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock())
    for _ in range(3):
        await writer.append(entry())
    Outsider(url, postgres_server.admin).tamper(delete(ROWS).where(ROWS.c.seq == 2))
    postgres_server.run(OWN_SESSIONS)
    with pytest.raises(JournalDoubtful):
        await writer.append(entry())
    await until(lambda: "rows from 3 on are not this writer's" in writer.last_failure)
    assert not writer.is_writable
    await writer.close()


@pytest.mark.timeout(720)
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    mortal: PostgresServer, entry: Make
) -> None:
    url = mortal.make_journal(ORIGIN)
    writer = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock())
    acknowledged: dict[int, tuple[int, int]] = {}
    is_over = asyncio.Event()

    async def client(name: int) -> None:
        for number in count():
            if is_over.is_set():
                return
            try:
                seq = await writer.append(entry(fields={"client": name, "number": number}))
            except JournalError:
                await asyncio.sleep(0.01)
            else:
                acknowledged[seq] = (name, number)

    clients = [asyncio.create_task(client(name)) for name in range(16)]
    for _ in range(3):
        before = len(acknowledged)
        await until(lambda: len(acknowledged) >= before + 300)  # noqa: B023 - awaited at once
        mortal.kill()
        await until(lambda: not writer.is_writable)
        await asyncio.to_thread(mortal.start)
        await until(lambda: writer.is_writable)
    is_over.set()
    await asyncio.gather(*clients)
    await writer.close()
    with reading(url) as reader:
        rows = [row for first in range(0, reader.size(), 1000) for row in reader.read(first, 1000)]
    assert [row.seq for row in rows] == list(range(len(rows)))
    for seq, (name, number) in acknowledged.items():
        assert rows[seq].fields == {"client": name, "number": number}
    assert sum(row.kind is RowKind.JOURNAL_RECOVERED for row in rows) >= 3
