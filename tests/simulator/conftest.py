"""Fixtures of the simulator's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from simulator.support import Venue

from trade_core.clock import ManualClock


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    """An exchange in this process whose clock stands still."""
    made = Venue(tmp_path, ManualClock(wall_ns=1_790_000_000_000_000_000))
    yield made
    await made.http.aclose()
    await made.control_http.aclose()
