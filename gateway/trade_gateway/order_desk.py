"""Takes understood orders, stops and cancels of the bot, decides, runs their flows, and says what to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from trade_core.clock import Clock
from trade_core.money import format_decimal
from trade_core.records import record
from trade_gateway.account.resync import AccountSync
from trade_gateway.conductor import Conductor, TooManyFlows
from trade_gateway.egress import EgressBudget
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.metrics import Metrics
from trade_gateway.order_flow import (
    CancelResult,
    Placement,
    PlaceResult,
    cancel_order,
    disown_order,
    place_order,
)
from trade_gateway.policy.decision import ask, claims_reduction, decide
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.exposure import ValuedAccount
from trade_gateway.policy.facts import MarketFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.stops import AllowStop, decide_stop
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Allow, Deny
from trade_gateway.recorder import Recorder
from trade_gateway.stop_incidents import StopIncidents
from trade_gateway.tags import TagMaker
from trade_gateway.wire.intents import CancelIntent, Category, OrderIntent, StopIntent
from trade_gateway.wire.refusal import Detail, Refusal, neutralised, refuse
from trade_journal.log.rows import RowKind

_WORTH_A_SECOND_LOOK = frozenset(
    {
        DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS,
        DenyCode.ORDER_REDUCES_NOTHING,
        DenyCode.ORDER_REDUCES_TOO_MUCH,
        DenyCode.LIMIT_OPEN_ORDERS,
        DenyCode.LIMIT_STOPS,
    }
)
_CANCEL_ANSWER_LASTS_S = 1.0
_GONE_RET_CODES = {Category.LINEAR: 110001, Category.SPOT: 170213}


@record(frozen=True, slots=True, kw_only=True)
class Placed:
    """The exchange has the order. `undo` hands it back when the bot cannot be told."""

    order_id: str
    client_link_id: str | None
    undo: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The exchange took the cancel."""

    order_id: str
    client_link_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedByExchange:
    """The exchange refused with a code of its own; the message is neutralised."""

    ret_code: int
    ret_msg: str


OrderAnswer = Placed | RejectedByExchange | Refusal
CancelAnswer = Cancelled | RejectedByExchange | Refusal


