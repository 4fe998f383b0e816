"""A journal's tables in SQLite: the triggers that keep them append-only and gapless, and its format's versions.

The triggers bind this program and its mistakes, not whoever owns the file. A journal of an older format is brought to
this one without a change to any row; a newer one, or one that is not ours, is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.store.beginning import Beginning, write_beginning
from trade_journal.store.schema import (
    APPEND_ONLY,
    BEGINNING,
    CHECKPOINTS,
    CONTINUED_VERSION,
    COSIGNATURES,
    FORMAT,
    FORMAT_VERSION,
    GOES_ON_WITH,
    METADATA,
    ROWS,
)

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
    "WHEN NEW.{key} IS NOT (SELECT ifnull(max({key}) + 1, {first}) FROM {table}) "
    "BEGIN SELECT RAISE(ABORT, 'journal {table} are gapless'); END",
}
_ONE_BEGINNING: Final = {
    f"beginning_refuse_{event}": f"CREATE TRIGGER beginning_refuse_{event} BEFORE {event.upper()} ON beginning "
    f"{when}BEGIN SELECT RAISE(ABORT, 'a journal begins once'); END"
    for event, when in (
        ("update", ""),
        ("delete", ""),
        ("insert", "WHEN EXISTS (SELECT 1 FROM beginning) "),
    )
}


def _triggers(table: str, *, is_continued: bool = False) -> dict[str, str]:
    """Give the statements that keep a table append-only and gapless, by their names."""
    key = APPEND_ONLY[table]
    first = f"(SELECT {GOES_ON_WITH[table]} FROM beginning)" if is_continued else "0"  # noqa: S608 - names of ours
    return {name.format(table=table): sql.format(table=table, key=key, first=first) for name, sql in _REFUSALS.items()}


def _all_triggers(*, is_continued: bool) -> dict[str, str]:
    made = {name: sql for table in APPEND_ONLY for name, sql in _triggers(table, is_continued=is_continued).items()}
    return {**made, **(_ONE_BEGINNING if is_continued else {})}


_EXPECTED_TRIGGERS: Final = {
    FORMAT_VERSION: _all_triggers(is_continued=False).keys(),
    CONTINUED_VERSION: _all_triggers(is_continued=True).keys(),
}


def create_tables(connection: Connection, *, origin: str, beginning: Beginning | None = None) -> None:
    """Make an empty journal of an origin, which begins with row 0 or goes on behind a sealed segment."""
    METADATA.create_all(connection)
    if beginning is not None:
        BEGINNING.create(connection)
        write_beginning(connection, beginning)
    for trigger in _all_triggers(is_continued=beginning is not None).values():
        connection.execute(text(trigger))
    version = FORMAT_VERSION if beginning is None else CONTINUED_VERSION
    connection.execute(insert(FORMAT), {"version": version, "origin": origin})


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
    expected = _EXPECTED_TRIGGERS.get(formats[0].version) if len(formats) == 1 else None
    if expected is None:
        found = ", ".join(str(row.version) for row in formats) or "none"
        raise JournalRefused(
            f"{path}: journal format {found}; this version reads {FORMAT_VERSION} and {CONTINUED_VERSION}"
        )
    if (BEGINNING.name in tables) != (formats[0].version == CONTINUED_VERSION):
        raise JournalDamaged(f"{path}: whether it goes on behind a sealed segment is not told in one way")
    if origin is not None and formats[0].origin != origin:
        raise JournalRefused(f"{path}: journal of {formats[0].origin!r}; expected {origin!r}")
    triggers = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all())
    if triggers != expected:
        raise JournalDamaged(f"{path}: the triggers that keep rows unchanged are not as they were made")
