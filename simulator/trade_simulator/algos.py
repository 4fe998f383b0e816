"""Server-side strategy orders (algorithms): create, list, stop.

The simulated algorithms do not trade: what matters here is that they exist, are found by a sweep and can be
stopped. They end when their duration is over.
"""

from dataclasses import dataclass
from decimal import Decimal

from trade_simulator.orders import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoRequest:
    """A request to start an algorithm; category is the strategy API's own name, e.g. UTA_USDT."""

    category: str
    symbol: str
    side: Side
    size: Decimal
    strategy_type: str
    duration_s: int = 600
    interval_s: int = 60
    reduce_only: bool = False
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Algo:
    """A strategy. status: 1 running, 3 ended; terminate_type: 0 not ended, 1 finished, 2 stopped."""

    uid: str
    strategy_id: str
    category: str
    symbol: str
    side: Side
    size: Decimal
    strategy_type: str
    duration_s: int
    interval_s: int
    reduce_only: bool
    limit_price: Decimal | None
    status: int
    terminate_type: int
    created_at_ms: int
    updated_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoQuery:
    """Which strategies to list."""

    strategy_id: str = ""
    symbol: str = ""
    category: str = ""
    strategy_type: str = ""
    status: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 20
    cursor: str = ""
