"""Spreads the slow tests over the workers of `make test`.

Tests that share something costly (a stack, a simulator, freqtrade's answers) stay together with their file; all others
go one by one to whichever worker is free. Those with the longest time-outs come first, so that no worker is left with
a long one at the end.
"""

from __future__ import annotations

import pytest

DEFAULT_TIMEOUT_S = 180
# Left out of this set, a fixture is merely made once more by the other worker.
COSTLY_FIXTURES = frozenset(
    {"stack", "standing_stack", "simulation", "lonely", "breaker", "answers", "stopped", "trading", "running"}
)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group and order what `--dist loadgroup` hands out."""
    for item in items:
        if COSTLY_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=_longest_first)


def _longest_first(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return -float(mark.args[0]) if mark is not None else -DEFAULT_TIMEOUT_S
