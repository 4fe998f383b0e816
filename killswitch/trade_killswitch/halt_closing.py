"""Closes what is open when the -15 % rung has halted, in the categories whose setting says so.

Guarantees
- Nothing is closed on one word: the request bears the watchdog's signature of that minute, and the executor's own
  drawdown, read at that moment, has reached `on_halt_drawdown` but for the lag of its samples. What it cannot read, or
  reads otherwise, closes nothing.
- While the gateway says that it is not halted, nothing is closed: its halt is still to come, or was released. It is
  asked again after the sweep, before the first order. One that is silent holds nothing up: no lease lets it add risk.
- The orders are those of a kill's closing (`flatten_plan`): they only reduce, within `flatten_slippage` of the index,
  and a stop is cancelled only once its symbol is flat.
- Each request is one bounded attempt. Who asks while one goes on joins it; what was closed for a firing is not closed
  for it again; after one that left something open the next begins PAUSE_S later. So the watchdog, which asks for as
  long as the rung is fired, is its memory: a release ends it, and a start of either goes on with it.
- A kill takes its place: while one goes on, nothing is closed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import NS_PER_S
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_journal.log.rows import RowKind, Scalar
from trade_killswitch.exit_orders import ExitOrders
from trade_killswitch.flatten_conductor import closed
from trade_killswitch.flatten_flow import Closing, Unreadable
from trade_killswitch.flatten_plan import Settled, named
from trade_killswitch.kill_order import Ending, Endings
from trade_killswitch.kill_steps import Parts
from trade_killswitch.own_samples import OwnSamples
from trade_killswitch.standing import TOLERANCE

SAMPLE_WITHIN_S: Final = 6.0
SWEEP_WITHIN_S: Final = 60.0
PAUSE_S: Final = 30.0
NAMES_SHOWN: Final = 8
NOT_HALTED: Final = "the gateway says that it is not halted"
BEGUN_SUBJECT: Final = "flatten:begun"
PENDING_SUBJECT: Final = "flatten:pending"
ENDED_SUBJECT: Final = "flatten:ended"
_WHY_CHARACTERS_MAX: Final = 400
log = logging.getLogger(__name__)


class FlattenRefused(TradeError):
    """Nothing is closed; the message says why."""


@dataclass(slots=True, kw_only=True)
class HaltClosing:
    """The closings of one account."""

    parts: Parts
    endings: Endings
    drawdown: Decimal
    samples: OwnSamples
    outbox: Outbox
    is_killing: Callable[[], bool] = lambda: False
    _flat_for: str = ""
    _running: asyncio.Task[None] | None = None
    _ended_ns: int | None = None
    _left: str = ""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, *, request_id: str, reason: str, by: str) -> dict[str, Any]:
        """Close what is to be closed, or say how far that is: `held`, `flat`, `begun`, `going_on` or `not_flat`.

        Raises FlattenRefused.
        """
        if Ending.FLATTEN not in self.endings.values():
            return {"flatten": "held"}
        async with self._turn:
            if self._flat_for == request_id:
                return {"flatten": "flat"}
            if self._running is not None and not self._running.done():
                return {"flatten": "going_on"}
            if self._ended_ns is not None and self._since_s(self._ended_ns) < PAUSE_S:
                return {"flatten": "not_flat", "open": self._left}
            try:
                confirmed = await self._confirmed()
            except FlattenRefused as error:
                self._call(f"a halt would close what is open, and nothing is closed: {error}")
                raise
            self._running = asyncio.create_task(self._close(request_id, reason=reason, confirmed=confirmed, by=by))
            return {"flatten": "begun"}

    def status(self) -> dict[str, Any]:
        """Say what a halt would close, and how the last closing stands."""
        return {
            "endings": {category.value: ending.value for category, ending in self.endings.items()},
            "is_running": self._running is not None and not self._running.done(),
            "flat_for": self._flat_for,
            "left": self._left,
        }

    def give_way(self) -> None:
        """End what goes on: a kill closes what it was told to."""
        if self._running is not None:
            self._running.cancel()

    async def stop(self) -> None:
        """Stop where it is; the next request goes on with it."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def _since_s(self, at_ns: int) -> float:
        return (self.parts.clock.monotonic_ns() - at_ns) / NS_PER_S

    async def _confirmed(self) -> str:
        """Say what confirms a request. Raises FlattenRefused."""
        await self._check_halted()
        try:
            async with asyncio.timeout(SAMPLE_WITHIN_S):
                await self.samples.sample()
        except (ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError):
            raise FlattenRefused("our own equity cannot be read") from None
        own = self.samples.drawdown
        if own is None:
            raise FlattenRefused("our own highest point is not known yet")
        least = f"{self.drawdown * 100:.2f} %"
        if own < self.drawdown - TOLERANCE:
            raise FlattenRefused(f"our own drawdown is less than {least}")
        return f"our own drawdown is {own * 100:.2f} %, armed for {least}"

    async def _check_halted(self) -> None:
        if self.is_killing():
            raise FlattenRefused("a kill goes on, and closes what it was told to")
        if self.parts.gateway is not None and await self.parts.gateway.admits_risk():
            raise FlattenRefused(NOT_HALTED)

    async def _close(self, request_id: str, *, reason: str, confirmed: str, by: str) -> None:
        closing_id = secrets.token_hex(8)
        chosen = {category.value: ending.value for category, ending in self.endings.items()}
        await self.parts.recorder.record(
            RowKind.FLATTEN_STARTED,
            {
                "closing_id": closing_id,
                "request_id": request_id,
                "reason": reason,
                "asked_by": by,
                "endings": chosen,
                "confirmed": confirmed,
            },
        )
        self._tell(BEGUN_SUBJECT, Severity.WARNING, f"a halt closes what is open: {reason}; {confirmed}")
        hand = ExitOrders(exchange=self.parts.exchange, kill_id=closing_id, quote_coin=self.parts.quote_coin)
        settled, why = None, ""
        try:
            settled = await self._swept_and_closed(hand)
        except (FlattenRefused, Unreadable) as error:
            why = str(error)
        except Exception:
            log.exception("closing %s failed; the next request begins anew", closing_id)
            why = "a defect; see the log"
        await self._ended(closing_id, request_id, settled, why, sent=hand.sent)

    async def _swept_and_closed(self, hand: ExitOrders) -> Settled:
        """Take away what works but stops, then close. Raises FlattenRefused, Unreadable."""
        await self.parts.sweeper.begin("a halt closes what is open", by="flatten")
        try:
            async with asyncio.timeout(SWEEP_WITHIN_S):
                await self.parts.sweeper.proof()
        except TimeoutError:
            raise FlattenRefused(f"the sweep before it has no proof after {SWEEP_WITHIN_S:.0f} s") from None
        await self._check_halted()
        closing = Closing(
            endings=self.endings,
            baseline=self.parts.baseline,
            quote_coin=self.parts.quote_coin,
            slippage=self.parts.slippage,
        )
        return await closed(closing, hand, exchange=self.parts.exchange, clock=self.parts.clock)

    async def _ended(self, closing_id: str, request_id: str, settled: Settled | None, why: str, *, sent: int) -> None:
        is_flat = settled is not None and not settled.open
        self._left = "" if is_flat else why if settled is None else named(settled.open)
        if is_flat:
            self._flat_for, self._ended_ns = request_id, None
        else:
            self._ended_ns = self.parts.clock.monotonic_ns()
        fields: dict[str, Scalar] = {
            "closing_id": closing_id,
            "request_id": request_id,
            "is_flat": is_flat,
            "left": self._left[:_WHY_CHARACTERS_MAX],
            "held": "" if settled is None else named(settled.held)[:_WHY_CHARACTERS_MAX],
            "stops": "" if settled is None else ", ".join(settled.stops[:NAMES_SHOWN]),
            "orders_sent": sent,
        }
        await self.parts.recorder.record(RowKind.FLATTEN_ENDED, fields)
        if is_flat:
            self.outbox.acknowledge(PENDING_SUBJECT)
            self._tell(ENDED_SUBJECT, Severity.INFO, "what a halt closes is closed")
        else:
            self._call(f"what a halt closes is NOT FLAT: {self._left}; it is tried again")

    def _call(self, text: str) -> None:
        self._tell(PENDING_SUBJECT, Severity.CRITICAL, text, needs_answer=True)

    def _tell(self, subject: str, severity: Severity, text: str, *, needs_answer: bool = False) -> None:
        self.outbox.alert(
            Alert(
                subject=subject,
                severity=severity,
                text=text[:TEXT_CHARACTERS_MAX],
                needs_acknowledgement=needs_answer,
            )
        )
