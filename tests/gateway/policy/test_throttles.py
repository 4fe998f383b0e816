"""The throttles: levels met exactly, latches that only a person lifts, bounded memory."""

from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S
from trade_gateway.policy.throttles import (
    MessageLevel,
    MessageThrottle,
    RepeatedExecutionThrottle,
)
from trade_gateway.wire.intents import Category, Side

BTC = (Category.LINEAR, "BTCUSDT")
ETH = (Category.LINEAR, "ETHUSDT")
FREE, DENY, TERMINATE = MessageLevel.FREE, MessageLevel.DENY, MessageLevel.TERMINATE


def throttle(*, is_terminated: bool = False) -> MessageThrottle:
    return MessageThrottle(deny_above=2, terminate_above=4, is_terminated=is_terminated)


def test_messages_meet_each_level_just_past_its_bound() -> None:
    counted = throttle()
    levels = [counted.count(at_ns=5) for _ in range(7)]
    assert levels == [FREE, FREE, DENY, DENY, TERMINATE, TERMINATE, TERMINATE]


@pytest.mark.parametrize(("gap_ns", "level"), [(NS_PER_S - 1, DENY), (NS_PER_S, FREE), (9 * NS_PER_S, FREE)])
def test_messages_are_forgotten_after_a_second(gap_ns: int, level: MessageLevel) -> None:
    counted = throttle()
    counted.count(at_ns=0)
    counted.count(at_ns=0)
    assert counted.count(at_ns=gap_ns) is level


def test_messages_that_were_denied_count_towards_termination() -> None:
    counted = throttle()
    for at_ns in range(4):
        counted.count(at_ns=at_ns)
    assert not counted.is_terminated
    assert counted.count(at_ns=4) is TERMINATE
    assert counted.is_terminated


def test_termination_stays_until_a_person_lifts_it() -> None:
    counted = throttle()
    for _ in range(5):
        counted.count(at_ns=0)
    assert counted.count(at_ns=3600 * NS_PER_S) is FREE
    assert counted.is_terminated
    counted.rearm()
    assert not counted.is_terminated
    assert counted.count(at_ns=3600 * NS_PER_S) is FREE


def test_termination_survives_a_restart() -> None:
    assert throttle(is_terminated=True).is_terminated
    assert not throttle().is_terminated


def test_messages_do_not_profit_from_a_clock_that_goes_back() -> None:
    counted = throttle()
    for at_ns in (10 * NS_PER_S, 3 * NS_PER_S, 10 * NS_PER_S):
        level = counted.count(at_ns=at_ns)
    assert level is DENY


def test_levels_rise_from_free_to_terminate() -> None:
    assert list(MessageLevel) == [0, 1, 2]
    assert FREE < DENY < TERMINATE


