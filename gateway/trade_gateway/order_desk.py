"""Takes understood orders and cancels of the bot, decides, runs their flows, and says what to answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from trade_core.clock import Clock
from trade_core.money import format_decimal
from trade_core.trust.tag import NONCE_BYTES, TaggedOrder, make_tag
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
from trade_gateway.policy.decision import decide
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.facts import MarketFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Allow, Deny
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import CancelIntent, Category, OrderIntent
from trade_gateway.wire.refusal import Detail, Refusal, neutralised, refuse
from trade_journal.rows import RowKind

_WORTH_A_SECOND_LOOK = frozenset(
    {
        DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS,
        DenyCode.ORDER_REDUCES_NOTHING,
        DenyCode.ORDER_REDUCES_TOO_MUCH,
        DenyCode.LIMIT_OPEN_ORDERS,
    }
)
_CANCEL_ANSWER_LASTS_S = 1.0
_GONE_RET_CODES = {Category.LINEAR: 110001, Category.SPOT: 170213}


@dataclass(frozen=True, slots=True, kw_only=True)
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
        trading_state: Callable[[], TradingState],
        trimmed_scale: Callable[[], Decimal],
        tag_key: bytes,
        deployment: str,
        account_id: str,
    ) -> None:
        self._policy = policy
        self._ledger = ledger
        self._account = account
        self._conductor = conductor
        self._recorder = recorder
        self._budget = budget
        self._metrics = metrics
        self._clock = clock
        self._market = market
        self._trading_state = trading_state
        self._trimmed_scale = trimmed_scale
        self._tag_key = tag_key
        self._deployment = deployment
        self._account_id = account_id
        self._cancels: dict[str, asyncio.Task[CancelAnswer]] = {}
        self.instruments: Mapping[tuple[Category, str], Instrument] = {}
        self.leverage_unpinned: set[str] = set()

    async def create(self, intent: OrderIntent) -> OrderAnswer:
        """Decide on an order and carry it out."""
        arrived_at_ns = self._clock.monotonic_ns()
        level = self._account.keeper.count_message()
        decision = self._decide(intent, level)
        if isinstance(decision, Refusal) and decision.code in _WORTH_A_SECOND_LOOK and await self._account.read_again():
            # An exit right after a fill: the view may be a moment behind, and an exit must not be trapped by that.
            decision = self._decide(intent, level)
        if isinstance(decision, Refusal):
            self._deny(intent, decision)
            return decision
        order = TrackedOrder(
            tag=self._new_tag(intent),
            intent=intent,
            adds_risk=decision.adds_risk,
            notional_usdt=decision.notional,
            reference_price=decision.reference_price,
        )
        order.signed_at_ns = arrived_at_ns
        self._ledger.reserve(order)  # in the same step as the decision, so that the next one counts it
        try:
            placement = await self._conductor.run(place_order(order, ledger=self._ledger, arrived_at_ns=arrived_at_ns))
        except TooManyFlows:
            self._ledger.release(order.tag)
            refusal = refuse(DenyCode.LIMIT_REQUEST_RATE, orders_under_way=self._conductor.running)
            self._deny(intent, refusal)
            return refusal
        except asyncio.CancelledError:
            order.is_disowned = True  # the flow goes on, and nobody is left to tell the bot of its end
            raise
        self._metrics.orders.labels(result=placement.result.value).inc()
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
            self._recorder.append_later(
                RowKind.CANCEL_ANSWERED, {"tag": order.tag, "symbol": intent.symbol, "result": "joined"}
            )
            return await asyncio.shield(under_way)
        task = asyncio.create_task(self._cancel_upstream(order))
        self._cancels[order.tag] = task
        # Kept for a moment after its end: a bot that cancels in a loop must not use up the exchange's request limits.
        loop = asyncio.get_running_loop()
        task.add_done_callback(lambda _: loop.call_later(_CANCEL_ANSWER_LASTS_S, self._cancels.pop, order.tag, None))
        return await asyncio.shield(task)

    def _decide(self, intent: OrderIntent, level: MessageLevel) -> Allow | Refusal:
        if intent.client_link_id is not None and self._ledger.is_alias_used(intent.client_link_id):
            return refuse(DenyCode.ORDER_LINK_ID_USED, order_link_id=intent.client_link_id)
        decision = decide(
            intent,
            policy=self._policy,
            instrument=self.instruments.get((intent.category, intent.symbol)),
            account=self._account.facts(frozenset(self.leverage_unpinned), level),
            market=self._market(),
            trading_state=self._trading_state(),
            scale=self._trimmed_scale(),
        )
        if isinstance(decision, Deny):
            return Refusal(code=decision.code, detail=decision.detail)
        if not self._budget.permits_order():
            return refuse(DenyCode.LIMIT_REQUEST_RATE)
        return decision

    def _deny(self, intent: OrderIntent, refusal: Refusal) -> None:
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
                "detail": dict(refusal.detail),
            },
            is_authenticated=True,
        )

    def _new_tag(self, intent: OrderIntent) -> str:
        tagged = TaggedOrder(
            symbol=intent.symbol,
            side=intent.side.value,
            quantity=intent.quantity,
            price=intent.price,
            is_reducing=intent.reduce_only,
        )
        return make_tag(
            tagged,
            key=self._tag_key,
            deployment=self._deployment,
            account=self._account_id,
            nonce=secrets.token_bytes(NONCE_BYTES),
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
        self._recorder.append_later(
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
