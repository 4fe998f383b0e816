"""Where rows live: one SQLite file with one writer, which it holds to append-only and gapless itself.

Guarantees
- A committed row survives the death of the process and of the machine (WAL, synchronous=FULL).
- The database refuses changed, deleted, replaced and out-of-sequence rows by triggers. They bind this program and
  its mistakes, not whoever owns the file: against that stand the leaf hashes here and the witness elsewhere.
- One writer: a lock beside the file, held by the kernel for the life of the process, refuses a second one.
- What is not ours, newer than this code, of another origin or damaged is refused, never repaired.
- The tree over all rows is known after opening: from the last checkpoint's frontier, which must have the root that the
  log signed, and the rows after it, hashed from their bytes.

It does not wait, retry or group: that is the writer's part.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from trade_journal.checkpoint import Checkpoint, read_checkpoint
from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable, NoteRefused
from trade_journal.note import Verifier, check_signed, parse_note
from trade_journal.rows import Draft, Row, leaf_hash, numbered, parse_row
from trade_journal.schema import (
    CHECKPOINTS,
    COSIGNATURES,
    ROWS,
    bring_from,
    check_format,
    create_tables,
    older_format,
)
from trade_journal.tree import HASH_BYTES, Frontier
from trade_journal.verify import StoredRow

READ_ROWS_MAX: Final = 1000  # one page for the witness: at most 8 MiB
CHECKED_ROWS: Final = 1000  # hashed again at every opening; the whole log is for `verify`
CHECKPOINTS_MAX: Final = 1000  # one page of checkpoints
BUSY_TIMEOUT_S: Final = 2  # only a reader that recovers the WAL can be in the way


class JournalStore:
    """The one writer's open journal. Used by one thread at a time."""

    __slots__ = ("_checkpoints", "_connection", "_engine", "_insert", "_lock", "_path", "_tree")

    def __init__(
        self, *, path: Path, lock: int, engine: Engine, connection: Connection, tree: Frontier, checkpoints: int
    ) -> None:
        self._path = path
        self._lock = lock
        self._engine = engine
        self._connection = connection
        self._tree = tree
        self._checkpoints = checkpoints
        # Compiled once: building the statement anew costs more than writing one row.
        self._insert = str(insert(ROWS).compile(dialect=engine.dialect))

    @classmethod
    def open(cls, url: str, *, origin: str, log: Verifier | None = None) -> JournalStore:
        """Open the journal at a ``sqlite:////absolute/path`` URL for writing, or make it where none is.

        ``origin`` names who writes it, for which account and environment; a journal of another origin is refused.
        ``log`` is whose signature the last checkpoint must carry. Raises JournalRefused, JournalDamaged, or
        JournalUnavailable when the disk does not let us.
        """
        path = sqlite_path(url)
        lock = _locked(path)
        engine: Engine | None = None
        try:
            _create_file(path)
            engine = _engine(path, writes=True)
            connection = _connected(engine, path)
            with _failures_named(path):
                tree, checkpoints = _prepared(connection, path, origin=origin, log=log)
            return cls(path=path, lock=lock, engine=engine, connection=connection, tree=tree, checkpoints=checkpoints)
        except BaseException:
            if engine is not None:
                engine.dispose()
            os.close(lock)
            raise

    @property
    def path(self) -> Path:
        """Say where the journal lives."""
        return self._path

    def size(self) -> int:
        """Count the rows; the next row gets this sequence number."""
        return self._tree.size

    def tree(self) -> Frontier:
        """Return the tree over all committed rows."""
        return self._tree

    def append(self, drafts: Sequence[Draft]) -> int:
        """Number and commit rows in one transaction, durable on return. Answers the first one's number.

        Raises JournalUnavailable; the store is then good for closing only, because whether the rows reached the disk
        is known by reading it again and in no other way.
        """
        first = self._tree.size
        values = [_values(draft, first + index) for index, draft in enumerate(drafts)]
        with _failures_named(self._path), self._connection.begin():
            self._connection.exec_driver_sql(self._insert, values)
        self._tree = self._tree.extended(value[-1] for value in values)
        return first

    def append_stored(self, rows: Sequence[StoredRow]) -> None:
        """Commit another journal's next rows as they are, for a copy of it; durable on return.

        Raises JournalDamaged when they are not rows or not the next ones, JournalUnavailable as `append` does.
        """
        checked = [_checked_bytes(row.seq, row, self._tree.size + index) for index, row in enumerate(rows)]
        values = [
            (row.seq, row.at_ns, row.kind.value, row.actor, stored.body, stored.leaf_hash)
            for row, stored in zip(checked, rows, strict=True)
        ]
        if not values:
            return
        with _failures_named(self._path), self._connection.begin():
            self._connection.exec_driver_sql(self._insert, values)
        self._tree = self._tree.extended(row.leaf_hash for row in rows)

    def append_checkpoint(self, note: bytes) -> None:
        """Keep a checkpoint over all rows committed so far, durable on return. Raises JournalUnavailable, ValueError.

        The store is then good for closing only, as after a failed append.
        """
        checkpoint = read_checkpoint(parse_note(note))
        if (checkpoint.size, checkpoint.root) != (self._tree.size, self._tree.root()):
            raise ValueError(f"a checkpoint of {checkpoint.size} rows does not stand for these {self._tree.size}")
        values = {
            "number": self._checkpoints,
            "size": checkpoint.size,
            "note": note,
            "tree": b"".join(self._tree.hashes),
        }
        with _failures_named(self._path), self._connection.begin():
            self._connection.execute(insert(CHECKPOINTS), values)
        self._checkpoints += 1

    def append_cosigned(self, note: bytes) -> None:
        """Keep a checkpoint that the witness has cosigned, durable on return. Raises JournalUnavailable, ValueError.

        The caller has verified it, and that its root is this journal's. The store is then good for closing only, as
        after a failed append.
        """
        checkpoint = read_checkpoint(parse_note(note))
        if checkpoint.size > self._tree.size:
            raise ValueError(f"a checkpoint of {checkpoint.size} rows does not stand for these {self._tree.size}")
        number = select(func.coalesce(func.max(COSIGNATURES.c.number) + 1, 0)).scalar_subquery()
        values = {"number": number, "size": checkpoint.size, "note": note}
        with _failures_named(self._path), self._connection.begin():
            self._connection.execute(insert(COSIGNATURES).values(values))

    def witnessed_size(self) -> int:
        """Count the rows under the last cosigned checkpoint that is kept; 0 without one."""
        with _failures_named(self._path), self._connection.begin():
            return int(self._connection.execute(select(func.coalesce(func.max(COSIGNATURES.c.size), 0))).scalar_one())

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, judging nothing. At most READ_ROWS_MAX."""
        with _failures_named(self._path), self._connection.begin():
            return _stored(self._connection, from_seq, limit)

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order. Raises JournalDamaged when one is not what was written."""
        with _failures_named(self._path), self._connection.begin():
            return _read(self._connection, from_seq, limit)

    def close(self) -> None:
        """Close the database and release the lock. Never raises: what was committed is on the disk already."""
        with suppress(DBAPIError, sqlite3.Error):
            self._connection.close()
        self._engine.dispose()
        os.close(self._lock)


