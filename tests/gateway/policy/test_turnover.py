"""The turnover window: never below the truth, bounded, and not fooled by a clock that goes back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.turnover import NS_PER_MINUTE, WINDOW_MINUTES, Turnover, turnover_notional, turnover_share

DAY_NS = 24 * 3600 * 1_000_000_000
START_NS = 1_000_000 * NS_PER_MINUTE


def test_turnover_of_nothing_is_nothing() -> None:
    assert Turnover().used_usdt(at_ns=START_NS) == 0


@pytest.mark.parametrize(
    ("later_ns", "used"),
    [
        (0, 5),
        (DAY_NS - 1, 5),
        (DAY_NS, 5),
        (DAY_NS + NS_PER_MINUTE - 1, 5),
        (DAY_NS + NS_PER_MINUTE, 0),
        (9 * DAY_NS, 0),
    ],
)
def test_turnover_counts_a_fill_until_its_whole_minute_is_a_day_old(later_ns: int, used: int) -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=START_NS)
    assert turnover.used_usdt(at_ns=START_NS + later_ns) == used


def test_turnover_is_not_given_back_by_a_clock_that_goes_back() -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=START_NS)
    turnover.add(Decimal(3), at_ns=START_NS - 10 * NS_PER_MINUTE)
    assert turnover.used_usdt(at_ns=0) == 8
    assert turnover.used_usdt(at_ns=START_NS - 3 * DAY_NS) == 8


def test_turnover_window_is_a_day_of_minutes() -> None:
    assert WINDOW_MINUTES * NS_PER_MINUTE == DAY_NS
    assert WINDOW_MINUTES == 1440


def test_turnover_measures_the_age_of_a_row_from_the_latest_time_ever_seen() -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=START_NS)
    assert turnover.used_usdt(at_ns=0) == 5
    turnover.add(Decimal(3), at_ns=START_NS - DAY_NS - NS_PER_MINUTE)
    assert turnover.used_usdt(at_ns=0) == 5


@pytest.mark.parametrize("at_ns", [0, -1, -2 * NS_PER_MINUTE])
def test_turnover_at_the_beginning_of_time_and_before_counts_for_a_day(at_ns: int) -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=at_ns)
    assert turnover.used_usdt(at_ns=DAY_NS) == 5
    assert turnover.used_usdt(at_ns=DAY_NS + NS_PER_MINUTE) == 0


def test_turnover_of_a_row_that_is_too_old_counts_nothing() -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=START_NS)
    turnover.add(Decimal(3), at_ns=START_NS - DAY_NS - NS_PER_MINUTE)
    turnover.add(Decimal(1), at_ns=START_NS - DAY_NS)
    assert turnover.used_usdt(at_ns=START_NS) == 6


@pytest.mark.parametrize("notional", ["-0.01", "-5"])
def test_turnover_refuses_a_negative_fill(notional: str) -> None:
    turnover = Turnover()
    turnover.add(Decimal(5), at_ns=START_NS)
    with pytest.raises(ValueError, match="no negative notional"):
        turnover.add(Decimal(notional), at_ns=START_NS)
    assert turnover.used_usdt(at_ns=START_NS) == 5


def test_turnover_keeps_at_most_a_number_a_minute() -> None:
    turnover = Turnover()
    for step in range(3 * WINDOW_MINUTES):
        turnover.add(Decimal(1), at_ns=START_NS + step * NS_PER_MINUTE)
        turnover.add(Decimal(1), at_ns=START_NS + step * NS_PER_MINUTE + 1)
    assert len(turnover) == WINDOW_MINUTES + 1
    assert turnover.used_usdt(at_ns=START_NS + 3 * DAY_NS) == 2 * WINDOW_MINUTES


@given(st.lists(st.tuples(st.integers(0, 3 * DAY_NS), st.integers(0, 1000)), max_size=30))
def test_turnover_is_never_below_the_truth_nor_above_it_by_more_than_a_minute(fills: list[tuple[int, int]]) -> None:
    turnover = Turnover()
    for offset_ns, notional in sorted(fills):
        turnover.add(Decimal(notional), at_ns=START_NS + offset_ns)
    now_ns = START_NS + max((offset for offset, _ in fills), default=0)
    used = turnover.used_usdt(at_ns=now_ns)
    within = sum(notional for offset, notional in fills if START_NS + offset >= now_ns - DAY_NS)
    nearly = sum(notional for offset, notional in fills if START_NS + offset >= now_ns - DAY_NS - NS_PER_MINUTE)
    assert within <= used <= nearly


@pytest.mark.parametrize(
    ("price", "reference", "notional"), [("10", "9", 20), ("9", "10", 20), ("10", "10", 20), ("10", None, 20)]
)
def test_notional_takes_the_greater_of_price_and_reference(price: str, reference: str | None, notional: int) -> None:
    at = None if reference is None else Decimal(reference)
    assert turnover_notional(quantity=Decimal(2), price=Decimal(price), reference_price=at) == notional


@pytest.mark.parametrize(
    ("quantity", "notional", "price", "share"),
    [
        ("1", "400", "90", "100"),  # its share of the whole
        ("1", "400", "110", "110"),  # never less than what it costs
        ("2", "400", "110", "220"),
        ("0", "400", "110", "0"),
        ("1", "0.000000000001", "0", "0.000000000001"),  # rounded up
    ],
)
def test_turnover_share_of_a_part_of_four(quantity: str, notional: str, price: str, share: str) -> None:
    counted = turnover_share(Decimal(quantity), whole=Decimal(4), notional=Decimal(notional), price=Decimal(price))
    assert counted == Decimal(share)
