"""When a silent gateway's orders are swept."""

from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S
from trade_watchdog.actions.silence import ASK_AGAIN_S, RETRY_S, SILENT_S, Silence


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (14.999, False), (15, True), (3600, True)])
def test_gateway_is_silent_after_fifteen_seconds_and_a_sweep_is_due(seconds: float, expected: bool) -> None:
    silence = Silence(heard_at_ns=at(100))
    assert silence.is_silent(at(100 + seconds)) is expected
    assert silence.is_sweep_due(at(100 + seconds)) is expected
    assert SILENT_S == 15


def test_answer_ends_the_silence() -> None:
    silence = Silence(heard_at_ns=at(0))
    silence.hear(at(20))
    assert silence.is_silent(at(34.9)) is False
    assert silence.is_silent(at(35)) is True


@pytest.mark.parametrize(("is_taken", "again_s"), [(True, ASK_AGAIN_S), (False, RETRY_S)])
def test_sweep_is_due_again_after_a_while(is_taken: bool, again_s: int) -> None:
    silence = Silence(heard_at_ns=at(0))
    silence.asked(at(15), is_taken=is_taken)
    assert silence.is_sweep_due(at(15 + again_s) - 1) is False
    assert silence.is_sweep_due(at(15 + again_s)) is True
    assert (ASK_AGAIN_S, RETRY_S) == (30, 1)


def test_sweep_is_not_due_again_once_the_gateway_answers() -> None:
    silence = Silence(heard_at_ns=at(0))
    silence.asked(at(15), is_taken=True)
    silence.hear(at(40))
    assert silence.is_sweep_due(at(46)) is False
    assert silence.is_sweep_due(at(55)) is True


def test_next_silence_does_not_wait_for_the_last_one_s_turn() -> None:
    silence = Silence(heard_at_ns=at(0))
    silence.asked(at(15), is_taken=True)
    silence.hear(at(16))
    assert silence.is_sweep_due(at(30.9)) is False
    assert silence.is_sweep_due(at(31)) is True
