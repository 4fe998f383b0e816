"""Holds new risk back while a hostile bot could lose more, of what is held now, than the ladder's rungs permit.

A policy is judged before it is in force, by what it permits to be held. More than that may be there: coins from before
the gateway, a deposit, a market that rose, an equity that fell. The published loss counts it, so it is judged here too.

Guarantees
- From the start on new risk waits until the loss was computed once from a trusted view with a known equity.
- A loss beyond a rung is a fault at the next look, trusted view or not; its reason names the loss, the rung and what is
  held. It is a row with the same figures.
- The fault goes by itself when every look of HOLDS_NS has found the loss within the rungs, so that a price which
  trembles around the edge writes a row a minute at most.

Exits pass: they are what brings the loss back. Without a known equity there is nothing to judge, and orders that add
risk are denied for that reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.exchange_proof import FaultBoard
from trade_gateway.policy.hostile_loss import HostileLoss, StressLoss, rung_exceeded
from trade_gateway.recorder import Recorder
from trade_gateway.states import Fault
from trade_journal.log.rows import Fields, RowKind

LOOK_EVERY_S = 0.5
HOLDS_NS = 60 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLoss:
    """Both losses at the present equity, with what is held now in USDT; `is_trusted` when the account view is."""

    hostile: HostileLoss
    stress: StressLoss
    held_usdt: Decimal
    is_trusted: bool


class LossGuard:
    """Looks at the live loss, and raises and clears its fault. `losses_now` answers None while there is no equity."""

    def __init__(
        self, *, losses_now: Callable[[], LiveLoss | None], clock: Clock, recorder: Recorder, faults: FaultBoard
    ) -> None:
        self._losses_now = losses_now
        self._clock = clock
        self._recorder = recorder
        self._faults = faults
        self._exceeded_at_ns: int | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Judge the loss of this moment."""
        found = self._losses_now()
        if found is None:
            return
        exceeded = rung_exceeded(found.hostile, found.stress)
        now_ns = self._clock.monotonic_ns()
        if exceeded is not None:
            self._raise(found, exceeded, now_ns=now_ns)
        elif found.is_trusted and (self._exceeded_at_ns is None or now_ns - self._exceeded_at_ns >= HOLDS_NS):
            self._exceeded_at_ns = None
            self._faults.set_fault(Fault.LOSS_UNBOUNDED, is_there=False)
            self._faults.explain_fault(Fault.LOSS_UNBOUNDED, "")

    def _raise(self, found: LiveLoss, exceeded: str, *, now_ns: int) -> None:
        is_news = self._exceeded_at_ns is None
        self._exceeded_at_ns = now_ns
        try:
            held, loss = _cents(found.held_usdt), _cents(found.hostile.usdt)
            self._faults.explain_fault(Fault.LOSS_UNBOUNDED, f"{exceeded} ({loss} USDT), with {held} USDT held")
        finally:  # words that fail must not leave new risk permitted
            self._faults.set_fault(Fault.LOSS_UNBOUNDED, is_there=True)
        if not is_news:
            return
        fields: Fields = {
            "type": "hostile loss beyond a rung",
            "severity": "critical",
            "hostile_loss_usdt": loss,
            "held_usdt": held,
            "reason": exceeded,
        }
        self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)


def _cents(usdt: Decimal) -> str:
    """Write an amount to the cent; other than `quantize`, it takes one of any size."""
    return f"{usdt:.2f}"
