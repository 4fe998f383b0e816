"""Brings the gauges up to date with what they show; called whenever somebody looks."""

from __future__ import annotations

import math

from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.reference_feed import ReferenceFeed
from trade_gateway.disaster_keeper import DisasterKeeper
from trade_gateway.ledger import OrderLedger, Phase
from trade_gateway.metrics import Metrics
from trade_gateway.second_view import update_second_gauges
from trade_gateway.state_keeper import StateKeeper
from trade_journal.writer.journal import Journal


def update_gauges(
    metrics: Metrics,
    *,
    states: StateKeeper,
    ledger: OrderLedger,
    keeper: AccountKeeper,
    references: ReferenceFeed,
    disaster: DisasterKeeper,
    journal: Journal,
) -> None:
    """Set every gauge that shows a present fact."""
    metrics.trading_state.set(int(states.trading_state()))
    metrics.lease_remaining_seconds.set(states.lease.expires_in_s())
    metrics.working_orders.set(ledger.open_count())
    update_second_gauges(metrics, states.lease.second, references)
    metrics.working_stops.set(len(ledger.stops()))
    metrics.disaster_stops_missing.set(len(disaster.missing()))
    metrics.account_trusted.set(1 if keeper.describe()["is_trusted"] else 0)
    for coin in references.coins:
        age_s = references.age_s(coin)
        metrics.reference_age_seconds.labels(coin=coin).set(math.inf if age_s is None else age_s)
    metrics.unknown_outcomes.set(sum(1 for o in ledger.open_orders() if o.phase is Phase.UNRESOLVED))
    metrics.journal_rows.set(journal.size)
    metrics.journal_witnessed_rows.set(states.lease.witnessed.witnessed_size)
    metrics.journal_is_writable.set(1 if journal.is_writable else 0)
    metrics.journal_emergency_rows.set(journal.emergency_rows)
