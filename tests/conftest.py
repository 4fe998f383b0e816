"""Orders the slow tests of `make test`, whose files go whole to one worker each: what shares a stack stays together.

The files with the longest time-outs come first, so that no worker is left with a long one at the end. Tests that need a
server of somebody's own (marker `outside`) are left out unless that marker is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

DEFAULT_TIMEOUT_S = 180.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within a file stays."""
    outside = (
        [] if "outside" in config.option.markexpr else [item for item in items if item.get_closest_marker("outside")]
    )
    if outside:
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if item not in outside]
    longest_s: dict[Path, float] = {}
    for item in items:
        longest_s[item.path] = max(longest_s.get(item.path, 0.0), _timeout_s(item.iter_markers("timeout")))
    items.sort(key=lambda item: -longest_s[item.path])


def _timeout_s(marks: Iterable[pytest.Mark]) -> float:
    return next((float(mark.args[0]) for mark in marks), DEFAULT_TIMEOUT_S)
