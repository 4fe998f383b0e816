"""What the journal's role may do in PostgreSQL: exactly INSERT and SELECT on its own journal, or nothing is opened.

Guarantees
- A role that could change, delete or hide rows, own or make anything, or see another journal is refused, and each
  right found is named. So is one that lacks a right.
- A server that does not make commits durable, or a session in which triggers do not fire, is refused by the setting.

Settings are looked at when the journal is opened. Who administers the server can change them later.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from trade_journal.errors import JournalRefused, JournalUnavailable
from trade_journal.store.postgres_address import SCHEMA_PREFIX
from trade_journal.store.schema import APPEND_ONLY, BEGINNING, FORMAT

_DURABLE: Final = ("on", "remote_apply")
_NAMED_MAX: Final = 8  # rights named in one message
# A role that is a member of another may take on all that the other may do.
_POWERS: Final = text(
    "SELECT 'superuser' WHERE (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = :role)"
    " UNION ALL SELECT attribute FROM pg_catalog.pg_roles r, LATERAL (VALUES ('CREATEROLE', r.rolcreaterole),"
    " ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)) v(attribute, has)"
    " WHERE r.rolname = :role AND v.has"
    " UNION ALL SELECT 'member of role ' || o.rolname FROM pg_catalog.pg_roles o WHERE o.rolname <> :role"
    " AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = :role)"
    " AND pg_catalog.pg_has_role(:role, o.oid, 'MEMBER')"
    " UNION ALL SELECT 'CREATE in database ' || pg_catalog.current_database()"
    " WHERE pg_catalog.has_database_privilege(:role, pg_catalog.current_database(), 'CREATE')"
    " UNION ALL SELECT 'CREATE in schema ' || n.nspname FROM pg_catalog.pg_namespace n"
    " WHERE n.nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(:role, n.oid, 'CREATE')"
    " UNION ALL SELECT 'owner of ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles o ON o.oid = c.relowner"
    " WHERE n.nspname = :schema AND o.rolname = :role"
    " UNION ALL SELECT 'another journal: ' || n.nspname FROM pg_catalog.pg_namespace n"
    " WHERE n.nspname <> :schema AND pg_catalog.starts_with(n.nspname::text, :prefix)"
    " AND pg_catalog.has_schema_privilege(:role, n.oid, 'USAGE')"
)
_TABLE_RIGHTS: Final = text(
    "SELECT c.relname, p.name, pg_catalog.has_table_privilege(:role, c.oid, p.name)"
    " OR (p.name IN ('INSERT', 'UPDATE', 'REFERENCES') AND pg_catalog.has_any_column_privilege(:role, c.oid, p.name))"
    " AS has FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " CROSS JOIN (VALUES ('INSERT'), ('SELECT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'))"
    " p(name) WHERE n.nspname = :schema AND c.relname = ANY(:tables) ORDER BY c.relname, p.name"
)


def check_rights(connection: Connection, place: str, *, schema: str, role: str) -> None:
    """Hold a role to INSERT and SELECT on one journal. Raises JournalRefused that names each right too many or few."""
    named = {"role": role, "schema": schema}
    excess = list(connection.execute(_POWERS, {**named, "prefix": SCHEMA_PREFIX}).scalars().all())
    missing: list[str] = []
    for table, right, has in connection.execute(
        _TABLE_RIGHTS, {**named, "tables": [*APPEND_ONLY, FORMAT.name, BEGINNING.name]}
    ):
        is_due = right == "SELECT" or (right == "INSERT" and table in APPEND_ONLY)
        if has and not is_due and "superuser" not in excess:
            excess.append(f"{right} on {table}")
        if is_due and not has:
            missing.append(f"{right} on {table}")
    if excess:
        raise JournalRefused(f"{place}: role {role} may do more than INSERT and SELECT: {_listed(excess)}")
    if missing:
        raise JournalRefused(f"{place}: role {role} lacks rights: {_listed(missing)}")


def check_acting(connection: Connection, place: str, *, role: str) -> None:
    """Hold the session to the role that it was opened with. Raises JournalRefused."""
    acting = connection.exec_driver_sql("SELECT session_user, current_user").one()
    for name in acting:
        if name != role:
            raise JournalRefused(f"{place}: the session acts as role {name}, not as {role}")


def check_durability(connection: Connection, place: str) -> str:
    """Hold the server to durable commits. Raises JournalRefused that names the setting, JournalUnavailable.

    Answers the server's synchronous_commit, for the session to hold on to.
    """
    names = ("fsync", "full_page_writes", "synchronous_commit", "session_replication_role", "server_encoding")
    found = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names}
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "session_replication_role": "origin",
        "server_encoding": "UTF8",
    }
    wrong = [f"{name} is {found[name]}, not {value}" for name, value in expected.items() if found[name] != value]
    if found["synchronous_commit"] not in _DURABLE:
        wrong.append(f"synchronous_commit is {found['synchronous_commit']}, not on")
    if wrong:
        raise JournalRefused(f"{place}: the server does not keep what it acknowledges: {'; '.join(wrong)}")
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() != "off":
        raise JournalUnavailable(f"{place}: read-only, or a standby: it takes no rows", cause="postgres_read_only")
    return found["synchronous_commit"]


def _listed(rights: list[str]) -> str:
    more = f" and {len(rights) - _NAMED_MAX} more" if len(rights) > _NAMED_MAX else ""
    return ", ".join(rights[:_NAMED_MAX]) + more
