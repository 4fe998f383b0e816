"""Journals of some hundred rows in a SQLite file, with checkpoints and without a writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from journal.writing import KEYS, ORIGIN, SIGNER, WITNESS, WITNESS_KEY

from trade_journal.log.checkpoint import cosign
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.store.store import JournalStore

AT_S = 1_795_000_000


def plain_journal(
    folder: Path, *, rows: int = 1_000, unsigned: int = 10, time_of: Callable[[int], int] = lambda number: number
) -> Path:
    """Make a journal whose last rows no checkpoint vouches for; its public keys stand beside it in `keys`."""
    path = folder / "plain.db"
    store = JournalStore.open(f"sqlite:///{path}", origin=ORIGIN)
    entries = [
        draft(Entry(at_ns=time_of(number), kind=RowKind.READ_ANSWERED, actor="gateway", fields={"n": number}))
        for number in range(rows + unsigned)
    ]
    for start in range(0, rows, 300):
        store.append(entries[start : min(rows, start + 300)])
        note = SIGNER.sign(store.tree())
        store.append_checkpoint(note.rendered().encode())
        cosigned = cosign(note, name=WITNESS, private_key=WITNESS_KEY, at_s=AT_S + start)
        store.append_cosigned(cosigned.rendered().encode())
    if unsigned:
        store.append(entries[rows:])
    store.close()
    assert KEYS.witness is not None
    (folder / "keys").write_text(f"{KEYS.log.text()}\n{KEYS.witness.text()}\n")
    return path
