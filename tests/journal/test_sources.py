"""A source gives what is kept at the moment at which it is asked, though it reads it later."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from journal.writing import ORIGIN, SIGNER, cosigned

from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.sources import DatabaseSource
from trade_journal.store.store import JournalStore

ROW = draft(Entry(at_ns=1, kind=RowKind.LEASE_GAINED, actor="gateway", fields={}))


def grow(store: JournalStore) -> None:
    """Add a row with a checkpoint and its cosignature."""
    store.append([ROW])
    note = SIGNER.sign(store.tree()).rendered().encode()
    store.append_checkpoint(note)
    store.append_cosigned(cosigned(note))


def test_checkpoint_kept_after_the_question_is_not_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    with closing(JournalStore.open(url, origin=ORIGIN)) as store, closing(DatabaseSource(url)) as source:
        grow(store)
        notes, cosigned_notes = source.checkpoints(), source.cosigned()
        grow(store)
        assert (len(list(notes)), len(list(cosigned_notes))) == (1, 1)
        assert (len(list(source.checkpoints())), len(list(source.cosigned()))) == (2, 2)


def test_checkpoints_of_several_pages_are_given_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_journal.sources.CHECKPOINTS_MAX", 2)
    url = f"sqlite:///{tmp_path}/journal.db"
    with closing(JournalStore.open(url, origin=ORIGIN)) as store, closing(DatabaseSource(url)) as source:
        for _ in range(5):
            grow(store)
        found = list(source.checkpoints())
    assert [int(note.split(b"\n")[1]) for note in found] == [1, 2, 3, 4, 5]
