"""Holds each new order that adds risk against the index of its time, as the exchange's candles tell it.

Guarantees
- An order is held against them once; until that was possible it waits, GIVEN_UP_MS at most. What was given up is
  counted and named, and nothing halts for it.
- Requests a round, orders that wait and orders remembered are bounded. It runs beside the looks: candles that hang hold
  up nothing else.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from trade_core.errors import TradeError
from trade_watchdog.audit.collar_audit import MINUTE_MS, covering, examine_collar, minutes_of
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitFinding, adds_risk
from trade_watchdog.audit.listing import seen_candles
from trade_watchdog.audit.order_audit import OrderAudit
from trade_watchdog.audit.sightings import WORKING_STATUSES, SeenOrder
from trade_watchdog.audit.turnover_audit import is_counted
from trade_watchdog.drop_copy import Look
from trade_watchdog.turnover_watch import DAY_MS, POLICY_LEEWAY_MS, RecentLimits

SETTLED_MS: Final = 5_000
"""The candle of the running minute may lag a moment behind the index that the streams tell."""
GIVEN_UP_MS: Final = 10 * 60 * 1000
JUDGED_BACK_MS: Final = DAY_MS
"""Older orders were judged when they were made, or no lease was given out then."""
REQUESTS_A_ROUND: Final = 4
MAX_WAITING: Final = 2_000
MAX_REMEMBERED: Final = 50_000
CANDLES_A_PAGE: Final = 200


class IndexReading(Protocol):
    """What tells the index of a symbol by the minute."""

    async def index_candles(self, parameters: dict[str, Any]) -> Any:
        """Read a page of candles. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        ...


_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class CollarWatch:
    """The collars of one account's orders. `given_up` counts orders that no price could be held against."""

    reading: IndexReading
    audit: OrderAudit
    recent_limits: RecentLimits
    given_up: int = 0
    detail: str = ""
    _now_ms: int = 0
    _waiting: OrderedDict[str, _Waiting] = field(default_factory=OrderedDict)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @property
    def waiting(self) -> int:
        """Count the orders that are still to be held against a price."""
        return len(self._waiting)

    def take(self, seen: Look) -> None:
        """Take the orders that a look has shown."""
        self._now_ms = max(self._now_ms, seen.until_ms)
        for order in seen.orders:
            if order.order_id in self._seen or not self._is_to_judge(order):
                continue
            self._seen[order.order_id] = None
            self._waiting[order.order_id] = _Waiting(order=order, since_ms=self._now_ms)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
            self._give_up(f"more than {MAX_WAITING} orders wait")

    async def measure(self) -> list[LimitFinding]:
        """Judge what is due, the longest waiting symbols first; answers what is found."""
        found: list[LimitFinding] = []
        for symbol in self._due_symbols():
            found += await self._measure_symbol(symbol)
        for order_id, waiting in list(self._waiting.items()):
            if self._now_ms - waiting.since_ms > GIVEN_UP_MS:
                del self._waiting[order_id]
                self._give_up(self.detail or f"the index of {waiting.order.symbol} is not told whole")
        return found

    def _is_to_judge(self, order: SeenOrder) -> bool:
        return (
            is_counted(order.category, order.symbol)
            and adds_risk(order)
            and bool(order.price)
            and (bool(order.filled) or order.status in WORKING_STATUSES)
            and order.created_at_ms >= max(self._now_ms - JUDGED_BACK_MS, self.audit.baseline.taken_at_ms)
            and not self.audit.is_strange(order)
        )

    def _due(self) -> list[SeenOrder]:
        orders = (waiting.order for waiting in self._waiting.values())
        return [order for order in orders if order.created_at_ms + SETTLED_MS <= self._now_ms]

    def _due_symbols(self) -> list[str]:
        return list(dict.fromkeys(order.symbol for order in self._due()))[:REQUESTS_A_ROUND]

    async def _measure_symbol(self, symbol: str) -> list[LimitFinding]:
        """Ask for the minutes from the oldest order on, as many as a page holds, and judge what they cover."""
        orders = sorted(
            (order for order in self._due() if order.symbol == symbol), key=lambda order: order.created_at_ms
        )
        judged = [(order, limits) for order in orders if (limits := self._limits(order))]
        if not judged:
            self._note("the journal does not show every policy that may have been in force")
            return []
        begin_ms = minutes_of(*judged[0]).first_ms
        end_ms = min(begin_ms + (CANDLES_A_PAGE - 1) * MINUTE_MS, minutes_of(*judged[-1]).last_ms)
        asked = {
            "category": "linear",
            "symbol": symbol,
            "interval": "1",
            "start": begin_ms,
            "end": end_ms,
            "limit": CANDLES_A_PAGE,
        }
        try:
            candles = seen_candles(await self.reading.index_candles(asked))
        except TradeError as error:
            self._note(f"the index of {symbol} cannot be read: {error}")
            self._turn(orders)
            return []
        self.detail = ""
        found: list[LimitFinding] = []
        for order, limits in judged:
            covered = covering(candles, minutes_of(order, limits))
            if covered is None:
                continue
            del self._waiting[order.order_id]
            finding = examine_collar(order, covered, limits)
            found += [] if finding is None else [finding]
        self._turn(orders)
        return found

    def _limits(self, order: SeenOrder) -> Sequence[AuditedLimits] | None:
        return self.recent_limits(order.created_at_ms - POLICY_LEEWAY_MS)

    def _turn(self, orders: Iterable[SeenOrder]) -> None:
        """Let the other symbols come first at the next round."""
        for order in orders:
            if order.order_id in self._waiting:
                self._waiting.move_to_end(order.order_id)

    def _give_up(self, why: str) -> None:
        self.given_up += 1
        self._note(why)

    def _note(self, detail: str) -> None:
        if detail != self.detail:
            _log.warning("orders cannot be held against the index: %s", detail)
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """An order, and since when it waits, by the exchange's time."""

    order: SeenOrder
    since_ms: int
