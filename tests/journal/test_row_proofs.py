"""A row is proven under the first cosigned checkpoint over it, and only the rows around it are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from journal.plain_journals import AT_S, plain_journal
from journal.store.sealed import Sealable
from journal.writing import KEYS, ORIGIN, SIGNER, cosigned

from trade_journal.errors import JournalUnavailable, NoteRefused, RowUncovered
from trade_journal.log.proof import RowProof, check_proof
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.log.verify import StoredRow
from trade_journal.row_proofs import covering_checkpoint, prove_row
from trade_journal.sources import DatabaseSource, Source
from trade_journal.store.store import JournalStore

ROW = draft(Entry(at_ns=AT_S, kind=RowKind.READ_ANSWERED, actor="gateway", fields={}))


class Counting(DatabaseSource):
    """Counts the rows that are asked for."""

    read = 0

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        found = super().rows(from_seq, limit)
        self.read += len(found)
        return found


class Served:
    """A source that keeps no tree: another one's rows and notes."""

    def __init__(self, source: DatabaseSource) -> None:
        self.origin, self.size, self.rows = source.origin, source.size, source.rows
        self.checkpoints, self.cosigned, self.close = source.checkpoints, source.cosigned, source.close


def proven(source: Source, seq: int) -> RowProof:
    note, checkpoint = covering_checkpoint(source, seq, keys=KEYS)
    proof = prove_row(source, seq, note, checkpoint, advance=lambda _: None)
    check_proof(proof, log=KEYS.log, witness=KEYS.witness)
    return proof


@pytest.mark.parametrize("seq", [0, 1, 299, 300, 301, 599, 600, 899, 900, 998, 999])
def test_any_row_is_proven_the_same_from_every_source(tmp_path: Path, seq: int) -> None:
    path = plain_journal(tmp_path)
    with closing(DatabaseSource(f"sqlite:///{path}")) as source:
        proof = proven(source, seq)
        assert proof == proven(Served(source), seq)
    assert proof.body.endswith(b',"seq":%d}' % seq)
    assert proof.note.startswith(b"%b\n%d\n" % (ORIGIN.encode(), min(1_000, seq // 300 * 300 + 300)))


def test_rows_of_sealed_segments_are_proven_too(tmp_path: Path) -> None:
    journal = Sealable(path=tmp_path / "journal.db")
    for rows in (5, 6, 7):
        journal.grow(rows)
        journal.sign()
        journal.vouch()
        journal.seal()
    journal.grow(2)
    journal.vouch()
    assert len(journal.segments()) == 3
    with closing(DatabaseSource(journal.url)) as source:
        for seq in range(20):
            assert proven(source, seq) == proven(Served(source), seq)


def test_only_rows_from_the_row_to_its_checkpoint_are_read(tmp_path: Path) -> None:
    path = plain_journal(tmp_path, rows=6_000, unsigned=0)
    with closing(Counting(f"sqlite:///{path}")) as source:
        proven(source, 250)
        assert source.read <= 2_000


def test_proof_carries_the_witness_s_word_where_there_is_one(tmp_path: Path) -> None:
    path = plain_journal(tmp_path, rows=300, unsigned=0)
    with closing(JournalStore.open(f"sqlite:///{path}", origin=ORIGIN)) as store:
        for _ in range(3):
            store.append([ROW])
            note = SIGNER.sign(store.tree()).rendered().encode()
            store.append_checkpoint(note)
        store.append_cosigned(cosigned(note))
        store.append([ROW])
        store.append_checkpoint(SIGNER.sign(store.tree()).rendered().encode())
    with closing(DatabaseSource(f"sqlite:///{path}")) as source:
        times = [
            check_proof(proven(source, seq), log=KEYS.log, witness=KEYS.witness).witnessed_at_s for seq in (300, 303)
        ]
    assert times == [1, None]


def test_row_that_no_checkpoint_covers_is_not_one_that_is_missing(tmp_path: Path) -> None:
    path = plain_journal(tmp_path, rows=300, unsigned=2)
    with closing(DatabaseSource(f"sqlite:///{path}")) as source:
        for place in (source, Served(source)):
            with pytest.raises(RowUncovered, match="no checkpoint covers row 301 yet; there are 302 rows"):
                covering_checkpoint(place, 301, keys=KEYS)
            with pytest.raises(JournalUnavailable, match="has 302 rows, and no row 302"):
                covering_checkpoint(place, 302, keys=KEYS)


def test_checkpoint_that_says_more_than_was_signed_is_not_believed(tmp_path: Path) -> None:
    path = plain_journal(tmp_path, rows=300, unsigned=2)
    with closing(DatabaseSource(f"sqlite:///{path}")) as source:
        served = Served(source)
        (note,) = source.checkpoints()
        served.cosigned = lambda: iter([note.replace(b"\n300\n", b"\n302\n")])
        with pytest.raises(NoteRefused):
            covering_checkpoint(served, 301, keys=KEYS)
