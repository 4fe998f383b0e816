"""Rebuilds the order ledger, stops included, the counters of activity and the operator latch after a restart.

Every intent whose end is not in the journal counts again, and so does one that ended with fills that no row has
counted. One whose acknowledgement is not there either was, as far as anyone can know, never answered to the bot: it is
resolved on the normal path and, if found live, cancelled.
Orders that have ended are remembered, the latest MAX_FINISHED of them, so that their order link ids stay used and an
order that was believed gone is known when it shows up after all.
"""

from __future__ import annotations

import base64
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from trade_core.trust.release_terms import killed_keys_of
from trade_gateway.account.activity import Activity
from trade_gateway.account.reference_memory import kept_references
from trade_gateway.instrument_memory import kept_instrument
from trade_gateway.ledger import MAX_FINISHED, MAX_OWN_TAGS, OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import TERMINAL_STATUSES
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.references import KeptReference
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent, TriggerBy
from trade_journal.log.rows import Fields, Row, RowKind
from trade_journal.writer.journal import Journal

_PAGE = 512
LATCH_HOLDER = "operator_latch"
LOST_JOURNAL = "the journal was lost, and goes on in a new log behind the rows that the watchdog had seen"
# Results of order:outcome and order:resolved after which an order no longer counts.
_ENDED = frozenset({"rejected", "withheld", "not_sent", "not_found", "ended"})


@dataclass(slots=True, kw_only=True)
class Recovered:
    """What the journal says about the time before this start."""

    orders: dict[str, TrackedOrder] = field(default_factory=dict)
    ended: OrderedDict[str, TrackedOrder] = field(default_factory=OrderedDict)
    fills_owed: dict[str, Decimal] = field(default_factory=dict)  # of orders that ended: what they filled altogether
    references: dict[str, KeptReference] = field(default_factory=dict)  # the last one of each coin
    instruments: dict[SymbolKey, Instrument] = field(default_factory=dict)  # the last filters of each symbol
    own_tags: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_OWN_TAGS))
    latch: TradingState = TradingState.ACTIVE
    latch_reason: str = ""
    latch_sequence: int | None = None
    killed_keys: frozenset[str] = frozenset()  # that the row of a kill names
    releases: int = 0
    rows: int = 0
    has_baseline: bool = False  # the last of its rows is there


class ReleaseJudge(Protocol):
    """Who tells whether a warrant in the journal really lifted the latch of a row."""

    def __call__(self, raw: bytes, *, latch_sequence: int, latch: TradingState, killed_keys: Collection[str]) -> bool:
        """Verify the warrant again."""
        ...


async def recover(
    journal: Journal,
    ledger: OrderLedger,
    *,
    activity: Activity,
    started_at_ns: int,
    is_release: ReleaseJudge,
    on_row: Callable[[Row], None] = lambda _: None,
) -> Recovered:
    """Read the whole journal in order and put into the ledger what still counts. `on_row` sees each row first."""
    recovered = Recovered()
    while rows := await journal.read(recovered.rows, _PAGE):
        for row in rows:
            on_row(row)
            releases = recovered.releases
            _apply(recovered, row, is_release)
            activity.replay(row)
            if recovered.releases > releases:
                activity.rearm_all()  # its rows were written when it happened
        recovered.rows = rows[-1].seq + 1
    for tag in recovered.own_tags:
        ledger.note_own_tag(tag)
    for order in recovered.ended.values():
        ledger.remember(order)
    for order in recovered.orders.values():
        # Whatever was signed, was signed before this start.
        order.signed_at_ns = started_at_ns
        order.is_in_flow = False
        ledger.reserve(order)
        if order.order_id is not None:
            ledger.acknowledge(order.tag, order.order_id)
        else:
            order.disown()
    return recovered


def _apply(recovered: Recovered, row: Row, is_release: ReleaseJudge) -> None:
    match row.kind:
        case RowKind.ORDER_INTENT | RowKind.DISASTER_STOP_INTENT:
            order = _order_from(row.fields, is_gateways=row.kind is RowKind.DISASTER_STOP_INTENT)
            recovered.orders[order.tag] = order
            if order.is_gateways:
                recovered.own_tags.append(order.tag)
        case (
            RowKind.ORDER_OUTCOME
            | RowKind.ORDER_RESOLVED
            | RowKind.DISASTER_STOP_OUTCOME
            | RowKind.DISASTER_STOP_RESOLVED
        ):
            _apply_outcome(recovered, row.fields)
        case RowKind.ORDER_FILLED | RowKind.DISASTER_STOP_FILLED:
            _apply_fill(recovered, row.fields)
        case RowKind.REFERENCE_KEPT:
            recovered.references |= kept_references(row.fields)
        case RowKind.INSTRUMENT_KEPT:
            key, instrument = kept_instrument(row.fields)
            recovered.instruments[key] = instrument
        case RowKind.STATE_CHANGED if row.fields.get("holder") == LATCH_HOLDER:
            _apply_latch(recovered, row, is_release)
        case RowKind.LOG_SUCCEEDED:
            # What the lost rows held is not known, and a halt may have been among them.
            recovered.latch = max(recovered.latch, TradingState.HALTED)
            recovered.latch_reason, recovered.latch_sequence = LOST_JOURNAL, row.seq
        case RowKind.BASELINE_TAKEN:
            recovered.has_baseline = recovered.has_baseline or row.fields.get("part") == row.fields.get("parts")
        case _:
            pass


