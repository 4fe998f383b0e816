"""Rolling peaks: never below the true one, at most a bucket too old, and bounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_watchdog.peaks import BUCKETS, PeakWindow

BUCKET_MS = 1000
WINDOW_MS = BUCKETS * BUCKET_MS


def window_of(*noted: tuple[int, str]) -> PeakWindow:
    window = PeakWindow(WINDOW_MS)
    for at_ms, price in noted:
        window.note(Decimal(price), at_ms=at_ms)
    return window


def test_window_without_a_price_has_no_peak() -> None:
    assert PeakWindow(WINDOW_MS).peak is None
    assert len(PeakWindow(WINDOW_MS)) == 0


def test_highest_price_is_the_peak_whatever_follows() -> None:
    window = window_of((0, "1"), (1, "3"), (2, "2"), (BUCKET_MS, "2.5"))
    assert window.peak == 3
    assert len(window) == 2


def test_later_higher_price_takes_over_when_the_peak_leaves() -> None:
    window = window_of((0, "3"), (BUCKET_MS, "1"), (2 * BUCKET_MS, "2"))
    assert len(window) == 2
    window.expire(at_ms=WINDOW_MS + BUCKET_MS)
    assert window.peak == 2


def test_lower_prices_of_one_bucket_take_no_room() -> None:
    assert len(window_of((0, "1"), (1, "0.9"), (2, "0.8"))) == 1
    assert len(window_of((0, "3"), (BUCKET_MS, "2"), (BUCKET_MS + 1, "1"))) == 2
    assert BUCKETS == 1440


def test_equal_price_of_a_newer_bucket_takes_the_older_ones_place() -> None:
    window = window_of((0, "3"), (BUCKET_MS, "3"))
    assert len(window) == 1
    window.expire(at_ms=WINDOW_MS + BUCKET_MS)
    assert window.peak == 3
    window.expire(at_ms=WINDOW_MS + 2 * BUCKET_MS)
    assert window.peak is None


@pytest.mark.parametrize(("at_ms", "peak"), [(WINDOW_MS + BUCKET_MS - 1, 3), (WINDOW_MS + BUCKET_MS, 2)])
def test_bucket_leaves_when_its_last_moment_is_older_than_the_window(at_ms: int, peak: int) -> None:
    window = window_of((0, "3"), (2 * BUCKET_MS, "2"))
    window.expire(at_ms=at_ms)
    assert window.peak == peak


def test_noting_lets_go_of_what_is_too_old() -> None:
    window = window_of((0, "3"), (2 * BUCKET_MS, "2"), (WINDOW_MS + BUCKET_MS, "1"))
    assert window.peak == 2


def test_rebase_leaves_only_its_own_price() -> None:
    window = window_of((0, "3"), (BUCKET_MS, "2"))
    window.rebase(Decimal("1.5"), at_ms=2 * BUCKET_MS)
    assert window.peak == Decimal("1.5")
    assert len(window) == 1
    window.note(Decimal("1.4"), at_ms=2 * BUCKET_MS)
    assert window.peak == Decimal("1.5")


def test_steadily_falling_price_fills_no_more_than_the_buckets() -> None:
    window = PeakWindow(WINDOW_MS)
    for second in range(4 * BUCKETS):
        window.note(Decimal(10_000 - second), at_ms=second * BUCKET_MS)
        assert len(window) <= BUCKETS + 1
    assert window.peak == Decimal(10_000 - 3 * BUCKETS + 1)


@given(st.lists(st.tuples(st.integers(0, 400 * BUCKET_MS), st.integers(1, 50)), min_size=1, max_size=60))
def test_peak_lies_between_that_of_the_window_and_of_a_bucket_more(steps: list[tuple[int, int]]) -> None:
    window, noted, now_ms = PeakWindow(WINDOW_MS), [], 0
    for passed_ms, price in steps:
        now_ms += passed_ms
        noted.append((now_ms, price))
        window.note(Decimal(price), at_ms=now_ms)
        least = max(price for at_ms, price in noted if at_ms >= now_ms - WINDOW_MS)
        most = max(price for at_ms, price in noted if at_ms >= now_ms - WINDOW_MS - BUCKET_MS)
        assert window.peak is not None
        assert least <= window.peak <= most
