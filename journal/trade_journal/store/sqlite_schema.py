"""A journal's tables in SQLite: the triggers that keep them append-only and gapless, and its format's versions.

The triggers bind this program and its mistakes, not whoever owns the file. A journal of an older format is brought to
this one without a change to any row; a newer one, or one that is not ours, is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.store.schema import APPEND_ONLY, CHECKPOINTS, COSIGNATURES, FORMAT, FORMAT_VERSION, METADATA, ROWS

# What each format brought; everything else is as it was in the first one.
_TABLES_SINCE: Final = {2: CHECKPOINTS, 3: COSIGNATURES}
# INSERT OR REPLACE deletes without firing delete triggers; the sequence trigger refuses it, since a replaced row
# never carries the next number.
_REFUSALS: Final = {
    "{table}_refuse_update": "CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'journal {table} are never changed'); END",
    "{table}_refuse_delete": "CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'journal {table} are never deleted'); END",
    "{table}_refuse_gap": "CREATE TRIGGER {table}_refuse_gap BEFORE INSERT ON {table} "
    "WHEN NEW.{key} IS NOT (SELECT ifnull(max({key}) + 1, 0) FROM {table}) "
    "BEGIN SELECT RAISE(ABORT, 'journal {table} are gapless'); END",
}


def _triggers(table: str) -> dict[str, str]:
    """Give the statements that keep a table append-only and gapless, by their names."""
    key = APPEND_ONLY[table]
    return {name.format(table=table): sql.format(table=table, key=key) for name, sql in _REFUSALS.items()}


_TRIGGERS: Final = {name: sql for table in APPEND_ONLY for name, sql in _triggers(table).items()}


def create_tables(connection: Connection, *, origin: str) -> None:
    """Make an empty journal of an origin."""
    METADATA.create_all(connection)
    for trigger in _TRIGGERS.values():
        connection.execute(text(trigger))
    connection.execute(insert(FORMAT), {"version": FORMAT_VERSION, "origin": origin})


def older_format(connection: Connection) -> int | None:
    """Return the number of the older format that this database is of, whose journals are taken over as they are."""
    tables = set(inspect(connection).get_table_names())
    for version in range(1, FORMAT_VERSION):
        expected = {
            ROWS.name,
            FORMAT.name,
            *(table.name for since, table in _TABLES_SINCE.items() if since <= version),
        }
        if tables == expected and connection.execute(select(FORMAT.c.version)).scalars().all() == [version]:
            return version
    return None


def bring_from(connection: Connection, version: int) -> None:
    """Bring a journal of an older format to this one: nothing that is there changes but the number of the format."""
    for since, table in _TABLES_SINCE.items():
        if since > version:
            table.create(connection)
            for trigger in _triggers(table.name).values():
                connection.execute(text(trigger))
    connection.execute(update(FORMAT).values(version=FORMAT_VERSION))


def check_format(connection: Connection, path: Path, *, origin: str | None) -> None:
    """Hold a database to this format, and to an origin unless it is None. Raises JournalRefused, JournalDamaged."""
    tables = set(inspect(connection).get_table_names())
    if not {ROWS.name, FORMAT.name} <= tables:
        found = ", ".join(sorted(tables)[:5]) or "no tables"
        raise JournalRefused(f"{path}: not a journal of this platform; found {found}")
    formats = connection.execute(select(FORMAT.c.version, FORMAT.c.origin).limit(2)).all()
    if len(formats) != 1 or formats[0].version != FORMAT_VERSION:
        found = ", ".join(str(row.version) for row in formats) or "none"
        raise JournalRefused(f"{path}: journal format {found}; this version reads {FORMAT_VERSION}")
    if origin is not None and formats[0].origin != origin:
        raise JournalRefused(f"{path}: journal of {formats[0].origin!r}; expected {origin!r}")
    triggers = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all())
    if triggers != _TRIGGERS.keys():
        raise JournalDamaged(f"{path}: the triggers that keep rows unchanged are not as they were made")
