from __future__ import annotations

from itertools import product

import pytest

from trade_gateway.policy.trading_state import TradingState
from trade_gateway.states import Fault, HaltBell, Holder, StateBoard


def board() -> StateBoard:
    return StateBoard(at_ns=1)


def free_board() -> StateBoard:
    """A board that only a lease holds back."""
    made = board()
    made.set_watchdog_ceiling(TradingState.ACTIVE, reason="", at_ns=2)
    return made


def test_board_at_start_is_reduce_only_even_with_a_lease() -> None:
    assert board().effective(is_lease_fresh=True) is TradingState.REDUCE_ONLY


def test_board_without_a_fresh_lease_is_reduce_only() -> None:
    assert free_board().effective(is_lease_fresh=False) is TradingState.REDUCE_ONLY


def test_board_with_nothing_held_and_a_fresh_lease_is_active() -> None:
    assert free_board().effective(is_lease_fresh=True) is TradingState.ACTIVE


@pytest.mark.parametrize(
    ("latch", "ceiling", "is_fresh", "has_fault"),
    list(product(TradingState, [s for s in TradingState if s < TradingState.KILLED], [True, False], [True, False])),
)
def test_board_effective_state_is_the_most_restrictive_of_all_holders(
    latch: TradingState, ceiling: TradingState, is_fresh: bool, has_fault: bool
) -> None:
    made = board()
    made.latch(latch, reason="r", at_ns=2)
    made.set_watchdog_ceiling(ceiling, reason="r", at_ns=2)
    if has_fault:
        made.raise_fault(Fault.ACCOUNT_UNTRUSTED, at_ns=2)
    expected = max(
        latch,
        ceiling,
        TradingState.ACTIVE if is_fresh else TradingState.REDUCE_ONLY,
        TradingState.REDUCE_ONLY if has_fault else TradingState.ACTIVE,
    )
    assert made.effective(is_lease_fresh=is_fresh) is expected
    holds = made.holds(is_lease_fresh=is_fresh, lease_lapsed_at_ns=3)
    assert max(hold.ceiling for hold in holds.values()) is expected
    assert set(holds) == set(Holder)


def test_board_released_latch_holds_nothing_and_tells_when() -> None:
    made = free_board()
    made.latch(TradingState.HALTED, reason="first", at_ns=5)
    made.release(at_ns=8)
    assert made.effective(is_lease_fresh=True) is TradingState.ACTIVE
    held = made.holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OPERATOR_LATCH]
    assert (held.ceiling, held.reason, held.since_ns) == (TradingState.ACTIVE, "", 8)


@pytest.mark.parametrize("looser", [TradingState.ACTIVE, TradingState.TRIMMED, TradingState.REDUCE_ONLY])
def test_board_latch_is_never_loosened(looser: TradingState) -> None:
    made = free_board()
    assert made.latch(TradingState.HALTED, reason="first", at_ns=5)
    assert not made.latch(looser, reason="second", at_ns=6)
    held = made.holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OPERATOR_LATCH]
    assert (held.ceiling, held.reason, held.since_ns) == (TradingState.HALTED, "first", 5)


def test_board_latch_of_the_same_ceiling_keeps_the_first_reason() -> None:
    made = board()
    made.latch(TradingState.HALTED, reason="first", at_ns=5)
    assert not made.latch(TradingState.HALTED, reason="second", at_ns=6)


def test_board_watchdog_ceiling_comes_and_goes() -> None:
    made = free_board()
    assert made.set_watchdog_ceiling(TradingState.TRIMMED, reason="drawdown", at_ns=3)
    assert not made.set_watchdog_ceiling(TradingState.TRIMMED, reason="again", at_ns=4)
    assert made.effective(is_lease_fresh=True) is TradingState.TRIMMED
    assert made.set_watchdog_ceiling(TradingState.ACTIVE, reason="", at_ns=5)
    assert made.effective(is_lease_fresh=True) is TradingState.ACTIVE


