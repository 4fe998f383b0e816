"""The drop copy: orders and executions of the account as the exchange lists them, one look after the other.

Guarantees
- A look is whole or it is none: a page that cannot be read, or more pages than PAGES_MAX, ends it with an error.
- Looks overlap by OVERLAP_MS, so that an execution that the exchange books late is not stepped over.
- A look goes on where the last good one ended, however long ago that was; a long absence is read in windows of a week.

What it reads is the exchange's word alone, nothing of the gateway's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.audit.key_inventory import ListedKey
from trade_watchdog.audit.listing import listed_key, seen_execution, seen_order
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

PAGES_MAX: Final = 20
ORDERS_A_PAGE: Final = 50
EXECUTIONS_A_PAGE: Final = 100
OVERLAP_MS: Final = 10_000
ENDED_REMEMBERED: Final = 3000
"""More than all lists of ended orders hold, so that none is forgotten while it is still listed."""
CURSOR_CHARACTERS_MAX: Final = 1024
WINDOW_MS: Final = 7 * 86_400_000 - 2 * OVERLAP_MS
"""Bybit V5 lists executions of at most seven days at once."""
WINDOW_MIN_MS: Final = 60_000
_ENDED: Final = "1"
_WORKING: Final = "0"
_LISTS: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("spot", {}),
    ("linear", {"settleCoin": "USDT"}),
    ("linear", {"settleCoin": "USDC"}),
)
_CATEGORIES: Final = ("spot", "linear")


class Reading(Protocol):
    """What reads the exchange's lists: a connection with a key that may only read."""

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of orders. Raises ExchangeUnavailable, ExchangeAnswerInvalid, KeyRefusedByExchange."""
        ...

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of executions. Raises as above."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look showed. `until_ms` is how far the executions were read, in the exchange's time."""

    orders: tuple[SeenOrder, ...]
    executions: tuple[SeenExecution, ...]
    until_ms: int


@dataclass(slots=True, kw_only=True)
class DropCopy:
    """Looks at one account. `read_until_ms` is where the next look begins, UTC milliseconds of the exchange."""

    reading: Reading
    read_until_ms: int
    window_ms: int = WINDOW_MS
    _known_ended: dict[str, None] = field(default_factory=dict)

    async def look(self, *, now_ms: int) -> Look:
        """Read everything that is new up to `now_ms`, at most `window_ms` of it. Raises as the reading does.

        More executions than a look can hold halve the window for the next look; it grows again afterwards.
        """
        until_ms = min(now_ms, self.read_until_ms + self.window_ms)
        executions: list[SeenExecution] = []
        for category in _CATEGORIES:
            executions += await self._executions(category, None if until_ms == now_ms else until_ms)
        orders: list[SeenOrder] = []
        ended: list[SeenOrder] = []
        for category, settled in _LISTS:
            orders += await self._working(category, settled)
            ended += await self._ended(category, settled)
        # Only now: what a look that failed half-way has read must be read again, since nobody has judged it.
        self.read_until_ms = max(self.read_until_ms, until_ms)
        self.window_ms = min(WINDOW_MS, 2 * self.window_ms)
        self._know_ended(ended)
        return Look(orders=(*orders, *ended), executions=tuple(executions), until_ms=until_ms)

    async def _executions(self, category: str, until_ms: int | None) -> list[SeenExecution]:
        # Without an end the exchange answers for seven days from the start.
        begin_ms = max(0, self.read_until_ms - OVERLAP_MS)
        window = {"category": category, "limit": EXECUTIONS_A_PAGE, "startTime": begin_ms}
        if until_ms is not None:
            window["endTime"] = until_ms + OVERLAP_MS
        found: list[SeenExecution] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            result = await self.reading.executions({**window, **_cursor(cursor)})
            found += [seen_execution(entry, category=category) for entry in entries(result)]
            cursor = next_cursor(result)
            if not cursor:
                return found
        self.window_ms = max(WINDOW_MIN_MS, self.window_ms // 2)
        raise ExchangeAnswerInvalid(f"more than {PAGES_MAX * EXECUTIONS_A_PAGE} executions at one look")

    async def _working(self, category: str, settled: Mapping[str, str]) -> list[SeenOrder]:
        found: list[SeenOrder] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            result = await self._page(category, settled, _WORKING, cursor)
            found += [seen_order(entry, category=category) for entry in entries(result)]
            cursor = next_cursor(result)
            if not cursor:
                return found
        raise ExchangeAnswerInvalid(f"more than {PAGES_MAX * ORDERS_A_PAGE} working orders")

    async def _ended(self, category: str, settled: Mapping[str, str]) -> list[SeenOrder]:
        """Read the orders that have ended, newest first, back to one that an earlier look has shown.

        The exchange remembers the last 500 of them here. More than that between two looks have come and gone unseen,
        but for those that filled, which are among the executions.
        """
        found: list[SeenOrder] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            result = await self._page(category, settled, _ENDED, cursor)
            page = [seen_order(entry, category=category) for entry in entries(result)]
            fresh = [order for order in page if order.order_id not in self._known_ended]
            found += fresh
            cursor = next_cursor(result)
            if not cursor or len(fresh) < len(page):
                break
        return found

    def _know_ended(self, ended: Sequence[SeenOrder]) -> None:
        self._known_ended |= dict.fromkeys(order.order_id for order in ended)
        while len(self._known_ended) > ENDED_REMEMBERED:
            del self._known_ended[next(iter(self._known_ended))]

    async def _page(self, category: str, settled: Mapping[str, str], open_only: str, cursor: str) -> Mapping[str, Any]:
        asked = {"category": category, **settled, "openOnly": open_only, "limit": ORDERS_A_PAGE, **_cursor(cursor)}
        return await self.reading.working_or_ended_orders(asked)


class KeyReading(Protocol):
    """What lists the keys of a sub-account: a connection with a reading key of its master."""

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of keys. Raises as Reading does."""
        ...


async def all_keys(reading: KeyReading, *, account: str) -> list[ListedKey]:
    """Read every key of the sub-account. Raises as the reading does, and ExchangeAnswerInvalid for an endless list."""
    found: list[ListedKey] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        result = await reading.sub_account_keys({"subMemberId": account, "limit": 20, **_cursor(cursor)})
        found += [listed_key(entry) for entry in entries(result, name="result")]
        cursor = next_cursor(result)
        if not cursor:
            return found
    raise ExchangeAnswerInvalid(f"more than {PAGES_MAX} pages of keys")


def entries(result: Mapping[str, Any], *, name: str = "list") -> list[Mapping[str, Any]]:
    """Take the entries out of a page. Raises ExchangeAnswerInvalid."""
    value = result.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise ExchangeAnswerInvalid(f"the answer has no list `{name}` of entries")
    return value


def next_cursor(result: Mapping[str, Any]) -> str:
    """Take the cursor of the next page; "" when there is none. Raises ExchangeAnswerInvalid."""
    value = result.get("nextPageCursor", "")
    if not isinstance(value, str) or len(value) > CURSOR_CHARACTERS_MAX:
        raise ExchangeAnswerInvalid("nextPageCursor is no text")
    return value


def _cursor(cursor: str) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}
