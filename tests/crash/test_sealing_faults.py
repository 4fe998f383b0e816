"""A sample of the faults of `make crash` while a journal is sealed, the same in every run."""

from __future__ import annotations

import pytest
from crash.io_faults import KILLED, PromiseBroken
from crash.sealing_faults import SealingFault, count_calls, faults_of, run_with

pytestmark = pytest.mark.slow

FAULTS = [
    SealingFault(call=call, outcome=outcome, number=number, has_segment=has_segment)
    for call, outcome, number, has_segment in (
        ("link", KILLED, 1, True),
        ("rename", KILLED, 1, False),
        ("fsync", "EIO", 2, False),
        ("fsync", KILLED, 4, True),
        ("pwrite64", "ENOSPC", 12, False),
        ("pwrite64", KILLED, 18, True),
    )
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_row_is_lost_by_a_sealing_in_which(fault: SealingFault) -> None:
    assert run_with(fault), "there was no such call"


def test_every_call_is_tried_in_the_full_run() -> None:
    count = count_calls("link", has_segment=True)
    assert count == 1
    assert {fault.number for fault in faults_of("link", has_segment=True)} >= {1, 2}


def test_row_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("journal.store.sealed.Sealable.segments", lambda _: [])
    with pytest.raises(PromiseBroken, match="not what it was"):
        run_with(FAULTS[0])
