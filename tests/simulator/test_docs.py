"""The page about the simulator names every control, fault and role that there is."""

from __future__ import annotations

import re
from pathlib import Path

from simulator.support import Venue

from trade_simulator.control import ControlApplication
from trade_simulator.faults import FaultMode

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_page_lists_exactly_the_fault_modes() -> None:
    table = PAGE.split("## Faults")[1].split("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(FaultMode)


async def test_page_lists_exactly_the_controls(venue: Venue) -> None:
    control = venue.simulator.listeners[1].app
    assert isinstance(control, ControlApplication)
    listed = set(re.findall(r"^\| `(GET|POST|DELETE) (/__sim/\w+)", PAGE, re.MULTILINE))
    assert listed == control.controls


async def test_page_lists_exactly_the_roles(venue: Venue) -> None:
    table = PAGE.split("## Accounts and keys")[1].split("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(venue.opening.keys)
