"""A journal in PostgreSQL: many in one database, each in a schema of its own with a role of its own.

Guarantees
- A row is acknowledged only when the server has committed it with synchronous_commit and fsync on.
- One writer, by lease: a session lock on the very connection that writes. Whoever loses the connection loses the lease,
  and whoever has the lease knows that no earlier writer's commit is still under way.
- A statement is a transaction of its own: there is nothing to roll back, and one way to the server for each commit.
- The role can do nothing but add and read rows (`postgres_rights`), and the triggers are as they were made.

Does not protect: a role of the same database can take another journal's lock and so keep its writer from starting.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from trade_journal.errors import JournalRefused, JournalUnavailable
from trade_journal.store.postgres_address import SCHEMA_PREFIX, PostgresAddress, schema_of
from trade_journal.store.postgres_errors import failures_named, shown
from trade_journal.store.postgres_rights import check_acting, check_durability, check_rights
from trade_journal.store.postgres_schema import check_journal
from trade_journal.store.schema import RowValues

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 60  # counting the rows of a long journal takes seconds; a commit waits for 3 s at most
LOCK_TIMEOUT_S: Final = 5
# A connection whose other end is gone is given up by both ends after some 11 s, and the lease with it.
_KEEPALIVES: Final = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_SESSION: Final = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "row_security": "off",  # a policy that would hide rows is an error instead
}
READERS_MAX: Final = 4  # connections of one reading view
# PostgreSQL knows unnest of several arrays by that bare name only.
# On another connection than the one that has the lease, this keeps nothing: a pool in between is found out.
_INSERT: Final = (
    "INSERT INTO rows (seq, at_ns, kind, actor, body, leaf_hash) SELECT * FROM unnest("
    "%b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])"
    " WHERE pg_catalog.pg_backend_pid() = %s"
)
_HOLDER: Final = text(
    "SELECT l.pid, a.application_name FROM pg_catalog.pg_locks l"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    " AND (l.classid::bigint << 32) | l.objid::bigint = :key"
)
_VISIBLE: Final = text(
    "SELECT nspname FROM pg_catalog.pg_namespace WHERE pg_catalog.starts_with(nspname::text, :prefix)"
    " AND pg_catalog.has_schema_privilege(oid, 'USAGE') ORDER BY nspname LIMIT 10"
)


class PostgresWriting:
    """One journal's schema, held by its one writer. Used by one thread at a time."""

    __slots__ = ("_address", "_backend", "_connection", "_engine", "_origin", "_schema", "_warnings")

    def __init__(self, address: PostgresAddress, *, origin: str) -> None:
        """Connect and take the lease. Raises JournalRefused, JournalUnavailable."""
        if address.journal not in (None, origin):
            raise JournalRefused(f"journal_url: names the journal {address.journal!r}; expected {origin!r}")
        self._address = address
        self._origin = origin
        self._schema = schema_of(origin)
        self._engine = _engine(address, schema=self._schema, writes=True)
        with failures_named(self.place):
            self._connection = self._engine.connect()
        self._warnings: list[str] = []
        try:
            with failures_named(self.place):
                self._backend = self._leased()
                self._listen()
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """Name the database and the role."""
        return self._address.place

    @contextmanager
    def prepared(self, *, origin: str) -> Iterator[Connection]:
        """Check server, rights and tables, and give them to be read. Nobody else writes meanwhile."""
        connection, place = self._connection, self.place
        with failures_named(place):
            _check_schema(connection, place, schema=self._schema, origin=origin)
            check_journal(connection, place, schema=self._schema, origin=origin)
            check_acting(connection, place, role=self._address.role)
            check_rights(connection, place, schema=self._schema, role=self._address.role)
            durable = check_durability(connection, place)
            # Said for this session, so that it outlives a change of the server's default.
            connection.exec_driver_sql(f"SET synchronous_commit = {durable}")
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the connection for one statement, which is durable when it ends.

        A server that could not wait for its standby says so in a warning and reports success all the same.
        """
        with failures_named(self.place):
            yield self._connection
        if self._warnings:
            raise JournalUnavailable(f"{self.place}: {self._warnings[0]}", cause="postgres_warning")

    def look(self) -> None:
        """See nothing: no role but the database's owner can change a row, and the server does not tell of it."""

    def insert_rows(self, values: Sequence[RowValues]) -> None:
        """Keep rows by one statement, durable on return. Raises JournalUnavailable."""
        columns: tuple[Any, ...] = tuple(list(column) for column in zip(*values, strict=True))
        with self.transaction() as connection:
            kept = connection.exec_driver_sql(_INSERT, (*columns, self._backend)).rowcount
        if kept != len(values):
            raise JournalUnavailable(
                f"{self.place}: this is not the connection that has the lease; is a pool of connections in between?",
                cause="postgres_pooled",
            )

    def close(self) -> None:
        """Close the connection, and the lease with it. Never raises."""
        with suppress(SQLAlchemyError, psycopg.Error):
            self._connection.close()
        self._engine.dispose()

    def _listen(self) -> None:
        """Keep what the server warns of. Notices of lesser weight say nothing of what it keeps."""
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.add_notice_handler(self._heard)

    def _heard(self, said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            self._warnings.append(shown(said.message_primary or "a warning"))

    def _leased(self) -> int:
        """Take the lease and give the number of the server's process that holds it. Raises JournalRefused."""
        key = lease_key(self._schema)
        is_ours, backend = self._connection.execute(
            text("SELECT pg_catalog.pg_try_advisory_lock(:key), pg_catalog.pg_backend_pid()"), {"key": key}
        ).one()
        if is_ours:
            return int(backend)
        holder = self._connection.execute(_HOLDER, {"key": key}).first()
        who = "unknown" if holder is None else f"{holder.pid} at the server, {holder.application_name or 'unnamed'}"
        raise JournalRefused(
            f"{self.place}: another writer has this journal open (pid {who}); journal {self._origin!r}"
        )


class PostgresReading:
    """One journal's schema, to be read only."""

    __slots__ = ("_address", "_engine", "_schema")

    def __init__(self, address: PostgresAddress) -> None:
        """Prepare; the first view connects."""
        self._address = address
        self._schema = None if address.journal is None else schema_of(address.journal)
        self._engine = _engine(address, schema=self._schema, writes=False)

    @property
    def place(self) -> str:
        """Name the database and the role."""
        return self._address.place

    @property
    def is_one_state(self) -> bool:
        """Each statement is of its own moment."""
        return False

    @contextmanager
    def view(self) -> Iterator[Connection]:
        """Give the tables to be read, each statement at its own time. Raises JournalError.

        A view of several statements is still consistent: what is committed never changes.
        """
        place = self._address.place
        with failures_named(place), self._engine.connect() as connection:
            if not connection.info.get("is_checked"):
                schema = self._schema or _only_schema(connection, place)
                connection.execute(
                    text("SELECT pg_catalog.set_config('search_path', :path, false)"), {"path": f"{schema}, pg_temp"}
                )
                _check_schema(connection, place, schema=schema, origin=self._address.journal)
                check_journal(connection, place, schema=schema, origin=self._address.journal)
                connection.info["is_checked"] = True
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def lease_key(schema: str) -> int:
    """Give the number of a journal's lock: 64 bits with a sign, as PostgreSQL takes it."""
    return int.from_bytes(hashlib.sha256(f"writer of {schema}".encode()).digest()[:8], "big", signed=True)


def postgres_engine(address: PostgresAddress, *, session: Mapping[str, str], autocommit: bool, **pool: Any) -> Engine:
    """Prepare to connect with every time bounded; with `autocommit` each statement is a transaction of its own."""
    options = " ".join(f"-c {name}={value}" for name, value in {**_SESSION, **session}.items())
    parameters: dict[str, Any] = {
        **address.parameters(),
        **_KEEPALIVES,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "client_encoding": "utf8",
        "application_name": f"trade-journal pid {os.getpid()}",
        "options": options,
        "autocommit": autocommit,
    }
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(**parameters),
        use_native_hstore=False,  # spares a question at every connection
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
        **pool,
    )


