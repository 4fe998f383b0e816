"""What was in flight is known again by its bytes, and a row under our name that is not ours is another process's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.log.rows import Entry, RowKind, draft, leaf_hash, numbered
from trade_journal.log.verify import StoredRow
from trade_journal.writer.own_rows import written_among
from trade_journal.writer.peers import Peer

Make = Callable[..., Entry]


def stored(*entries: Entry, from_seq: int = 5) -> list[StoredRow]:
    bodies = [numbered(draft(entry).head, seq) for seq, entry in enumerate(entries, start=from_seq)]
    return [StoredRow(seq, body, leaf_hash(body)) for seq, body in enumerate(bodies, start=from_seq)]


def found(rows: Sequence[StoredRow], *handed_over: Sequence[Entry], peer: Peer = Peer.GATEWAY) -> set[int]:
    return written_among(rows, dict(enumerate(handed_over)), peer=peer)


def test_rows_that_stand_there_are_found_and_the_others_are_not(entry: Make) -> None:
    first, second, third = (entry(fields={"number": number}) for number in range(3))
    assert found(stored(first, third), [first], [second], [third]) == {0, 2}
    assert found([], [first]) == set()


def test_rows_handed_over_together_are_found_by_their_first(entry: Make) -> None:
    together = [entry(fields={"number": number}) for number in range(3)]
    alone = entry(fields={"number": 9})
    assert found(stored(*together, alone), together, [alone]) == {0, 1}


def test_same_bytes_are_as_many_rows_as_were_handed_over(entry: Make) -> None:
    same = entry(fields={"number": 1})
    assert found(stored(same), [same], [same]) == {0}
    assert found(stored(same, same), [same], [same]) == {0, 1}
    with pytest.raises(JournalRefused, match="row 7 is under our name and not ours"):
        found(stored(same, same, same), [same], [same])


def test_rows_of_other_peers_are_passed_over(entry: Make) -> None:
    theirs = entry(actor="shim", kind=RowKind.SWING_TRADE_OPENED)
    ours = entry()
    assert found(stored(theirs, ours), [ours]) == {0}


def test_row_under_our_name_that_we_did_not_hand_over_is_refused(entry: Make) -> None:
    with pytest.raises(JournalRefused, match="row 6 is under our name and not ours: another process writes here"):
        found(stored(entry(), entry(fields={"number": 1})), [entry()])


def test_peer_that_may_be_several_processes_passes_over_rows_of_the_others(entry: Make) -> None:
    ours, theirs = (entry(actor="shim", kind=RowKind.SWING_TRADE_OPENED, fields={"number": n}) for n in range(2))
    assert found(stored(theirs, ours), [ours], peer=Peer.SHIM) == {0}


def test_row_that_no_journal_takes_was_not_written(entry: Make) -> None:
    bad, good = entry(fields={"price": 1.5}), entry()
    assert found(stored(good), [bad], [good]) == {1}


def test_bytes_that_are_no_row_are_damage(entry: Make) -> None:
    with pytest.raises(JournalDamaged, match="not a row"):
        found([StoredRow(0, b"{}", leaf_hash(b"{}"))], [entry()])
