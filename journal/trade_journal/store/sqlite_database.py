"""A journal's SQLite file: held by one writer, durable at each commit, read by any number beside it.

Guarantees
- A committed row survives the death of the process and of the machine (WAL, synchronous=FULL).
- One writer: a lock beside the file, held by the kernel for the life of the process, refuses a second one. Whoever
  writes all the same, by SQLite and without the lock, is noticed at our next commit or look, however old the row.
- Nothing is written to a database that holds anything, before it is known to be ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from trade_journal.errors import FOREIGN_WRITE, JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.store.beginning import Beginning
from trade_journal.store.evidence import evidence_uri, is_still
from trade_journal.store.schema import ROWS, RowValues
from trade_journal.store.sqlite_schema import bring_from, check_format, create_tables, older_format

BUSY_TIMEOUT_S: Final = 2  # only a reader that recovers the WAL can be in the way
# Autocommit in the driver: SQLAlchemy's transactions are begun by the listener below and by nothing else.
_OPTIONS: Final[dict[str, Any]] = {"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False}


class SqliteWriting:
    """The file, held by its one writer. Used by one thread at a time."""

    __slots__ = ("_connection", "_engine", "_insert", "_lock", "_path", "_version")

    def __init__(self, path: Path) -> None:
        """Take the lock and open the file, or make it. Raises JournalRefused, JournalDamaged, JournalUnavailable."""
        self._path = path
        self._version: int | None = (
            None  # of the file's content, but for what we write: SQLite counts the others' commits
        )
        self._lock = hold(path)
        engine: Engine | None = None
        try:
            _create_file(path)
            engine = self._engine = _engine(path, writes=True)
            with _failures_named(path):
                self._connection = engine.connect()
        except BaseException:
            if engine is not None:
                engine.dispose()
            os.close(self._lock)
            raise
        # Compiled once: building the statement anew costs more than writing one row.
        self._insert = str(insert(ROWS).compile(dialect=engine.dialect))

    @property
    def place(self) -> str:
        """Name the file."""
        return str(self._path)

    @contextmanager
    def prepared(self, *, origin: str) -> Iterator[Connection]:
        """Make or check the tables, and give them to be read before the new ones are kept.

        If we crash before the first commit, a database without tables is left, which the next opening takes for new.
        """
        connection = self._connection
        with _failures_named(self._path):
            with connection.begin():
                is_new = not inspect(connection).get_table_names()
                older = None if is_new else older_format(connection)
                if not is_new and older is None:
                    check_format(connection, self._path, origin=origin)
            _log_ahead(connection, self._path)
            with connection.begin():
                if is_new:
                    create_tables(connection, origin=origin)
                if older is not None:
                    bring_from(connection, older)
                    check_format(connection, self._path, origin=origin)
                yield connection
                self._version = _version(connection)
            sync_folder(self._path)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the connection for what is kept together or not at all, durable at the end."""
        with _failures_named(self._path), self._connection.begin():
            self._require_alone()
            yield self._connection

    def look(self) -> None:
        """See whether somebody else has written to the file. Raises JournalUnavailable with cause FOREIGN_WRITE."""
        with _failures_named(self._path):
            self._require_alone()

    def insert_rows(self, values: Sequence[RowValues]) -> None:
        """Keep rows together, durable on return. Raises JournalUnavailable.

        Every order waits for it, so that it asks the driver itself: SQLAlchemy's own part takes longer than the rows.
        """
        with _failures_named(self._path):
            driver = _driver(self._connection)
            driver.execute("BEGIN IMMEDIATE")
            try:
                self._require_alone()
                driver.executemany(self._insert, values)
                driver.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # what went wrong is told; the store is good for closing only
                    driver.rollback()
                raise

    def _require_alone(self) -> None:
        """Compare; inside a transaction nobody can write between this and our commit."""
        if self._version is not None and _version(self._connection) != self._version:
            raise JournalUnavailable(f"{self._path}: somebody else has written to it", cause=FOREIGN_WRITE)

    def leave_write_ahead_log(self) -> None:
        """Bring everything into the one file, which then needs no other beside it. The next opening logs ahead again.

        Raises JournalUnavailable while somebody else has the file open.
        """
        with _failures_named(self._path):
            mode = _driver(self._connection).execute("PRAGMA journal_mode=DELETE").fetchone()
        if mode != ("delete",):
            raise JournalUnavailable(f"{self._path}: somebody else has it open", cause="in_use")

    def close(self) -> None:
        """Close the database and release the lock. Never raises."""
        with suppress(DBAPIError, sqlite3.Error):
            self._connection.close()
        self._engine.dispose()
        os.close(self._lock)


def make_file(path: Path, *, origin: str, beginning: Beginning, fill: Callable[[Connection], None]) -> None:
    """Make a new file that begins with row 0 or behind a sealed segment, whole and durable on return but for its name.

    It needs no other file beside it. Raises JournalUnavailable; then what is there is of no use.
    """
    _create_file(path)
    engine = _engine(path, writes=True)
    try:
        with _failures_named(path), engine.begin() as connection:
            create_tables(connection, origin=origin, beginning=beginning if beginning.size else None)
            fill(connection)
    finally:
        engine.dispose()