def _engine(address: PostgresAddress, *, schema: str | None, writes: bool) -> Engine:
    session = {} if writes else {"default_transaction_read_only": "on"}
    if schema is not None:
        session["search_path"] = f"{schema},pg_temp"
    if writes:
        return postgres_engine(address, session=session, autocommit=True, poolclass=NullPool)
    pool = {"poolclass": QueuePool, "pool_size": READERS_MAX, "max_overflow": 0, "pool_pre_ping": True}
    return postgres_engine(address, session=session, autocommit=True, **pool)


def _check_schema(connection: Connection, place: str, *, schema: str, origin: str | None) -> None:
    there = connection.execute(
        text(
            "SELECT pg_catalog.has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = :schema"
        ),
        {"schema": schema},
    ).scalar_one_or_none()
    if there is None:
        raise JournalRefused(
            f"{place}: no journal of {origin!r} there; its owner makes it with trade-journal database init"
        )
    if not there:
        raise JournalRefused(f"{place}: the role has no right to the journal of {origin!r}")


def _only_schema(connection: Connection, place: str) -> str:
    found = list(connection.execute(_VISIBLE, {"prefix": SCHEMA_PREFIX}).scalars().all())
    if not found:
        raise JournalRefused(f"{place}: no journal there, or none that the role may read")
    if len(found) > 1:
        raise JournalRefused(f"{place}: several journals there ({', '.join(found)}); name one with ?journal=ORIGIN")
    return str(found[0])
