"""Announced outflows: one each, of that coin, in time, and not more than was said."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trade_watchdog.equity import Flow
from trade_watchdog.movements import ANNOUNCED_FOR_MS, ANNOUNCEMENTS_MAX, Announcement, Announcements

SAID = Announcement(movement_id="m1", coin="USDT", amount=Decimal(500), at_ms=1000)
FLOW = Flow(entry_id="e1", kind="WITHDRAW", coin="USDT", amount=Decimal(-500), value_usdt=Decimal(-500), at_ms=1000)


@pytest.mark.parametrize(
    ("change", "is_announced"),
    [
        ({}, True),
        ({"amount": Decimal(-1)}, True),
        ({"amount": Decimal("-500.00000001")}, False),
        ({"coin": "BTC"}, False),
        ({"at_ms": 999}, False),
        ({"at_ms": 1000 + ANNOUNCED_FOR_MS}, True),
        ({"at_ms": 1001 + ANNOUNCED_FOR_MS}, False),
    ],
)
def test_announcement_counts_for_what_it_says(change: dict[str, Any], *, is_announced: bool) -> None:
    used = Announcements([SAID]).use(replace(FLOW, **change))
    assert used == (SAID if is_announced else None)


def test_announcement_counts_once() -> None:
    waiting = Announcements()
    assert waiting.add(SAID)
    assert waiting.use(FLOW) == SAID
    assert waiting.use(FLOW) is None


def test_smallest_announcement_that_fits_is_used() -> None:
    large, small = replace(SAID, movement_id="large", amount=Decimal(900)), replace(SAID, movement_id="small")
    tiny = replace(SAID, movement_id="tiny", amount=Decimal(10))
    waiting = Announcements([large, tiny, small])
    assert waiting.use(FLOW) == small
    assert waiting.use(FLOW) == large
    assert waiting.use(FLOW) is None


def test_too_many_announcements_are_refused_until_old_ones_are_over() -> None:
    waiting = Announcements()
    for number in range(ANNOUNCEMENTS_MAX):
        assert waiting.add(replace(SAID, movement_id=f"m{number}"))
    assert not waiting.add(replace(SAID, at_ms=1000 + ANNOUNCED_FOR_MS))
    late = replace(SAID, movement_id="late", at_ms=1001 + ANNOUNCED_FOR_MS)
    assert waiting.add(late)
    assert waiting.use(replace(FLOW, at_ms=late.at_ms)) == late
    assert (ANNOUNCED_FOR_MS, ANNOUNCEMENTS_MAX) == (86_400_000, 50)
