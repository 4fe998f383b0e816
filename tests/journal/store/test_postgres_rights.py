"""What a journal's role may do in PostgreSQL, and what the server must do: more, less or other is refused by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from journal.outsider import Outsider, reading
from journal.postgres_server import DATABASE, OWNER, READER, WRITER, PostgresServer

from trade_journal.errors import JournalDamaged, JournalError, JournalRefused, JournalUnavailable
from trade_journal.store.postgres_address import schema_of
from trade_journal.store.store import JournalStore

pytestmark = pytest.mark.slow
ORIGIN, OTHER = "trade/simulated/1002/gateway", "trade/simulated/1003/gateway"
SCHEMA = schema_of(ORIGIN)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_journal(ORIGIN)


@pytest.fixture
def tidy(postgres_server: PostgresServer) -> Iterator[list[str]]:
    """Collect what a test changed outside its schema, to be undone."""
    undo: list[str] = []
    yield undo
    postgres_server.run(*undo)


def refusal(url: str) -> str:
    with pytest.raises(JournalError) as refused:
        JournalStore.open(url, origin=ORIGIN).close()
    return str(refused.value)


def test_role_with_just_its_rights_is_taken(url: str) -> None:
    JournalStore.open(url, origin=ORIGIN).close()


@pytest.mark.parametrize(
    ("change", "undo", "named"),
    [
        (f"GRANT UPDATE ON {SCHEMA}.rows TO {WRITER}", "", "UPDATE on rows"),
        (f"GRANT UPDATE (at_ns) ON {SCHEMA}.rows TO {WRITER}", "", "UPDATE on rows"),
        (f"GRANT DELETE ON {SCHEMA}.checkpoints TO {WRITER}", "", "DELETE on checkpoints"),
        (f"GRANT TRUNCATE ON {SCHEMA}.cosignatures TO PUBLIC", "", "TRUNCATE on cosignatures"),
        (f"GRANT TRIGGER ON {SCHEMA}.rows TO {WRITER}", "", "TRIGGER on rows"),
        (f"GRANT INSERT ON {SCHEMA}.journal_format TO {WRITER}", "", "INSERT on journal_format"),
        (f"GRANT CREATE ON SCHEMA {SCHEMA} TO {WRITER}", "", f"CREATE in schema {SCHEMA}"),
        (f"ALTER TABLE {SCHEMA}.rows OWNER TO {WRITER}", "", f"owner of {SCHEMA}.rows"),
        (
            f"GRANT CREATE ON DATABASE {DATABASE} TO {WRITER}",
            f"REVOKE CREATE ON DATABASE {DATABASE} FROM {WRITER}",
            f"CREATE in database {DATABASE}",
        ),
        (f"GRANT {OWNER} TO {WRITER}", f"REVOKE {OWNER} FROM {WRITER}", f"member of role {OWNER}"),
        (
            f"GRANT pg_write_all_data TO {WRITER}",
            f"REVOKE pg_write_all_data FROM {WRITER}",
            "member of role pg_write_all_data",
        ),
        (f"ALTER ROLE {WRITER} SUPERUSER", f"ALTER ROLE {WRITER} NOSUPERUSER", "superuser"),
        (f"ALTER ROLE {WRITER} CREATEROLE", f"ALTER ROLE {WRITER} NOCREATEROLE", "CREATEROLE"),
        (f"ALTER ROLE {WRITER} BYPASSRLS", f"ALTER ROLE {WRITER} NOBYPASSRLS", "BYPASSRLS"),
    ],
)
def test_role_that_may_do_more_is_refused_by_the_right(
    *, url: str, postgres_server: PostgresServer, tidy: list[str], change: str, undo: str, named: str
) -> None:
    tidy += [undo] if undo else []
    postgres_server.run(change)
    said = refusal(url)
    assert f"role {WRITER} may do more than INSERT and SELECT: " in said
    assert named in said


def test_session_that_acts_as_another_role_is_refused(
    url: str, postgres_server: PostgresServer, tidy: list[str]
) -> None:
    tidy += [f"ALTER ROLE {WRITER} RESET role", f"REVOKE {READER} FROM {WRITER}"]
    postgres_server.run(f"GRANT {READER} TO {WRITER}", f"ALTER ROLE {WRITER} SET role = {READER}")
    assert f"the session acts as role {READER}, not as {WRITER}" in refusal(url)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (f"REVOKE INSERT ON {SCHEMA}.rows FROM {WRITER}", "lacks rights: INSERT on rows"),
        (f"REVOKE INSERT ON {SCHEMA}.cosignatures FROM {WRITER}", "lacks rights: INSERT on cosignatures"),
        (f"REVOKE SELECT ON {SCHEMA}.rows FROM {WRITER}", "lacks rights: SELECT on rows"),
        (f"REVOKE SELECT ON {SCHEMA}.journal_format FROM {WRITER}", "a right is missing: permission denied"),
        (f"REVOKE USAGE ON SCHEMA {SCHEMA} FROM {WRITER}", f"has no right to the journal of '{ORIGIN}'"),
    ],
)
def test_role_that_may_do_less_is_refused_by_the_right(
    url: str, postgres_server: PostgresServer, change: str, named: str
) -> None:
    postgres_server.run(change)
    assert named in refusal(url)


def test_role_of_two_journals_is_refused_and_one_journal_never_sees_another(
    url: str, postgres_server: PostgresServer, tidy: list[str]
) -> None:
    tidy += ["DROP OWNED BY other_writer", "DROP ROLE other_writer"]
    postgres_server.run(f"CREATE ROLE other_writer LOGIN PASSWORD '{postgres_server.password}'")
    other = postgres_server.make_journal(OTHER, role="other_writer")
    JournalStore.open(other, origin=OTHER).close()
    with pytest.raises(JournalRefused, match=f"no right to the journal of '{ORIGIN}'"):
        JournalStore.open(postgres_server.url("other_writer"), origin=ORIGIN)
    with reading(other) as reader:
        assert reader.size() == 0  # of its own: the only one that it sees
    postgres_server.run(f"GRANT USAGE ON SCHEMA {schema_of(OTHER)} TO {WRITER}")
    assert f"another journal: {schema_of(OTHER)}" in refusal(url)


def test_reader_of_several_journals_must_name_one(url: str, postgres_server: PostgresServer, tidy: list[str]) -> None:
    tidy += ["DROP OWNED BY other_writer", "DROP ROLE other_writer"]
    postgres_server.run("CREATE ROLE other_writer LOGIN")
    postgres_server.make_journal(OTHER, role="other_writer")
    with (
        pytest.raises(JournalRefused, match="several journals there") as refused,
        reading(postgres_server.url(READER)) as reader,
    ):
        reader.size()
    assert schema_of(ORIGIN) in str(refused.value)
    with reading(postgres_server.url(READER, more=f"&journal={ORIGIN}")) as reader:
        assert reader.size() == 0


def test_reader_of_none_is_told_so(postgres: PostgresServer) -> None:
    for more, named in (("", "no journal there, or none that"), (f"&journal={ORIGIN}", f"no journal of '{ORIGIN}'")):
        with pytest.raises(JournalRefused, match=named), reading(postgres.url(READER, more=more)) as reader:
            reader.size()


def test_url_that_names_another_journal_than_the_writer_s_is_refused(url: str, postgres_server: PostgresServer) -> None:
    with pytest.raises(JournalRefused, match=f"names the journal '{OTHER}'; expected '{ORIGIN}'"):
        JournalStore.open(postgres_server.url(more=f"&journal={OTHER}"), origin=ORIGIN)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("fsync", "off", "fsync is off, not on"),
        ("full_page_writes", "off", "full_page_writes is off, not on"),
        ("synchronous_commit", "off", "synchronous_commit is off, not on"),
        ("synchronous_commit", "local", "synchronous_commit is local, not on"),
    ],
)
def test_server_that_does_not_keep_what_it_acknowledges_is_refused(
    *, url: str, postgres_server: PostgresServer, name: str, value: str, named: str
) -> None:
    postgres_server.setting(name, value)
    try:
        assert f"does not keep what it acknowledges: {named}" in refusal(url)
    finally:
        postgres_server.setting(name, None)
    JournalStore.open(url, origin=ORIGIN).close()


def test_session_in_which_triggers_do_not_fire_is_refused(
    url: str, postgres_server: PostgresServer, tidy: list[str]
) -> None:
    tidy.append(f"ALTER ROLE {WRITER} RESET session_replication_role")
    postgres_server.run(f"ALTER ROLE {WRITER} SET session_replication_role = replica")
    assert "session_replication_role is replica, not origin" in refusal(url)


def test_server_that_takes_no_writes_is_unavailable(url: str, postgres_server: PostgresServer, tidy: list[str]) -> None:
    tidy.append(f"ALTER ROLE {WRITER} RESET default_transaction_read_only")
    store = JournalStore.open(url, origin=ORIGIN)
    store.close()
    postgres_server.run(f"ALTER ROLE {WRITER} SET default_transaction_read_only = on")
    with pytest.raises(JournalUnavailable, match="read-only"):
        JournalStore.open(url, origin=ORIGIN)


@pytest.mark.parametrize(
    "change",
    [
        f"ALTER TABLE {SCHEMA}.rows DISABLE TRIGGER rows_refuse_change",
        f"ALTER TABLE {SCHEMA}.rows ENABLE REPLICA TRIGGER rows_refuse_gap",
        f"DROP TRIGGER checkpoints_refuse_change ON {SCHEMA}.checkpoints",
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.rows_refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NULL; END'",
        f"CREATE TRIGGER more BEFORE INSERT ON {SCHEMA}.rows FOR EACH STATEMENT"
        f" EXECUTE FUNCTION {SCHEMA}.rows_refuse_change()",
        f"ALTER TABLE {SCHEMA}.rows SET UNLOGGED",
        f"ALTER TABLE {SCHEMA}.rows ENABLE ROW LEVEL SECURITY",
        f"CREATE RULE nothing AS ON INSERT TO {SCHEMA}.rows DO INSTEAD NOTHING",
        f"CREATE TABLE {SCHEMA}.more () INHERITS ({SCHEMA}.rows)",
        f"ALTER TABLE {SCHEMA}.rows DROP CONSTRAINT rows_pkey",
    ],
)
def test_tables_that_are_not_as_they_were_made_are_damaged(
    url: str, postgres_server: PostgresServer, change: str
) -> None:
    postgres_server.run(change)
    with pytest.raises(JournalDamaged, match=r"not as (it was|they were) made"):
        JournalStore.open(url, origin=ORIGIN)
    with pytest.raises(JournalDamaged), reading(postgres_server.url(READER)) as reader:
        reader.size()


def test_schema_of_another_program_is_refused(url: str, postgres_server: PostgresServer) -> None:
    postgres_server.run(f"DROP TABLE {SCHEMA}.journal_format")
    assert f"not a journal of this platform; schema {SCHEMA} has " in refusal(url)


def test_journal_of_another_origin_under_our_name_is_refused(url: str, postgres_server: PostgresServer) -> None:
    postgres_server.run(f"UPDATE {SCHEMA}.journal_format SET origin = 'x'")
    assert f"journal of 'x'; expected '{ORIGIN}'" in refusal(url)


def test_truncation_is_refused_even_to_the_owner(url: str, postgres_server: PostgresServer) -> None:
    outsider = Outsider(url, postgres_server.admin)
    for table in ("rows", "checkpoints", "cosignatures"):
        assert outsider.is_refused(f"TRUNCATE {table}")
