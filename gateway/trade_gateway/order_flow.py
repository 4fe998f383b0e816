"""The way of an order from a decision to an answer, as flows that yield commands and do no I/O.

Guarantees
- No row, no order: SendOrder comes only after AppendDurable said that the intent is on disk.
- What is sent is what was checked: the body is rendered from the intent, with our tag as its order link id.
- An order is sent once. A lost or ambiguous answer is an unknown outcome, resolved by asking for the tag.
- "Not found" is believed only when asked after the exchange can no longer accept what was signed.
- An order that is live although the bot was told otherwise, or never told, is disowned: it is cancelled at once.
- A cancel passes without its row: the bot's waits CANCEL_ROW_WITHIN_NS for a disk that hangs, and one that the gateway
  sends by itself does not wait at all.
- A stop goes the same way as an order. What the gateway places by itself has rows of its own kinds.

The order counts in the ledger from before its row is written until its end is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import assert_never

from trade_core.bybit.client import RECV_WINDOW_MS
from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_core.money import format_decimal
from trade_core.records import record
from trade_gateway.commands import (
    Acknowledged,
    AppendBeside,
    AppendDurable,
    AppendLater,
    AskOrder,
    AskResult,
    CannotAsk,
    Flow,
    Found,
    NotFound,
    NotSent,
    Rejected,
    SendCancel,
    SendOrder,
    SendResult,
    Unknown,
    Wait,
)
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.wire.intents import StopIntent
from trade_gateway.wire.render import cancel_body, order_body, stop_body
from trade_journal.log.rows import Fields, RowKind

# The bot's client gives up after 10 s; what is not resolved 7.5 s after arrival is answered as unresolved.
ANSWER_WITHIN_NS = 7_500 * NS_PER_MS
# After this the exchange refuses what was signed: our own receive window, and 1 s for its clock.
NOT_FOUND_IS_FINAL_AFTER_NS = RECV_WINDOW_MS * NS_PER_MS + NS_PER_S
_ASK_EVERY_NS = 500 * NS_PER_MS
# A commit takes milliseconds; a row that takes longer is written behind its cancel, and the outcome's row says so.
CANCEL_ROW_WITHIN_NS = 250 * NS_PER_MS
_CANCEL_WITHIN_NS = 4 * NS_PER_S  # no further try begins later: the bot is answered within 8 s
_MAX_ASKS = 40
CANCEL_ATTEMPTS = 3
# An order in one of these states can no longer fill (exchange's order status enum).
TERMINAL_STATUSES = frozenset({"Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"})
# The exchange knows no such working order (linear, spot): it has ended already.
GONE_CODES = frozenset({110001, 110008, 110010, 170213, 170142, 170143})


class PlaceResult(Enum):
    """How a placement ended, as far as the bot is told."""

    PLACED = "placed"
    REJECTED = "rejected"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    WITHHELD = "withheld"
    EXCHANGE_UNAVAILABLE = "exchange_unavailable"
    NOT_PLACED = "not_placed"  # asked and finally not there
    UNRESOLVED = "unresolved"


@record(frozen=True, slots=True, kw_only=True)
class Placement:
    """What to tell the bot. `order_id` is set when placed, the code and message when rejected."""

    result: PlaceResult
    order_id: str = ""
    ret_code: int = 0
    ret_msg: str = ""


def intent_fields(order: TrackedOrder) -> Fields:
    """The fields of an intent's row: enough to find, judge and rebuild the order."""
    intent = order.intent
    fields: Fields = {
        "tag": order.tag,
        "category": intent.category._value_,
        "symbol": intent.symbol,
        "side": intent.side._value_,
        "quantity": format_decimal(intent.quantity),
        "price": format_decimal(intent.price),
        "reduce_only": intent.reduce_only,
        "adds_risk": order.adds_risk,
        "notional_usdt": format_decimal(order.turnover_usdt),
        "reference_price": None if order.reference_price is None else format_decimal(order.reference_price),
        "client_link_id": intent.client_link_id,
    }
    if not isinstance(intent, StopIntent):
        return fields
    trigger = {"trigger_price": format_decimal(intent.trigger_price), "trigger_by": intent.trigger_by.value}
    return {**fields, **trigger, "order_type": "Market" if intent.limit_price is None else "Limit"}