class JournalReader:
    """A reading view of a journal; any number of them, beside the writer and in other processes."""

    __slots__ = ("_engine", "_path")

    def __init__(self, url: str) -> None:
        self._path = sqlite_path(url)
        self._engine = _engine(self._path, writes=False)

    def size(self) -> int:
        """Count the committed rows. Raises JournalRefused or JournalUnavailable."""
        with self._view() as connection:
            return _size(connection)

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order, at most READ_ROWS_MAX. Raises JournalDamaged, JournalRefused."""
        with self._view() as connection:
            return _read(connection, from_seq, limit)

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, in the order of their numbers, judging nothing. At most READ_ROWS_MAX."""
        with self._view() as connection:
            return _stored(connection, from_seq, limit)

    def checkpoints(self, from_number: int, limit: int) -> list[bytes]:
        """Read checkpoints as notes, in the order in which they were kept. At most CHECKPOINTS_MAX."""
        query = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.number >= from_number)
        with self._view() as connection:
            found = connection.execute(query.order_by(CHECKPOINTS.c.number).limit(limit)).scalars().all()
        return [_as_bytes(note) for note in found]

    def cosigned(self, from_number: int, limit: int) -> list[bytes]:
        """Read cosigned checkpoints as notes, in the order in which they were kept. At most CHECKPOINTS_MAX."""
        query = select(COSIGNATURES.c.note).where(COSIGNATURES.c.number >= from_number)
        with self._view() as connection:
            found = connection.execute(query.order_by(COSIGNATURES.c.number).limit(limit)).scalars().all()
        return [_as_bytes(note) for note in found]

    def checkpoints_of(self, size: int) -> list[bytes]:
        """Read every checkpoint over just so many rows, as notes."""
        query = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.size == size).order_by(CHECKPOINTS.c.number)
        with self._view() as connection:
            return [_as_bytes(note) for note in connection.execute(query).scalars().all()]

    def close(self) -> None:
        """Release what the view holds."""
        self._engine.dispose()

    @contextmanager
    def _view(self) -> Iterator[Connection]:
        if not self._path.is_file():
            raise JournalRefused(f"{self._path}: no journal there")
        with _failures_named(self._path), self._engine.begin() as connection:
            check_format(connection, self._path, origin=None)
            yield connection