def test_board_fault_is_new_once_and_gone_once() -> None:
    made = board()
    assert made.raise_fault(Fault.KEY_UNVERIFIED, at_ns=1)
    assert not made.raise_fault(Fault.KEY_UNVERIFIED, at_ns=2)
    assert made.clear_fault(Fault.KEY_UNVERIFIED)
    assert not made.clear_fault(Fault.KEY_UNVERIFIED)


def test_board_has_a_fault_from_its_raising_to_its_clearing() -> None:
    made = board()
    assert not made.has_fault(Fault.CLOCK_LEAPT)
    made.raise_fault(Fault.CLOCK_LEAPT, at_ns=1)
    assert (made.has_fault(Fault.CLOCK_LEAPT), made.has_fault(Fault.KEY_UNVERIFIED)) == (True, False)
    made.clear_fault(Fault.CLOCK_LEAPT)
    assert not made.has_fault(Fault.CLOCK_LEAPT)


def test_board_holds_until_the_last_fault_is_gone() -> None:
    made = free_board()
    made.raise_fault(Fault.KEY_UNVERIFIED, at_ns=7)
    made.raise_fault(Fault.CLOCK_LEAPT, at_ns=9)
    made.clear_fault(Fault.KEY_UNVERIFIED)
    assert made.effective(is_lease_fresh=True) is TradingState.REDUCE_ONLY
    made.clear_fault(Fault.CLOCK_LEAPT)
    assert made.effective(is_lease_fresh=True) is TradingState.ACTIVE


def test_board_without_faults_holds_nothing_since_ever() -> None:
    held = board().holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OWN_FAULTS]
    assert (held.ceiling, held.reason, held.since_ns) == (TradingState.ACTIVE, "", 0)


def test_board_names_every_fault_since_the_first() -> None:
    made = board()
    made.raise_fault(Fault.KEY_UNVERIFIED, at_ns=7)
    made.raise_fault(Fault.CLOCK_LEAPT, at_ns=9)
    held = made.holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OWN_FAULTS]
    assert Fault.KEY_UNVERIFIED.value in held.reason
    assert Fault.CLOCK_LEAPT.value in held.reason
    assert held.since_ns == 7


def test_board_says_more_of_a_fault_also_while_it_holds_nothing_back() -> None:
    made = board()
    made.raise_fault(Fault.CLOCK_LEAPT, at_ns=7)
    made.explain_fault(Fault.CLOCK_LEAPT, "by an hour")
    made.explain_fault(Fault.INSTRUMENTS_MISSING, "spot ETHUSDT")
    missing = f"{Fault.INSTRUMENTS_MISSING.value}: spot ETHUSDT"
    held = made.holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OWN_FAULTS]
    assert held.reason == f"{missing}; {Fault.CLOCK_LEAPT.value}: by an hour"
    made.clear_fault(Fault.CLOCK_LEAPT)
    made.explain_fault(Fault.CLOCK_LEAPT, "")
    made.explain_fault(Fault.KEY_UNVERIFIED, "")
    held = made.holds(is_lease_fresh=True, lease_lapsed_at_ns=0)[Holder.OWN_FAULTS]
    assert (held.ceiling, held.reason) == (TradingState.ACTIVE, missing)


@pytest.mark.parametrize(("is_fresh", "reason"), [(True, ""), (False, "no fresh lease from the watchdog")])
def test_board_says_why_and_since_when_the_lease_holds(is_fresh: bool, reason: str) -> None:
    held = board().holds(is_lease_fresh=is_fresh, lease_lapsed_at_ns=42)[Holder.LEASE]
    assert (held.reason, held.since_ns) == (reason, 42)


def test_bell_rings_until_it_was_heard_as_often_as_it_was_rung() -> None:
    bell = HaltBell()
    assert not bell.is_ringing
    bell.ring()
    bell.ring()
    bell.hear()
    assert bell.is_ringing
    bell.hear()
    assert not bell.is_ringing
