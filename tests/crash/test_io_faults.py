"""A sample of the faults of `make crash`, the same in every run: a disk that fails, and a death at a system call."""

from __future__ import annotations

import pytest
from crash.io_faults import CALLS, KILLED, Fault, PromiseBroken, count_calls, faults_of, run_with, sampled

pytestmark = pytest.mark.slow

FAULTS = [
    Fault(call="pwrite64", outcome="EIO", number=9, is_new=True),
    Fault(call="pwrite64", outcome="ENOSPC", number=14, is_new=False),
    Fault(call="pwrite64", outcome=KILLED, number=11, is_new=True),
    Fault(call="fdatasync", outcome="EIO", number=4, is_new=False),
    Fault(call="fdatasync", outcome=KILLED, number=3, is_new=True),
    Fault(call="fsync", outcome="ENOSPC", number=1, is_new=True),
    Fault(call="openat", outcome="EIO", number=2, is_new=True),
    Fault(call="rename", outcome="ENOSPC", number=1, is_new=True),
    Fault(call="rename", outcome=KILLED, number=1, is_new=True),
    Fault(call="fcntl", outcome="EIO", number=5, is_new=False),
    *(
        Fault(call="pwrite64", outcome=outcome, number=number, is_new=False, is_emergency=True)
        for number, outcome in ((12, "EIO"), (13, KILLED), (14, "ENOSPC"), (15, KILLED))
    ),
    *(
        Fault(call="fdatasync", outcome=outcome, number=number, is_new=False, is_emergency=True)
        for number, outcome in ((5, "EIO"), (6, KILLED))
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_promise_of_the_journal_is_broken_by(fault: Fault) -> None:
    assert run_with(fault), "there was no such call"


def test_every_call_is_tried_in_the_full_run() -> None:
    count = count_calls("fdatasync", is_new=True)
    faults = faults_of("fdatasync", is_new=True)
    assert count > 4
    assert {fault.number for fault in faults} >= set(range(1, count + 1))
    assert "fdatasync" in CALLS
    assert len(sampled(faults, 3, seed=1)) == 3


def test_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crash.io_faults.ROWS", 0)  # whatever is written then is a row that nobody wrote
    with pytest.raises(PromiseBroken, match="nobody wrote"):
        run_with(FAULTS[3])
