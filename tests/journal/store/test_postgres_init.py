"""`trade-journal database init`: a journal with its rights, or a refusal that leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal.postgres_server import DATABASE, OWNER, READER, WRITER, PostgresServer

from trade_journal.cli import EXIT_GOOD, EXIT_UNREADABLE, main
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.store.postgres_address import schema_of
from trade_journal.store.store import JournalStore

ORIGIN = "trade/simulated/1002/gateway"
Said = pytest.CaptureFixture[str]


def init(server: PostgresServer, *, owner: str = OWNER, role: str = WRITER, origin: str = ORIGIN) -> int:
    url = server.url(owner)
    return main(["database", "init", url, "--origin", origin, "--role", role, "--reader", READER])


@pytest.mark.slow
def test_journal_is_made_once_and_used_by_its_roles(postgres: PostgresServer, capsys: Said) -> None:
    assert init(postgres) == EXIT_GOOD
    said = capsys.readouterr().out
    assert f"made an empty journal of {ORIGIN} (schema {schema_of(ORIGIN)})" in said
    assert f"{WRITER} may read it and add to it, {READER} may read it" in said
    store = JournalStore.open(postgres.url(), origin=ORIGIN)
    store.append([draft(Entry(at_ns=1, kind=RowKind.ORDER_INTENT, actor="gateway", fields={}))])
    store.close()
    assert main(["stats", "--journal", postgres.url(READER)]) == EXIT_GOOD
    assert capsys.readouterr().out.startswith("1 rows")
    assert init(postgres) == EXIT_UNREADABLE
    said = capsys.readouterr().err
    assert f"there is a journal of '{ORIGIN}' already" in said
    assert postgres.password not in said
    assert main(["stats", "--journal", postgres.url(READER)]) == EXIT_GOOD
    assert capsys.readouterr().out.startswith("1 rows")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"role": "nobody_here"}, "no such role: nobody_here"),
        ({"role": OWNER}, f"the owner must be another role than {OWNER}"),
        ({"owner": READER, "role": OWNER}, "the owner must be another role"),
        ({"origin": "two words"}, "--origin: a key name is"),
        ({"role": "postgres"}, "role postgres may do more than INSERT and SELECT: superuser"),
    ],
)
def test_journal_that_would_not_be_safe_is_not_made(
    postgres: PostgresServer, capsys: Said, wrong: dict[str, str], named: str
) -> None:
    assert init(postgres, **wrong) == EXIT_UNREADABLE
    said = capsys.readouterr().err
    assert named in said
    assert "Traceback" not in said
    with postgres.admin() as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'trade_journal_%'").fetchone()
    assert found == (0,)


@pytest.mark.slow
def test_owner_without_the_right_to_make_schemas_is_told_so(postgres: PostgresServer, capsys: Said) -> None:
    arguments = ["database", "init", postgres.url(READER), "--origin", ORIGIN, "--role", WRITER]
    assert main(arguments) == EXIT_UNREADABLE
    assert f"permission denied for database {DATABASE}" in capsys.readouterr().err


def test_file_needs_no_init(tmp_path: Path, capsys: Said) -> None:
    arguments = ["database", "init", f"sqlite:///{tmp_path}/j.db", "--origin", ORIGIN, "--role", WRITER]
    assert main(arguments) == EXIT_UNREADABLE
    assert "a SQLite journal needs no init" in capsys.readouterr().err