def intent_kind(order: TrackedOrder) -> RowKind:
    """The kind of the row before the send: the bot's are requests, the gateway's own are not."""
    return RowKind.DISASTER_STOP_INTENT if order.is_gateways else RowKind.ORDER_INTENT


def outcome_kind(order: TrackedOrder) -> RowKind:
    """The kind of the row about what the exchange answered."""
    return RowKind.DISASTER_STOP_OUTCOME if order.is_gateways else RowKind.ORDER_OUTCOME


def resolved_kind(order: TrackedOrder) -> RowKind:
    """The kind of the row about what became of it."""
    return RowKind.DISASTER_STOP_RESOLVED if order.is_gateways else RowKind.ORDER_RESOLVED


def _body(order: TrackedOrder) -> bytes:
    intent = order.intent
    if isinstance(intent, StopIntent):
        return stop_body(intent, link_id=order.tag)
    return order_body(intent, link_id=order.tag)


def place_order(order: TrackedOrder, *, ledger: OrderLedger, arrived_at_ns: int) -> Flow[Placement]:
    """Journal, send and answer one permitted order, which the ledger counts already."""
    is_concluded = False
    try:
        placement = yield from _place(order, ledger=ledger, arrived_at_ns=arrived_at_ns)
        is_concluded = True
        return placement
    finally:
        if not is_concluded:
            # A fault of ours half-way: the order may be live and the bot is told otherwise, so the resolver takes it.
            order.is_in_flow = False
            order.disown()


def _place(order: TrackedOrder, *, ledger: OrderLedger, arrived_at_ns: int) -> Flow[Placement]:
    is_durable: bool = yield AppendDurable(
        kind=intent_kind(order), fields=intent_fields(order), policy_hash=order.policy_hash
    )
    if not is_durable:
        # The row may still reach the disk; then recovery asks the exchange and finds nothing.
        ledger.release(order.tag)
        return Placement(result=PlaceResult.JOURNAL_UNAVAILABLE)
    sent: SendResult = yield SendOrder(body=_body(order), adds_risk=order.adds_risk, policy_hash=order.policy_hash)
    match sent:
        case Acknowledged():
            ledger.acknowledge(order.tag, sent.order_id)
            order.is_in_flow = False
            yield _outcome(order, "acknowledged", order_id=sent.order_id, is_disowned=order.is_disowned)
            return Placement(result=PlaceResult.PLACED, order_id=sent.order_id)
        case Rejected():
            ledger.finish(order.tag, status="Rejected")
            yield _outcome(order, "rejected", ret_code=sent.ret_code)
            return Placement(result=PlaceResult.REJECTED, ret_code=sent.ret_code, ret_msg=sent.ret_msg)
        case NotSent():
            ledger.finish(order.tag, status="NotSent")
            yield _outcome(order, "withheld" if sent.is_withheld else "not_sent", reason=sent.reason)
            result = PlaceResult.WITHHELD if sent.is_withheld else PlaceResult.EXCHANGE_UNAVAILABLE
            return Placement(result=result)
        case Unknown():
            order.signed_at_ns = sent.signed_at_ns
            order.is_outcome_unknown = True
            yield _outcome(order, "unknown", reason=sent.reason)
            return (yield from _resolve_in_time(order, ledger=ledger, deadline_ns=arrived_at_ns + ANSWER_WITHIN_NS))
        case _:
            assert_never(sent)


def _resolve_in_time(order: TrackedOrder, *, ledger: OrderLedger, deadline_ns: int) -> Flow[Placement]:
    """Ask for an unknown order until it is found, finally not found, or the bot must be answered."""
    found = yield from _ask_until(order, deadline_ns=deadline_ns)
    order.is_in_flow = False
    if isinstance(found, Found):
        yield from _adopt(order, found, ledger=ledger)
        return Placement(result=PlaceResult.PLACED, order_id=found.order_id)
    if isinstance(found, NotFound):
        ledger.finish(order.tag, status="NotFound")
        yield _resolved(order, "not_found")
        return Placement(result=PlaceResult.NOT_PLACED)
    order.disown()
    yield _resolved(order, "still_unknown")
    return Placement(result=PlaceResult.UNRESOLVED)


