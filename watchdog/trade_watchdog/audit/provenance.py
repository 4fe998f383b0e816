"""Whose is an order at the exchange? Pure: the order, the journal's intents, the tag key and the baseline in, one
answer out.

Guarantees
- OURS takes all of: a tag that the key made for exactly this order, exactly one intent row with that tag, the same
  figures in both, no other order at the exchange with that tag, and an order that was made within MADE_WITHIN_MS of its
  row: a tag that is used again later is a replay, whatever became of the order that it was made for.
- ROGUE is only said of what is proved: an order that adds risk without a tag of ours, a tag for another order, or a
  tag whose row is not there although the journal was read up to a moment after the order was seen.
- What cannot be proved either way is UNPROVEN, which freezes new risk and never kills.
- What reduces risk and is not ours may be a person's own hand, what the exchange makes by itself is the exchange's:
  both halt and are named, neither kills.

It does not look behind the baseline: what was there before the deployment began is not judged, unless it was amended to
be more than it was then.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, unique
from typing import Final

from trade_core.trust.baseline import Baseline, BaselineOrder
from trade_core.trust.tag import TaggedOrder, is_valid_tag
from trade_watchdog.audit.journaled import BORDER_MS, JournaledOrder, JournaledOrders
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

EXCHANGES_CREATE_TYPES: Final = frozenset(
    {
        "CreateByLiq",
        "CreateByTakeOver_PassThrough",
        "CreateByAdl_PassThrough",
        "CreateBySettle",
        "CreateByDelivery",
    }
)
"""Orders that the exchange's own engine makes. Source: Bybit V5, enum createType."""
EXCHANGES_EXECUTION_TYPES: Final = frozenset({"BustTrade", "AdlTrade", "Settle", "Delivery", "SessionSettlePnL"})
"""Executions by the exchange's own engine. Source: Bybit V5, enum execType."""
FUNDING: Final = "Funding"
"""A payment between longs and shorts, which no order makes."""
MADE_WITHIN_MS: Final = BORDER_MS
"""The exchange takes no request that was signed seconds away from its own time, and the row comes just before."""


