"""Server-side strategy orders (algorithms): create, list, stop.

The simulated algorithms do not trade: what matters here is that they exist, are found by a sweep and can be
stopped. They end when their duration is over.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trade_simulator.orders import Side
from trade_simulator.paging import Page, paginate
from trade_simulator.rejections import STRATEGY_ENDED, STRATEGY_UNKNOWN, TOO_MANY_STRATEGIES, parameter_error

RUNNING: Final = 1
ENDED: Final = 3
NOT_TERMINATED: Final = 0
FINISHED: Final = 1
STOPPED: Final = 2
# A sweep has to find all of them on a few pages.
RUNNING_MAX: Final = 50
REMEMBERED_MAX: Final = 500
# The longest the strategy page names is a day.
DURATION_MAX_S: Final = 86_400


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


class AlgoDesk:
    """The strategies of one account; the mapping belongs to the account."""

    def __init__(self, algos: OrderedDict[str, Algo], *, now_ms: Callable[[], int]) -> None:
        self._algos = algos
        self._now_ms = now_ms

    def create(self, uid: str, request: AlgoRequest, *, strategy_id: str, seq: int) -> Algo:
        """Start a strategy. Raises Rejected 10001."""
        self._expire()
        if request.size <= 0 or not 0 < request.duration_s <= DURATION_MAX_S or request.interval_s <= 0:
            raise parameter_error("size, duration or interval invalid")
        if sum(algo.status == RUNNING for algo in self._algos.values()) >= RUNNING_MAX:
            raise TOO_MANY_STRATEGIES.error()
        now_ms = self._now_ms()
        algo = Algo(
            uid=uid,
            strategy_id=strategy_id,
            category=request.category,
            symbol=request.symbol,
            side=request.side,
            size=request.size,
            strategy_type=request.strategy_type,
            duration_s=request.duration_s,
            interval_s=request.interval_s,
            reduce_only=request.reduce_only,
            limit_price=request.limit_price,
            status=RUNNING,
            terminate_type=NOT_TERMINATED,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            seq=seq,
        )
        self._algos[strategy_id] = algo
        self._forget_oldest_ended()
        return algo

    def stop(self, strategy_id: str) -> Algo:
        """Stop a running strategy. Raises Rejected 10001."""
        self._expire()
        algo = self._algos.get(strategy_id)
        if algo is None:
            raise STRATEGY_UNKNOWN.error()
        if algo.status != RUNNING:
            raise STRATEGY_ENDED.error()
        return self._end(algo, STOPPED)

    def page(self, query: AlgoQuery) -> Page[Algo]:
        """List strategies, newest first."""
        self._expire()
        chosen = [algo for algo in reversed(self._algos.values()) if _matches(algo, query)]
        return paginate(chosen, sequence_of=lambda algo: algo.seq, limit=query.limit, cursor=query.cursor)

    def _expire(self) -> None:
        now_ms = self._now_ms()
        for algo in list(self._algos.values()):
            if algo.status == RUNNING and now_ms >= algo.created_at_ms + algo.duration_s * 1000:
                self._end(algo, FINISHED)

    def _end(self, algo: Algo, terminate_type: int) -> Algo:
        ended = replace(algo, status=ENDED, terminate_type=terminate_type, updated_at_ms=self._now_ms())
        self._algos[algo.strategy_id] = ended
        return ended

    def _forget_oldest_ended(self) -> None:
        if len(self._algos) > REMEMBERED_MAX:
            oldest = next(algo for algo in self._algos.values() if algo.status != RUNNING)
            del self._algos[oldest.strategy_id]


def _matches(algo: Algo, query: AlgoQuery) -> bool:
    pairs = (
        (query.strategy_id, algo.strategy_id),
        (query.symbol, algo.symbol),
        (query.category, algo.category),
        (query.strategy_type, algo.strategy_type),
    )
    if any(wanted and wanted != actual for wanted, actual in pairs):
        return False
    if query.status is not None and query.status != algo.status:
        return False
    after = query.start_ms is None or algo.created_at_ms >= query.start_ms
    before = query.end_ms is None or algo.created_at_ms <= query.end_ms
    return after and before
