"""A journal's tables in PostgreSQL: a schema for each journal, and the triggers that keep it append-only and gapless.

The schema belongs to an owner who is not the journal's role, so the triggers bind that role and the owner's mistakes.
They do not bind an owner or a superuser who means it: against that stand the leaf hashes and the witness.
A schema that is not ours, newer than this code, or whose triggers are not exactly as they were made is refused.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert, select, text, update

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.store.beginning import Beginning, write_beginning
from trade_journal.store.schema import (
    APPEND_ONLY,
    BEGINNING,
    CONTINUED_VERSION,
    FORMAT,
    FORMAT_VERSION,
    GOES_ON_WITH,
    METADATA,
    ROWS,
)

_REFUSE_CHANGE: Final = """
BEGIN
  RAISE EXCEPTION 'journal % are never changed or deleted', TG_TABLE_NAME USING ERRCODE = '23000';
END
"""
# Once a statement, over what it added: records of one statement may come in any order, and a check a row costs more.
_REFUSE_GAP: Final = """
DECLARE
  first bigint; last bigint; records bigint; expected bigint; highest bigint;
BEGIN
  SELECT min(a.{key}), max(a.{key}), count(*) INTO first, last, records FROM added a;
  IF records = 0 THEN
    RETURN NULL;
  END IF;
  SELECT coalesce(max(t.{key}) + 1, {start}) INTO expected FROM {schema}.{table} t WHERE t.{key} < first;
  SELECT max(t.{key}) INTO highest FROM {schema}.{table} t;
  IF first <> expected OR last <> first + records - 1 OR highest <> last THEN
    RAISE EXCEPTION 'journal {table} are gapless' USING ERRCODE = '23000';
  END IF;
  RETURN NULL;
