"""Makes an empty journal in PostgreSQL, as the owner: schema, tables, triggers, and the rights of roles that are there.

All or nothing: when the journal's role could do more than it should, nothing is left behind. It makes no roles and sets
no passwords, since those belong to whoever administers the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.pool import NullPool

from trade_journal.errors import JournalRefused, NoteRefused
from trade_journal.log.note import check_name
from trade_journal.store.database import parse_url
from trade_journal.store.postgres_address import postgres_address, schema_of
from trade_journal.store.postgres_database import postgres_engine
from trade_journal.store.postgres_errors import failures_named
from trade_journal.store.postgres_rights import check_rights
from trade_journal.store.postgres_schema import check_journal, create_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made, and where."""

    place: str
    schema: str


def init_journal(url: str, *, origin: str, role: str, readers: Sequence[str] = ()) -> Made:
    """Make the empty journal of an origin. Raises JournalRefused, JournalUnavailable; then nothing has changed."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise JournalRefused("expected postgresql://owner@host/database; a SQLite journal needs no init")
    try:
        check_name(origin)
    except NoteRefused as error:
        raise JournalRefused(f"--origin: {error}") from error
    address, schema = postgres_address(parsed), schema_of(origin)
    if address.role in (role, *readers):
        raise JournalRefused(f"{address.place}: the owner must be another role than {address.role}, or it could do all")
    engine = postgres_engine(address, session={}, autocommit=False, poolclass=NullPool)
    try:
        with failures_named(address.place), engine.begin() as connection:
            _check_roles(connection, address.place, [role, *readers])
            if _has_schema(connection, schema):
                raise JournalRefused(f"{address.place}: there is a journal of {origin!r} already (schema {schema})")
            create_journal(connection, schema=schema, origin=origin, role=role, readers=list(readers))
            check_journal(connection, address.place, schema=schema, origin=origin)
            check_rights(connection, address.place, schema=schema, role=role)
    finally:
        engine.dispose()
    return Made(place=address.place, schema=schema)


def _check_roles(connection: Connection, place: str, roles: Sequence[str]) -> None:
    found = connection.execute(
        text("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY(:roles)"), {"roles": list(roles)}
    )
    missing = set(roles) - set(found.scalars().all())
    if missing:
        raise JournalRefused(f"{place}: no such role: {', '.join(sorted(missing))}; make it with CREATE ROLE ... LOGIN")


def _has_schema(connection: Connection, schema: str) -> bool:
    found = connection.execute(text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :name"), {"name": schema})
    return found.first() is not None
