"""Counts messages and executions over short windows. No clock: every time is passed in, in ns.

Guarantees
- A message that was denied counts as well, so that a flood reaches the terminate level.
- A latch (terminated, tripped) never lifts by itself; `rearm` is for a release that a person has authorised. Latches
  go into the constructor after a restart.
- A time that goes back counts as the latest time seen; windows do not shrink by it.
- Memory is bounded: by the terminate level, by the execution limit of each symbol and side.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from enum import IntEnum

from trade_core.clock import NS_PER_S
from trade_gateway.policy.model import SymbolKey
from trade_gateway.wire.intents import Side


class MessageLevel(IntEnum):
    """How the rate of order messages stands."""

    FREE = 0
    DENY = 1
    TERMINATE = 2


class MessageThrottle:
    """Counts orders (not cancels) in the last second. Exactly as many as a level permits are still below it."""

    def __init__(self, *, deny_above: int, terminate_above: int, is_terminated: bool = False) -> None:
        self._deny_above = deny_above
        self._times: deque[int] = deque(maxlen=terminate_above + 1)
        self._is_terminated = is_terminated

    @property
    def is_terminated(self) -> bool:
        """Whether the terminate level was passed since the last release: no order that adds risk may leave."""
        return self._is_terminated

    def count(self, *, at_ns: int) -> MessageLevel:
        """Count one message and return the level that it meets."""
        now_ns = max(at_ns, self._times[-1]) if self._times else at_ns
        while self._times and now_ns - self._times[0] >= NS_PER_S:
            self._times.popleft()
        self._times.append(now_ns)
        if len(self._times) == self._times.maxlen:
            self._is_terminated = True
            return MessageLevel.TERMINATE
        return MessageLevel.DENY if len(self._times) > self._deny_above else MessageLevel.FREE

    def limit(self, *, deny_above: int, terminate_above: int) -> None:
        """Take other levels; what was counted in the last second counts on."""
        self._deny_above = deny_above
        self._times = deque(self._times, maxlen=terminate_above + 1)

    def rearm(self) -> None:
        """Lift the latch: a person has released it."""
        self._is_terminated = False
        self._times.clear()


class RepeatedExecutionThrottle:
    """Trips a symbol when as many orders of one side as the limit says have filled within the window.

    The fills of one order count once, so that a counterparty who takes it in crumbs does not trip it.
    """

    def __init__(self, *, limit: int, window_s: int, tripped: Iterable[SymbolKey] = ()) -> None:
        self._limit = limit
        self._window_ns = window_s * NS_PER_S
        self._tripped = set(tripped)
        self._filled: dict[tuple[SymbolKey, Side], OrderedDict[str, int]] = {}
        self._latest_ns = 0

    @property
    def tripped_symbols(self) -> frozenset[SymbolKey]:
        """The symbols on which no risk may be added until a person re-arms them."""
        return frozenset(self._tripped)

    def count(self, symbol: SymbolKey, side: Side, *, order: str, at_ns: int) -> bool:
        """Count a fill of the order with this tag; tell whether it trips the symbol now."""
        self._latest_ns = max(self._latest_ns, at_ns)
        orders = self._filled.setdefault((symbol, side), OrderedDict())
        while orders and self._latest_ns - next(iter(orders.values())) > self._window_ns:
            orders.popitem(last=False)
        if order in orders:
            return False
        orders[order] = self._latest_ns
        if len(orders) < self._limit:
            return False
        while len(orders) >= self._limit:
            orders.popitem(last=False)
        is_news = symbol not in self._tripped
        self._tripped.add(symbol)
        return is_news

    def limit(self, *, limit: int, window_s: int) -> None:
        """Take another limit; what filled within the window counts on, and the next fill is judged by it."""
        self._limit = limit
        self._window_ns = window_s * NS_PER_S

    def rearm(self, symbol: SymbolKey) -> None:
        """Lift the latch of one symbol: a person has released it."""
        self._tripped.discard(symbol)
        for side in Side:
            self._filled.pop((symbol, side), None)
