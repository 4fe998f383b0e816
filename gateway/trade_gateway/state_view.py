"""What a gateway says of itself in `/state`, and the gauges that go with it."""

from __future__ import annotations

from typing import Any

from trade_gateway.baseline import shown_baseline
from trade_gateway.gauges import update_gauges
from trade_gateway.ledger import Phase
from trade_gateway.limits_view import (
    held_usdt,
    limits_in_use,
    losses,
    shown_loss,
)
from trade_gateway.parts import Parts
from trade_gateway.second_view import describe_venue
from trade_gateway.states import Fault


def described(parts: Parts) -> dict[str, Any]:
    """Everything a person or the watchdog wants to know; also brings the gauges up to date."""
    facts, market = parts.facts(), parts.references.facts()
    held = held_usdt(parts.policy, facts, market, former=parts.history.former_symbols)
    hostile, stress = losses(parts.policy, equity_usdt=facts.equity_usdt, held_usdt=held)
    root_size, root = parts.witnessed.last_signed()
    parts.metrics.hostile_loss_usdt.set(float(hostile.usdt))
    parts.metrics.loss_unbounded.set(1 if parts.states.has_fault(Fault.LOSS_UNBOUNDED) else 0)
    parts.metrics.stress_loss_usdt.set(float(stress.usdt))
    parts.metrics.policy_file_in_force.set(1 if parts.policies.is_file_in_force else 0)
    update_gauges(
        parts.metrics,
        states=parts.states,
        ledger=parts.ledger,
        keeper=parts.keeper,
        references=parts.references,
        disaster=parts.disaster,
        journal=parts.journal,
    )
    return {
        "environment": parts.settings.environment,
        "deployment": parts.ring.deployment,
        "account": parts.settings.account,
        "boot_nonce": parts.boot_nonce,
        **parts.states.describe(),
        "limits": limits_in_use(parts.policy, facts, market),
        "max_hostile_loss": shown_loss(hostile),
        "stress_loss": shown_loss(stress),
        "policy_hash": parts.recorder.policy_hash,
        "policy": parts.policies.describe(),
        "ring_hash": parts.ring_hash,
        "ring": parts.rings.describe(),
        "baseline": shown_baseline(parts.ring.baseline),
        "account_view": parts.keeper.describe(),
        "references": parts.references.describe(),
        "second_venue": describe_venue(parts.states.lease.second, parts.references),
        "unknown_outcomes": [o.tag for o in parts.ledger.open_orders() if o.phase is Phase.UNRESOLVED],
        "working_orders": parts.ledger.open_count(),
        "working_stops": sum(facts.working_stops.values()),
        "disaster_stops": parts.disaster.describe(),
        "journal": {
            "size": parts.journal.size,
            "root": root.hex(),
            "root_size": root_size,
            "witnessed_size": parts.witnessed.witnessed_size,
            "is_writable": parts.journal.is_writable,
            "emergency_rows": parts.journal.emergency_rows,
            "pending": parts.journal.pending,
            "pending_count": parts.recorder.pending_count,
        },
    }
