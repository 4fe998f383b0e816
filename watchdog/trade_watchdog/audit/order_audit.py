"""The audit of orders and executions: what was seen, whose it is, and what is new about that. Pure.

Guarantees
- Every order is judged again each time it is listed, so one that is amended behind the gateway's back is found.
- A finding is told once for each order and answer, and again when the answer becomes another one.
- An order or execution that cannot be judged yet is kept until it can: PENDING never becomes silence.
- Nothing grows without bound. When more is pending than MAX_PENDING the oldest is given up, and
  `is_overwhelmed` says so for as long as the process runs: what was given up stays unproven.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from trade_core.clock import NS_PER_S
from trade_core.money import format_decimal
from trade_core.trust.baseline import Baseline
from trade_watchdog.audit.journaled import JournaledOrders
from trade_watchdog.audit.provenance import (
    EXCHANGES_EXECUTION_TYPES,
    FUNDING,
    Answer,
    Evidence,
    Provenance,
    is_adding_of_ours,
    is_tagged,
    judge_execution,
    judge_order,
)
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

OVERDUE_S: Final = 10
"""So long the journal's reader may take to come past an order: two leases. Then the order is unproven."""
MAX_REMEMBERED: Final = 50_000
MAX_PENDING: Final = 5_000
NOT_JUDGED: Final = Answer(provenance=Provenance.PENDING, reason="it was not judged yet")
_WAITING: Final = frozenset({Provenance.PENDING, Provenance.UNPROVEN})
_SETTLED: Final = frozenset({Provenance.OURS, Provenance.BASELINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about one order that a person should know. `reason` is ours, without foreign text."""

    provenance: Provenance
    reason: str
    category: str
    symbol: str
    side: str
    order_id: str
    link_id: str
    quantity: Decimal

    @property
    def figure(self) -> str:
        """Say what was found of what is allowed."""
        return f"{format_decimal(self.quantity)} {self.symbol} of 0"


@dataclass(slots=True)
class _Remembered:
    """One order id: when it was first seen (monotonic), and the last answer."""

    first_seen_ns: int
    answer: Answer = NOT_JUDGED


@dataclass(slots=True, kw_only=True)
class OrderAudit:
    """What is known of the orders of one account."""

    journaled: JournaledOrders
    baseline: Baseline
    tag_key: bytes
    deployment: str
    account: str
    is_overwhelmed: bool = False
    _orders: OrderedDict[str, _Remembered] = field(default_factory=OrderedDict)
    _tags: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _pending_orders: dict[str, SeenOrder] = field(default_factory=dict)
    _pending_executions: dict[str, SeenExecution] = field(default_factory=dict)

    def judge(
        self,
        *,
        orders: Iterable[SeenOrder],
        executions: Iterable[SeenExecution],
        now_ns: int,
        journal_read_at_ns: int | None,
    ) -> list[Finding]:
        """Judge what one look showed, and what earlier ones left open; answers what is new.

        `journal_read_at_ns` is the monotonic time at which the last reading of the journal that came to its proved
        end began; None when there was none. What was seen before it has its row in `journaled`, or has none.
        """
        pending = self._pending_orders | {order.order_id: order for order in orders}
        self._pending_orders = {}
        found = [
            finding
            for order in pending.values()
            if (finding := self._order(order, now_ns, journal_read_at_ns)) is not None
        ]
        fresh = {execution.execution_id: execution for execution in executions if execution.execution_type != FUNDING}
        waiting = self._pending_executions | fresh
        self._pending_executions = {}
        found.extend(
            finding
            for execution in waiting.values()
            if (finding := self._execution(execution, now_ns, journal_read_at_ns)) is not None
        )
        self._bound()
        return found

    def is_strange(self, order: SeenOrder) -> bool:
        """Say whether an order carries no tag of ours, so that it should be looked at soon."""
        return not is_tagged(order, tag_key=self.tag_key, deployment=self.deployment, account=self.account)

    def is_adding(self, execution: SeenExecution) -> bool:
        """Say whether an execution filled an order of ours that added risk."""
        return is_adding_of_ours(execution, tag_key=self.tag_key, deployment=self.deployment, account=self.account)

    @property
    def unproven(self) -> int:
        """Count the orders whose last answer was that nothing proves them."""
        return sum(known.answer.provenance is Provenance.UNPROVEN for known in self._orders.values())

    @property
    def pending(self) -> int:
        """Count what waits for the journal."""
        return len(self._pending_orders) + len(self._pending_executions)

    def _order(self, order: SeenOrder, now_ns: int, read_at_ns: int | None) -> Finding | None:
        known = self._remember(order.order_id, now_ns)
        answer = judge_order(order, self._evidence(known, order.link_id, order.order_id, now_ns, read_at_ns))
        if answer.provenance in _WAITING:
            self._pending_orders[order.order_id] = order
        elif answer.provenance is Provenance.OURS:
            self._tags.setdefault(order.link_id, order.order_id)
        return self._told(known, answer, order)

    def _execution(self, execution: SeenExecution, now_ns: int, read_at_ns: int | None) -> Finding | None:
        known = self._orders.get(execution.order_id)
        is_judged = known is not None and known.answer.provenance is not Provenance.PENDING
        if is_judged and execution.execution_type not in EXCHANGES_EXECUTION_TYPES:
            return None  # its order is told of by itself
        known = self._remember(execution.order_id, now_ns)
        evidence = self._evidence(known, execution.link_id, execution.order_id, now_ns, read_at_ns)
        answer = judge_execution(execution, evidence)
        if answer.provenance in _WAITING:
            self._pending_executions[execution.execution_id] = execution
        elif answer.provenance is Provenance.OURS:
            self._tags.setdefault(execution.link_id, execution.order_id)
        return self._told(known, answer, execution)

    def _evidence(
        self, known: _Remembered, link_id: str, order_id: str, now_ns: int, read_at_ns: int | None
    ) -> Evidence:
        holder = self._tags.get(link_id)
        return Evidence(
            journaled=self.journaled,
            baseline=self.baseline,
            tag_key=self.tag_key,
            deployment=self.deployment,
            account=self.account,
            is_read_past_sight=read_at_ns is not None and read_at_ns > known.first_seen_ns,
            is_overdue=now_ns - known.first_seen_ns > OVERDUE_S * NS_PER_S,
            same_tag_order_id=holder if holder != order_id else None,
        )

    def _remember(self, order_id: str, now_ns: int) -> _Remembered:
        known = self._orders.setdefault(order_id, _Remembered(first_seen_ns=now_ns))
        self._orders.move_to_end(order_id)
        return known

    @staticmethod
    def _told(known: _Remembered, answer: Answer, seen: SeenOrder | SeenExecution) -> Finding | None:
        before = known.answer.provenance
        known.answer = answer
        if answer.provenance is before or answer.provenance in _SETTLED | {Provenance.PENDING}:
            return None
        return Finding(
            provenance=answer.provenance,
            reason=answer.reason,
            category=seen.category,
            symbol=seen.symbol,
            side=seen.side,
            order_id=seen.order_id,
            link_id=seen.link_id,
            quantity=seen.quantity,
        )

    def _bound(self) -> None:
        for remembered in (self._orders, self._tags):
            _cut(remembered, MAX_REMEMBERED)
        self.is_overwhelmed = self.is_overwhelmed or self.pending > MAX_PENDING
        _cut(self._pending_executions, MAX_PENDING)
        _cut(self._pending_orders, MAX_PENDING)


def _cut(kept: MutableMapping[str, Any], most: int) -> None:
    for name in list(islice(kept, max(0, len(kept) - most))):
        del kept[name]
