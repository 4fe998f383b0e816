"""What the exchange shows of orders and executions, as far as an audit needs it: the drop copy's words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

WORKING_STATUSES: Final = frozenset({"New", "PartiallyFilled", "Untriggered", "Triggered"})
"""Orders that can still trade. Source: Bybit V5, enum orderStatus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOrder:
    """One order as the exchange lists it. Quantities in base coin, prices in quote coin, times in UTC milliseconds.

    `link_id` is empty for an order that was placed without one; `trigger_price` is None for one without a trigger;
    `updated_at_ms` is None when the exchange does not say when it last changed.
    """

    category: str
    symbol: str
    order_id: str
    link_id: str
    side: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal | None
    is_reduce_only: bool
    is_leverage: bool
    create_type: str
    status: str
    filled: Decimal
    created_at_ms: int
    updated_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenExecution:
    """One execution as the exchange lists it. `order_quantity` and `order_price` are those of its order.

    It does not say whether its order was reduce-only.
    """

    category: str
    symbol: str
    execution_id: str
    order_id: str
    link_id: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    order_quantity: Decimal
    order_price: Decimal
    execution_type: str
    create_type: str
    executed_at_ms: int
