"""Was more risk added in 24 hours than the policy's turnover budget allows? From the exchange's own executions. Pure.

What is counted is never more than the gateway's own rule counts for the same orders, so that a sum beyond the budget
could not have been permitted, whatever the gateway saw:

| the gateway counts | counted here | so that it is never more |
|---|---|---|
| a fill of an order of its own that adds risk, and no other | an execution whose tag binds such an order | the same orders |
| reducing fills, and its own disaster stops, not at all | not at all | the same |
| the filled quantity at the greater of what it cost and its share of quantity x max(price, reference) | at the lesser of what it cost and the order's price | at most what it cost |
| from when it learned of the fill until the whole minute of that is 24 hours old, by its own clock | while the whole minute of the execution is younger than 24 hours less a minute, by the exchange's clock | learned after it happened, kept a minute longer; two clocks differ by seconds, or the exchange takes no order |
| what is left of orders on their way or working | what is left of those that two looks in a row have shown working | both were working when the later look began |
| against budget x min(equity, allocated capital) of the policy in force, when an order is asked for | budget x allocated capital, the widest of the policies that may have been in force when the newest order was made | a later order was permitted with all of it counted |

It does not judge whether the executions are whole: whoever asks must not take a part of a day for a day.
"""  # noqa: E501 - a table

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from typing import Final

from trade_watchdog.audit.limit_audit import AuditedLimits, LimitAlarm, LimitFinding, usdt
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

WINDOW_MS: Final = 24 * 60 * 60 * 1000
MINUTE_MS: Final = 60 * 1000
COUNTED_MS: Final = WINDOW_MS - MINUTE_MS
MAX_EXECUTIONS: Final = 200_000
"""Two a second all day; about 40 MB. Beyond it the day is not whole."""
MAX_ORDERS: Final = 10_000
QUOTE: Final = "USDT"
ZERO: Final = Decimal(0)
_EXACT: Final = Context(prec=96)


class TurnoverCount:
    """The adding executions of the last 24 hours, by the exchange's time; each counts once."""

    __slots__ = ("_count", "_executed", "_latest_ms", "_left_out_ms", "_minutes", "_sum")

    def __init__(self) -> None:
        """Begin with none."""
        self._minutes: dict[int, dict[str, Decimal]] = {}
        self._executed: OrderedDict[str, Decimal] = OrderedDict()
        self._sum = ZERO
        self._count = 0
        self._latest_ms = 0
        self._left_out_ms: int | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def is_whole(self) -> bool:
        """Say whether no execution of the window was left out for want of room."""
        return self._left_out_ms is None

    def take(self, executions: Iterable[SeenExecution], *, now_ms: int) -> None:
        """Count adding executions of ours, in any order and any number of times. `now_ms` is the exchange's time."""
        self._advance(now_ms)
        for execution in executions:
            minute = execution.executed_at_ms // MINUTE_MS
            if not self._is_in_window(minute) or execution.execution_id in self._minutes.get(minute, ()):
                continue
            if self._count >= MAX_EXECUTIONS:
                left_out_ms = execution.executed_at_ms
                self._left_out_ms = max(left_out_ms, self._left_out_ms or left_out_ms)
                continue
            self._count_once(execution, minute)

    def used_usdt(self) -> Decimal:
        """Give the sum of the window that ends at the latest time passed in, USDT."""
        return self._sum

    def executed(self, order_id: str) -> Decimal:
        """Give how much of an order the executions tell, in base coin, as far as it is remembered."""
        return self._executed.get(order_id, ZERO)

    def _count_once(self, execution: SeenExecution, minute: int) -> None:
        price = min(execution.price, execution.order_price or execution.price)
        value = _EXACT.multiply(execution.quantity, price)
        self._minutes.setdefault(minute, {})[execution.execution_id] = value
        self._sum = _EXACT.add(self._sum, value)
        self._count += 1
        self._executed[execution.order_id] = self.executed(execution.order_id) + execution.quantity
        self._executed.move_to_end(execution.order_id)
        while len(self._executed) > MAX_ORDERS:
            self._executed.popitem(last=False)

    def _advance(self, now_ms: int) -> None:
        self._latest_ms = max(self._latest_ms, now_ms)
        for minute in [known for known in self._minutes if not self._is_in_window(known)]:
            gone = self._minutes.pop(minute)
            for value in gone.values():
                self._sum = _EXACT.subtract(self._sum, value)
            self._count -= len(gone)
        if self._left_out_ms is not None and not self._is_in_window(self._left_out_ms // MINUTE_MS):
            self._left_out_ms = None

    def _is_in_window(self, minute: int) -> bool:
        return minute * MINUTE_MS > self._latest_ms - COUNTED_MS


def is_counted(category: str, symbol: str) -> bool:
    """Say whether a symbol's orders can count: those that the gateway trades are quoted in USDT."""
    return category in {"spot", "linear"} and symbol.endswith(QUOTE)


def pending_usdt(orders: Iterable[SeenOrder], count: TurnoverCount) -> Decimal:
    """Value what is left of working orders that add risk at their own prices; what has executed counts already."""
    left = (
        max(ZERO, order.quantity - max(order.filled, count.executed(order.order_id))) * order.price for order in orders
    )
    return sum(left, ZERO)


def budget_usdt(limits: Sequence[AuditedLimits]) -> Decimal:
    """Give the widest budget of some policies, at least one, in USDT."""
    return max(one.turnover_budget_24h * one.allocated_capital_usdt for one in limits)


def examine_turnover(used_usdt: Decimal, limits: Sequence[AuditedLimits]) -> LimitFinding | None:
    """Find a turnover beyond the widest budget of some policies, at least one; exactly at it is none."""
    most = budget_usdt(limits)
    if used_usdt <= most:
        return None
    figure = f"{usdt(used_usdt)} of {usdt(most)}"
    detail = f"{figure} were added in 24 hours"
    return LimitFinding(alarm=LimitAlarm.TURNOVER, name="", detail=detail, figure=figure)
