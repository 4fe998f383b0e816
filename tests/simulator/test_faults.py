"""Faults: where they act, how often, and which are refused."""

from __future__ import annotations

import pytest

from trade_simulator.faults import MAX_FAULTS, MAX_MESSAGE_CHARACTERS, Fault, FaultMode, Faults, InvalidFault

PATH = "/v5/order/create"


def test_fault_acts_on_its_exact_path_only() -> None:
    faults = Faults()
    faults.add(Fault(path=PATH, mode=FaultMode.CLOSE))
    assert faults.take("/v5/order/create-batch") == {}
    assert FaultMode.CLOSE in faults.take(PATH)


def test_fault_with_a_count_acts_so_many_times() -> None:
    faults = Faults()
    faults.add(Fault(path=PATH, mode=FaultMode.ERROR, count=2))
    assert [bool(faults.take(PATH)) for _ in range(4)] == [True, True, False, False]


def test_fault_without_a_count_acts_until_cleared() -> None:
    faults = Faults()
    faults.add(Fault(path=PATH, mode=FaultMode.STATUS))
    assert all(faults.take(PATH) for _ in range(50))
    faults.clear()
    assert faults.take(PATH) == {}


def test_faults_of_one_path_act_together() -> None:
    faults = Faults()
    faults.add(Fault(path=PATH, mode=FaultMode.DELAY, ms=5))
    faults.add(Fault(path=PATH, mode=FaultMode.LOSE_RESPONSE))
    assert set(faults.take(PATH)) == {FaultMode.DELAY, FaultMode.LOSE_RESPONSE}


def test_take_of_some_modes_leaves_the_others_their_count() -> None:
    faults = Faults()
    faults.add(Fault(path="ws:private", mode=FaultMode.GAP, count=1))
    assert faults.take("ws:private", (FaultMode.CLOSE,)) == {}
    assert FaultMode.GAP in faults.take("ws:private", (FaultMode.GAP,))


@pytest.mark.parametrize(
    "fault",
    [
        {"path": PATH, "mode": FaultMode.DELAY},
        {"path": PATH, "mode": FaultMode.DELAY, "ms": -1},
        {"path": PATH, "mode": FaultMode.DELAY, "ms": 600_001},
        {"path": PATH, "mode": FaultMode.CLOSE, "count": 0},
        {"path": PATH, "mode": FaultMode.STATUS, "status": 200},
        {"path": PATH, "mode": FaultMode.STATUS, "status": 600},
        {"path": PATH, "mode": FaultMode.GAP},
        {"path": PATH, "mode": FaultMode.REORDER},
        {"path": PATH, "mode": FaultMode.PARTIAL},
        {"path": "ws:other", "mode": FaultMode.CLOSE},
        {"path": "", "mode": FaultMode.CLOSE},
        {"path": PATH, "mode": FaultMode.ERROR, "message": "x" * (MAX_MESSAGE_CHARACTERS + 1)},
    ],
)
def test_fault_that_cannot_be_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(InvalidFault):
        Fault(**fault)  # type: ignore[arg-type]


def test_faults_past_their_number_are_refused() -> None:
    faults = Faults()
    for _ in range(MAX_FAULTS):
        faults.add(Fault(path=PATH, mode=FaultMode.CLOSE))
    with pytest.raises(InvalidFault):
        faults.add(Fault(path=PATH, mode=FaultMode.CLOSE))
    assert len(faults.as_json()) == MAX_FAULTS


def test_watcher_hears_of_every_fault() -> None:
    faults = Faults()
    heard: list[Fault] = []
    faults.watch(heard.append)
    fault = Fault(path=PATH, mode=FaultMode.CLOSE)
    faults.add(fault)
    assert heard == [fault]