def sqlite_path(url: str) -> Path:
    """Take the file's path from a journal URL. Raises JournalRefused for anything but an absolute SQLite file."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise JournalRefused("journal_url is not a database URL; expected sqlite:////absolute/path") from error
    if parsed.get_backend_name() != "sqlite" or parsed.query:
        found = parsed.get_backend_name()
        raise JournalRefused(f"journal_url: expected sqlite:////absolute/path without options, found {found}")
    if not parsed.database or not Path(parsed.database).is_absolute():
        raise JournalRefused(f"journal_url: expected an absolute path, found {parsed.database or 'memory'!r}")
    return Path(parsed.database)


def _locked(path: Path) -> int:
    """Take the writer's lock. Crash-proof: the kernel lets go when the process ends, however it ends."""
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def _create_file(path: Path) -> None:
    """Create an empty database file readable by us alone, unless there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalRefused(f"{path}: cannot open: {error.strerror}") from error


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        # Autocommit in the driver: SQLAlchemy's transactions are begun by the listener below and by nothing else.
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False},
    )

    def configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("synchronous=FULL", "trusted_schema=OFF", "query_only=" + ("OFF" if writes else "ON")):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def _connected(engine: Engine, path: Path) -> Connection:
    with _failures_named(path):
        return engine.connect()


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


def _prepared(connection: Connection, path: Path, *, origin: str, log: Verifier | None) -> tuple[Frontier, int]:
    """Make or check the journal; answers the tree over its rows and the number of its checkpoints.

    Nothing is written to a database that holds anything, before it is known to be ours. If we crash before the
    first commit, a database without tables is left, which the next opening takes for new.
    """
    with connection.begin():
        is_new = not inspect(connection).get_table_names()
        older = None if is_new else older_format(connection)
        if not is_new and older is None:
            check_format(connection, path, origin=origin)
    _log_ahead(connection, path)
    with connection.begin():
        if is_new:
            create_tables(connection, origin=origin)
        if older is not None:
            bring_from(connection, older)
            check_format(connection, path, origin=origin)
        size = _check_rows(connection, path)
        opened = _opened_tree(connection, path, size=size, log=log)
    _sync_folder(path)
    return opened


def _log_ahead(connection: Connection, path: Path) -> None:
    """Switch to write-ahead logging; SQLite wants it outside any transaction and remembers it in the file."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    if driver.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
        raise JournalRefused(f"{path}: the file system does not support write-ahead logging")


def _sync_folder(path: Path) -> None:
    """Make the new file's name itself durable."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise JournalUnavailable(f"{path}: its folder cannot be synced: {error.strerror}", cause="folder") from error


def _values(draft: Draft, seq: int) -> tuple[int, int, str, str, bytes, bytes]:
    """Give the values of a row in the order of the table's columns."""
    body = numbered(draft.head, seq)
    entry = draft.entry
    return (seq, entry.at_ns, entry.kind.value, entry.actor, body, leaf_hash(body))


def _check_rows(connection: Connection, path: Path) -> int:
    counted = connection.execute(select(func.count(), func.min(ROWS.c.seq), func.max(ROWS.c.seq))).one()
    size, first, last = (int(value) if value is not None else None for value in counted)
    assert size is not None
    if size and (first != 0 or last != size - 1):
        raise JournalDamaged(f"{path}: {size} rows numbered {first} to {last}: not gapless")
    _read(connection, max(0, size - CHECKED_ROWS), CHECKED_ROWS)
    return size


