"""Whose an order is: every answer, and how near to it the next one lies."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from trade_core.trust.baseline import BaselineOrder, baseline_of
from trade_core.trust.tag import TaggedOrder, make_tag
from trade_journal.log.rows import RowKind
from trade_watchdog.audit.journaled import BORDER_MS, JournaledOrders
from trade_watchdog.audit.provenance import (
    EXCHANGES_CREATE_TYPES,
    EXCHANGES_EXECUTION_TYPES,
    MADE_WITHIN_MS,
    Answer,
    Evidence,
    Provenance,
    is_adding_of_ours,
    judge_execution,
    judge_order,
)
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

KEY = b"k" * 32
DEPLOYMENT, ACCOUNT = "0123456789abcdef", "1002"
BEGAN_MS = 1_000_000
OURS = SeenOrder(
    category="linear",
    symbol="BTCUSDT",
    order_id="o-1",
    link_id="",
    side="Buy",
    quantity=Decimal("0.5"),
    price=Decimal(100),
    trigger_price=None,
    is_reduce_only=False,
    is_leverage=False,
    create_type="CreateByUser",
    status="New",
    filled=Decimal(0),
    created_at_ms=BEGAN_MS + 5_000,
)
EXECUTION = SeenExecution(
    category="linear",
    symbol="BTCUSDT",
    execution_id="e-1",
    order_id="o-1",
    link_id="",
    side="Buy",
    quantity=Decimal("0.1"),
    price=Decimal(100),
    fee=Decimal("0.01"),
    order_quantity=Decimal("0.5"),
    order_price=Decimal(100),
    execution_type="Trade",
    create_type="CreateByUser",
    executed_at_ms=BEGAN_MS + 6_000,
)


def tagged(order: SeenOrder, *, price: Decimal | None = None, key: bytes = KEY) -> SeenOrder:
    tag = make_tag(
        TaggedOrder(
            category=order.category,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price if price is None else price,
            is_reducing=order.is_reduce_only,
        ),
        key=key,
        deployment=DEPLOYMENT,
        account=ACCOUNT,
        nonce=b"n" * 9,
    )
    return replace(order, link_id=tag)


def journal(*orders: SeenOrder, at_ms: int = BEGAN_MS + 4_000, **changes: Any) -> JournaledOrders:
    known = JournaledOrders()
    for seq, order in enumerate(orders, start=41):
        fields = {
            "tag": order.link_id,
            "category": order.category,
            "symbol": order.symbol,
            "side": order.side,
            "quantity": str(order.quantity),
            "price": str(order.price),
            "reduce_only": order.is_reduce_only,
        }
        if order.trigger_price is not None:
            fields["trigger_price"] = str(order.trigger_price)
        known.take(seq=seq, at_ns=at_ms * 1_000_000, kind=RowKind.ORDER_INTENT, fields={**fields, **changes})
    return known


def evidence(known: JournaledOrders | None = None, **changes: Any) -> Evidence:
    plain = Evidence(
        journaled=JournaledOrders() if known is None else known,
        baseline=baseline_of(
            taken_at_ms=BEGAN_MS,
            orders=[
                BaselineOrder(
                    category="spot",
                    symbol="BTCUSDT",
                    order_id=order_id,
                    side="Buy",
                    quantity=Decimal(1),
                    price=Decimal(50),
                    is_reducing=False,
                )
                for order_id in ("old-1", "old-2")
            ],
        ),
        tag_key=KEY,
        deployment=DEPLOYMENT,
        account=ACCOUNT,
        is_read_past_sight=True,
        is_overdue=False,
        same_tag_order_id=None,
    )
    return replace(plain, **changes)


def test_tagged_order_with_its_row_is_ours() -> None:
    order = tagged(OURS)
    assert judge_order(order, evidence(journal(order))) == Answer(provenance=Provenance.OURS, reason="row 41")


@pytest.mark.parametrize("before_ms", [1, 500])
def test_order_from_before_the_baseline_is_not_judged(before_ms: int) -> None:
    order = replace(OURS, created_at_ms=BEGAN_MS - before_ms)
    assert judge_order(order, evidence()) == Answer(
        provenance=Provenance.BASELINE, reason="it was there before the deployment began"
    )


def test_order_of_the_moment_of_the_baseline_is_judged() -> None:
    assert judge_order(replace(OURS, created_at_ms=BEGAN_MS), evidence()).provenance is Provenance.ROGUE


def old(**changes: Any) -> SeenOrder:
    """An order that the baseline names, as it was then but for what is changed."""
    as_it_was = replace(
        OURS,
        order_id="old-2",
        category="spot",
        side="Buy",
        quantity=Decimal(1),
        price=Decimal(50),
        is_reduce_only=False,
    )
    return replace(as_it_was, **changes)


@pytest.mark.parametrize("created_at_ms", [BEGAN_MS - 1, BEGAN_MS + 1])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"quantity": Decimal("0.5")},
        {"price": Decimal("49.9")},
        {"filled": Decimal("0.4"), "status": "PartiallyFilled"},
        {"side": "Sell"},
        {"side": "Sell", "price": Decimal("50.1")},
    ],
)
def test_order_of_the_baseline_that_is_no_more_than_it_was_is_not_judged(
    changes: dict[str, Any], created_at_ms: int
) -> None:
    order = old(created_at_ms=created_at_ms, **changes)
    assert judge_order(order, evidence()).provenance is Provenance.BASELINE


@pytest.mark.parametrize(
    ("changes", "provenance"),
    [
        ({"quantity": Decimal("1.1")}, Provenance.ROGUE),
        ({"price": Decimal("50.1")}, Provenance.ROGUE),
        ({"quantity": Decimal(2), "price": Decimal("49.9")}, Provenance.ROGUE),
        ({"side": "Sell", "price": Decimal("49.9")}, Provenance.REDUCES),
        ({"quantity": Decimal(2), "is_reduce_only": True}, Provenance.REDUCES),
    ],
)
def test_order_of_the_baseline_that_was_amended_to_be_more_is_a_strangers(
    changes: dict[str, Any], provenance: Provenance
) -> None:
    order = old(created_at_ms=BEGAN_MS - 1, **changes)
    answer = judge_order(order, evidence())
    assert answer.provenance is provenance
    assert answer.reason == "it was there before the deployment began, and was amended since"


def test_stop_of_the_baseline_that_shows_a_price_once_it_triggers_is_not_judged() -> None:
    stop = BaselineOrder(
        category="spot", symbol="BTCUSDT", order_id="old-2", side="Buy", quantity=Decimal(1), price=Decimal(0),
        is_reducing=False,
    )  # fmt: skip
    known = evidence(baseline=baseline_of(taken_at_ms=BEGAN_MS, orders=[stop]))
    assert judge_order(old(price=Decimal(70)), known).provenance is Provenance.BASELINE
    assert judge_order(old(price=Decimal(70), quantity=Decimal(2)), known).provenance is Provenance.ROGUE


@pytest.mark.parametrize(("price", "provenance"), [("50", Provenance.BASELINE), ("50.1", Provenance.ROGUE)])
def test_execution_of_the_baseline_s_order_is_judged_by_what_the_order_is_now(
    price: str, provenance: Provenance
) -> None:
    seen = replace(
        EXECUTION, order_id="old-1", category="spot", side="Buy", order_quantity=Decimal(1), order_price=Decimal(price),
        executed_at_ms=BEGAN_MS + 5,
    )  # fmt: skip
    assert judge_execution(seen, evidence()).provenance is provenance


@pytest.mark.parametrize("create_type", sorted(EXCHANGES_CREATE_TYPES))
def test_order_of_the_exchanges_engine_is_the_exchanges(create_type: str) -> None:
    order = replace(OURS, create_type=create_type)
    assert judge_order(order, evidence()) == Answer(
        provenance=Provenance.EXCHANGES, reason="the exchange's own engine made it"
    )


NOT_TAGGED = "its order link id is no tag of this deployment for it"


@pytest.mark.parametrize(
    "order",
    [
        OURS,
        replace(OURS, link_id="T1" + "a" * 34),
        tagged(OURS, key=b"x" * 32),
        replace(tagged(OURS), quantity=Decimal("0.6")),
        replace(tagged(OURS), price=Decimal(101)),
        replace(tagged(OURS), symbol="ETHUSDT"),
        replace(tagged(OURS), category="spot"),
        replace(tagged(OURS), side="Sell"),
        replace(OURS, category="spot"),
        replace(OURS, category="spot", side="Sell", is_leverage=True),
        replace(OURS, side="Sell"),
    ],
)
def test_order_that_adds_risk_without_a_tag_for_it_is_rogue(order: SeenOrder) -> None:
    known = journal(replace(order, link_id=order.link_id or "none"))
    assert judge_order(order, evidence(known)) == Answer(provenance=Provenance.ROGUE, reason=NOT_TAGGED)


@pytest.mark.parametrize(
    "order",
    [replace(OURS, is_reduce_only=True), replace(OURS, category="spot", side="Sell")],
)
def test_order_that_reduces_without_a_tag_may_be_a_persons(order: SeenOrder) -> None:
    assert judge_order(order, evidence()) == Answer(provenance=Provenance.REDUCES, reason=NOT_TAGGED)


@pytest.mark.parametrize("changes", [{"account": "1003"}, {"deployment": "f" * 16}])
def test_tag_of_another_deployment_or_account_is_none(changes: dict[str, Any]) -> None:
    order = tagged(OURS)
    assert judge_order(order, evidence(journal(order), **changes)).provenance is Provenance.ROGUE


def test_tag_that_two_orders_carry_is_rogue() -> None:
    order = tagged(OURS)
    assert judge_order(order, evidence(journal(order), same_tag_order_id="o-0")) == Answer(
        provenance=Provenance.ROGUE, reason="two orders carry its tag"
    )


@pytest.mark.parametrize("apart_ms", [MADE_WITHIN_MS + 1, -MADE_WITHIN_MS - 1, 3_600_000])
def test_tag_that_is_used_again_later_is_rogue(apart_ms: int) -> None:
    order = tagged(OURS)
    known = journal(order, at_ms=OURS.created_at_ms - apart_ms)
    seconds = abs(apart_ms) // 1000
    assert judge_order(order, evidence(known)) == Answer(
        provenance=Provenance.ROGUE, reason=f"it was made {seconds} s away from its row 41: its tag is used again"
    )


@pytest.mark.parametrize("apart_ms", [MADE_WITHIN_MS, -MADE_WITHIN_MS])
def test_order_that_was_made_as_long_after_its_row_as_it_may_be_is_ours(apart_ms: int) -> None:
    order = tagged(OURS)
    known = journal(order, at_ms=OURS.created_at_ms - apart_ms)
    assert judge_order(order, evidence(known)).provenance is Provenance.OURS


def test_tag_of_a_reducing_order_that_is_used_again_may_be_a_persons() -> None:
    order = tagged(replace(OURS, is_reduce_only=True))
    known = journal(order, at_ms=OURS.created_at_ms - MADE_WITHIN_MS - 1)
    assert judge_order(order, evidence(known)).provenance is Provenance.REDUCES


def test_stop_that_triggers_long_after_its_row_is_ours() -> None:
    stop = tagged(STOP)
    assert judge_order(stop, evidence(journal(stop, at_ms=1))).provenance is Provenance.OURS


def test_execution_long_after_its_row_is_ours() -> None:
    order = tagged(OURS)
    known = journal(order, at_ms=1)
    assert judge_execution(replace(EXECUTION, link_id=order.link_id), evidence(known)).provenance is Provenance.OURS


def test_tag_that_two_rows_carry_is_rogue() -> None:
    order = tagged(OURS)
    assert judge_order(order, evidence(journal(order, order))) == Answer(
        provenance=Provenance.ROGUE, reason="two rows of the journal carry its tag"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "spot"},
        {"symbol": "ETHUSDT"},
        {"side": "Sell"},
        {"quantity": "0.6"},
        {"price": "101"},
        {"reduce_only": True},
    ],
)
def test_row_that_says_something_else_makes_an_order_rogue(changes: dict[str, Any]) -> None:
    order = tagged(OURS)
    assert judge_order(order, evidence(journal(order, **changes))) == Answer(
        provenance=Provenance.ROGUE, reason="row 41 of the journal says something else of it"
    )


STOP = replace(
    OURS,
    side="Sell",
    price=Decimal(0),
    trigger_price=Decimal(90),
    is_reduce_only=True,
    create_type="CreateByStopOrder",
)


def test_stop_is_ours_before_and_after_the_exchange_shows_a_price_for_it() -> None:
    stop = tagged(STOP)
    known = journal(stop)
    assert judge_order(stop, evidence(known)).provenance is Provenance.OURS
    assert judge_order(replace(stop, price=Decimal("88.5")), evidence(known)).provenance is Provenance.OURS


def test_stop_whose_trigger_was_moved_is_rogue() -> None:
    stop = tagged(STOP)
    known = journal(stop)
    assert judge_order(replace(stop, trigger_price=Decimal(99)), evidence(known)) == Answer(
        provenance=Provenance.ROGUE, reason="row 41 of the journal says another trigger"
    )


def test_order_that_was_given_a_trigger_is_rogue() -> None:
    order = tagged(OURS)
    moved = replace(order, trigger_price=Decimal(90))
    assert judge_order(moved, evidence(journal(order))).reason == "row 41 of the journal says another trigger"


def test_execution_of_a_stop_is_ours_without_saying_its_trigger() -> None:
    stop = tagged(STOP)
    seen = replace(EXECUTION, side="Sell", link_id=stop.link_id, order_price=Decimal("88.5"))
    assert judge_execution(seen, evidence(journal(stop))).provenance is Provenance.OURS


def test_order_whose_row_has_a_price_that_it_has_not_is_rogue() -> None:
    """A tag without a price fits it, so that only the row tells."""
    order = tagged(OURS, price=Decimal(0))
    assert judge_order(order, evidence(journal(order, price="55"))).provenance is Provenance.ROGUE


NO_ROW = "its tag is one of ours, and the journal has no row of it"


def test_tag_without_a_row_in_a_journal_read_past_it_is_rogue() -> None:
    assert judge_order(tagged(OURS), evidence(is_overdue=True)) == Answer(provenance=Provenance.ROGUE, reason=NO_ROW)


def test_tag_without_a_row_waits_while_the_journal_is_read() -> None:
    assert judge_order(tagged(OURS), evidence(is_read_past_sight=False)) == Answer(
        provenance=Provenance.PENDING, reason="the journal is not read that far"
    )


def test_tag_without_a_row_is_unproven_when_the_journal_cannot_be_read() -> None:
    assert judge_order(tagged(OURS), evidence(is_read_past_sight=False, is_overdue=True)) == Answer(
        provenance=Provenance.UNPROVEN, reason="the journal cannot be read"
    )


def test_tag_from_before_what_is_remembered_is_unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_watchdog.audit.journaled.MAX_ORDERS", 1)
    other = replace(OURS, link_id="other")
    known = journal(other, replace(other, link_id="another"), at_ms=OURS.created_at_ms)
    assert known.covers_from_ms == OURS.created_at_ms + BORDER_MS
    assert judge_order(tagged(OURS), evidence(known)) == Answer(
        provenance=Provenance.UNPROVEN, reason="its row is older than what is remembered of the journal"
    )
    soon = replace(tagged(OURS), created_at_ms=OURS.created_at_ms + BORDER_MS - 1)  # its row may be the forgotten one
    assert judge_order(soon, evidence(known)).provenance is Provenance.UNPROVEN
    at = replace(tagged(OURS), created_at_ms=OURS.created_at_ms + BORDER_MS)
    assert judge_order(at, evidence(known)) == Answer(provenance=Provenance.ROGUE, reason=NO_ROW)


@pytest.mark.parametrize("is_reduce_only", [False, True])
def test_execution_of_a_tagged_order_is_ours_whether_it_reduced_or_not(*, is_reduce_only: bool) -> None:
    order = tagged(replace(OURS, is_reduce_only=is_reduce_only))
    seen = replace(EXECUTION, link_id=order.link_id)
    assert judge_execution(seen, evidence(journal(order))) == Answer(provenance=Provenance.OURS, reason="row 41")


def test_execution_without_a_tag_is_rogue() -> None:
    assert judge_execution(EXECUTION, evidence()) == Answer(provenance=Provenance.ROGUE, reason=NOT_TAGGED)


def test_spot_sale_without_a_tag_may_be_a_persons() -> None:
    seen = replace(EXECUTION, category="spot", side="Sell")
    assert judge_execution(seen, evidence()).provenance is Provenance.REDUCES


def test_execution_of_a_tag_without_a_row_is_rogue() -> None:
    seen = replace(EXECUTION, link_id=tagged(OURS).link_id)
    assert judge_execution(seen, evidence()) == Answer(provenance=Provenance.ROGUE, reason=NO_ROW)


def test_execution_of_a_tag_waits_for_its_row() -> None:
    seen = replace(EXECUTION, link_id=tagged(replace(OURS, is_reduce_only=True)).link_id)
    assert judge_execution(seen, evidence(is_read_past_sight=False)).provenance is Provenance.PENDING


@pytest.mark.parametrize("execution_type", sorted(EXCHANGES_EXECUTION_TYPES))
def test_execution_by_the_exchanges_engine_is_the_exchanges(execution_type: str) -> None:
    seen = replace(EXECUTION, execution_type=execution_type)
    assert judge_execution(seen, evidence()) == Answer(
        provenance=Provenance.EXCHANGES, reason="the exchange's own engine made it"
    )


def test_execution_by_an_order_of_the_exchanges_engine_is_the_exchanges() -> None:
    seen = replace(EXECUTION, create_type="CreateByLiq")
    assert judge_execution(seen, evidence()).provenance is Provenance.EXCHANGES


def test_execution_from_before_the_baseline_is_not_judged() -> None:
    seen = replace(EXECUTION, executed_at_ms=BEGAN_MS - 1, execution_type="BustTrade")
    assert judge_execution(seen, evidence()) == Answer(
        provenance=Provenance.BASELINE, reason="it was before the deployment began"
    )
    assert judge_execution(replace(seen, executed_at_ms=BEGAN_MS), evidence()).provenance is Provenance.EXCHANGES


def adds(seen: SeenExecution, order: SeenOrder, *, key: bytes = KEY) -> bool:
    executed = replace(seen, category=order.category, side=order.side, link_id=tagged(order, key=key).link_id)
    return is_adding_of_ours(executed, tag_key=KEY, deployment=DEPLOYMENT, account=ACCOUNT)


@pytest.mark.parametrize("side", ["Buy", "Sell"])
def test_linear_execution_adds_as_its_tag_binds_it(side: str) -> None:
    assert adds(EXECUTION, replace(OURS, side=side))
    assert not adds(EXECUTION, replace(OURS, side=side, is_reduce_only=True))


@pytest.mark.parametrize("is_reduce_only", [False, True])
def test_spot_purchase_adds_whatever_its_tag_calls_it_and_a_sale_never(is_reduce_only: bool) -> None:
    spot = replace(OURS, category="spot", is_reduce_only=is_reduce_only)
    assert adds(EXECUTION, spot)
    assert not adds(EXECUTION, replace(spot, side="Sell"))


def test_execution_of_a_stranger_adds_nothing_of_ours() -> None:
    assert not adds(EXECUTION, OURS, key=b"x" * 32)
    assert not adds(replace(EXECUTION, order_quantity=Decimal("0.6")), OURS)
    assert not adds(EXECUTION, replace(OURS, category="spot"), key=b"x" * 32)
