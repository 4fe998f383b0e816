"""Money that a person has announced to leave, and which outflow is meant by it. Pure.

Guarantees
- An announcement counts for one outflow of its coin, of at most its amount, that happens after it and within
  ANNOUNCED_FOR_MS. An outflow that none counts for is rogue: whoever moves money out says so first.
- The smallest announcement that fits is used, so that a large one stays for a large outflow.
- At most ANNOUNCEMENTS_MAX wait; a further one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_watchdog.equity import Flow

ANNOUNCED_FOR_MS: Final = 24 * 3600 * 1000
ANNOUNCEMENTS_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a person says will leave: at most `amount` of a coin, said at a time (UTC ms)."""

    movement_id: str
    coin: str
    amount: Decimal
    at_ms: int


class Announcements:
    """The announcements that wait for their outflow."""

    def __init__(self, waiting: Iterable[Announcement] = ()) -> None:
        """Begin with what is remembered."""
        self._waiting = list(waiting)

    def add(self, announcement: Announcement) -> bool:
        """Take in an announcement; False when too many wait. Those that are too old by then are forgotten."""
        self._waiting = [one for one in self._waiting if not _is_over(one, announcement.at_ms)]
        if len(self._waiting) >= ANNOUNCEMENTS_MAX:
            return False
        self._waiting.append(announcement)
        return True

    def use(self, flow: Flow) -> Announcement | None:
        """Take out the announcement that an outflow is meant by; None for one that nobody announced."""
        fitting = [one for one in self._waiting if _fits(one, flow)]
        if not fitting:
            return None
        used = min(fitting, key=lambda one: one.amount)
        self._waiting.remove(used)
        return used


def _fits(announced: Announcement, flow: Flow) -> bool:
    is_in_time = announced.at_ms <= flow.at_ms and not _is_over(announced, flow.at_ms)
    return is_in_time and announced.coin == flow.coin and -flow.amount <= announced.amount


def _is_over(announced: Announcement, now_ms: int) -> bool:
    return now_ms > announced.at_ms + ANNOUNCED_FOR_MS