@unique
class Provenance(Enum):
    """Whose an order is."""

    OURS = "ours"
    BASELINE = "baseline"  # it was there before the deployment began
    PENDING = "pending"  # its row may be one that the journal's reader has not come to
    UNPROVEN = "unproven"  # nothing proves it ours, and nothing proves it not ours
    EXCHANGES = "exchanges"  # liquidation, deleveraging, settlement
    REDUCES = "reduces"  # not ours, and it only reduces: perhaps a person's own
    ROGUE = "rogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whose, and why in words without foreign text."""

    provenance: Provenance
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an order is held against.

    `is_read_past_sight`: the journal was read to its end, proved, at a moment after the order was first seen.
    `is_overdue`: that did not happen within the time that it may take.
    `same_tag_order_id`: another order at the exchange with the same tag, or None.
    """

    journaled: JournaledOrders
    baseline: Baseline
    tag_key: bytes
    deployment: str
    account: str
    is_read_past_sight: bool
    is_overdue: bool
    same_tag_order_id: str | None


def judge_order(order: SeenOrder, evidence: Evidence) -> Answer:
    """Say whose an order is."""
    return _judged(order, evidence, made_at_ms=order.created_at_ms)


def _judged(order: SeenOrder, evidence: Evidence, *, made_at_ms: int | None) -> Answer:
    before = next((known for known in evidence.baseline.orders if known.order_id == order.order_id), None)
    if before is not None and _is_more(order, before):
        return _stranger(order, "it was there before the deployment began, and was amended since")
    if before is not None or order.created_at_ms < evidence.baseline.taken_at_ms:
        return Answer(provenance=Provenance.BASELINE, reason="it was there before the deployment began")
    if order.create_type in EXCHANGES_CREATE_TYPES:
        return Answer(provenance=Provenance.EXCHANGES, reason="the exchange's own engine made it")
    if not is_tagged(order, tag_key=evidence.tag_key, deployment=evidence.deployment, account=evidence.account):
        return _stranger(order, "its order link id is no tag of this deployment for it")
    if evidence.same_tag_order_id is not None:
        return _rogue("two orders carry its tag")
    if evidence.journaled.repeats(order.link_id) is not None:
        return _rogue("two rows of the journal carry its tag")
    row = evidence.journaled.find(order.link_id)
    if row is not None:
        return _compared(order, row, made_at_ms)
    return _without_row(order, evidence)


def judge_execution(execution: SeenExecution, evidence: Evidence) -> Answer:
    """Say whose an execution is whose order was never seen: it came and went between two looks.

    An execution does not say whether its order was reduce-only; a tag for either is one of ours. Nor does it say when
    its order was made, which may be long ago.
    """
    if execution.executed_at_ms < evidence.baseline.taken_at_ms:
        return Answer(provenance=Provenance.BASELINE, reason="it was before the deployment began")
    if execution.execution_type in EXCHANGES_EXECUTION_TYPES:
        return Answer(provenance=Provenance.EXCHANGES, reason="the exchange's own engine made it")
    orders = [_order_of(execution, is_reduce_only=reduces) for reduces in (False, True)]
    answers = [_judged(order, evidence, made_at_ms=None) for order in orders]
    # Whoever cannot say that it reduced is not believed to have: of two strangers the first, which adds, is answered.
    return next((answer for answer in answers if answer.provenance not in _STRANGERS), answers[0])


_STRANGERS: Final = frozenset({Provenance.ROGUE, Provenance.REDUCES})


def is_adding_of_ours(execution: SeenExecution, *, tag_key: bytes, deployment: str, account: str) -> bool:
    """Say whether an execution filled an order of ours that added risk, as its tag binds it."""
    if execution.category == "spot" and execution.side != "Buy":
        return False
    orders = [_order_of(execution, is_reduce_only=False)]
    if execution.category == "spot":
        orders.append(_order_of(execution, is_reduce_only=True))  # the exchange knows no reduce-only on spot
    return any(is_tagged(order, tag_key=tag_key, deployment=deployment, account=account) for order in orders)


def _order_of(execution: SeenExecution, *, is_reduce_only: bool) -> SeenOrder:
    return SeenOrder(
        category=execution.category,
        symbol=execution.symbol,
        order_id=execution.order_id,
        link_id=execution.link_id,
        side=execution.side,
        quantity=execution.order_quantity,
        price=execution.order_price,
        trigger_price=None,
        is_reduce_only=is_reduce_only,
        is_leverage=False,
        create_type=execution.create_type,
        status="Filled",
        filled=execution.quantity,
        created_at_ms=execution.executed_at_ms,
    )


def _is_more(order: SeenOrder, before: BaselineOrder) -> bool:
    """Say whether an order of the baseline has become larger, or gives away more. One without a price had a trigger."""
    if order.quantity > before.quantity:
        return True
    if not before.price:
        return False
    return order.price > before.price if order.side == "Buy" else order.price < before.price


def is_tagged(order: SeenOrder, *, tag_key: bytes, deployment: str, account: str) -> bool:
    """Say whether the order link id is a tag of ours for exactly this order."""
    return any(
        is_valid_tag(
            order.link_id,
            TaggedOrder(
                category=order.category,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                price=price,
                is_reducing=order.is_reduce_only,
            ),
            key=tag_key,
            deployment=deployment,
            account=account,
        )
        for price in _prices(order.price)
    )


def _prices(price: Decimal) -> tuple[Decimal, ...]:
    """Give the prices that a tag may have been made for.

    A stop that becomes a market order was tagged without a price; the exchange shows one once it has triggered.
    """
    return (price, Decimal(0))


def _compared(order: SeenOrder, row: JournaledOrder, made_at_ms: int | None) -> Answer:
    """Hold an order against its row; the tag has bound all but the trigger, and the row may be anybody's words."""
    same = (
        row.category == order.category
        and row.symbol == order.symbol
        and row.side == order.side
        and row.quantity == order.quantity
        and row.price in _prices(order.price)
        and row.is_reduce_only == order.is_reduce_only
    )
    if not same:
        return _rogue(f"row {row.seq} of the journal says something else of it")
    if order.trigger_price is not None and order.trigger_price != row.trigger_price:
        return _rogue(f"row {row.seq} of the journal says another trigger")
    # A stop rests for months, can only reduce, and may be called made when its trigger says so.
    if made_at_ms is not None and row.trigger_price is None:
        apart_ms = abs(made_at_ms - row.at_ms)
        if apart_ms > MADE_WITHIN_MS:
            words = f"it was made {apart_ms // 1000} s away from its row {row.seq}: its tag is used again"
            return _stranger(order, words)
    return Answer(provenance=Provenance.OURS, reason=f"row {row.seq}")


def _without_row(order: SeenOrder, evidence: Evidence) -> Answer:
    if order.created_at_ms < evidence.journaled.covers_from_ms:
        return Answer(provenance=Provenance.UNPROVEN, reason="its row is older than what is remembered of the journal")
    if evidence.is_read_past_sight:
        return _rogue("its tag is one of ours, and the journal has no row of it")
    if evidence.is_overdue:
        return Answer(provenance=Provenance.UNPROVEN, reason="the journal cannot be read")
    return Answer(provenance=Provenance.PENDING, reason="the journal is not read that far")


def _stranger(order: SeenOrder, reason: str) -> Answer:
    if order.is_reduce_only or (order.category == "spot" and order.side == "Sell" and not order.is_leverage):
        return Answer(provenance=Provenance.REDUCES, reason=reason)
    return _rogue(reason)


def _rogue(reason: str) -> Answer:
    return Answer(provenance=Provenance.ROGUE, reason=reason)
