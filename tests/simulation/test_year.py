"""A calm week of one account: nothing goes wrong, and nothing is said to."""

from __future__ import annotations

import pytest
from simulation.year import live

pytestmark = pytest.mark.slow


def test_calm_days_with_hours_of_sleep_end_without_an_incident() -> None:
    """While the machine sleeps its orders go on working, and fill; the days on which they fill must agree."""
    week = live(6, wakes_a_day=4, seed=1)
    assert (week.violations, week.incidents) == ([], [])
    assert week.orders > 50
    assert len(week.weights) > 0
