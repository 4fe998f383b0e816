"""Checkpoints that several processes check are believed and refused as those that one checks."""

from __future__ import annotations

from functools import partial

import pytest
from journal.writing import KEYS, SIGNER, cosigned

from trade_journal import note_checks
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import BATCH_NOTES, FaultFound, checked_points
from trade_journal.note_checks import checked_notes

pytestmark = pytest.mark.slow
NOTES = [
    SIGNER.sign(Frontier().extended([leaf_hash(b"row")] * size)).rendered().encode()
    for size in range(BATCH_NOTES // 2 + 90)
]
COSIGNED = [cosigned(note) for note in NOTES]


@pytest.fixture(autouse=True)
def _few_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_checks, "ALONE_BATCHES", 1)


def test_points_are_those_of_one_process_and_in_their_order() -> None:
    alone = list(checked_points(NOTES, COSIGNED, keys=KEYS))
    check = partial(checked_notes, keys=KEYS)
    assert list(checked_points(NOTES, COSIGNED, keys=KEYS, check=check)) == alone
    assert len(alone) == 2 * len(NOTES) > BATCH_NOTES


def test_note_that_another_process_refuses_is_named_by_its_place() -> None:
    last = len(NOTES) - 1
    forged = COSIGNED[last].replace(b"ring ab", b"ring cd")
    points = checked_points(NOTES, [*COSIGNED[:last], forged], keys=KEYS, check=partial(checked_notes, keys=KEYS))
    with pytest.raises(FaultFound, match=f"^cosigned checkpoint {last}: the signature by"):
        list(points)


def test_process_that_dies_ends_the_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_checks, "_begin", int)  # which no text of keys is
    points = checked_points(NOTES, COSIGNED, keys=KEYS, check=partial(checked_notes, keys=KEYS))
    with pytest.raises(JournalUnavailable, match="a process that checks signatures has died"):
        list(points)


def test_few_notes_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_checks, "ProcessPoolExecutor", None)
    points = list(checked_points(NOTES[:9], [], keys=KEYS, check=partial(checked_notes, keys=KEYS)))
    assert [point.size for point in points] == list(range(9))
