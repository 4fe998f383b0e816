"""Keeps the gateway's own disaster stops at the exchange: one for each linear position, out of the bot's reach.

Guarantees
- What stands is compared with what should (`policy.disaster`) when a position changes and every few seconds, and after
  a restart from the journal's rows.
- A stop goes the way of every order: durable row, own tag, body rendered from the model, one send, an unknown outcome
  resolved by asking. It is sent in every state but KILLED, since it can only reduce.
- Tries are spaced, and further apart with each failure; they never end while the position is open. From the second
  failure on, or the first refusal of the exchange, it is an incident, and the reason stands in /state until it is
  placed.

What it does not do: close a position whose disaster price has passed already. The exchange refuses such a stop, and
selling by itself is nothing that this gateway ever does; the incident calls a person.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, assert_never

from trade_core.clock import NS_PER_S, Clock
from trade_core.money import format_decimal
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.trust import Trusted
from trade_gateway.conductor import Conductor, TooManyFlows
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import Placement, PlaceResult, place_order, withdraw_order
from trade_gateway.policy.disaster import Action, CannotPlace, Place, PositionHeld, StopHeld, Withdraw, plan
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.tags import TagMaker
from trade_gateway.wire.intents import Category, StopIntent
from trade_journal.log.rows import Fields, RowKind

ROUND_EVERY_S = 2.0
# A position that fills in crumbs changes many times a second.
APART_NS = NS_PER_S
LONGEST_WAIT_NS = 60 * NS_PER_S
MAX_AT_ONCE = 5
FAILURES_BEFORE_INCIDENT = 2
_MAX_DOUBLINGS = 6
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Trouble:
    """One symbol's failures in a row. `next_at_ns` is monotonic; no try is made before it."""

    failures: int = 0
    next_at_ns: int = 0
    reason: str = ""
    is_reported: bool = False


