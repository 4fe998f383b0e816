"""Counts the notional of adding fills in the last 24 hours, in bounded memory.

Guarantees
- Never less than the truth: a fill counts until the whole minute in which it happened is 24 hours old.
- A clock that goes back changes nothing: time is the latest ever passed in.
- At most one number a minute of the window.
Does not: notice a clock that leaps ahead, which would empty the window. The account keeper passes in time that no leap
moves; only a restart after a leap, which rebuilds the window from the times of rows, would believe it.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import ROUND_UP, Context, Decimal

from trade_core.clock import NS_PER_S
from trade_gateway.policy.exact import multiply

WINDOW_MINUTES = 24 * 60
NS_PER_MINUTE = 60 * NS_PER_S
_UPWARD = Context(prec=64, rounding=ROUND_UP)
_PLACES = Decimal("1e-12")


def turnover_notional(*, quantity: Decimal, price: Decimal, reference_price: Decimal | None) -> Decimal:
    """Return what a fill, or what is left of an order, counts: quantity x the greater of price and reference.

    A short sale below the reference would otherwise count less than what its collar is a fraction of.
    """
    greater = price if reference_price is None or price > reference_price else reference_price
    return multiply(quantity, greater)


def turnover_share(quantity: Decimal, *, whole: Decimal, notional: Decimal, price: Decimal) -> Decimal:
    """Return what a part of an order counts: its share of the order's notional, at least what it costs; rounded up."""
    share = _UPWARD.divide(_UPWARD.multiply(notional, quantity), whole)
    return _UPWARD.quantize(max(share, _UPWARD.multiply(quantity, price)), _PLACES)


class Turnover:
    """The window. `at_ns` is wall-clock time, so that rows of the journal can be replayed after a restart."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[int, Decimal] = OrderedDict()
        self._latest_minute = 0
        self._sum = Decimal(0)

    def add(self, notional_usdt: Decimal, *, at_ns: int) -> None:
        """Count an adding fill. One that is older than the window counts nothing. Raises ValueError below zero."""
        if not notional_usdt >= 0:
            raise ValueError(f"a fill has no negative notional: {notional_usdt}")
        self._advance(at_ns)
        minute = max(at_ns // NS_PER_MINUTE, 0)
        if minute < self._latest_minute - WINDOW_MINUTES:
            return
        self._minutes[minute] = self._minutes.get(minute, Decimal(0)) + notional_usdt
        self._sum += notional_usdt

    def used_usdt(self, *, at_ns: int) -> Decimal:
        """Return the notional of the fills that may lie within the 24 hours before `at_ns`."""
        self._advance(at_ns)
        return self._sum

    def __len__(self) -> int:
        """Return the number of minutes kept."""
        return len(self._minutes)

    def _advance(self, at_ns: int) -> None:
        minute = at_ns // NS_PER_MINUTE
        if minute <= self._latest_minute:
            return
        self._latest_minute = minute
        for old in [kept for kept in self._minutes if kept < minute - WINDOW_MINUTES]:
            self._sum -= self._minutes.pop(old)
