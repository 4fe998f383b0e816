"""The drop copy: orders and executions of the account as the exchange lists them, one look after the other.

Guarantees
- A look is whole or it is none: a page that cannot be read, or more pages than PAGES_MAX, ends it with an error.
- Time is the exchange's own, read before the lists; our wall clock is not asked. How much of it may have passed is held
  against our monotonic clock: an exchange's clock that leaps ahead moves no beginning past what was read, one that goes
  back takes the beginning back with it.
- Looks overlap by OVERLAP_MS, so that an execution that the exchange books late is not stepped over.
- A look goes on where the last good one ended, however long ago that was. A gap is read from the exchange's history, in
  windows that `window_ms` bounds, and every look says how far behind it is. A gap that is longer than what the exchange
  remembers is refused, look by look.
- A start that has a mark passes over ended orders that last changed before it: an earlier run judged them, and what it
  found has been acted on, perhaps released by a person. Without a mark every ended order that is listed is judged.
- Orders that came and went in a gap are read from the history of orders; so are they when more have ended between two
  looks than the list of ended ones holds.

What it reads is the exchange's word alone, nothing of the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from trade_core.clock import NS_PER_MS
from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.audit.key_inventory import ListedKey
from trade_watchdog.audit.listing import listed_key, seen_execution, seen_order
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

PAGES_MAX: Final = 20
PAGES_AT_ONCE: Final = 5
PAGES_PER_S: Final = 10
"""Beyond PAGES_AT_ONCE of a list: a long gap must not use up what the exchange allows one address."""
ORDERS_A_PAGE: Final = 50
EXECUTIONS_A_PAGE: Final = 100
OVERLAP_MS: Final = 10_000
ENDED_LISTED: Final = 500
"""So many ended orders the exchange lists beside the working ones, of each category. Source: Bybit V5 `openOnly`."""
ENDED_REMEMBERED: Final = 4000
"""More than all lists of ended orders hold, so that none is forgotten while it is still listed."""
TIME_CHARACTERS_MAX: Final = 40
CURSOR_CHARACTERS_MAX: Final = 1024
DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 7 * DAY_MS - 2 * OVERLAP_MS
"""Bybit V5 lists executions and the history of orders of at most seven days at once."""
WINDOW_FIRST_MS: Final = DAY_MS
WINDOW_MIN_MS: Final = 60_000
HISTORY_MS: Final = 700 * DAY_MS
"""Bybit V5 remembers executions for two years."""
CLOCKS_DRIFT: Final = 100
"""One part in so many is what clocks may run apart, and how fast a beginning follows an exchange's clock that leapt."""
_ENDED: Final = "1"
_WORKING: Final = "0"
_LISTS: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("spot", {}),
    ("linear", {"settleCoin": "USDT"}),
    ("linear", {"settleCoin": "USDC"}),
    ("inverse", {}),
)
CATEGORIES: Final = ("spot", "linear", "inverse")
"""What the permission that linear contracts need lets a key trade; no expected key may trade options."""


Read = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class TooManyPages(ExchangeAnswerInvalid):
    """A window holds more than PAGES_MAX pages."""


