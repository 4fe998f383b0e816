"""Seals a SQLite journal: the whole file becomes a segment in the archive, and the journal goes on in a new file.

Guarantees
- At no moment is a row in no file, or a file in use without the rows that it should have; whenever we crash, the
  journal opens with the same rows and the same root, from the old file or from the new one.
- Only rows under a checkpoint that the witness has cosigned are left to the segment. Later ones are carried over.
- Nothing is deleted from a table, and no file is replaced but the one that has its second name in the archive by then.

The order. The new file is written under another name and synced, opened, and its root held against the old one's. The
old file is rid of its write-ahead log, so that it is all in one file; it gets its second name, and the archive is
synced. The new file is renamed over the old name, and the folder is synced by the next opening, before its first row.
If we crash before the renaming, the next sealing throws away what was prepared.

It does not choose when: the writer does, before it opens its doors. A journal somebody else has open is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.note import Verifier
from trade_journal.log.verify import PublicKeys
from trade_journal.store.beginning import Beginning
from trade_journal.store.cuts import Cut, behind, carry_over, last_cosigned
from trade_journal.store.database import parse_url
from trade_journal.store.opening import opened_tree
from trade_journal.store.schema import ROWS
from trade_journal.store.segments import archive_beside, segment_name
from trade_journal.store.sqlite_database import SqliteReading, SqliteWriting, make_file, sqlite_path, sync_folder

_FOLDER_MODE: Final = 0o700
_SEALED_MODE: Final = 0o400


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A segment that was made, and the rows that it answers for: from the first to before the end."""

    path: Path
    first: int
    end: int


def seal_old_rows(url: str, *, origin: str, keys: PublicKeys, written_before_ns: int) -> Sealed | None:
    """Seal a journal whose first unsealed row was written before a time (UTC), up to its last cosigned checkpoint.

    None when there is nothing to seal. Raises JournalRefused, JournalDamaged, JournalUnavailable; the journal is then
    as it was, or sealed.
    """
    path = sqlite_path(parse_url(url))
    if not path.exists() or keys.witness is None:
        return None
    with _Sealing(path, origin=origin, log=keys.log) as sealing:
        if not sealing.is_older_than(written_before_ns):
            return None
        cut = sealing.last_cosigned(keys.log, keys.witness)
        return None if cut is None else sealing.seal(cut)


def seal_all_rows(url: str, *, origin: str, log: Verifier, note: bytes) -> Sealed:
    """Seal a journal with every row that it has; ``note`` is a checkpoint over them, by whoever goes on.

    Raises as `seal_old_rows` does.
    """
    with _Sealing(sqlite_path(parse_url(url)), origin=origin, log=log) as sealing:
        return sealing.seal(Cut(size=sealing.size, note=note))


class _Sealing:
    """One journal, held by us alone from its opening to its new file's name."""

    def __init__(self, path: Path, *, origin: str, log: Verifier) -> None:
        self._path = path
        self._origin = origin
        self._archive = archive_beside(path)
        self._new = path.with_name(f".{path.name}.sealing")
        self._database = SqliteWriting(path)
        try:
            with self._database.prepared(origin=origin) as connection:
                self._tree, self._beginning, self._checkpoints = opened_tree(connection, str(path), log=log)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> _Sealing:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def size(self) -> int:
        """Count the rows."""
        return self._tree.size

    def is_older_than(self, time_ns: int) -> bool:
        """Tell whether the first row that is not sealed was written before a time."""
        with self._database.transaction() as connection:
            first = connection.execute(select(ROWS.c.at_ns).where(ROWS.c.seq == self._beginning.size)).scalar()
        return first is not None and int(first) < time_ns

    def last_cosigned(self, log: Verifier, witness: Verifier) -> Cut | None:
        """Find the last checkpoint that the witness has cosigned, if it covers a row that is not sealed."""
        with self._database.transaction() as connection:
            return last_cosigned(connection, self._beginning, log=log, witness=witness)

    def seal(self, cut: Cut) -> Sealed:
        """Put the file into the archive, and a new one that goes on behind the cut in its place."""
        first = self._beginning.size
        target = self._archive / segment_name(first=first, end=cut.size)
        with _system_errors_named(self._path):
            if self._path.is_symlink():
                raise JournalRefused(f"{self._path}: a link; only a file in its own place is sealed")
            self._throw_away_what_was_prepared()
            self._make_new(self._new_beginning(cut))
            self._database.leave_write_ahead_log()
            # A log file that came back after a power failure would be taken for the new file's.
            sync_folder(self._path)
            if not self._archive.exists():
                self._archive.mkdir(mode=_FOLDER_MODE)
                sync_folder(self._archive)
            self._put_in_place(target)
            target.chmod(_SEALED_MODE)
        return Sealed(path=target, first=first, end=cut.size)

    def _put_in_place(self, target: Path) -> None:
        os.link(self._path, target)
        try:
            sync_folder(target)
            self._new.rename(self._path)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        sync_folder(self._path)

    def _throw_away_what_was_prepared(self) -> None:
        for left in (self._new, self._new.with_name(self._new.name + "-journal")):
            left.unlink(missing_ok=True)
        if not self._archive.is_dir():
            return
        for name in self._archive.iterdir():
            if name.is_file() and name.samefile(self._path):
                name.unlink()  # the second name of a file that is still in use

    def _new_beginning(self, cut: Cut) -> Beginning:
        with self._database.transaction() as connection:
            return behind(cut, connection, str(self._path), beginning=self._beginning, checkpoints=self._checkpoints)

    def _make_new(self, beginning: Beginning) -> None:
        """Write the new file, and hold what can be read from it against the old one. Raises JournalDamaged."""

        def fill(new: Connection) -> None:
            with self._database.transaction() as old:
                carry_over(old, new, first=beginning)

        make_file(self._new, origin=self._origin, beginning=beginning, fill=fill)
        reading = SqliteReading(self._new)
        try:
            with reading.view() as connection:
                found = opened_tree(connection, str(self._new), log=None)
        finally:
            reading.close()
        if found != (self._tree, beginning, self._checkpoints):
            raise JournalDamaged(f"{self._path}: cannot be sealed: what would go on has another root than it has")


@contextmanager
def _system_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise JournalRefused(f"{error.filename2 or error.filename}: is there already; nothing was sealed") from error
    except OSError as error:
        raise JournalUnavailable(f"{path}: cannot be sealed: {error.strerror}", cause="sealing") from error