END
"""
# Bits of pg_trigger.tgtype: 1 for each row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate.
_BEFORE_CHANGE: Final = 2 + 8 + 16 + 32
_AFTER_INSERT: Final = 4
_RIGHTS: Final = ("INSERT", "SELECT")


def create_journal(connection: Connection, *, schema: str, origin: str, role: str, readers: list[str]) -> None:
    """Make an empty journal of an origin in a schema of its own, and give its role and readers their rights.

    The caller has found the schema's name to be of [a-z0-9_] alone, begun a transaction, and quotes nothing.
    """
    quoted = connection.dialect.identifier_preparer.quote_identifier
    execute = connection.exec_driver_sql
    execute(f"CREATE SCHEMA {schema}")
    execute(f"SET LOCAL search_path = {schema}, pg_temp")
    METADATA.create_all(connection, checkfirst=False)
    for table in APPEND_ONLY:
        _create_triggers(connection, schema, table, is_continued=False)
    connection.execute(insert(FORMAT), {"version": FORMAT_VERSION, "origin": origin})
    for name in [role, *readers]:
        execute(f"GRANT USAGE ON SCHEMA {schema} TO {quoted(name)}")
        execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {quoted(name)}")
    execute(f"GRANT INSERT ON {', '.join(APPEND_ONLY)} TO {quoted(role)}")


def continue_behind(connection: Connection, *, schema: str, beginning: Beginning) -> None:
    """Have a journal go on behind a segment that was sealed: new tables, which hold what comes after it.

    The caller is the owner, has begun a transaction, has set the search path, and drops what the new tables replace.
    """
    execute = connection.exec_driver_sql
    execute("DROP TABLE IF EXISTS beginning")
    BEGINNING.create(connection, checkfirst=False)
    write_beginning(connection, beginning)
    for table, key in APPEND_ONLY.items():
        grants = _grants(connection, schema, table)
        execute(f"ALTER TABLE {table} RENAME TO {table}_before")
        execute(f"CREATE TABLE {table} (LIKE {table}_before INCLUDING ALL)")
        first = getattr(beginning, GOES_ON_WITH[table])
        kept = f"INSERT INTO {table} SELECT * FROM {table}_before WHERE {key} >= %s"  # noqa: S608 - names of ours
        execute(kept, (first,))
        execute(f"DROP TABLE {table}_before")
        _grant(connection, table, grants)
        _create_triggers(connection, schema, table, is_continued=True)
        if table == ROWS.name:
            _grant(connection, BEGINNING.name, [(role, "SELECT") for role, right in grants if right == "SELECT"])
    _create_triggers(connection, schema, BEGINNING.name, is_continued=True)
    connection.execute(update(FORMAT).values(version=CONTINUED_VERSION))


def _grants(connection: Connection, schema: str, table: str) -> list[tuple[str, str]]:
    """List who else than its owner has which right on a table."""
    found = connection.execute(
        text(
            "SELECT r.rolname, a.privilege_type FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee"
            " WHERE n.nspname = :schema AND c.relname = :table AND a.grantee <> c.relowner ORDER BY 1, 2"
        ),
        {"schema": schema, "table": table},
    )
    return [(row.rolname, row.privilege_type) for row in found if row.privilege_type in _RIGHTS]


def _grant(connection: Connection, table: str, grants: list[tuple[str, str]]) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    for role, right in grants:
        connection.exec_driver_sql(f"GRANT {right} ON {table} TO {quoted(role)}")


def check_journal(connection: Connection, place: str, *, schema: str, origin: str | None) -> None:
    """Hold a schema to this format, and to an origin unless it is None. Raises JournalRefused, JournalDamaged."""
    found = connection.execute(
        text(
            "SELECT c.relname, c.relkind <> 'r' OR c.relpersistence <> 'p' OR c.relrowsecurity OR c.relhasrules"
            " OR c.relhassubclass OR NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid"
            " AND i.indisprimary AND i.indisvalid) AS is_changed"
            " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        ),
        {"schema": schema},
    ).all()
    if not set(METADATA.tables) <= {table.relname for table in found}:
        names = ", ".join(sorted(table.relname for table in found)[:5]) or "no tables"
        raise JournalRefused(f"{place}: not a journal of this platform; schema {schema} has {names}")
    formats = connection.execute(select(FORMAT.c.version, FORMAT.c.origin).limit(2)).all()
    if len(formats) != 1 or formats[0].version not in (FORMAT_VERSION, CONTINUED_VERSION):
        names = ", ".join(str(row.version) for row in formats) or "none"
        raise JournalRefused(
            f"{place}: journal format {names}; this version reads {FORMAT_VERSION} and {CONTINUED_VERSION}"
        )
    is_continued = formats[0].version == CONTINUED_VERSION
    if (BEGINNING.name in {table.relname for table in found}) != is_continued:
        raise JournalDamaged(f"{place}: whether it goes on behind a sealed segment is not told in one way")
    if origin is not None and formats[0].origin != origin:
        raise JournalRefused(f"{place}: journal of {formats[0].origin!r}; expected {origin!r}")
    for table in found:
        if table.relname in {*METADATA.tables, BEGINNING.name} and table.is_changed:
            raise JournalDamaged(
                f"{place}: table {table.relname} is not as it was made: unlogged, inherited from, without its key, or "
                "with rules or row security"
            )
    if _found_triggers(connection, schema) != _expected_triggers(schema, is_continued=is_continued):
        raise JournalDamaged(f"{place}: the triggers that keep rows unchanged are not as they were made")


def _create_triggers(connection: Connection, schema: str, table: str, *, is_continued: bool) -> None:
    execute = connection.exec_driver_sql
    expected = _expected_triggers(schema, is_continued=is_continued)
    bodies = {name: body for (of, name, _), body in expected.items() if of == table}
    for name, body in bodies.items():
        # What the body calls is found in the server's own catalogue, whatever a session's search path says.
        connection.execute(
            text(
                f"CREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql "
                f"SET search_path = pg_catalog, pg_temp AS $trade${body}$trade$"
            )
        )
    execute(
        f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.{table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{table}_refuse_change()"
    )
    if table not in APPEND_ONLY:
        return
    execute(
        f"CREATE TRIGGER {table}_refuse_gap AFTER INSERT ON {schema}.{table} REFERENCING NEW TABLE AS added "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{table}_refuse_gap()"
    )


def _expected_triggers(schema: str, *, is_continued: bool) -> dict[tuple[str, str, int], str]:
    """Give the body of each trigger's function by table, name and type."""
    expected: dict[tuple[str, str, int], str] = {}
    if is_continued:
        expected[BEGINNING.name, f"{BEGINNING.name}_refuse_change", _BEFORE_CHANGE] = _REFUSE_CHANGE
    for table, key in APPEND_ONLY.items():
        start = f"(SELECT b.{GOES_ON_WITH[table]} FROM {schema}.beginning b)" if is_continued else "0"  # noqa: S608
        expected[table, f"{table}_refuse_change", _BEFORE_CHANGE] = _REFUSE_CHANGE
        gap = _REFUSE_GAP.format(schema=schema, table=table, key=key, start=start)
        expected[table, f"{table}_refuse_gap", _AFTER_INSERT] = gap
    return expected


def _found_triggers(connection: Connection, schema: str) -> dict[tuple[str, str, int], str]:
    """Read the triggers that fire, whoever made them."""
    found = connection.execute(
        text(
            "SELECT c.relname, t.tgname, t.tgtype, p.prosrc FROM pg_catalog.pg_trigger t"
            " JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL"
        ),
        {"schema": schema},
    )
    return {(row.relname, row.tgname, row.tgtype): row.prosrc for row in found}
