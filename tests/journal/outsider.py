"""Who owns the database of a journal, and can do to it what no trigger hinders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Executable, Row, create_engine, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from trade_journal.store.postgres_address import SCHEMA_PREFIX
from trade_journal.store.schema import ROWS
from trade_journal.store.store import JournalReader


class Outsider:
    """Somebody with a connection of his own, the same for every kind of database."""

    def __init__(self, url: str, connect: Callable[[], Any]) -> None:
        """Prepare for a `sqlite:` or `postgresql:` URL, with the driver's way to connect as an owner of all."""
        self.is_sqlite = url.startswith("sqlite:")
        kind = "sqlite://" if self.is_sqlite else "postgresql+psycopg://"
        self._engine = create_engine(kind, creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def execute(self, statement: Executable | str) -> Sequence[Row[Any]]:
        """Run a statement; triggers fire. Raises DBAPIError."""
        return self._run([statement])

    def tamper(self, statement: Executable | str) -> None:
        """Run a statement past the triggers, which are as before afterwards."""
        if not self.is_sqlite:
            self._run(["SET session_replication_role = replica", statement])
            return
        triggers = self.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        self._run([f"DROP TRIGGER {name}" for name, _ in triggers])
        self.execute(statement)
        self._run([sql for _, sql in triggers])

    def edit_body(self, seq: int, old: bytes, new: bytes) -> None:
        """Change what a row says."""
        ((body,),) = self.execute(select(ROWS.c.body).where(ROWS.c.seq == seq))
        assert old in body
        self.tamper(update(ROWS).where(ROWS.c.seq == seq).values(body=body.replace(old, new)))

    def drop_trigger(self, table: str) -> None:
        """Drop the trigger that refuses gaps."""
        self.execute(f"DROP TRIGGER {table}_refuse_gap" + ("" if self.is_sqlite else f" ON {table}"))

    def is_refused(self, statement: Executable | str) -> bool:
        """Run what a trigger, or the key of a record that is there, must refuse, and see whether it does."""
        try:
            self.execute(statement)
        except DBAPIError as error:
            return re.search(r"never changed|never deleted|gapless|duplicate key", str(error.orig)) is not None
        return False

    def _run(self, statements: Sequence[Executable | str]) -> Sequence[Row[Any]]:
        found: Sequence[Row[Any]] = []
        with self._engine.connect() as connection:
            if not self.is_sqlite:
                self._search(connection)
            for statement in statements:
                done = connection.execute(text(statement) if isinstance(statement, str) else statement)
                found = done.all() if done.returns_rows else []
        return found

    @staticmethod
    def _search(connection: Any) -> None:
        schema = connection.execute(
            text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, :prefix)"),
            {"prefix": SCHEMA_PREFIX},
        ).scalar_one()
        connection.execute(text(f"SET search_path = {schema}"))


@contextmanager
def reading(url: str) -> Iterator[JournalReader]:
    """Read a journal for a while."""
    reader = JournalReader(url)
    try:
        yield reader
    finally:
        reader.close()