def _apply_latch(recovered: Recovered, row: Row, is_release: ReleaseJudge) -> None:
    ceiling = TradingState[str(row.fields["ceiling"])]
    if ceiling >= recovered.latch and ceiling > TradingState.ACTIVE:
        recovered.latch, recovered.latch_sequence = ceiling, row.seq
        recovered.latch_reason = str(row.fields.get("reason", ""))
        recovered.killed_keys = killed_keys_of(row.fields)
        return
    parts = row.fields.get("warrant")
    if ceiling is not TradingState.ACTIVE or recovered.latch_sequence is None or not isinstance(parts, list):
        return
    try:
        raw = base64.b64decode("".join(str(part) for part in parts), validate=True)
    except ValueError:
        return
    # A row alone releases nothing: the warrant in it is verified again.
    killed_keys = recovered.killed_keys
    if is_release(raw, latch_sequence=recovered.latch_sequence, latch=recovered.latch, killed_keys=killed_keys):
        recovered.latch, recovered.latch_reason, recovered.latch_sequence = TradingState.ACTIVE, "", None
        recovered.killed_keys = frozenset()
        recovered.releases += 1


def _apply_fill(recovered: Recovered, fields: Fields) -> None:
    tag = str(fields["tag"])
    order = recovered.orders.get(tag) or recovered.ended.get(tag)
    if order is not None:
        # Counted before the restart: what the exchange shows beyond it is news.
        order.counted = order.filled = max(order.filled, Decimal(str(fields["filled"])))
        order.filled_value += Decimal(str(fields["quantity"])) * Decimal(str(fields["price"]))
        _end_if_counted(recovered, order)


def _apply_outcome(recovered: Recovered, fields: Fields) -> None:
    tag = str(fields["tag"])
    result = fields["result"]
    order = recovered.orders.get(tag) or _revived(recovered, tag, fields)
    if order is None:
        return
    if result in _ENDED:
        _end(recovered, order, status=str(fields.get("status", result)), is_shown=result == "ended")
    elif result in {"acknowledged", "found"}:
        order.order_id = str(fields["order_id"])
        order.phase = Phase.WORKING
        order.is_disowned = order.is_disowned or bool(fields.get("is_disowned"))
        if result == "found" and fields.get("status") in TERMINAL_STATUSES:
            # Asked for, and its fills are counted by the next reading: until then only this row knows of them.
            order.status = str(fields["status"])
            recovered.fills_owed[tag] = Decimal(str(fields.get("filled", "0")))
            _end_if_counted(recovered, order)
    elif result in {"still_unknown", "undelivered"}:
        order.disown()


def _revived(recovered: Recovered, tag: str, fields: Fields) -> TrackedOrder | None:
    """The order of a row that came after its end, when it was found after all: as the ledger's `revive` has it."""
    order = recovered.ended.get(tag)
    if order is None:
        return None
    if fields["result"] != "found" or order.is_end_shown:
        if fields.get("order_id") is not None:
            order.order_id = str(fields["order_id"])
        return None
    del recovered.ended[tag]
    order.disown()
    recovered.orders[tag] = order
    return order


def _end_if_counted(recovered: Recovered, order: TrackedOrder) -> None:
    owed = recovered.fills_owed.get(order.tag)
    if owed is None or order.counted < owed:
        return
    del recovered.fills_owed[order.tag]
    if order.tag in recovered.orders:  # the stream may have told its end before its fills were counted
        _end(recovered, order, status=order.status, is_shown=True)


def _end(recovered: Recovered, order: TrackedOrder, *, status: str, is_shown: bool) -> None:
    """Put an order among the ended ones. Only what the exchange itself has shown to have ended can never revive."""
    del recovered.orders[order.tag]
    order.phase, order.status = Phase.FINISHED, status
    order.is_in_flow, order.is_end_shown = False, is_shown
    recovered.ended[order.tag] = order
    while len(recovered.ended) > MAX_FINISHED:
        recovered.ended.popitem(last=False)


def _order_from(fields: Fields, *, is_gateways: bool) -> TrackedOrder:
    return TrackedOrder(
        tag=str(fields["tag"]),
        intent=_order_intent(fields) if fields.get("trigger_price") is None else _stop_intent(fields),
        adds_risk=bool(fields["adds_risk"]),
        is_gateways=is_gateways,
        notional_usdt=_optional(fields.get("notional_usdt")),
        reference_price=_optional(fields.get("reference_price")),
    )


def _stop_intent(fields: Fields) -> StopIntent:
    alias = fields["client_link_id"]
    return StopIntent(
        symbol=str(fields["symbol"]),
        side=Side(str(fields["side"])),
        quantity=Decimal(str(fields["quantity"])),
        trigger_price=Decimal(str(fields["trigger_price"])),
        trigger_by=TriggerBy(str(fields["trigger_by"])),
        limit_price=None if fields["order_type"] == "Market" else Decimal(str(fields["price"])),
        client_link_id=None if alias is None else str(alias),
    )


def _order_intent(fields: Fields) -> OrderIntent:
    alias = fields["client_link_id"]
    return OrderIntent(
        category=Category(str(fields["category"])),
        symbol=str(fields["symbol"]),
        side=Side(str(fields["side"])),
        quantity=Decimal(str(fields["quantity"])),
        price=Decimal(str(fields["price"])),
        reduce_only=bool(fields["reduce_only"]),
        client_link_id=None if alias is None else str(alias),
    )


def _optional(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))