def _ask_until(order: TrackedOrder, *, deadline_ns: int) -> Flow[Found | NotFound | None]:
    final_after_ns = order.signed_at_ns + NOT_FOUND_IS_FINAL_AFTER_NS
    now_ns: int = yield Wait(until_ns=0)
    for _ in range(_MAX_ASKS):
        if (known := _shown(order, now_ns)) is not None:
            return known
        if now_ns >= deadline_ns:
            return None
        asked: AskResult = yield AskOrder(
            category=order.intent.category, symbol=order.intent.symbol, tag=order.tag, deadline_ns=deadline_ns
        )
        if not isinstance(asked, Found) and (known := _shown(order, now_ns)) is not None:
            return known  # the private stream showed it while we asked: an older "not found" must not end it
        match asked:
            case Found():
                return asked
            case NotFound() if asked.asked_at_ns > final_after_ns:
                return asked
            case NotFound() | CannotAsk():
                now_ns = yield Wait(until_ns=min(now_ns + _ASK_EVERY_NS, deadline_ns))
            case _:
                assert_never(asked)
    return None


def _shown(order: TrackedOrder, now_ns: int) -> Found | None:
    """What the private stream has shown of an order whose answer was lost."""
    if order.order_id is None or order.phase is Phase.UNRESOLVED:
        return None
    return Found(order_id=order.order_id, status=order.status, filled=format_decimal(order.filled), asked_at_ns=now_ns)


def resolve_order(order: TrackedOrder, *, ledger: OrderLedger, deadline_ns: int) -> Flow[bool]:
    """Resolve an order that nobody waits for any more; True when its end or its being live is known.

    Used in the background and, unchanged, for intents without outcome after a restart.
    """
    found = yield from _ask_until(order, deadline_ns=deadline_ns)
    if found is None:
        return False
    if isinstance(found, NotFound):
        ledger.finish(order.tag, status="NotFound")
        yield _resolved(order, "not_found")
        return True
    yield from _adopt(order, found, ledger=ledger)
    return True


def _adopt(order: TrackedOrder, found: Found, *, ledger: OrderLedger) -> Flow[None]:
    ledger.acknowledge(order.tag, found.order_id)
    ledger.observe(order.tag, status=found.status, filled=Decimal(found.filled))
    yield _resolved(
        order,
        "found",
        order_id=found.order_id,
        status=found.status,
        filled=found.filled,
        is_disowned=order.is_disowned,
    )
    if found.status in TERMINAL_STATUSES:
        ledger.finish(order.tag, status=found.status)
    yield from report_unknown_fill(order, filled=Decimal(found.filled))


def report_unknown_fill(order: TrackedOrder, *, filled: Decimal) -> Flow[None]:
    """Open an incident for what an order that the bot does not know has filled, once for each further fill."""
    if not (order.is_disowned or order.is_gateways) or filled <= order.fill_reported:
        return
    order.fill_reported = filled
    yield AppendLater(
        kind=RowKind.INCIDENT_OPENED,
        fields={
            "type": "disaster stop filled" if order.is_gateways else "position unknown to the bot",
            "severity": "critical",
            "tag": order.tag,
            "symbol": order.intent.symbol,
            "side": order.intent.side.value,
            "filled": format_decimal(filled),
        },
    )


def disown_order(order: TrackedOrder) -> Flow[None]:
    """Note that the bot never received the answer that would have told it of this order."""
    order.is_disowned = True
    yield _resolved(order, "undelivered")
    yield from report_unknown_fill(order, filled=order.filled)


