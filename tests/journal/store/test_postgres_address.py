"""URLs of journals in PostgreSQL: what they may say, and that no message repeats a password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trade_journal.errors import JournalRefused
from trade_journal.store.database import parse_url
from trade_journal.store.postgres_address import PostgresAddress, postgres_address, schema_of


def address(url: str) -> PostgresAddress:
    return postgres_address(parse_url(url))


def test_url_names_host_port_database_role_and_journal() -> None:
    found = address("postgresql://gw_1002@127.0.0.1:5433/journals?journal=trade/simulated/1002/gateway")
    assert found.journal == "trade/simulated/1002/gateway"
    assert found.place == "postgresql://gw_1002@127.0.0.1:5433/journals"
    wanted = {"host": "127.0.0.1", "port": 5433, "dbname": "journals", "user": "gw_1002", "sslmode": "prefer"}
    assert found.parameters() == {**wanted, "gssencmode": "disable", "require_auth": "!password"}


def test_url_of_a_unix_socket_names_its_folder() -> None:
    found = address("postgresql://gw@/journals?host=/run/postgresql")
    assert (found.host, found.port, found.sslmode) == ("/run/postgresql", 5432, "prefer")
    assert found.place == "postgresql://gw@:5432/journals?host=/run/postgresql"


def test_server_over_a_network_must_prove_who_it_is() -> None:
    assert address("postgresql://gw@db.example.org/journals").sslmode == "verify-full"
    assert address("postgresql://gw@db.example.org/j?sslmode=verify-full&sslrootcert=system").files == {
        "sslrootcert": "system"
    }
    assert "require_auth" not in address("postgresql://gw@db.example.org/journals").parameters()
    for mode in ("disable", "prefer", "require", "verify-ca"):
        with pytest.raises(JournalRefused, match="only verify-full over a network"):
            address(f"postgresql://gw@db.example.org/journals?sslmode={mode}")
        assert address(f"postgresql://gw@localhost/journals?sslmode={mode}").sslmode == mode


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://gw@/journals", "expected one host"),
        ("postgresql://gw@one/journals?host=other", "expected one host"),
        ("postgresql://one/journals", "the role is missing"),
        ("postgresql://gw@one", "the database is missing"),
        ("postgresql://gw@one,two/journals", "the host is missing or has other characters"),
        ("postgresql://gw@one/journals?options=-cfsync%3Doff", "unknown option 'options'"),
        ("postgresql://gw@one/journals?password=hunter2", "unknown option 'password'"),
        ("postgresql://gw@one/journals?journal=a&journal=b", "journal: expected one value"),
        ("postgresql://gw@localhost/journals?sslmode=maybe", "sslmode: expected one of"),
        ("postgresql://gw@one/journals?sslrootcert=ca.pem", "sslrootcert: expected an absolute path"),
        ("postgresql://gw@one/journals?passfile=/nonexistent", "/nonexistent: password file cannot be read"),
        ("postgresql://gw@one:port/journals", "not a database URL"),
        ("postgresql://gw:hunter2@one/journals", "holds a password; put it into a file"),
        ("postgresql://gw:hunter2@one:port/journals", "not a database URL"),
        ("postgres://gw:hunter2@one/journals", "found postgres$"),
    ],
)
def test_url_that_says_something_else_is_refused_without_its_password(url: str, named: str) -> None:
    with pytest.raises(JournalRefused, match=named) as refused:
        address(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_password_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "passfile"
    path.write_text("*:*:*:*:hunter2\n")
    path.chmod(mode)
    with pytest.raises(JournalRefused, match=f"mode 0600 \\(found {mode:04o}\\)"):
        address(f"postgresql://gw@one/journals?passfile={path}")
    path.chmod(0o600)
    assert address(f"postgresql://gw@one/journals?passfile={path}").files == {"passfile": str(path)}
    with pytest.raises(JournalRefused, match="regular file"):
        address(f"postgresql://gw@one/journals?passfile={tmp_path}")


def test_schema_is_named_for_people_and_differs_for_each_origin() -> None:
    names = [
        "trade/simulated/1002/gateway",
        "trade/simulated/1002/Gateway",
        "trade_simulated_1002_gateway",
        "trade/simulated/1003/gateway",
        '"; DROP SCHEMA x; --',
        "a" * 200,
        "é",
    ]
    schemas = [schema_of(name) for name in names]
    assert schemas[0].startswith("trade_journal_trade_simulated_1002_gateway_")
    assert len(set(schemas)) == len(names)
    for schema in schemas:
        assert re.fullmatch("[a-z0-9_]{1,63}", schema)