def _opened_tree(connection: Connection, path: Path, *, size: int, log: Verifier | None) -> tuple[Frontier, int]:
    """Return the tree over all rows and the number of checkpoints, from the last one and the rows after it."""
    last = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.number.desc()).limit(1)).first()
    tree = Frontier()
    if last is not None:
        checkpoint = _believed(_as_bytes(last.note), path, log=log)
        tree = _kept_tree(_as_bytes(last.tree), checkpoint, path)
        if tree.size > size:
            raise JournalDamaged(f"{path}: {size} rows, while its last checkpoint vouches for {tree.size}: cut off")
    bodies = select(ROWS.c.body).where(ROWS.c.seq >= tree.size).order_by(ROWS.c.seq)
    found = connection.execution_options(yield_per=READ_ROWS_MAX).execute(bodies).scalars()
    return tree.extended(leaf_hash(_as_bytes(body)) for body in found), 0 if last is None else int(last.number) + 1


def _believed(note: bytes, path: Path, *, log: Verifier | None) -> Checkpoint:
    try:
        parsed = parse_note(note)
        checkpoint = read_checkpoint(parsed)
    except NoteRefused as error:
        raise JournalDamaged(f"{path}: its last checkpoint: {error}") from error
    try:
        if log is not None:
            check_signed(parsed, verifier=log)
    except NoteRefused as error:
        raise JournalDamaged(
            f"{path}: its last checkpoint is not by this deployment's key; is it the journal of another one? ({error})"
        ) from error
    return checkpoint


def _kept_tree(kept: bytes, checkpoint: Checkpoint, path: Path) -> Frontier:
    try:
        hashes = tuple(kept[start : start + HASH_BYTES] for start in range(0, len(kept), HASH_BYTES))
        tree = Frontier(size=checkpoint.size, hashes=hashes)
    except ValueError as error:
        raise JournalDamaged(f"{path}: the tree beside its last checkpoint: {error}") from error
    if tree.root() != checkpoint.root:
        raise JournalDamaged(f"{path}: the tree beside its last checkpoint has another root than was signed")
    return tree


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _size(connection: Connection) -> int:
    last = connection.execute(select(func.max(ROWS.c.seq))).scalar_one()
    return 0 if last is None else int(last) + 1


def _read(connection: Connection, from_seq: int, limit: int) -> list[Row]:
    if from_seq < 0 or not 0 <= limit <= READ_ROWS_MAX:
        raise ValueError(f"rows are read from 0 upwards, at most {READ_ROWS_MAX}: from_seq={from_seq} limit={limit}")
    query = select(ROWS).where(ROWS.c.seq >= from_seq).order_by(ROWS.c.seq).limit(limit)
    return [_checked(record, from_seq + index) for index, record in enumerate(connection.execute(query))]


def _stored(connection: Connection, from_seq: int, limit: int) -> list[StoredRow]:
    query = select(ROWS.c.seq, ROWS.c.body, ROWS.c.leaf_hash).where(ROWS.c.seq >= from_seq)
    found = connection.execute(query.order_by(ROWS.c.seq).limit(limit)).all()
    # SQLite keeps whatever type it is handed; text in place of bytes has no leaf hash that fits.
    return [StoredRow(seq=row.seq, body=_as_bytes(row.body), leaf_hash=_as_bytes(row.leaf_hash)) for row in found]


def _checked_bytes(found_seq: int, record: Any, seq: int) -> Row:
    """Hold a row's bytes against its place and the hash beside it."""
    if found_seq != seq:
        raise JournalDamaged(f"row {seq} is missing; found {found_seq}")
    # SQLite keeps whatever type it is handed, so a tampered body may come back as text.
    if not isinstance(record.body, bytes) or leaf_hash(record.body) != record.leaf_hash:
        raise JournalDamaged(f"row {seq}: leaf hash does not match its bytes")
    try:
        row = parse_row(record.body)
    except JournalDamaged as error:
        raise JournalDamaged(f"row {seq}: {error}") from error
    if row.seq != seq:
        raise JournalDamaged(f"row {seq}: its bytes are of row {row.seq}")
    return row


def _checked(record: Any, seq: int) -> Row:
    """Hold a stored record against its own hash and bytes; the columns are an index, the bytes are the row."""
    row = _checked_bytes(record.seq, record, seq)
    if (row.seq, row.at_ns, row.kind.value, row.actor) != (seq, record.at_ns, record.kind, record.actor):
        raise JournalDamaged(f"row {seq}: columns do not match its bytes")
    return row