def withdraw_order(order: TrackedOrder, *, ledger: OrderLedger, reason: str) -> Flow[None]:
    """Cancel a working order on the gateway's own account; what one that the bot does not know fills is an incident.

    Run again until the order has ended: one try may fail.
    """
    if order.phase is not Phase.WORKING or order.order_id is None:
        return
    began_ns: int = yield Wait(until_ns=0)
    yield AppendBeside(  # a disk that hangs must not keep the order working
        kind=RowKind.ORDER_CANCELED_BY_GATEWAY,
        fields={"tag": order.tag, "order_id": order.order_id, "symbol": order.intent.symbol, "reason": reason},
    )
    result = yield from _send_cancel(order, no_try_after_ns=began_ns + _CANCEL_WITHIN_NS, is_own=True)
    yield AppendLater(
        kind=RowKind.CANCEL_OUTCOME,
        fields={"tag": order.tag, "order_id": order.order_id, **_cancel_fields(result)},
    )
    asked: AskResult = yield AskOrder(category=order.intent.category, symbol=order.intent.symbol, tag=order.tag)
    if isinstance(asked, Found):
        ledger.observe(order.tag, status=asked.status, filled=Decimal(asked.filled))
        yield from report_unknown_fill(order, filled=Decimal(asked.filled))


class CancelResult(Enum):
    """How a cancel ended, as far as the bot is told."""

    ACCEPTED = "accepted"
    GONE = "gone"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What to tell the bot of its cancel."""

    result: CancelResult
    ret_code: int = 0
    ret_msg: str = ""


def cancel_order(order: TrackedOrder) -> Flow[Cancellation]:
    """Journal, send and answer the bot's cancel of an order of ours. A cancel passes even without its row."""
    fields: Fields = {"tag": order.tag, "order_id": order.order_id, "symbol": order.intent.symbol}
    began_ns: int = yield Wait(until_ns=0)
    is_durable: bool = yield AppendDurable(kind=RowKind.CANCEL_INTENT, fields=fields, within_ns=CANCEL_ROW_WITHIN_NS)
    result = yield from _send_cancel(order, no_try_after_ns=began_ns + _CANCEL_WITHIN_NS, is_own=False)
    outcome = {**fields, "is_intent_durable": is_durable, **_cancel_fields(result)}
    yield AppendLater(kind=RowKind.CANCEL_OUTCOME, fields=outcome)
    return _cancellation(result)


def _send_cancel(order: TrackedOrder, *, no_try_after_ns: int, is_own: bool) -> Flow[SendResult]:
    """Send a cancel, again when its effect is not known: cancelling twice does no harm. It is sent at least once."""
    if order.order_id is None:
        return NotSent(reason="the exchange's order id is not known yet")
    body = cancel_body(category=order.intent.category, symbol=order.intent.symbol, order_id=order.order_id)
    cancel = SendCancel(body=body, is_own=is_own)
    result: SendResult = yield cancel
    for _ in range(CANCEL_ATTEMPTS - 1):
        if isinstance(result, Acknowledged | Rejected):
            return result
        now_ns: int = yield Wait(until_ns=0)
        if now_ns + _ASK_EVERY_NS > no_try_after_ns:
            return result
        yield Wait(until_ns=now_ns + _ASK_EVERY_NS)
        result = yield cancel
    return result


def _cancellation(result: SendResult) -> Cancellation:
    match result:
        case Acknowledged():
            return Cancellation(result=CancelResult.ACCEPTED)
        case Rejected() if result.ret_code in GONE_CODES:
            return Cancellation(result=CancelResult.GONE, ret_code=result.ret_code, ret_msg=result.ret_msg)
        case Rejected():
            return Cancellation(result=CancelResult.REJECTED, ret_code=result.ret_code, ret_msg=result.ret_msg)
        case NotSent() | Unknown():
            return Cancellation(result=CancelResult.UNAVAILABLE)
        case _:
            assert_never(result)


def _cancel_fields(result: SendResult) -> dict[str, str | int]:
    match result:
        case Acknowledged():
            return {"result": "acknowledged"}
        case Rejected():
            return {"result": "rejected", "ret_code": result.ret_code}
        case NotSent():
            return {"result": "not_sent", "reason": result.reason}
        case Unknown():
            return {"result": "unknown", "reason": result.reason}
        case _:
            assert_never(result)


def _outcome(order: TrackedOrder, result: str, **more: str | int | bool) -> AppendLater:
    return AppendLater(kind=outcome_kind(order), fields={"tag": order.tag, "result": result, **more})


def _resolved(order: TrackedOrder, result: str, **more: str | int) -> AppendLater:
    return AppendLater(kind=resolved_kind(order), fields={"tag": order.tag, "result": result, **more})
