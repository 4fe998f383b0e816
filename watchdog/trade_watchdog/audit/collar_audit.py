"""Was an order that adds risk let through at a price that no reference of its time permits? Pure.

Rules
- The reference is the index price of the linear contract of the same coins, as the exchange's own minute candles tell
  it: of every minute in which the gateway may have seen the price that it judged by, from LEAD_MS and the policy's
  `reference_max_age_s` before the order was made to TAIL_MS after it. The index at acceptance lies between the lowest
  and the highest of these minutes.
- Candles are made of samples, and two clocks differ. So the reference may lie beyond them by the policy's
  `reference_max_divergence`, which the gateway's own sources may differ by, or by as much as the index moved in
  these minutes, whichever is more.
- Of the policies that may have been in force the widest collar counts.
- What is bought dearer, or sold cheaper, than that could not have been permitted: one look proves it.

It judges only the adverse side, and only orders that add risk: an exit may be measured against a reference that was
the last good one long ago. A coin without an index, and minutes that the exchange does not tell, prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_core.money import format_decimal
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitAlarm, LimitFinding
from trade_watchdog.audit.sightings import SeenOrder

MINUTE_MS: Final = 60 * 1000
LEAD_MS: Final = 60 * 1000
"""From the decision to the exchange's clock: the commit, the wire, the receive window, and clocks that differ."""
TAIL_MS: Final = 2 * 1000
_MS_A_SECOND: Final = 1000
_SHOWN: Final = Decimal("1e-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCandle:
    """The extremes of an index in the minute that begins at `start_ms` (UTC), in quote coin."""

    start_ms: int
    lowest: Decimal
    highest: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """The minutes that say what an order's reference can have been, by their beginnings, UTC ms; both included."""

    first_ms: int
    last_ms: int


def minutes_of(order: SeenOrder, limits: Sequence[AuditedLimits]) -> Minutes:
    """Say which minutes tell the reference of an order; `limits` are at least one policy's."""
    lead_ms = LEAD_MS + max(one.reference_max_age_s for one in limits) * _MS_A_SECOND
    return Minutes(
        first_ms=(order.created_at_ms - lead_ms) // MINUTE_MS * MINUTE_MS,
        last_ms=(order.created_at_ms + TAIL_MS) // MINUTE_MS * MINUTE_MS,
    )


def covering(candles: Iterable[IndexCandle], minutes: Minutes) -> list[IndexCandle] | None:
    """Pick the candles of some minutes; None when one is missing or tells no price."""
    picked = {candle.start_ms: candle for candle in candles}
    wanted = range(minutes.first_ms, minutes.last_ms + MINUTE_MS, MINUTE_MS)
    if any(start not in picked for start in wanted):
        return None
    found = [picked[start] for start in wanted]
    return found if all(0 < candle.lowest <= candle.highest for candle in found) else None


def examine_collar(
    order: SeenOrder, candles: Sequence[IndexCandle], limits: Sequence[AuditedLimits]
) -> LimitFinding | None:
    """Find a price outside every collar that can have counted; exactly at the bound is none.

    `candles` are all that `covering` picked, `limits` at least one policy's.
    """
    lowest, highest = min(one.lowest for one in candles), max(one.highest for one in candles)
    collar, divergence = max(one.collar for one in limits), max(one.reference_max_divergence for one in limits)
    if order.side == "Buy":
        bound = (highest + max(highest * divergence, highest - lowest)) * (1 + collar)
        is_outside = order.price > bound
    else:
        bound = (lowest - max(lowest * divergence, highest - lowest)) * (1 - collar)
        is_outside = order.price < bound
    if not is_outside:
        return None
    words = "bought" if order.side == "Buy" else "sold"
    price, end = format_decimal(order.price), format_decimal(bound.quantize(_SHOWN))
    detail = f"{order.category} {order.symbol} {words} at {price} where the collar ended at {end}"
    return LimitFinding(alarm=LimitAlarm.COLLAR, name=order.order_id, detail=detail, figure=f"{price} of {end}")
