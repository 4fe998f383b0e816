"""Do the journal, the drop copy and the exchange's statement tell the same day? Pure: the three in, differences out.

Guarantees
- Every order that traded on the day is compared: by how many executions and how much in the drop copy and in the
  statement, and by how much, over its whole life, in the drop copy and in the journal.
- What one of them has and another has not is a difference, named by the order.
- An order without a tag of the journal is counted apart: whose it is, is the audit's question, asked when it came.

Funding is no trade and is left out of all three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from trade_core.money import format_decimal
from trade_watchdog.audit.provenance import FUNDING
from trade_watchdog.audit.sightings import SeenExecution

DAY_MS: Final = 86_400_000
DIFFERENCES_SHOWN: Final = 20
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTrade:
    """One trade in the exchange's statement. Spot trades stand there twice, once for each coin, under one trade id.

    `quantity` is in base coin, and None in the entry of the other coin.
    """

    trade_id: str
    order_id: str
    at_ms: int
    quantity: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledFills:
    """How much a tag has filled in all by the journal's rows, and when the last of them was written."""

    filled: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What came out: counts, and the differences in words, at most DIFFERENCES_SHOWN of `differing`.

    `disputed` are the tags that have filled otherwise by the journal than by the executions that were given. An order
    may have traded before and after those, when nobody was there to cancel it.
    """

    day: str
    executions: int
    statement_trades: int
    orders: int
    orders_of_others: int
    differing: int
    differences: tuple[str, ...]
    disputed: tuple[str, ...] = ()


def day_of(at_ms: int) -> str:
    """Name the UTC day of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def begin_ms(day: str) -> int:
    """Give the first millisecond of a UTC day."""
    first = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    return int(first.timestamp()) * 1000


def next_day(day: str) -> str:
    """Name the day after."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def reconcile(
    *,
    day: str,
    executions: Iterable[SeenExecution],
    statement: Iterable[StatementTrade],
    journaled: Mapping[str, JournaledFills],
) -> Reconciliation:
    """Hold the three against each other.

    `executions` reach beyond the day on both sides, as far as orders live; `journaled` is what each tag has filled. A
    tag that filled on the day by the journal alone is compared too: the exchange may be the one that does not tell.
    """
    first_ms = begin_ms(day)
    last_ms = first_ms + DAY_MS
    wide = {seen.execution_id: seen for seen in executions if seen.execution_type != FUNDING}
    of_day = [seen for seen in wide.values() if first_ms <= seen.executed_at_ms < last_ms]
    stated: dict[str, StatementTrade] = {}
    for trade in statement:
        known = stated.get(trade.trade_id)
        if first_ms <= trade.at_ms < last_ms and (known is None or known.quantity is None):
            stated[trade.trade_id] = trade
    told = {tag for tag, fills in journaled.items() if first_ms <= fills.at_ms < last_ms}
    tags = sorted(told | {seen.link_id for seen in of_day if seen.link_id in journaled})
    others = {seen.order_id for seen in of_day if seen.link_id not in journaled}
    filled = _filled(wide.values())
    disputed = tuple(tag for tag in tags if filled.get(tag, ZERO) != journaled[tag].filled)
    against_journal = [
        f"tag {tag}: {format_decimal(filled.get(tag, ZERO))} in the drop copy, "
        f"{format_decimal(journaled[tag].filled)} in the journal"
        for tag in disputed
    ]
    found = [*_against_statement(of_day, stated.values()), *against_journal]
    return Reconciliation(
        day=day,
        executions=len(of_day),
        statement_trades=len(stated),
        orders=len(tags),
        orders_of_others=len(others),
        differing=len(found),
        differences=tuple(found[:DIFFERENCES_SHOWN]),
        disputed=disputed,
    )


def _against_statement(of_day: Iterable[SeenExecution], stated: Iterable[StatementTrade]) -> list[str]:
    copied, told = _Sums(), _Sums()
    for seen in of_day:
        copied.add(seen.order_id, seen.quantity)
    for trade in stated:
        told.add(trade.order_id, ZERO if trade.quantity is None else trade.quantity)
    return [
        f"order {order}: {copied.words(order)} in the drop copy, {told.words(order)} in the statement"
        for order in sorted(copied.counts.keys() | told.counts.keys())
        if copied.of(order) != told.of(order)
    ]


class _Sums:
    """How many executions of each order, and how much they come to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.amounts: dict[str, Decimal] = {}

    def add(self, order: str, amount: Decimal) -> None:
        self.counts[order] += 1
        self.amounts[order] = self.amounts.get(order, ZERO) + amount

    def of(self, order: str) -> tuple[int, Decimal]:
        return self.counts[order], self.amounts.get(order, ZERO)

    def words(self, order: str) -> str:
        count, amount = self.of(order)
        return f"{count} executions of {format_decimal(amount)}"


def _filled(executions: Iterable[SeenExecution]) -> Mapping[str, Decimal]:
    filled: dict[str, Decimal] = {}
    for seen in executions:
        filled[seen.link_id] = filled.get(seen.link_id, ZERO) + seen.quantity
    return filled