def test_messages_are_counted_in_a_window_that_slides() -> None:
    counted = throttle()
    levels = [counted.count(at_ns=step * NS_PER_S * 9 // 10) for step in range(6)]
    assert levels == [FREE] * 6


def test_messages_begin_anew_when_a_person_lifts_the_termination() -> None:
    counted = throttle()
    for _ in range(5):
        counted.count(at_ns=7)
    counted.rearm()
    assert counted.count(at_ns=7) is FREE


def test_messages_are_not_terminated_before_anything_was_sent() -> None:
    assert not MessageThrottle(deny_above=2, terminate_above=4).is_terminated


def executions(*, tripped: frozenset[tuple[Category, str]] = frozenset()) -> RepeatedExecutionThrottle:
    return RepeatedExecutionThrottle(limit=3, window_s=10, tripped=tripped)


def test_executions_trip_exactly_at_the_limit() -> None:
    counted = executions()
    assert not counted.count(BTC, Side.BUY, order="a", at_ns=0)
    assert not counted.count(BTC, Side.BUY, order="b", at_ns=1)
    assert counted.tripped_symbols == frozenset()
    assert counted.count(BTC, Side.BUY, order="c", at_ns=2)
    assert counted.tripped_symbols == {BTC}


def test_executions_trip_once_and_stay_tripped() -> None:
    counted = executions()
    tripped = [counted.count(BTC, Side.BUY, order=name, at_ns=0) for name in "abcdef"]
    assert tripped == [False, False, True, False, False, False]
    counted.count(BTC, Side.BUY, order="z", at_ns=10**6 * NS_PER_S)
    assert counted.tripped_symbols == {BTC}


def test_executions_of_one_order_count_once() -> None:
    counted = executions()
    assert not any(counted.count(BTC, Side.BUY, order="a", at_ns=at_ns) for at_ns in range(50))


def test_executions_of_other_sides_and_symbols_count_apart() -> None:
    counted = executions()
    for symbol in (BTC, ETH):
        for side in Side:
            for name in "ab":
                assert not counted.count(symbol, side, order=f"{name}{side}", at_ns=0)
    assert counted.count(ETH, Side.SELL, order="c", at_ns=0)
    assert counted.tripped_symbols == {ETH}


@pytest.mark.parametrize(("later_ns", "is_tripped"), [(10 * NS_PER_S, True), (10 * NS_PER_S + 1, False)])
def test_executions_are_forgotten_after_the_window(later_ns: int, *, is_tripped: bool) -> None:
    counted = executions()
    counted.count(BTC, Side.BUY, order="a", at_ns=0)
    counted.count(BTC, Side.BUY, order="b", at_ns=NS_PER_S)
    assert counted.count(BTC, Side.BUY, order="c", at_ns=later_ns) is is_tripped


def test_executions_that_are_forgotten_are_the_oldest() -> None:
    counted = executions()
    for name, at_s in (("a", 0), ("b", 9), ("c", 11)):
        assert not counted.count(BTC, Side.BUY, order=name, at_ns=at_s * NS_PER_S)
    assert counted.count(BTC, Side.BUY, order="d", at_ns=19 * NS_PER_S)


def test_executions_of_one_order_count_from_its_first_fill() -> None:
    counted = executions()
    for name, at_s in (("a", 0), ("a", 9), ("b", 11)):
        assert not counted.count(BTC, Side.BUY, order=name, at_ns=at_s * NS_PER_S)
    assert not counted.count(BTC, Side.BUY, order="c", at_ns=12 * NS_PER_S)


def test_executions_are_remembered_up_to_the_limit_however_many_follow() -> None:
    counted = executions()
    for number in range(100):
        counted.count(BTC, Side.BUY, order=f"o{number}", at_ns=0)
    assert len(counted._filled[(BTC, Side.BUY)]) < 3


def test_executions_do_not_profit_from_a_clock_that_goes_back() -> None:
    counted = executions()
    counted.count(BTC, Side.BUY, order="a", at_ns=50 * NS_PER_S)
    counted.count(BTC, Side.BUY, order="b", at_ns=0)
    assert counted.count(BTC, Side.BUY, order="c", at_ns=55 * NS_PER_S)


def test_executions_are_rearmed_symbol_by_symbol_and_begin_anew() -> None:
    counted = executions(tripped=frozenset({BTC, ETH}))
    assert counted.tripped_symbols == {BTC, ETH}
    for name in "ab":
        counted.count(BTC, Side.SELL, order=name, at_ns=0)
    counted.rearm(BTC)
    assert counted.tripped_symbols == {ETH}
    assert not counted.count(BTC, Side.SELL, order="c", at_ns=0)


def test_messages_by_other_levels_count_on_what_came_before() -> None:
    counted = throttle()
    for _ in range(3):
        counted.count(at_ns=0)
    counted.limit(deny_above=1, terminate_above=3)
    assert not counted.is_terminated
    assert counted.count(at_ns=0) is TERMINATE
    counted = throttle()
    counted.count(at_ns=0)
    counted.limit(deny_above=3, terminate_above=9)
    assert [counted.count(at_ns=0) for _ in range(3)] == [FREE, FREE, DENY]


def test_messages_that_were_more_than_a_tighter_level_end_nothing_by_themselves() -> None:
    counted = throttle()
    for _ in range(4):
        counted.count(at_ns=0)
    counted.limit(deny_above=1, terminate_above=2)
    assert counted.count(at_ns=NS_PER_S) is FREE
    assert not counted.is_terminated


def test_executions_by_another_limit_count_on_what_came_before() -> None:
    counted = RepeatedExecutionThrottle(limit=5, window_s=60)
    for number in range(4):
        assert not counted.count(BTC, Side.BUY, order=f"T{number}", at_ns=number)
    counted.limit(limit=2, window_s=60)
    assert counted.tripped_symbols == frozenset()
    assert counted.count(BTC, Side.BUY, order="T9", at_ns=9)
    assert counted.tripped_symbols == {BTC}
    counted.rearm(BTC)
    assert not counted.count(BTC, Side.BUY, order="T10", at_ns=10)
    assert counted.count(BTC, Side.BUY, order="T11", at_ns=11)


def test_executions_within_another_window_count() -> None:
    counted = RepeatedExecutionThrottle(limit=2, window_s=1)
    counted.count(BTC, Side.BUY, order="T1", at_ns=0)
    counted.limit(limit=2, window_s=60)
    assert counted.count(BTC, Side.BUY, order="T2", at_ns=30 * NS_PER_S)


def test_messages_by_other_levels_meet_the_new_ones_just_past_their_bounds() -> None:
    counted = throttle()
    for _ in range(3):
        counted.count(at_ns=0)
    counted.limit(deny_above=4, terminate_above=6)
    levels = [counted.count(at_ns=0) for _ in range(4)]
    assert levels == [FREE, DENY, DENY, TERMINATE]