class OrderDesk:
    """Where orders are decided and carried out."""

    def __init__(
        self,
        *,
        policy: Policy,
        ledger: OrderLedger,
        account: AccountSync,
        conductor: Conductor,
        recorder: Recorder,
        budget: EgressBudget,
        metrics: Metrics,
        clock: Clock,
        market: Callable[[], MarketFacts],
        first_price: Callable[[str], Awaitable[None]],
        trading_state: Callable[[], TradingState],
        trimmed_scale: Callable[[], Decimal],
        tag_key: bytes,
        deployment: str,
        account_id: str,
    ) -> None:
        self.policy = policy
        self.former_symbols: Set[SymbolKey] = frozenset()  # no longer traded; what is held of them may be reduced
        self._ledger = ledger
        self._account = account
        self._conductor = conductor
        self._recorder = recorder
        self._budget = budget
        self._metrics = metrics
        self._clock = clock
        self._market = market
        self._first_price = first_price
        self._trading_state = trading_state
        self._trimmed_scale = trimmed_scale
        self._tags = TagMaker(key=tag_key, deployment=deployment, account=account_id)
        self._stop_incidents = StopIncidents(recorder=recorder, clock=clock)
        self._cancels: dict[str, asyncio.Task[CancelAnswer]] = {}
        self.instruments: Mapping[SymbolKey, Instrument] = {}
        self._refused: Set[SymbolKey] = frozenset()  # the exchange does not trade them; what is known serves exits
        self.leverage_unpinned: set[str] = set()

    def take_instruments(self, instruments: Mapping[SymbolKey, Instrument], refused: Set[SymbolKey]) -> None:
        """Decide by these instruments from now on; on a refused symbol nothing adds risk, whatever is known of it."""
        self.instruments = instruments
        self._refused = refused

    async def create(self, intent: OrderIntent | StopIntent) -> OrderAnswer:
        """Decide on an order or a stop and carry it out."""
        answer = await self._create(intent)
        if isinstance(intent, StopIntent) and not isinstance(answer, Placed):
            reason = answer.code.name if isinstance(answer, Refusal) else f"EXCHANGE_REJECTED_{answer.ret_code}"
            self.note_missing_stop(intent.symbol, reason=reason)
        return answer

    def note_missing_stop(self, symbol: str, *, reason: str) -> None:
        """Note that a stop of the bot was not placed: on an open position that is an incident."""
        has_position = symbol in self._account.keeper.view.positions
        self._stop_incidents.note(symbol, has_position=has_position, reason=reason)

    async def _create(self, intent: OrderIntent | StopIntent) -> OrderAnswer:
        arrived_at_ns = self._clock.monotonic_ns()
        level = self._account.keeper.count_message()
        if isinstance(intent, OrderIntent) and claims_reduction(intent):
            # Right after a restart the market may have gone far from what is known of it.
            await self._first_price(intent.symbol)
        decision = self._decide(intent, level)
        if isinstance(decision, Refusal) and decision.code in _WORTH_A_SECOND_LOOK and await self._account.read_again():
            # An exit right after a fill: the view may be a moment behind, and an exit must not be trapped by that.
            decision = self._decide(intent, level)
        if isinstance(decision, Refusal):
            self._deny(intent, decision)
            return decision
        order = self._order_for(intent, decision)
        order.signed_at_ns = arrived_at_ns
        order.policy_hash = self._recorder.policy_hash
        self._ledger.reserve(order)  # in the same step as the decision, so that the next one counts it
        try:
            placement = await self._conductor.place(
                place_order(order, ledger=self._ledger, arrived_at_ns=arrived_at_ns)
            )
        except TooManyFlows:
            self._ledger.release(order.tag)
            refusal = refuse(DenyCode.LIMIT_REQUEST_RATE, orders_under_way=self._conductor.orders_under_way)
            self._deny(intent, refusal)
            return refusal
        except asyncio.CancelledError:
            order.disown()  # the flow goes on, and nobody is left to tell the bot of its end
            raise
        self._metrics.count_order(placement.result._value_)
        self._account.request()
        return self._order_answer(order, placement)

    async def cancel(self, intent: CancelIntent) -> CancelAnswer:
        """Carry out a cancel; one is under way for an order at any time, and others wait for its answer."""
        order = self._ledger.find(order_id=intent.order_id, client_link_id=intent.client_link_id)
        if order is None or order.phase is not Phase.WORKING or order.intent.symbol != intent.symbol:
            return self._cancel_locally(intent)
        if order.intent.category is not intent.category:
            return self._cancel_locally(intent)
        under_way = self._cancels.get(order.tag)
        if under_way is not None:
            self._recorder.answer(
                RowKind.CANCEL_ANSWERED, {"tag": order.tag, "symbol": intent.symbol, "result": "joined"}
            )
            return await asyncio.shield(under_way)
        task = asyncio.create_task(self._cancel_upstream(order))
        self._cancels[order.tag] = task
        # Kept for a moment after its end: a bot that cancels in a loop must not use up the exchange's request limits.
        loop = asyncio.get_running_loop()
        task.add_done_callback(lambda _: loop.call_later(_CANCEL_ANSWER_LASTS_S, self._cancels.pop, order.tag, None))
        return await asyncio.shield(task)

    def _order_for(self, intent: OrderIntent | StopIntent, decision: Allow | AllowStop) -> TrackedOrder:
        if isinstance(decision, AllowStop):
            # As decided and not as asked: its limit price is always set. It is measured against its own trigger.
            stop = decision.stop
            tag = self._tags.new_tag(stop)
            return TrackedOrder(tag=tag, intent=stop, adds_risk=False, reference_price=stop.trigger_price)
        return TrackedOrder(
            tag=self._tags.new_tag(intent),
            intent=intent,
            adds_risk=decision.adds_risk,
            notional_usdt=decision.notional,
            reference_price=decision.reference_price,
        )

    def _decide(self, intent: OrderIntent | StopIntent, level: MessageLevel) -> Allow | AllowStop | Refusal:
        if intent.client_link_id is not None and self._ledger.is_alias_used(intent.client_link_id):
            return refuse(DenyCode.ORDER_LINK_ID_USED, order_link_id=intent.client_link_id)
        decision = self._decision(intent, level)
        if isinstance(decision, Deny):
            return Refusal(code=decision.code, detail=decision.detail)
        if not self._budget.permits_order():
            return refuse(DenyCode.LIMIT_REQUEST_RATE)
        return decision

    def _decision(self, intent: OrderIntent | StopIntent, level: MessageLevel) -> Allow | AllowStop | Deny:
        instrument = self.instruments.get((intent.category, intent.symbol))
        account = self._account.facts(frozenset(self.leverage_unpinned), level)
        if isinstance(intent, StopIntent):
            return decide_stop(
                intent,
                policy=self.policy,
                former_symbols=self.former_symbols,
                instrument=instrument,
                account=account,
                market=self._market(),
                trading_state=self._trading_state(),
            )
        if instrument is not None and (instrument.category, instrument.symbol) in self._refused:
            instrument = instrument if claims_reduction(intent) else None
        question = ask(
            intent,
            policy=self.policy,
            former_symbols=self.former_symbols,
            instrument=instrument,
            valued=ValuedAccount(account=account, market=self._market()),
            trading_state=self._trading_state(),
            scale=self._trimmed_scale(),
        )
        return decide(question)

    def _deny(self, intent: OrderIntent | StopIntent, refusal: Refusal) -> None:
        trigger_price = format_decimal(intent.trigger_price) if isinstance(intent, StopIntent) else None
        self._recorder.deny(
            RowKind.ORDER_DENIED,
            code=refusal.code.name,
            fields={
                "category": intent.category.value,
                "symbol": intent.symbol,
                "side": intent.side.value,
                "quantity": format_decimal(intent.quantity),
                "price": format_decimal(intent.price),
                "reduce_only": intent.reduce_only,
                "trigger_price": trigger_price,
                "detail": dict(refusal.detail),
            },
            is_authenticated=True,
        )

    def _order_answer(self, order: TrackedOrder, placement: Placement) -> OrderAnswer:
        # The rows name the tag; the bot is told its own name for the order, if it gave one.
        detail = _named(order)
        match placement.result:
            case PlaceResult.PLACED:
                return Placed(
                    order_id=placement.order_id,
                    client_link_id=order.intent.client_link_id,
                    undo=lambda: self._hand_back(order),
                )
            case PlaceResult.REJECTED:
                return RejectedByExchange(ret_code=placement.ret_code, ret_msg=neutralised(placement.ret_msg))
            case PlaceResult.JOURNAL_UNAVAILABLE:
                return Refusal(code=DenyCode.JOURNAL_NOT_WRITABLE)
            case PlaceResult.WITHHELD:
                state = self._trading_state()
                codes = {TradingState.HALTED: DenyCode.STATE_HALTED, TradingState.KILLED: DenyCode.STATE_KILLED}
                return Refusal(code=codes.get(state, DenyCode.STATE_REDUCE_ONLY), detail=detail)
            case PlaceResult.EXCHANGE_UNAVAILABLE | PlaceResult.NOT_PLACED:
                return Refusal(code=DenyCode.EXCHANGE_UNREACHABLE, detail=detail)
            case PlaceResult.UNRESOLVED:
                return Refusal(code=DenyCode.EXCHANGE_OUTCOME_UNKNOWN, detail=detail)
            case _:
                assert_never(placement.result)

    async def _hand_back(self, order: TrackedOrder) -> None:
        await self._conductor.run(disown_order(order))

    def _cancel_locally(self, intent: CancelIntent) -> CancelAnswer:
        self._metrics.cancels.labels(result="unknown_order").inc()
        self._recorder.answer(
            RowKind.CANCEL_ANSWERED,
            {
                "category": intent.category.value,
                "symbol": intent.symbol,
                "order_id": neutralised(intent.order_id) if intent.order_id is not None else None,
                "result": "unknown_order",
            },
        )
        return RejectedByExchange(
            ret_code=_GONE_RET_CODES[intent.category],
            ret_msg="ORDER_UNKNOWN: no working order of this bot has that id",
        )

    async def _cancel_upstream(self, order: TrackedOrder) -> CancelAnswer:
        cancellation = await self._conductor.run(cancel_order(order))
        self._metrics.cancels.labels(result=cancellation.result.value).inc()
        self._account.request()
        match cancellation.result:
            case CancelResult.ACCEPTED:
                return Cancelled(order_id=order.order_id or "", client_link_id=order.intent.client_link_id)
            case CancelResult.GONE | CancelResult.REJECTED:
                return RejectedByExchange(ret_code=cancellation.ret_code, ret_msg=neutralised(cancellation.ret_msg))
            case CancelResult.UNAVAILABLE:
                return Refusal(code=DenyCode.EXCHANGE_UNREACHABLE, detail=_named(order))
            case _:
                assert_never(cancellation.result)


def _named(order: TrackedOrder) -> Detail:
    """Name an order to the bot without its tag."""
    alias = order.intent.client_link_id
    return () if alias is None else (("order_link_id", alias),)
