"""Counts the turnover of 24 hours again, look by look, and says when that cannot be done.

Guarantees
- A start reads the executions of the last 24 hours back from the exchange; no file is believed. Until they are whole,
  while a gap is read, when more have executed than it remembers, and when the journal does not show every policy that
  may have been in force, the turnover is not computable: that is named, and nothing halts for it.
- What is found is proved by one look; see `audit.turnover_audit`. It is told once, until it is within the budget again,
  and after a start only when something was added since the mark: what an earlier run has told, a person has dealt with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from trade_core.errors import TradeError
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitFinding, adds_risk
from trade_watchdog.audit.listing import seen_execution
from trade_watchdog.audit.order_audit import OrderAudit
from trade_watchdog.audit.sightings import WORKING_STATUSES, SeenExecution, SeenOrder
from trade_watchdog.audit.turnover_audit import (
    MAX_EXECUTIONS,
    WINDOW_MS,
    TurnoverCount,
    budget_usdt,
    examine_turnover,
    is_counted,
    pending_usdt,
)
from trade_watchdog.drop_copy import EXECUTIONS_A_PAGE, OVERLAP_MS, Look, Reading, TooManyPages, read_pages

AGAIN_S: Final = 5.0
SHORTEST_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * 60 * 1000
POLICY_LEEWAY_MS: Final = DAY_MS
"""A policy stays in force after its successor's warrant was handed in until that has been announced."""
ORDER_AGE_MAX_MS: Final = 8 * DAY_MS
"""Longer than any policy lets an order rest, with the window behind it."""
_CATEGORIES: Final = ("spot", "linear")
NOT_READ_BACK: Final = "the executions of the last 24 hours are not read back yet"

_log = logging.getLogger(__name__)

RecentLimits = Callable[[int], Sequence[AuditedLimits] | None]
"""The limits of every policy that was authorised at a time (UTC ms) or later; None when one is not known."""


@dataclass(slots=True, kw_only=True)
class TurnoverWatch:
    """The turnover of one account. `used_usdt` is None while it is not computable, and `detail` says why."""

    reading: Reading
    audit: OrderAudit
    recent_limits: RecentLimits
    judged_until_ms: int = 0  # the mark: so far an earlier run has judged
    used_usdt: Decimal | None = None
    budget_usdt: Decimal | None = None
    detail: str = NOT_READ_BACK
    _count: TurnoverCount = field(default_factory=TurnoverCount)
    _is_read_back: bool = False
    _working: frozenset[str] = frozenset()  # ids of the adding orders that the last look has shown working
    _newest_made_ms: int = 0
    _newest_added_ms: int = 0
    _is_told: bool = False

    async def read_back_until_done(self) -> None:
        """Read the last 24 hours back, again until it succeeds."""
        while True:
            try:
                await self.read_back()
                return
            except TradeError as error:
                self._note(f"{NOT_READ_BACK}: {error}")
            await asyncio.sleep(AGAIN_S)

    async def read_back(self) -> None:
        """Read the last 24 hours back. Raises as the reading does; what was read by then counts already."""
        now_ms = await self.reading.exchange_time_ms()
        begin_ms = max(now_ms - WINDOW_MS, self.audit.baseline.taken_at_ms) - OVERLAP_MS
        for category in _CATEGORIES:
            await self._read_span(category, begin_ms=begin_ms, end_ms=now_ms)
        self._is_read_back = True

    async def _read_span(self, category: str, *, begin_ms: int, end_ms: int) -> None:
        """Read a span in windows that are halved until their executions fit."""
        width_ms = end_ms - begin_ms
        while begin_ms < end_ms:
            until_ms = min(begin_ms + width_ms, end_ms)
            asked = {"category": category, "limit": EXECUTIONS_A_PAGE, "startTime": begin_ms, "endTime": until_ms}
            try:
                listed = await read_pages(self.reading.executions, asked, "executions")
            except TooManyPages:
                if width_ms <= SHORTEST_MS:
                    raise
                width_ms = max(SHORTEST_MS, width_ms // 2)
                continue
            self._take([seen_execution(entry, category=category) for entry in listed], now_ms=end_ms)
            begin_ms = until_ms

    def take(self, seen: Look) -> LimitFinding | None:
        """Take what a look has shown; answers what is found the first time."""
        self._take(seen.executions, now_ms=seen.until_ms)
        adding = [order for order in seen.orders if self._is_adding(order)]
        self._newest_made_ms = max([self._newest_made_ms, *(order.created_at_ms for order in adding)])
        working = [order for order in adding if order.status in WORKING_STATUSES]
        worked, self._working = self._working, frozenset(order.order_id for order in working)
        limits = self._known_limits(seen.until_ms)
        why_not = self._why_not(seen, limits)
        if why_not or not limits:
            self._note(why_not)
            return None
        lasting = [order for order in working if order.order_id in worked]
        self.used_usdt = self._count.used_usdt() + pending_usdt(lasting, self._count)
        self.budget_usdt, self.detail = budget_usdt(limits), ""
        return self._first_told(examine_turnover(self.used_usdt, limits))

    def _first_told(self, found: LimitFinding | None) -> LimitFinding | None:
        if max(self._newest_made_ms, self._newest_added_ms) <= self.judged_until_ms:
            return None
        was_told, self._is_told = self._is_told, found is not None
        return None if was_told else found

    def _take(self, executions: Iterable[SeenExecution], *, now_ms: int) -> None:
        counted = [
            execution
            for execution in executions
            if is_counted(execution.category, execution.symbol) and self.audit.is_adding(execution)
        ]
        self._newest_added_ms = max([self._newest_added_ms, *(execution.executed_at_ms for execution in counted)])
        self._count.take(counted, now_ms=now_ms)

    def _is_adding(self, order: SeenOrder) -> bool:
        return is_counted(order.category, order.symbol) and adds_risk(order) and not self.audit.is_strange(order)

    def _known_limits(self, now_ms: int) -> Sequence[AuditedLimits] | None:
        made_ms = max(self._newest_made_ms, now_ms - ORDER_AGE_MAX_MS)
        return self.recent_limits(made_ms - POLICY_LEEWAY_MS)

    def _why_not(self, seen: Look, limits: Sequence[AuditedLimits] | None) -> str:
        if not self._is_read_back:
            return self.detail or NOT_READ_BACK
        if seen.behind_ms:
            return "a gap is read from the exchange's history"
        if not self._count.is_whole:
            return f"there were more than {MAX_EXECUTIONS} executions in 24 hours"
        if not limits:
            return "the journal does not show every policy that may have been in force"
        return ""

    def _note(self, detail: str) -> None:
        if detail != self.detail:
            _log.warning("the turnover of 24 hours cannot be counted: %s", detail)
        self.detail, self.used_usdt, self.budget_usdt = detail, None, None
