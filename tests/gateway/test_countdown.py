"""The minute before a loosening begins when somebody outside has read of it."""

from __future__ import annotations

import pytest

from trade_core.clock import NS_PER_S
from trade_gateway.countdown import UNHEARD_S, WAITS, Countdown

BEGUN_NS = 7 * NS_PER_S


def countdown(*, has_reached: bool) -> Countdown:
    made = Countdown(announced_at_ns=BEGUN_NS, delay_s=60, has_reached=lambda: has_reached)
    made.look(BEGUN_NS)
    return made


@pytest.mark.parametrize(("after_ns", "is_due"), [(0, False), (60 * NS_PER_S - 1, False), (60 * NS_PER_S, True)])
def test_what_was_read_at_once_is_due_after_its_delay(after_ns: int, is_due: bool) -> None:
    assert countdown(has_reached=True).is_due(BEGUN_NS + after_ns) is is_due


def test_delay_begins_when_it_was_read_and_not_when_it_was_announced() -> None:
    reached = False
    made = Countdown(announced_at_ns=BEGUN_NS, delay_s=60, has_reached=lambda: reached)
    read_ns = BEGUN_NS + 200 * NS_PER_S
    made.look(read_ns - 1)
    assert (made.describe(read_ns), made.is_due(read_ns)) == ({"in_s": None, "waits_for": WAITS}, False)
    reached = True
    made.look(read_ns)
    made.look(read_ns + 9 * NS_PER_S)
    assert made.describe(read_ns + 9 * NS_PER_S) == {"in_s": 51.0, "waits_for": ""}
    assert not made.is_due(read_ns + 60 * NS_PER_S - 1)
    assert made.is_due(read_ns + 60 * NS_PER_S)
    assert made.describe(read_ns + 99 * NS_PER_S)["in_s"] == 0


@pytest.mark.parametrize("has_reached", [False, True])
@pytest.mark.parametrize(("after_ns", "is_late"), [(UNHEARD_S * NS_PER_S - 1, False), (UNHEARD_S * NS_PER_S, True)])
def test_what_nobody_read_in_time_is_unheard(has_reached: bool, after_ns: int, is_late: bool) -> None:
    made = countdown(has_reached=has_reached)
    assert made.is_unheard(BEGUN_NS + after_ns) is (is_late and not has_reached)
