"""Makes the proof that a row stands in a journal, from as little of the journal as the source allows.

A journal's own database keeps the tree beside each checkpoint: the proof needs that of the last checkpoint before the
row, and the rows from there to the first checkpoint over it, whatever the journal's size. Others are read from row 0.

Guarantees
- The checkpoint is the first cosigned one over the row, so that the proof carries the witness's word too; or the log's
  own, where none is cosigned yet.
- What is read here is not verified: whoever hands the proof out checks it, and a tree that somebody changed makes a
  proof that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trade_journal.errors import JournalDamaged, JournalUnavailable, RowUncovered
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.proof import RowProof, first_over, opened_over
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier, inclusion_proof
from trade_journal.log.verify import PublicKeys, StoredRow
from trade_journal.sources import DatabaseSource, Source, stored_rows

Advance = Callable[[int], None]


def covering_checkpoint(source: Source, seq: int, *, keys: PublicKeys) -> tuple[bytes, Checkpoint]:
    """Find the first cosigned checkpoint over a row, or the first of the log's own.

    Raises RowUncovered, JournalUnavailable for a row that is not there, NoteRefused for one that is not to be believed.
    """
    if isinstance(source, DatabaseSource):
        note = source.first_over(seq)
    else:
        note = first_over(source.cosigned(), seq) or first_over(source.checkpoints(), seq)
    if note is not None:
        return note, opened_over(note, seq, keys=keys)
    size = source.size()
    if seq >= size:
        raise JournalUnavailable(f"the journal has {size} rows, and no row {seq}", cause="no_row")
    raise RowUncovered(f"no checkpoint covers row {seq} yet; there are {size} rows")


def prove_row(source: Source, seq: int, note: bytes, checkpoint: Checkpoint, *, advance: Advance) -> RowProof:
    """Make the proof of a row under a checkpoint over it. Raises JournalError."""
    before = source.tree_before(seq) if isinstance(source, DatabaseSource) else Frontier()
    leaves: list[bytes] = []
    body = b""
    for stored in _rows(source, before.size, checkpoint.size, advance):
        if stored.seq != before.size + len(leaves):
            raise JournalDamaged(f"row {before.size + len(leaves)}: is missing")
        leaves.append(leaf_hash(stored.body))
        if stored.seq == seq:
            body = stored.body
    size = before.size + len(leaves)
    if size < checkpoint.size:
        raise JournalDamaged(f"{size} rows, while a checkpoint vouches for {checkpoint.size}: cut off")
    known = before.subtrees()

    def range_hash(first: int, end: int) -> bytes:
        if end <= before.size:
            return known[first, end]
        return Frontier().extended(leaves[first - before.size : end - before.size]).root()

    return RowProof(body=body, index=seq, path=tuple(inclusion_proof(seq, checkpoint.size, range_hash)), note=note)


def _rows(source: Source, first: int, end: int, advance: Advance) -> Iterator[StoredRow]:
    for page in stored_rows(source, from_seq=first):
        yield from (stored for stored in page if stored.seq < end)
        advance(len(page))
        if page[-1].seq >= end - 1:
            return
