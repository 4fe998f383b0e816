"""The ladder over synthetic days: nothing missed, nothing false, no more memory after a year. `make days` does more."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pytest
from simulation.ladder_days import THRESHOLDS, account_days, lines

from trade_watchdog.ladder import STEP_MAX_MS, Ladder

DAYS = 20
SEED = 7
STEPS_A_YEAR = 365 * 24 * 6


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_days_with_trouble_miss_no_breach_and_kill_nobody() -> None:
    figures = account_days(DAYS, SEED)
    said = "\n".join(lines(figures))
    assert sum(figures.missed.values()) == 0, said
    assert figures.false_kills == 0, said
    assert figures.false_alerts <= sum(figures.fired.values()) * 0.05, said
    assert figures.samples > DAYS * 1000, said


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_second_half_of_a_year_needs_no_more_memory_than_the_first() -> None:
    ladder, at_ms = Ladder(THRESHOLDS), 1_700_000_000_000
    sizes: list[int] = []
    for step in range(STEPS_A_YEAR):
        at_ms += STEP_MAX_MS
        # A steady fall fills the windows as much as anything can.
        price = Decimal(1) - Decimal(step) / 10_000_000
        ladder.take(price=price, at_ms=at_ms, monotonic_ns=at_ms * 1_000_000)
        if step in {STEPS_A_YEAR // 2 - 1, STEPS_A_YEAR - 1}:
            sizes.append(len(pickle.dumps(ladder)))
    assert sizes[1] <= sizes[0] * 1.05, sizes