class Reading(Protocol):
    """What reads the exchange's lists: a connection with a key that may only read."""

    async def exchange_time_ms(self) -> int:
        """Ask for the exchange's time, UTC milliseconds. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        ...

    async def working_or_ended_orders(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of orders. Raises ExchangeUnavailable, ExchangeAnswerInvalid, KeyRefusedByExchange."""
        ...

    async def order_history(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of the history of orders. Raises as above."""
        ...

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of executions. Raises as above."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look showed. `until_ms` is how far it has read, `behind_ms` how much is still to be, exchange's time."""

    orders: tuple[SeenOrder, ...]
    executions: tuple[SeenExecution, ...]
    until_ms: int
    behind_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """What a look reads: from, and up to, the exchange's time; `now_ms` is the most of it that can have passed."""

    begin_ms: int
    until_ms: int
    now_ms: int

    def asked(self) -> dict[str, int]:
        """Give the words of a question; without an end the exchange answers for seven days from the start."""
        window = {"startTime": max(0, self.begin_ms - OVERLAP_MS)}
        if self.until_ms < self.now_ms:
            window["endTime"] = self.until_ms + OVERLAP_MS
        return window


@dataclass(slots=True, kw_only=True)
class DropCopy:
    """Looks at one account. `read_until_ms` is where the next look begins, UTC milliseconds of the exchange."""

    reading: Reading
    read_until_ms: int
    is_mark: bool = (
        True  # False for a beginning that nobody has read up to: what is not remembered is then not asked for
    )
    window_ms: int = WINDOW_FIRST_MS
    _anchor: tuple[int, int] | None = None  # the exchange's time (ms) at the last good look, and ours (monotonic, ns)
    _known_ended: dict[str, None] = field(default_factory=dict)
    _is_gap: bool = True  # orders may have come and gone that no list of ended ones holds: so it is at a start

    async def look(self, *, now_ns: int) -> Look:
        """Read everything that is new, at most `window_ms` of it; `now_ns` is monotonic. Raises as the reading does.

        More than a look can hold halves the window for the next look; it grows again afterwards.
        """
        span = self._span(await self.reading.exchange_time_ms(), now_ns)
        executions: list[SeenExecution] = []
        for category in CATEGORIES:
            executions += await self._executions(category, span)
        orders: list[SeenOrder] = []
        ended: list[SeenOrder] = []
        is_gap = self._is_gap or span.until_ms < span.now_ms
        for category, settled in _LISTS:
            orders += await self._working(category, settled)
            listed, is_whole = await self._ended(category, settled)
            ended += listed
            is_gap = is_gap or not is_whole
        past = await self._past(span) if is_gap else []
        fresh = [order for order in ended if not self._was_judged(order, span)]
        # Only now: what a look that failed half-way has read must be read again, since nobody has judged it.
        self.read_until_ms, self.is_mark = span.until_ms, True
        self.window_ms = min(WINDOW_MS, 2 * self.window_ms)
        self._anchor = (span.now_ms, now_ns)
        self._is_gap = span.until_ms < span.now_ms
        self._know_ended(ended)
        return Look(
            orders=(*_not_listed(past, [*orders, *ended]), *orders, *fresh),
            executions=tuple(executions),
            until_ms=span.until_ms,
            behind_ms=span.now_ms - span.until_ms,
        )

    def _span(self, told_ms: int, now_ns: int) -> _Span:
        begin_ms, now_ms = self.read_until_ms, told_ms
        if self._anchor is not None:
            at_ms, at_ns = self._anchor
            passed_ms = -(-(now_ns - at_ns) // NS_PER_MS)
            expected_ms = at_ms + passed_ms
            # Told less: what was called the beginning then is called so much less now.
            begin_ms -= max(0, expected_ms - told_ms)
            now_ms = min(told_ms, expected_ms + passed_ms // CLOCKS_DRIFT)
        begin_ms = min(begin_ms, now_ms)
        if not self.is_mark:
            begin_ms = max(begin_ms, now_ms - HISTORY_MS)
        if now_ms - begin_ms > HISTORY_MS:
            days = (now_ms - begin_ms) // DAY_MS
            raise ExchangeAnswerInvalid(f"nobody has looked for {days} days, which is more than the exchange remembers")
        return _Span(begin_ms=begin_ms, until_ms=min(now_ms, begin_ms + self.window_ms), now_ms=now_ms)

    async def _executions(self, category: str, span: _Span) -> list[SeenExecution]:
        asked = {"category": category, "limit": EXECUTIONS_A_PAGE, **span.asked()}
        listed = await self._windowed(self.reading.executions, asked, "executions")
        return [seen_execution(entry, category=category) for entry in listed]

    async def _past(self, span: _Span) -> list[SeenOrder]:
        """Read the orders that were created in the span and have ended."""
        found: list[SeenOrder] = []
        for category, settled in _LISTS:
            asked = {"category": category, **settled, "limit": ORDERS_A_PAGE, **span.asked()}
            listed = await self._windowed(self.reading.order_history, asked, "ended orders")
            found += [seen_order(entry, category=category) for entry in listed]
        return found

    async def _windowed(self, read: Read, asked: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
        """Read all pages of a window; too many of them halve the next one."""
        try:
            return await read_pages(read, asked, what)
        except TooManyPages:
            self.window_ms = max(WINDOW_MIN_MS, self.window_ms // 2)
            raise

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

    async def _ended(self, category: str, settled: Mapping[str, str]) -> tuple[list[SeenOrder], bool]:
        """Read the orders that have ended, newest first, back to one that an earlier look has shown.

        Tells also whether nothing is missing: the exchange lists the last 500 of them here.
        """
        found: list[SeenOrder] = []
        cursor = ""
        for _ in range(PAGES_MAX):
            result = await self._page(category, settled, _ENDED, cursor)
            page = [seen_order(entry, category=category) for entry in entries(result)]
            fresh = [order for order in page if order.order_id not in self._known_ended]
            found += fresh
            cursor = next_cursor(result)
            if len(fresh) < len(page):
                return found, True
            if not cursor:
                break
        return found, len(found) < ENDED_LISTED

    def _was_judged(self, order: SeenOrder, span: _Span) -> bool:
        """Say of an ended order whether an earlier run has judged it; within this one `_known_ended` tells."""
        if not self.is_mark or self._anchor is not None or order.updated_at_ms is None:
            return False
        return order.updated_at_ms < span.begin_ms - OVERLAP_MS

    def _know_ended(self, ended: Sequence[SeenOrder]) -> None:
        self._known_ended |= dict.fromkeys(order.order_id for order in ended)
        while len(self._known_ended) > ENDED_REMEMBERED:
            del self._known_ended[next(iter(self._known_ended))]

    async def _page(self, category: str, settled: Mapping[str, str], open_only: str, cursor: str) -> Mapping[str, Any]:
        asked = {"category": category, **settled, "openOnly": open_only, "limit": ORDERS_A_PAGE, **_cursor(cursor)}
        return await self.reading.working_or_ended_orders(asked)


def _not_listed(past: Sequence[SeenOrder], listed: Sequence[SeenOrder]) -> list[SeenOrder]:
    known = {order.order_id for order in listed}
    return [order for order in past if order.order_id not in known]


async def read_pages(read: Read, asked: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
    """Read all pages of a window; `asked` names its `limit`. Raises TooManyPages, and as the reading does."""
    found: list[Mapping[str, Any]] = []
    cursor = ""
    for number in range(PAGES_MAX):
        if number >= PAGES_AT_ONCE:
            await asyncio.sleep(1 / PAGES_PER_S)
        result = await read({**asked, **_cursor(cursor)})
        found += entries(result)
        cursor = next_cursor(result)
        if not cursor:
            return found
    raise TooManyPages(f"more than {PAGES_MAX * int(asked['limit'])} {what} at one look")


class KeyReading(Protocol):
    """What lists the keys of a sub-account: a connection with a reading key of its master."""

    async def sub_account_keys(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of keys. Raises as Reading does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedKey:
    """A key as it is listed, and when it was made, as the exchange writes it; empty when it does not say so."""

    listed: ListedKey
    created_at: str


async def all_keys(reading: KeyReading, *, account: str) -> list[DatedKey]:
    """Read every key of the sub-account. Raises as the reading does, and ExchangeAnswerInvalid for an endless list."""
    found: list[DatedKey] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        result = await reading.sub_account_keys({"subMemberId": account, "limit": 20, **_cursor(cursor)})
        found += [
            DatedKey(listed=listed_key(entry), created_at=_created_at(entry))
            for entry in entries(result, name="result")
        ]
        cursor = next_cursor(result)
        if not cursor:
            return found
    raise ExchangeAnswerInvalid(f"more than {PAGES_MAX} pages of keys")


def _created_at(entry: Mapping[str, Any]) -> str:
    """Read a time that is shown to people and judged by nobody."""
    value = entry.get("createdAt")
    if isinstance(value, str) and len(value) <= TIME_CHARACTERS_MAX and value.isprintable():
        return value
    return ""


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
