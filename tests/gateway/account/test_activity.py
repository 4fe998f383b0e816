"""What fills and messages count, live and after a restart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.parts import order_intent, tracked, tracked_stop
from gateway.policy.parts import POLICY

from trade_core.clock import NS_PER_S
from trade_gateway.account.activity import Activity, ActivityLimits, Note
from trade_gateway.account.tally import tally
from trade_gateway.account.view import Filled
from trade_gateway.ledger import TrackedOrder
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import (
    Entry,
    Fields,
    Row,
    RowKind,
    draft,
)

DAY_NS = 24 * 3600 * NS_PER_S
BTC = (Category.SPOT, "BTCUSDT")
LIMITS = ActivityLimits(
    messages_per_s_deny=2, messages_per_s_terminate=4, repeated_execution_limit=3, repeated_execution_window_s=60
)


def test_activity_limits_are_the_policys() -> None:
    policy = replace(
        POLICY,
        messages_per_s_deny=3,
        messages_per_s_terminate=7,
        repeated_execution_limit=11,
        repeated_execution_window_s=13,
    )
    assert ActivityLimits.of(policy) == ActivityLimits(
        messages_per_s_deny=3, messages_per_s_terminate=7, repeated_execution_limit=11, repeated_execution_window_s=13
    )


def order(tag: str = "T1", *, adds_risk: bool = True, **changed: Any) -> TrackedOrder:
    made = tracked(tag, adds_risk=adds_risk, intent=order_intent(quantity="2", price="100"))
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def fill(of: TrackedOrder, quantity: str = "1", price: str = "100") -> Filled:
    of.filled += Decimal(quantity)
    of.counted = of.filled
    return Filled(order=of, quantity=Decimal(quantity), price=Decimal(price), total=of.filled)


def rows(notes: list[Note], *, at_ns: int) -> list[Row]:
    entries = [Entry(at_ns=at_ns, kind=note.kind, actor="gateway", fields=note.fields) for note in notes]
    for entry in entries:
        draft(entry)  # it must be a row that the journal takes
    return [Row(seq=0, at_ns=e.at_ns, kind=e.kind, actor=e.actor, fields=e.fields) for e in entries]


def used(activity: Activity, *orders: TrackedOrder, at_ns: int = 0) -> Decimal:
    return activity.turnover_usdt(tally(orders).pending_usdt, at_ns=at_ns)


def test_activity_open_order_counts_whole_and_its_fill_moves_into_the_window() -> None:
    activity, it = Activity(limits=LIMITS), order()
    assert used(activity, it) == 200
    activity.count_fill(fill(it), at_ns=0)
    assert used(activity, it) == 200
    assert used(activity) == 100


def test_activity_share_is_of_what_the_decision_measured() -> None:
    activity, it = Activity(limits=LIMITS), order(notional_usdt=Decimal(210))
    assert used(activity, it) == 210
    activity.count_fill(fill(it), at_ns=0)
    assert used(activity) == 105


def test_activity_fill_counts_at_least_what_it_cost() -> None:
    activity = Activity(limits=LIMITS)
    activity.count_fill(fill(order(), price="150"), at_ns=0)
    assert used(activity) == 150


def test_activity_reducing_fills_use_no_turnover() -> None:
    activity, it = Activity(limits=LIMITS), order(adds_risk=False)
    (note,) = activity.count_fill(fill(it), at_ns=0)
    assert used(activity, it) == 0
    assert note.kind is RowKind.ORDER_FILLED
    assert note.fields["adds_risk"] is False


def test_activity_fill_leaves_the_window_after_a_day() -> None:
    activity = Activity(limits=LIMITS)
    activity.count_fill(fill(order()), at_ns=0)
    assert used(activity, at_ns=DAY_NS) == 100
    assert used(activity, at_ns=DAY_NS + 60 * NS_PER_S) == 0


def test_activity_fills_come_back_from_their_rows() -> None:
    before, after = Activity(limits=LIMITS), Activity(limits=LIMITS)
    for number in range(3):
        it = order(f"T{number}", reference_price=Decimal("99.5"))
        for row in rows(before.count_fill(fill(it, "0.7", "100.1"), at_ns=number), at_ns=number):
            after.replay(row)
    assert used(after) == used(before) > 0
    assert after.tripped_symbols == before.tripped_symbols == {BTC}


@pytest.mark.parametrize(("orders", "is_tripped"), [(2, False), (3, True)])
def test_activity_executions_that_repeat_trip_their_symbol_with_one_row(orders: int, is_tripped: bool) -> None:
    activity = Activity(limits=LIMITS)
    notes = [note for number in range(orders) for note in activity.count_fill(fill(order(f"T{number}")), at_ns=number)]
    assert (activity.tripped_symbols == {BTC}) is is_tripped
    assert [note.kind for note in notes].count(RowKind.THROTTLE_TRIPPED) == int(is_tripped)


def test_activity_tripped_symbol_comes_back_from_its_row_and_goes_when_rearmed() -> None:
    activity = Activity(limits=LIMITS)
    fields = {"throttle": "repeated_execution", "category": "spot", "symbol": "BTCUSDT"}
    (tripped,) = rows([Note(kind=RowKind.THROTTLE_TRIPPED, fields=fields)], at_ns=1)
    (rearmed,) = rows([Note(kind=RowKind.THROTTLE_REARMED, fields=fields)], at_ns=2)
    activity.replay(tripped)
    assert activity.tripped_symbols == {BTC}
    activity.replay(rearmed)
    assert activity.tripped_symbols == {BTC}, "a row alone re-arms nothing"
    assert [(note.kind, note.fields) for note in activity.rearm_all()] == [(RowKind.THROTTLE_REARMED, fields)]
    assert activity.tripped_symbols == frozenset()
    assert activity.rearm_all() == []


def test_activity_messages_meet_their_levels_and_the_last_one_latches_with_one_row() -> None:
    activity = Activity(limits=LIMITS)
    counted = [activity.count_message(at_ns=number) for number in range(6)]
    assert [level for level, _ in counted] == [MessageLevel.FREE] * 2 + [MessageLevel.DENY] * 2 + [
        MessageLevel.TERMINATE
    ] * 2
    assert [len(notes) for _, notes in counted] == [0, 0, 0, 0, 1, 0]
    assert activity.is_terminated


def test_activity_termination_comes_back_from_its_row_and_goes_when_rearmed() -> None:
    activity = Activity(limits=LIMITS)
    fields = {"throttle": "messages"}
    (tripped,) = rows([Note(kind=RowKind.THROTTLE_TRIPPED, fields=fields)], at_ns=1)
    activity.replay(tripped)
    assert activity.is_terminated
    assert activity.count_message(at_ns=1)[1] == []
    assert [(note.kind, note.fields) for note in activity.rearm_all()] == [(RowKind.THROTTLE_REARMED, fields)]
    assert not activity.is_terminated


def test_activity_rows_of_other_kinds_count_nothing() -> None:
    activity = Activity(limits=LIMITS)
    activity.replay(Row(seq=0, at_ns=1, kind=RowKind.ORDER_INTENT, actor="gateway", fields={}))
    assert used(activity) == 0


def test_activity_uneven_share_is_rounded_up_and_fits_a_row() -> None:
    activity, it = Activity(limits=LIMITS), order(notional_usdt=Decimal(100))
    it.intent = order_intent(quantity="3", price="33")
    (row,) = rows(activity.count_fill(fill(it, price="33"), at_ns=0), at_ns=0)
    assert row.fields["notional_usdt"] == "33.333333333334"


def test_activity_fill_of_a_disaster_stop_is_a_row_of_its_own_and_counts_nowhere() -> None:
    activity = Activity(limits=LIMITS)
    for number in range(10):
        stop = tracked_stop(f"s{number}", is_gateways=True)
        (note,) = activity.count_fill(fill(stop, "0.01", "28900"), at_ns=0)
        assert note.kind is RowKind.DISASTER_STOP_FILLED
        assert (note.fields["adds_risk"], note.fields["reference_price"]) == (False, "29000")
    assert used(activity) == 0
    assert activity.tripped_symbols == frozenset()


def test_activity_fill_of_a_protective_stop_is_a_reducing_fill_against_its_trigger() -> None:
    activity = Activity(limits=LIMITS)
    stop = tracked_stop("s")
    (note,) = activity.count_fill(fill(stop, "0.01", "28900"), at_ns=0)
    assert note.kind is RowKind.ORDER_FILLED
    assert (note.fields["adds_risk"], note.fields["reference_price"], note.fields["price"]) == (False, "29000", "28900")
    assert used(activity) == 0


def test_activity_rearmed_counts_messages_and_executions_anew() -> None:
    activity = Activity(limits=LIMITS)
    for number in range(5):
        activity.count_message(at_ns=0)
        activity.count_fill(fill(order(f"T{number}"), "1"), at_ns=0)
    assert activity.is_terminated
    assert activity.tripped_symbols == {BTC}
    activity.rearm_all()
    assert not activity.is_terminated
    assert activity.tripped_symbols == frozenset()
    assert activity.count_message(at_ns=0)[0] is MessageLevel.FREE


def test_activity_rows_of_what_is_rearmed_are_in_order() -> None:
    activity = Activity(limits=LIMITS)
    names = ["SOLUSDT", "BTCUSDT", "XRPUSDT", "ETHUSDT", "ADAUSDT"]
    for name in names:
        fields: Fields = {"throttle": "repeated_execution", "category": "spot", "symbol": name}
        activity.replay(Row(seq=0, at_ns=0, kind=RowKind.THROTTLE_TRIPPED, actor="gateway", fields=fields))
    assert [note.fields["symbol"] for note in activity.rearm_all()] == sorted(names)


def test_activity_row_of_a_fill_carries_the_reference_at_acceptance() -> None:
    activity = Activity(limits=LIMITS)
    for reference, shown in ((None, None), (Decimal("99.50"), "99.5")):
        (note,) = activity.count_fill(fill(order(reference_price=reference)), at_ns=0)
        assert note.fields["reference_price"] == shown


def test_activity_takes_other_limits_and_counts_on() -> None:
    activity = Activity(limits=LIMITS)
    activity.count_message(at_ns=0)
    activity.count_fill(fill(order("T1")), at_ns=0)
    activity.limit(replace(LIMITS, messages_per_s_deny=1, messages_per_s_terminate=2, repeated_execution_limit=2))
    assert activity.count_message(at_ns=0)[0] is MessageLevel.DENY
    activity.count_fill(fill(order("T2")), at_ns=1)
    assert activity.tripped_symbols == {BTC}
