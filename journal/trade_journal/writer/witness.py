"""A witness of somebody else's log: keeps its own copy of the rows, and cosigns what that copy bears out.

Guarantees
- A cosignature is given only over a checkpoint whose root the witness has computed itself from rows that it keeps,
  after they and the checkpoint are durable.
- It never cosigns two trees of which one does not begin with the other, over restarts too: the copy is the memory.
- What it cannot bear out is withheld. Only proof is called a fork: a checkpoint, validly signed by the log, whose root
  the witness's rows contradict.

The copy is a journal file of the log's own format and origin: `trade-journal verify` reads it as it does the original.
It does not fetch anything, and blocks while the disk works: call it off the event loop.

Closing waits for what is under way. A caller that is cancelled leaves its thread at work, and SQLite tears the whole
process down when a connection is closed under a statement.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.errors import ForkProven, JournalDamaged, JournalUnavailable, NoteRefused, Withheld
from trade_journal.log.checkpoint import Checkpoint, cosign, open_checkpoint
from trade_journal.log.note import COSIGNATURE_V1, Note, Verifier
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.store import READ_ROWS_MAX, JournalReader, JournalStore


class Witness:
    """The copy of one log, and the key that cosigns its checkpoints. Used by one thread at a time; any may close it."""

    def __init__(
        self, *, store: JournalStore, url: str, log: Verifier, name: str, private_key: Ed25519PrivateKey
    ) -> None:
        self._store = store
        self._url = url
        self._log = log
        self._name = name
        self._private_key = private_key
        self._at_work = threading.Lock()
        self._is_closed = False

    @classmethod
    def open(
        cls, url: str, *, log: Verifier, name: str, private_key: Ed25519PrivateKey, journal: str | None = None
    ) -> Witness:
        """Open or make the copy at ``sqlite:////absolute/path``; ``journal`` is its name when it is not the log's.

        Raises JournalRefused, JournalUnavailable.
        """
        store = JournalStore.open(url, origin=log.name if journal is None else journal, log=log)
        return cls(store=store, url=url, log=log, name=name, private_key=private_key)

    @property
    def size(self) -> int:
        """Count the rows that the copy has: the number of the next one to fetch."""
        return self._store.size()

    @property
    def root(self) -> bytes:
        """Return the root over the rows that the copy has."""
        return self._store.tree().root()

    @property
    def verifier(self) -> Verifier:
        """Return the public half of the cosigning key."""
        return Verifier(name=self._name, kind=COSIGNATURE_V1, public=self._private_key.public_key())

    def reading(self) -> JournalReader:
        """Open a view of the copy of its own, for another thread. The caller closes it."""
        return JournalReader(self._url)

    def read_checkpoint(self, raw: bytes) -> Checkpoint:
        """Believe a checkpoint of the log by its signature. Raises Withheld."""
        return self._opened(raw)[0]

    def take(self, rows: Sequence[StoredRow]) -> None:
        """Keep the next rows of the log. Raises Withheld when they are not the next ones, JournalUnavailable."""
        with self._at_work:
            self._refuse_closed()
            try:
                self._store.append_stored(rows)
            except JournalDamaged as error:
                raise Withheld(f"rows that are none: {error}") from error

    def cosign(self, raw: bytes, *, at_s: int) -> bytes:
        """Cosign a checkpoint, once every row under it is in the copy. `at_s` is UTC seconds.

        Raises ForkProven when the rows contradict it, Withheld when it is not the log's or of another size than the
        copy, JournalUnavailable.
        """
        with self._at_work:
            self._refuse_closed()
            return self._cosigned(raw, at_s)

    def close(self) -> None:
        """Close the copy, once what another thread does with it is done. Can be called twice."""
        with self._at_work:
            if not self._is_closed:
                self._is_closed = True
                self._store.close()

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise JournalUnavailable(f"{self._store.place}: the copy is closed")

    def _cosigned(self, raw: bytes, at_s: int) -> bytes:
        checkpoint, note = self._opened(raw)
        if checkpoint.size > self.size:
            raise Withheld(f"a checkpoint of {checkpoint.size} rows, of which {self.size} have been seen")
        if self._root_at(checkpoint.size) != checkpoint.root:
            raise ForkProven(f"the log signed a root over {checkpoint.size} rows that its own rows contradict")
        if checkpoint.size < self.size:
            raise Withheld(f"a checkpoint of {checkpoint.size} rows after {self.size} were seen: the log went back")
        cosigned = cosign(note, name=self._name, private_key=self._private_key, at_s=at_s).rendered().encode()
        self._store.append_checkpoint(cosigned)
        return cosigned

    def _opened(self, raw: bytes) -> tuple[Checkpoint, Note]:
        try:
            checkpoint, note = open_checkpoint(raw, log=self._log)
        except NoteRefused as error:
            raise Withheld(str(error)) from error
        # Lines of others would be kept and cosigned along; the log signs alone.
        return checkpoint, Note(
            text=note.text, signatures=tuple(s for s in note.signatures if s.name == self._log.name)
        )

    def _root_at(self, size: int) -> bytes:
        """Compute an older root from every row under it. Raises JournalError when a sealed segment does not join."""
        if size == self.size:
            return self._store.tree().root()
        tree = Frontier()
        reader = JournalReader(self._url)
        try:
            while tree.size < size:
                rows = reader.stored_rows(tree.size, min(READ_ROWS_MAX, size - tree.size))
                if not rows:
                    raise JournalDamaged(f"{self._store.place}: row {tree.size} is missing")
                tree = tree.extended(row.leaf_hash for row in rows)
        finally:
            reader.close()
        return tree.root()