class DisasterKeeper:
    """The shell around the plan."""

    def __init__(
        self,
        *,
        fraction: Callable[[], Decimal | None],
        ledger: OrderLedger,
        keeper: AccountKeeper,
        conductor: Conductor,
        recorder: Recorder,
        clock: Clock,
        tags: TagMaker,
        instruments: Callable[[], Mapping[SymbolKey, Instrument]],
        trading_state: Callable[[], TradingState],
        on_changed: Callable[[], None],
    ) -> None:
        self._fraction = fraction
        self._ledger = ledger
        self._keeper = keeper
        self._conductor = conductor
        self._recorder = recorder
        self._clock = clock
        self._tags = tags
        self._instruments = instruments
        self._trading_state = trading_state
        self._on_changed = on_changed
        self._changed = asyncio.Event()
        self._troubles: dict[str, Trouble] = {}
        keeper.on_position = self._changed.set

    async def run_round(self) -> int:
        """Bring what stands nearer to what should stand; returns how many stops were placed or withdrawn."""
        if not self._keeper.view.trust_keeper.has_baseline:
            return 0  # before the first reading there are no positions to speak of
        actions = self._plan()
        self._forget_troubles(actions)
        due = [action for action in actions if self._is_due(action)]
        for start in range(0, len(due), MAX_AT_ONCE):
            await asyncio.gather(*(self._perform(action) for action in due[start : start + MAX_AT_ONCE]))
        done = sum(1 for action in due if not isinstance(action, CannotPlace))
        if done:
            self._on_changed()
        return done

    async def wait_for_round(self) -> None:
        """Return when the next round is due: after a while, or when the stream tells of a position."""
        try:
            async with asyncio.timeout(ROUND_EVERY_S):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def missing(self) -> dict[str, str]:
        """The positions that should have a disaster stop and could not get one, each with the reason."""
        return {symbol: trouble.reason for symbol, trouble in self._troubles.items() if trouble.reason}

    def describe(self) -> dict[str, Any]:
        """What /state says of the disaster stops."""
        fraction = self._fraction()
        return {
            "fraction": None if fraction is None else format_decimal(fraction),
            "stops": [
                {
                    "symbol": held.stop.symbol,
                    "side": held.stop.side.value,
                    "quantity": format_decimal(held.stop.quantity),
                    "trigger_price": format_decimal(held.stop.trigger_price),
                    "is_standing": held.is_standing,
                }
                for held in self._held()
            ],
            "missing": self.missing(),
        }

    def _plan(self) -> list[Action]:
        positions = [
            PositionHeld(symbol=seen.symbol, size=seen.size, entry_price=seen.entry_price)
            for seen in self._keeper.view.held_positions
        ]
        ticks = {
            symbol: instrument.tick_size
            for (category, symbol), instrument in self._instruments().items()
            if category is Category.LINEAR
        }
        is_trusted = isinstance(self._keeper.trust(), Trusted)
        return plan(positions, self._held(), fraction=self._fraction(), tick_sizes=ticks, is_trusted=is_trusted)

    def _held(self) -> list[StopHeld]:
        return [
            StopHeld(tag=order.tag, stop=order.intent, is_standing=order.phase is Phase.WORKING)
            for order in self._ledger.stops()
            if order.is_gateways and isinstance(order.intent, StopIntent)
        ]

    def _forget_troubles(self, actions: list[Action]) -> None:
        """Forget what is over: positions that are gone, and stops found standing whose outcome was unknown."""
        positions = self._keeper.view.positions
        wanting = {action.stop.symbol for action in actions if isinstance(action, Place)}
        wanting |= {action.symbol for action in actions if isinstance(action, CannotPlace)}
        standing = {held.stop.symbol for held in self._held() if held.is_standing}
        for symbol in list(self._troubles):
            if symbol not in positions or self._fraction() is None or symbol in standing - wanting:
                del self._troubles[symbol]

    def _is_due(self, action: Action) -> bool:
        match action:
            case Place():
                is_killed = self._trading_state() >= TradingState.KILLED
                return not is_killed and self._is_time(action.stop.symbol)
            case CannotPlace():
                return self._is_time(action.symbol)
            case Withdraw():
                return True
            case _:
                assert_never(action)

    def _is_time(self, symbol: str) -> bool:
        trouble = self._troubles.get(symbol)
        return trouble is None or self._clock.monotonic_ns() >= trouble.next_at_ns

    async def _perform(self, action: Action) -> None:
        match action:
            case Place():
                await self._place(action.stop)
            case Withdraw():
                await self._withdraw(action)
            case CannotPlace():
                self._failed(action.symbol, action.reason, is_final=False)
            case _:
                assert_never(action)

    async def _place(self, stop: StopIntent) -> None:
        order = TrackedOrder(
            tag=self._tags.new_tag(stop),
            intent=stop,
            adds_risk=False,
            is_gateways=True,
            reference_price=stop.trigger_price,
        )
        order.signed_at_ns = self._clock.monotonic_ns()
        self._ledger.reserve(order)
        flow = place_order(order, ledger=self._ledger, arrived_at_ns=order.signed_at_ns)
        try:
            placement = await self._conductor.place(flow)
        except TooManyFlows:
            self._ledger.release(order.tag)
            self._failed(stop.symbol, "too many orders are under way", is_final=False)
            return
        if placement.result is PlaceResult.PLACED:
            self._troubles[stop.symbol] = Trouble(next_at_ns=self._clock.monotonic_ns() + APART_NS)
            log.info("disaster stop of %s at %s", stop.symbol, stop.trigger_price)
        else:
            self._failed(stop.symbol, _why(placement), is_final=placement.result is PlaceResult.REJECTED)

    async def _withdraw(self, action: Withdraw) -> None:
        order = self._ledger.get(action.tag)
        if order is not None:
            await self._conductor.run(withdraw_order(order, ledger=self._ledger, reason=action.reason))

    def _failed(self, symbol: str, reason: str, *, is_final: bool) -> None:
        trouble = self._troubles.setdefault(symbol, Trouble())
        trouble.failures += 1
        trouble.reason = reason
        wait_ns = min(NS_PER_S << min(trouble.failures, _MAX_DOUBLINGS), LONGEST_WAIT_NS)
        trouble.next_at_ns = self._clock.monotonic_ns() + wait_ns
        log.warning("no disaster stop for %s: %s", symbol, reason)
        if trouble.is_reported or not (is_final or trouble.failures >= FAILURES_BEFORE_INCIDENT):
            return
        trouble.is_reported = True
        fields: Fields = {
            "type": "disaster stop not placed",
            "severity": "critical",
            "symbol": symbol,
            "reason": reason[:200],
        }
        self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)


def _why(placement: Placement) -> str:
    if placement.result is PlaceResult.REJECTED:
        return f"the exchange rejected it with code {placement.ret_code}"
    return f"it was not placed: {placement.result.value}"