class SqliteReading:
    """The file, to be read only."""

    __slots__ = ("_engine", "_is_evidence", "_origin", "_path")

    def __init__(self, path: Path, *, origin: str | None = None, is_evidence: bool = False) -> None:
        """With an origin, a journal of another one is refused; as evidence, nothing is changed by reading it."""
        self._path = path
        self._origin = origin
        self._is_evidence = is_evidence
        self._engine = _evidence_engine(path) if is_evidence else _engine(path, writes=False)

    @property
    def place(self) -> str:
        """Name the file."""
        return str(self._path)

    @property
    def is_one_state(self) -> bool:
        """A file is read in a transaction."""
        return True

    @contextmanager
    def view(self) -> Iterator[Connection]:
        """Give one state of the journal to read. Raises JournalRefused, JournalDamaged, JournalUnavailable."""
        if not self._path.is_file():
            raise JournalRefused(f"{self._path}: no journal there")
        was_still = self._is_evidence and is_still(self._path)
        try:
            with _failures_named(self._path), self._engine.begin() as connection:
                check_format(connection, self._path, origin=self._origin)
                yield connection
        finally:
            if was_still and not is_still(self._path):
                # It was read without a lock, as a file that nobody changes.
                raise JournalUnavailable(
                    f"{self._path}: somebody began to write to it while it was read; read it again", cause="changed"
                )

    def close(self) -> None:
        """Release what the view holds."""
        self._engine.dispose()


def is_blank(path: Path) -> bool:
    """Tell whether a file is not there, or is a database without a table: what a first opening takes for new."""
    if not path.exists() or not path.stat().st_size:
        return True
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA query_only=ON")
            return not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        return False  # what it is, its opening says


def sqlite_path(url: URL) -> Path:
    """Take the file's path from a journal URL. Raises JournalRefused for anything but an absolute path."""
    if url.query:
        raise JournalRefused("journal_url: expected sqlite:////absolute/path without options")
    if not url.database or not Path(url.database).is_absolute():
        raise JournalRefused(f"journal_url: expected an absolute path, found {url.database or 'memory'!r}")
    return Path(url.database)


def hold(path: Path) -> int:
    """Take the writer's lock; closing what is given lets it go.

    Crash-proof: the kernel lets go when the process ends, however it ends. Raises JournalRefused.
    """
    try:
        lock = _lock_file(path.with_name(path.name + ".lock"))
    except OSError as error:
        raise JournalRefused(f"{path}: cannot create the lock file beside it: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise JournalRefused(f"{path}: another writer has this journal open (pid {holder or 'unknown'})") from error
    # A full disk must not keep the journal from opening for cancels and reads: the pid is for people only.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _lock_file(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    # A disk that has become read-only: the lock is the kernel's, and needs no file that can be written.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _create_file(path: Path) -> None:
    """Create an empty database file readable by us alone, unless there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalRefused(f"{path}: cannot open: {error.strerror}") from error


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args=_OPTIONS)
    return _configured(engine, writes=writes)


def _evidence_engine(path: Path) -> Engine:
    """Open the file anew for each view, as it is by then."""

    def connect() -> sqlite3.Connection:
        opened: sqlite3.Connection = sqlite3.connect(evidence_uri(path), uri=True, **_OPTIONS)
        return opened

    return _configured(create_engine("sqlite://", creator=connect, poolclass=NullPool), writes=False)


def _configured(engine: Engine, *, writes: bool) -> Engine:
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("synchronous=FULL", "trusted_schema=OFF", "query_only=" + ("OFF" if writes else "ON")):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours; what SQLite calls corrupt or foreign is not a passing condition."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause: object = error.orig if isinstance(error, DBAPIError) else error
        name = str(getattr(cause, "sqlite_errorname", type(cause).__name__))
        if name.startswith("SQLITE_NOTADB"):
            raise JournalRefused(f"{path}: not a SQLite database") from error
        if name.startswith("SQLITE_CORRUPT"):
            raise JournalDamaged(f"{path}: the database file is corrupt") from error
        raise JournalUnavailable(f"{path}: {name}", cause=name.lower()) from error


def _log_ahead(connection: Connection, path: Path) -> None:
    """Switch to write-ahead logging; SQLite wants it outside any transaction and remembers it in the file."""
    if _driver(connection).execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
        raise JournalRefused(f"{path}: the file system does not support write-ahead logging")


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _version(connection: Connection) -> int:
    """Return a number that changes when another connection has changed the file, and never by what this one does."""
    return int(_driver(connection).execute("PRAGMA data_version").fetchone()[0])


def sync_folder(path: Path) -> None:
    """Make a file's name itself durable. Raises JournalUnavailable."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise JournalUnavailable(f"{path}: its folder cannot be synced: {error.strerror}", cause="folder") from error
