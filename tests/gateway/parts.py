"""Small real parts that the tests of the gateway share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trade_gateway.ledger import Phase, TrackedOrder
from trade_gateway.metrics import Metrics
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent, TriggerBy
from trade_journal.log.rows import Entry, Row, RowKind
from trade_journal.writer.writer import JournalWriter

ACCOUNT = "1002"


def order_intent(
    *,
    category: Category = Category.SPOT,
    symbol: str = "BTCUSDT",
    side: Side = Side.BUY,
    quantity: str = "0.01",
    price: str = "30000",
    reduce_only: bool = False,
    client_link_id: str | None = None,
) -> OrderIntent:
    return OrderIntent(
        category=category,
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reduce_only=reduce_only,
        client_link_id=client_link_id,
    )


def stop_intent(
    *,
    symbol: str = "BTCUSDT",
    side: Side = Side.SELL,
    quantity: str = "0.01",
    trigger_price: str = "29000",
    limit_price: str | None = "28800",
    trigger_by: TriggerBy = TriggerBy.MARK,
    client_link_id: str | None = None,
) -> StopIntent:
    return StopIntent(
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        trigger_price=Decimal(trigger_price),
        trigger_by=trigger_by,
        limit_price=None if limit_price is None else Decimal(limit_price),
        client_link_id=client_link_id,
    )


def tracked(
    tag: str = "T1tag",
    *,
    adds_risk: bool = True,
    intent: OrderIntent | StopIntent | None = None,
    phase: Phase = Phase.UNRESOLVED,
) -> TrackedOrder:
    return TrackedOrder(tag=tag, intent=intent or order_intent(), adds_risk=adds_risk, phase=phase)


def tracked_stop(tag: str = "T1stop", *, is_gateways: bool = False, **options: Any) -> TrackedOrder:
    intent = stop_intent(**options)
    return TrackedOrder(
        tag=tag, intent=intent, adds_risk=False, is_gateways=is_gateways, reference_price=intent.trigger_price
    )


async def rows_of(journal: JournalWriter) -> list[Row]:
    """Read every row, once what was handed over is on disk; that the account is trusted is no news."""
    await journal.append(Entry(at_ns=1, kind=RowKind.CONFIG_LOADED, actor="test", fields={}))
    rows = await journal.read(0, 512)
    return [row for row in rows if row.actor != "test" and row.kind is not RowKind.ACCOUNT_TRUSTED]


def value_of(metrics: Metrics, name: str, **labels: str) -> float:
    """Read one sample of a metric; 0 when it has none."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


class FailingJournal:
    """Stands where a journal stands whose disk fails; at the edge of the process, so nothing real can be used."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.later: list[Entry] = []
        self.is_failing = True

    async def append(self, entry: Entry) -> int:
        if self.is_failing:
            raise self.error
        self.later.append(entry)
        return len(self.later) - 1

    def append_later(self, entry: Entry) -> None:
        if self.is_failing:
            raise self.error
        self.later.append(entry)
