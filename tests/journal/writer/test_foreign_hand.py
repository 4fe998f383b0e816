"""Another hand in a journal is told once for each time."""

from __future__ import annotations

from types import SimpleNamespace

from trade_journal.writer.foreign_hand import ForeignHand


def test_each_time_is_told_once_and_a_writer_that_is_begun_anew_counts_from_0() -> None:
    journal = SimpleNamespace(foreign_writes=0)
    hand = ForeignHand(journal=journal)
    told = []
    for journal.foreign_writes in (0, 1, 1, 3, 0, 0, 1):
        told.append(hand.is_new())
    assert told == [False, True, False, True, False, False, True]
