"""Once a day: holds the exchange's executions, its statement and the journal's fills together, and keeps a row of it.

Guarantees
- Every UTC day is reconciled once, SETTLE_MS after its end; a watchdog that was away makes up for up to DAYS_BACK days.
- An order that worked for longer than ORDER_LIFE_MS, an exit that rests or one that nobody was awake to cancel, is read
  whole before it counts as a difference, as far back as WHOLE_LIFE_WEEKS.
- A day whose lists cannot be read whole is tried again; it is recorded only when it was compared.
- What differs is an incident and an alert. It halts nothing: what is not ours was judged when it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Protocol

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, TradeError
from trade_core.secrets import write_atomically
from trade_journal.errors import JournalUnavailable
from trade_watchdog.audit.listing import seen_execution, stated_trade
from trade_watchdog.audit.reconciliation import (
    DAY_MS,
    JournaledFills,
    Reconciliation,
    StatementTrade,
    begin_ms,
    day_of,
    next_day,
    reconcile,
)
from trade_watchdog.audit.sightings import SeenExecution
from trade_watchdog.drop_copy import CATEGORIES, entries, next_cursor
from trade_watchdog.effects import Alert, Effects, Severity
from trade_watchdog.history import History
from trade_watchdog.intent_feed import CopyReading, fills_since

STATE_FILE: Final = "reconciled.json"
STEP_EVERY_S: Final = 60.0
SETTLE_MS: Final = 10 * 60 * 1000
ORDER_LIFE_MS: Final = 2 * 3600 * 1000
"""No order that adds risk works longer while a gateway or a watchdog lives."""
WHOLE_LIVES_MAX: Final = 100
WHOLE_LIVES_READ: Final = 3
"""So often, since an order that still works may fill between the exchange's list and the copy of the journal."""
WHOLE_LIFE_WEEKS: Final = 4
WEEK_MS: Final = 7 * DAY_MS
"""The longest time that one question may cover. Source: Bybit V5 "Get Trade History"."""
DAYS_BACK: Final = 6
"""The exchange lists executions of seven days at once, with the margins on both sides."""
PAGES_MAX: Final = 2000
PAGES_PER_S: Final = 10
_FILE_BYTES_MAX: Final = 256

_log = logging.getLogger(__name__)


