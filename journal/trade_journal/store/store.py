"""Where rows live: one journal in a database, with one writer, which it holds to append-only and gapless itself.

Guarantees
- A committed row survives the death of the process and of the machine.
- The database refuses changed, deleted, replaced and out-of-sequence rows by triggers. They bind this program and
  its mistakes, not whoever owns the database: against that stand the leaf hashes here and the witness elsewhere.
- One writer: a second one is refused, and told who has the journal.
- What is not ours, newer than this code, of another origin or damaged is refused, never repaired.
- The tree over all rows is known after opening.

It is the same over every kind of database (`database`). It does not wait, retry or group: that is the writer's part.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select

from trade_journal.log.checkpoint import read_checkpoint
from trade_journal.log.note import Verifier, parse_note
from trade_journal.log.rows import Draft, Row
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.beginning import Beginning
from trade_journal.store.database import WritingDatabase, open_for_writing
from trade_journal.store.opening import opened_tree
from trade_journal.store.reader import CHECKPOINTS_MAX, JournalReader, kept_log_number
from trade_journal.store.records import READ_ROWS_MAX, read_rows, read_stored, row_values, stored_values
from trade_journal.store.schema import CHECKPOINTS, COSIGNATURES

__all__ = ["CHECKPOINTS_MAX", "READ_ROWS_MAX", "JournalReader", "JournalStore", "kept_log_number"]


class JournalStore:
    """The one writer's open journal. Used by one thread at a time."""

    __slots__ = ("_beginning", "_checkpoints", "_database", "_tree")

    def __init__(self, *, database: WritingDatabase, tree: Frontier, beginning: Beginning, checkpoints: int) -> None:
        self._database = database
        self._tree = tree
        self._beginning = beginning
        self._checkpoints = checkpoints

    @classmethod
    def open(cls, url: str, *, origin: str, log: Verifier | None = None) -> JournalStore:
        """Open the journal at a URL for writing; a SQLite file is made where none is.

        ``origin`` names who writes it, for which account and environment; a journal of another origin is refused.
        ``log`` is whose signature the last checkpoint must carry. Raises JournalRefused, JournalDamaged, or
        JournalUnavailable when the disk or the server does not let us.
        """
        database = open_for_writing(url, origin=origin)
        try:
            with database.prepared(origin=origin) as connection:
                tree, beginning, checkpoints = opened_tree(connection, database.place, log=log)
        except BaseException:
            database.close()
            raise
        return cls(database=database, tree=tree, beginning=beginning, checkpoints=checkpoints)

    @property
    def place(self) -> str:
        """Say where the journal lives, without a secret."""
        return self._database.place

    @property
    def first_seq(self) -> int:
        """Say with which row the part that is not sealed begins; `read` and `stored_rows` know no other."""
        return self._beginning.size

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
        values = [row_values(draft, first + index) for index, draft in enumerate(drafts)]
        self._database.insert_rows(values)
        self._tree = self._tree.extended(value[-1] for value in values)
        return first

    def append_stored(self, rows: Sequence[StoredRow]) -> None:
        """Commit another journal's next rows as they are, for a copy of it; durable on return.

        Raises JournalDamaged when they are not rows or not the next ones, JournalUnavailable as `append` does.
        """
        values = [stored_values(row, self._tree.size + index) for index, row in enumerate(rows)]
        if not values:
            return
        self._database.insert_rows(values)
        self._tree = self._tree.extended(row.leaf_hash for row in rows)

    def look(self) -> None:
        """See whether somebody else has written to the journal. Raises JournalUnavailable, as `append` does."""
        self._database.look()

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
        with self._database.transaction() as connection:
            connection.execute(insert(CHECKPOINTS), values)
        self._checkpoints += 1

    def append_cosigned(self, note: bytes) -> None:
        """Keep a checkpoint that the witness has cosigned, durable on return. Raises JournalUnavailable, ValueError.

        The caller has verified it, and that its root is this journal's. The store is then good for closing only, as
        after a failed append.
        """
        checkpoint = read_checkpoint(parse_note(note))
        if checkpoint.size > self._tree.size:
            raise ValueError(f"a checkpoint of {checkpoint.size} rows does not stand for these {self._tree.size}")
        first = self._beginning.cosignatures
        number = select(func.coalesce(func.max(COSIGNATURES.c.number) + 1, first)).scalar_subquery()
        values = {"number": number, "size": checkpoint.size, "note": note}
        with self._database.transaction() as connection:
            connection.execute(insert(COSIGNATURES).values(values))

    def witnessed_size(self) -> int:
        """Count the rows under the last cosigned checkpoint that is kept; those that are sealed, or 0, without one."""
        with self._database.transaction() as connection:
            last = select(COSIGNATURES.c.size).order_by(COSIGNATURES.c.number.desc()).limit(1)
            return int(connection.execute(last).scalar_one_or_none() or self._beginning.size)

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, judging nothing. At most READ_ROWS_MAX."""
        with self._database.transaction() as connection:
            return read_stored(connection, from_seq, limit)

    def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read committed rows in order. Raises JournalDamaged when one is not what was written."""
        with self._database.transaction() as connection:
            return read_rows(connection, from_seq, limit)

    def close(self) -> None:
        """Let go of the journal. Never raises: what was committed is on the disk already."""
        self._database.close()
