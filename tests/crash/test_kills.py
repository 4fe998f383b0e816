"""A few of the kills of `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash.kills import kill_often, quick_policy
from integration.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(720)]


def test_gateway_or_writer_killed_in_traffic_leaves_no_order_without_a_row_and_loses_none(tmp_path: Path) -> None:
    stack = Stack(tmp_path, "--policy", str(quick_policy(tmp_path)))
    try:
        found = kill_often(stack, count=6, seed=7)
    finally:
        stack.stop()
    assert found.without_row == []
    assert (found.kills, found.orders > 0, bool(found.acknowledged)) == (6, True, True)
    assert 0 < found.of_writer < 6
