"""A journal of SQLite that is written and sealed step by step, and what lies in its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal.writing import KEYS, ORIGIN, SIGNER, cosigned

from trade_journal.log.rows import Entry, Fields, RowKind, draft
from trade_journal.log.verify import StoredRow, Verdict, verify_journal
from trade_journal.store.sealing import Sealed, seal_old_rows
from trade_journal.store.segments import archive_beside
from trade_journal.store.store import JournalReader, JournalStore

ALL = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealable:
    """A journal in a folder; every step opens and closes it, as a restart does."""

    path: Path

    @property
    def url(self) -> str:
        """Name it."""
        return f"sqlite:///{self.path}"

    @property
    def archive(self) -> Path:
        """Say where its segments are."""
        return archive_beside(self.path)

    def segments(self) -> list[Path]:
        """List the sealed files, the oldest first."""
        return sorted(self.archive.iterdir()) if self.archive.is_dir() else []

    def copied_to(self, folder: Path) -> Sealable:
        """Copy it with its segments: many tests begin with the same, and making it takes a second."""
        shutil.copytree(self.path.parent, folder, dirs_exist_ok=True)
        return Sealable(path=folder / self.path.name)

    @contextmanager
    def store(self) -> Iterator[JournalStore]:
        """Open it for writing."""
        store = JournalStore.open(self.url, origin=ORIGIN, log=SIGNER.verifier())
        try:
            yield store
        finally:
            store.close()

    def grow(self, rows: int, *, what: str = "this") -> None:
        """Append rows; each can be told from every other."""
        with self.store() as store:
            first = store.size()
            if rows:
                store.append([draft(_entry(first + index, what)) for index in range(rows)])

    def sign(self) -> bytes:
        """Keep a checkpoint over all rows."""
        with self.store() as store:
            note = SIGNER.sign(store.tree()).rendered().encode()
            store.append_checkpoint(note)
        return note

    def vouch(self) -> None:
        """Keep a checkpoint over all rows, and the witness's cosignature."""
        note = self.sign()
        with self.store() as store:
            store.append_cosigned(cosigned(note))

    def seal(self, *, before_ns: int = 2**62) -> Sealed | None:
        """Seal it as a start does."""
        return seal_old_rows(self.url, origin=ORIGIN, keys=KEYS, written_before_ns=before_ns)

    def sealed(self, rows: int = 3) -> Path:
        """Append rows, have them vouched for, and seal them."""
        self.grow(rows)
        self.vouch()
        done = self.seal()
        assert done is not None
        return done.path

    @contextmanager
    def reader(self) -> Iterator[JournalReader]:
        """Read it."""
        reader = JournalReader(self.url)
        try:
            yield reader
        finally:
            reader.close()

    def rows(self) -> list[StoredRow]:
        """Read every row."""
        with self.reader() as reader:
            return reader.stored_rows(0, ALL)

    def verdict(self) -> Verdict:
        """Verify it."""
        with self.reader() as reader:
            return verify_journal(
                reader.stored_rows(0, ALL),
                notes=reader.checkpoints(0, ALL),
                cosigned=reader.cosigned(0, ALL),
                keys=KEYS,
            )


def _entry(number: int, what: str) -> Entry:
    fields: Fields = {"number": number, "what": what}
    return Entry(at_ns=number + 1, kind=RowKind.ORDER_INTENT, actor="gateway", fields=fields)