class DayReading(Protocol):
    """What reads the exchange's lists of a day. Each raises TradeError."""

    async def executions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of executions."""
        ...

    async def statement(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of the transaction log."""
        ...


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """The daily comparison of one account."""

    reading: DayReading
    open_copy: Callable[[], CopyReading | None]
    history: History
    effects: Effects
    state_dir: Path
    clock: Clock
    last: Reconciliation | None = None
    failure: str = ""

    async def run(self) -> None:
        """Reconcile each day when it is due, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(STEP_EVERY_S)

    async def step(self) -> None:
        """Reconcile the next day, if one is due."""
        now_ms = self.clock.wall_ns() // NS_PER_MS
        day = self._due(now_ms)
        if day is None:
            return
        try:
            found = await self._reconciled(day)
        except TradeError as error:
            if str(error) != self.failure:
                _log.warning("%s is not reconciled yet: %s", day, error)
            self.failure = str(error)
            return
        self.last, self.failure = found, ""
        self._tell(found)
        self._remember(day)

    def _due(self, now_ms: int) -> str | None:
        done = self._done()
        if done is None:
            self._remember(day_of(now_ms - DAY_MS))  # the first day to be compared is the one of the first start
            return None
        day = next_day(done)
        oldest = day_of(now_ms - DAYS_BACK * DAY_MS)
        if day < oldest:
            _log.error("the days from %s to %s cannot be reconciled any more", day, oldest)
            day = oldest
        return day if now_ms >= begin_ms(day) + DAY_MS + SETTLE_MS else None

    async def _reconciled(self, day: str) -> Reconciliation:
        first_ms = begin_ms(day)
        executions: list[SeenExecution] = []
        for category in CATEGORIES:
            wide = _span(first_ms - ORDER_LIFE_MS, first_ms + DAY_MS + SETTLE_MS)
            listed = await _all(self.reading.executions, {"category": category, "limit": 100, **wide})
            executions += [seen_execution(entry, category=category) for entry in listed]
        trades = {"accountType": "UNIFIED", "type": "TRADE", "limit": 50, **_span(first_ms, first_ms + DAY_MS - 1)}
        statement: list[StatementTrade] = [stated_trade(entry) for entry in await _all(self.reading.statement, trades)]
        found = reconcile(
            day=day, executions=executions, statement=statement, journaled=await self._journaled(first_ms)
        )
        for _ in range(WHOLE_LIVES_READ):
            if not found.disputed:
                break
            executions += await self._whole_lives(found.disputed[:WHOLE_LIVES_MAX], first_ms)
            journaled = await self._journaled(first_ms)
            found = reconcile(day=day, executions=executions, statement=statement, journaled=journaled)
        return found

    async def _journaled(self, first_ms: int) -> Mapping[str, JournaledFills]:
        copy = self.open_copy()
        if copy is None:
            raise JournalUnavailable("the copy of the gateway's journal is not open")
        return await asyncio.to_thread(_fills, copy, (first_ms - ORDER_LIFE_MS) * NS_PER_MS)

    async def _whole_lives(self, tags: Iterable[str], first_ms: int) -> list[SeenExecution]:
        """Read all executions of some orders, in the weeks that end with the day and the one after it."""
        found: list[SeenExecution] = []
        begins_ms = [first_ms + DAY_MS + week * WEEK_MS for week in range(-WHOLE_LIFE_WEEKS, 1)]
        for tag, category, begin in product(tags, CATEGORIES, begins_ms):
            await asyncio.sleep(1 / PAGES_PER_S)
            window = _span(begin, begin + WEEK_MS - 1)
            asked = {"category": category, "orderLinkId": tag, "limit": 100, **window}
            listed = await _all(self.reading.executions, asked)
            found += [seen_execution(entry, category=category) for entry in listed]
        return found

    def _tell(self, found: Reconciliation) -> None:
        self.history.reconciled(found)
        if not found.differing:
            _log.info("%s: journal, drop copy and statement agree on %d executions", found.day, found.executions)
            return
        words = f"{found.day}: journal, drop copy and statement differ {found.differing} times: {found.differences[0]}"
        _log.error("%s", words)
        self.history.open_incident(
            kind="reconciliation", severity=Severity.CRITICAL, fields={"day": found.day, "detail": words}
        )
        self.effects.alert(
            Alert(subject="reconciliation", severity=Severity.CRITICAL, text=words[:400], needs_acknowledgement=True)
        )

    def _done(self) -> str | None:
        path = self.state_dir / STATE_FILE
        if not path.exists():
            return None
        try:
            day = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])["day"]
            begin_ms(day)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path}: names no day ({type(error).__name__}); write the last day there that the journal calls "
                "reconciled, or remove the file"
            ) from error
        return str(day)

    def _remember(self, day: str) -> None:
        try:
            write_atomically(self.state_dir / STATE_FILE, json.dumps({"day": day}).encode() + b"\n", mode=0o600)
        except OSError as error:
            self.failure = f"{self.state_dir / STATE_FILE}: cannot be written: {error.strerror}"
            _log.error("%s", self.failure)


def _span(from_ms: int, until_ms: int) -> dict[str, int]:
    return {"startTime": from_ms, "endTime": until_ms}


async def _all(read: Callable[[Mapping[str, Any]], Any], window: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Read every page of a window, at PAGES_PER_S. Raises as the reading does, and ExchangeAnswerInvalid."""
    found: list[Mapping[str, Any]] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        result = await read({**window, **({"cursor": cursor} if cursor else {})})
        found += entries(result)
        cursor = next_cursor(result)
        if not cursor:
            return found
        await asyncio.sleep(1 / PAGES_PER_S)
    raise ExchangeAnswerInvalid(f"more than {PAGES_MAX} pages of one day")


def _fills(copy: CopyReading, since_ns: int) -> Mapping[str, JournaledFills]:
    with contextlib.closing(copy):
        return fills_since(copy, since_ns)
