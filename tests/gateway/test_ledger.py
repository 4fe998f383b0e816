from __future__ import annotations

from decimal import Decimal

import pytest
from gateway.parts import order_intent, tracked, tracked_stop
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway import ledger as ledger_module
from trade_gateway.account.tally import tally
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.wire.intents import Category, Side

BTC = (Category.SPOT, "BTCUSDT")


def with_orders(*orders: TrackedOrder) -> OrderLedger:
    ledger = OrderLedger()
    for order in orders:
        ledger.reserve(order)
    return ledger


def working_sells(ledger: OrderLedger) -> Decimal:
    """Add up the Bitcoin that spot sells may still use up."""
    return sum((order.claim for order in ledger.claims() if order.symbol == BTC and not order.is_buy), Decimal(0))


def test_ledger_reserved_order_counts_before_it_is_sent() -> None:
    ledger = with_orders(tracked("a"))
    assert ledger.open_count() == 1
    assert [order.tag for order in ledger.open_orders()] == ["a"]


def test_ledger_released_order_is_forgotten_with_its_names() -> None:
    ledger = with_orders(tracked("a", intent=order_intent(client_link_id="mine")))
    ledger.release("a")
    assert ledger.open_count() == 0
    assert ledger.get("a") is None
    assert not ledger.is_alias_used("mine")


def test_ledger_release_of_an_unknown_order_changes_nothing() -> None:
    ledger = with_orders(tracked("a"))
    ledger.release("b")
    assert ledger.open_count() == 1


def test_ledger_acknowledged_order_works_and_is_found_by_the_exchanges_id() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.acknowledge("a", "x1")
    assert order.phase is Phase.WORKING
    assert ledger.find(order_id="x1", client_link_id=None) is order
    assert ledger.open_count() == 1


def test_ledger_tells_once_of_an_order_that_begins_to_work() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    told: list[tuple[TrackedOrder, Phase, str | None]] = []
    ledger.on_working = lambda begun: told.append((begun, begun.phase, begun.order_id))
    ledger.acknowledge("a", "x1")
    assert told == [(order, Phase.WORKING, "x1")]
    ledger.acknowledge("a", "x1")
    assert len(told) == 1


@pytest.mark.parametrize("phase", Phase)
def test_ledger_outcome_is_unresolved_only_while_nothing_is_known_of_the_order(phase: Phase) -> None:
    order = tracked("a", phase=phase)
    order.is_outcome_unknown = True
    assert order.is_unresolved is (phase is Phase.UNRESOLVED)


def test_ledger_acknowledgement_after_the_end_changes_nothing() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.on_working = lambda begun: pytest.fail(f"told of {begun.tag}")
    ledger.finish("a", status="Rejected")
    ledger.acknowledge("a", "x1")
    assert order.phase is Phase.FINISHED
    assert ledger.find(order_id="x1", client_link_id=None) is None


def test_ledger_observed_fill_is_the_order_s() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.observe("a", status="PartiallyFilled", filled=Decimal("0.004"))
    assert (order.filled, order.status) == (Decimal("0.004"), "PartiallyFilled")


def test_ledger_observation_of_an_unknown_order_changes_nothing() -> None:
    ledger = OrderLedger()
    ledger.observe("a", status="New", filled=Decimal(1))
    assert ledger.get("a") is None


def test_ledger_finished_order_counts_no_more_and_is_still_translated() -> None:
    order = tracked("a", intent=order_intent(client_link_id="mine"))
    ledger = with_orders(order)
    ledger.acknowledge("a", "x1")
    ledger.finish("a", status="Filled")
    assert ledger.open_count() == 0
    assert ledger.get("a") is order
    assert ledger.find(order_id="x1", client_link_id=None) is order
    assert ledger.find(order_id=None, client_link_id="mine") is order
    assert ledger.is_alias_used("mine")


def test_ledger_finish_twice_keeps_the_first_end() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.finish("a", status="Filled")
    ledger.finish("a", status="Cancelled")
    assert order.status == "Filled"


def test_ledger_exchange_id_wins_over_the_bots_own() -> None:
    first = tracked("a", intent=order_intent(client_link_id="mine"))
    ledger = with_orders(first)
    assert ledger.find(order_id="unknown", client_link_id="mine") is None


def test_ledger_find_without_any_name_finds_nothing() -> None:
    assert with_orders(tracked("a")).find(order_id=None, client_link_id=None) is None


def test_ledger_keeps_finished_orders_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED", 2)
    ledger = OrderLedger()
    for tag in "abc":
        ledger.reserve(tracked(tag, intent=order_intent(client_link_id=f"mine-{tag}")))
        ledger.acknowledge(tag, f"x{tag}")
        ledger.finish(tag, status="Filled")
    assert [ledger.get(tag) is not None for tag in "abc"] == [False, True, True]
    assert ledger.find(order_id="xa", client_link_id=None) is None
    assert not ledger.is_alias_used("mine-a")


def test_ledger_forgetting_an_order_keeps_a_name_that_went_to_another() -> None:
    ledger = with_orders(tracked("a", intent=order_intent(client_link_id="mine")))
    second = tracked("b", intent=order_intent(client_link_id="mine"))
    ledger.reserve(second)
    ledger.release("a")
    assert ledger.find(order_id=None, client_link_id="mine") is second


@pytest.mark.parametrize(
    ("is_in_flow", "is_outcome_unknown", "is_blocked", "is_resolved_here"),
    [
        (True, False, False, False),  # just being sent
        (True, True, True, False),  # its own request is asking
        (False, True, True, True),
        (False, False, True, True),  # from before a restart
    ],
)
def test_ledger_unknown_outcome_blocks_its_symbol(
    is_in_flow: bool, is_outcome_unknown: bool, is_blocked: bool, is_resolved_here: bool
) -> None:
    order = tracked("a")
    order.is_in_flow, order.is_outcome_unknown = is_in_flow, is_outcome_unknown
    ledger = with_orders(order)
    assert (BTC in tally(ledger.claims()).unresolved) is is_blocked
    assert (order in ledger.unresolved()) is is_resolved_here


def test_ledger_acknowledged_order_blocks_nothing() -> None:
    order = tracked("a")
    order.is_in_flow, order.is_outcome_unknown = False, True
    ledger = with_orders(order)
    ledger.acknowledge("a", "x1")
    assert tally(ledger.claims()).unresolved == frozenset()
    assert ledger.unresolved() == []


def test_ledger_working_sells_are_counted_at_their_worst() -> None:
    sell = {"side": Side.SELL, "quantity": "0.01"}
    ledger = with_orders(
        tracked("unresolved", intent=order_intent(**sell)),  # type: ignore[arg-type]
        tracked("working", intent=order_intent(**sell)),  # type: ignore[arg-type]
        tracked("part-filled", intent=order_intent(**sell)),  # type: ignore[arg-type]
        tracked("finished", intent=order_intent(**sell)),  # type: ignore[arg-type]
        tracked("buy", intent=order_intent()),
        tracked("linear", intent=order_intent(category=Category.LINEAR, **sell)),  # type: ignore[arg-type]
        tracked("other", intent=order_intent(symbol="ETHUSDT", **sell)),  # type: ignore[arg-type]
    )
    ledger.acknowledge("working", "x1")
    ledger.acknowledge("part-filled", "x2")
    ledger.observe("part-filled", status="PartiallyFilled", filled=Decimal("0.004"))
    ledger.finish("finished", status="Cancelled")
    assert working_sells(ledger) == Decimal("0.03")
    ledger.settle(ledger.fill_marks())
    assert working_sells(ledger) == Decimal("0.026")


def test_ledger_fill_of_an_ended_order_is_claimed_until_a_reading_contains_it() -> None:
    order = tracked("a", intent=order_intent(side=Side.SELL, quantity="0.01"))
    ledger = with_orders(order)
    ledger.observe("a", status="Cancelled", filled=Decimal("0.004"))
    ledger.finish("a", status="Cancelled")
    assert working_sells(ledger) == Decimal("0.004")
    marks = ledger.fill_marks()
    ledger.observe("a", status="Cancelled", filled=Decimal("0.006"))
    ledger.settle(marks)
    assert working_sells(ledger) == Decimal("0.002")
    ledger.settle(ledger.fill_marks())
    assert list(ledger.claims()) == []
    assert order.status == "Cancelled"


def test_ledger_settling_an_order_that_is_forgotten_changes_nothing_and_settles_the_others() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.observe("a", status="Filled", filled=Decimal("0.01"))
    ledger.finish("a", status="Filled")
    ledger.settle({"gone": Decimal(1), "a": Decimal("0.01")})
    assert order.claim == 0
    assert list(ledger.claims()) == []


def test_ledger_fill_never_goes_back() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.observe("a", status="PartiallyFilled", filled=Decimal("0.004"))
    ledger.observe("a", status="New", filled=Decimal(0))
    assert order.filled == Decimal("0.004")


def test_ledger_order_taken_for_ended_and_shown_live_counts_again_and_is_disowned() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.finish("a", status="NotFound")
    assert ledger.revive("a", "x1")
    assert (order.phase, order.is_disowned) == (Phase.WORKING, True)
    assert ledger.find(order_id="x1", client_link_id=None) is order
    assert ledger.open_count() == 1


def test_ledger_order_that_the_exchange_showed_ended_is_not_revived() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    order.is_end_shown = True
    ledger.finish("a", status="Cancelled")
    assert not ledger.revive("a", "x1")
    assert not ledger.revive("unknown", "x2")
    assert ledger.open_count() == 0


def test_ledger_open_orders_may_be_changed_while_they_are_walked() -> None:
    ledger = with_orders(*(tracked(tag) for tag in "abc"))
    for order in ledger.open_orders():
        ledger.finish(order.tag, status="Cancelled")
    assert ledger.open_count() == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["reserve", "release", "acknowledge", "observe", "finish"]), st.sampled_from("abcd")),
    max_size=40,
)


@given(STEPS)
def test_ledger_order_counts_exactly_from_reserve_to_release_or_finish(steps: list[tuple[str, str]]) -> None:
    ledger = OrderLedger()
    open_tags: set[str] = set()
    for step, tag in steps:
        match step:
            case "reserve" if ledger.get(tag) is None:
                ledger.reserve(tracked(tag, intent=order_intent(client_link_id=f"mine-{tag}")))
                open_tags.add(tag)
            case "release":
                ledger.release(tag)
                open_tags.discard(tag)
            case "acknowledge":
                ledger.acknowledge(tag, f"x{tag}")
            case "observe":
                ledger.observe(tag, status="New", filled=Decimal(1))
            case "finish":
                ledger.finish(tag, status="Filled")
                open_tags.discard(tag)
            case _:
                continue
        assert {order.tag for order in ledger.open_orders()} == open_tags
        assert ledger.open_count() == len(open_tags)


def test_ledger_keeps_twenty_thousand_finished_orders() -> None:
    assert ledger_module.MAX_FINISHED == 20_000


def test_ledger_stops_are_counted_apart_and_claim_nothing_before_they_fill() -> None:
    order, stop = tracked("a"), tracked_stop("s")
    ledger = with_orders(order, stop)
    assert ledger.open_count() == 1
    assert ledger.stops() == [stop]
    assert stop.claim == 0
    ledger.acknowledge("s", "x1")
    ledger.observe("s", status="PartiallyFilled", filled=Decimal("0.004"))
    assert stop.claim == Decimal("0.004")
    ledger.finish("s", status="Filled")
    assert ledger.stops() == []


def test_ledger_what_the_gateway_placed_itself_is_not_found_by_the_bots_names() -> None:
    own = tracked_stop("s", is_gateways=True)
    ledger = with_orders(own)
    ledger.acknowledge("s", "x1")
    assert ledger.find(order_id="x1", client_link_id=None) is None
    assert ledger.get("s") is own
    assert ledger.is_own_tag("s")
    ledger.finish("s", status="Deactivated")
    assert ledger.find(order_id="x1", client_link_id=None) is None
    assert ledger.is_own_tag("s")
    assert not ledger.is_own_tag("t")


def test_ledger_memory_of_own_tags_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_OWN_TAGS", 2)
    ledger = OrderLedger()
    for tag in ("a", "b", "c"):
        ledger.note_own_tag(tag)
    assert [ledger.is_own_tag(tag) for tag in ("a", "b", "c")] == [False, True, True]


def test_ledger_order_is_disowned_unless_the_gateway_placed_it_itself() -> None:
    for order, is_disowned in (
        (tracked("a"), True),
        (tracked_stop("s"), True),
        (tracked_stop(is_gateways=True), False),
    ):
        order.disown()
        assert order.is_disowned is is_disowned


def test_ledger_revived_stop_of_the_gateway_stays_its_own() -> None:
    own = tracked_stop("s", is_gateways=True)
    ledger = with_orders(own)
    ledger.finish("s", status="NotFound")
    assert ledger.revive("s", "x1")
    assert not own.is_disowned
    assert ledger.stops() == [own]


@pytest.mark.parametrize(("limit", "price"), [("28800", 28800), (None, 29000)])
def test_ledger_stop_is_expected_to_fill_at_its_limit_or_its_trigger(limit: str | None, price: int) -> None:
    stop = tracked_stop(limit_price=limit)
    assert stop.expected_price == price
    assert stop.turnover_usdt == stop.intent.quantity * price


def test_ledger_order_uses_what_the_decision_measured_or_its_own_price() -> None:
    order = tracked("a", intent=order_intent(quantity="2", price="100"))
    assert order.turnover_usdt == 200
    order.notional_usdt = Decimal(210)
    assert order.turnover_usdt == 210


def test_ledger_order_is_uncounted_as_far_as_it_may_fill_or_has_filled() -> None:
    order = tracked("a", intent=order_intent(quantity="2"))
    ledger = with_orders(order)
    assert order.uncounted == 2
    order.filled = order.counted = Decimal("0.5")
    assert order.uncounted == Decimal("1.5")
    order.filled = Decimal(3)  # nonsense of the exchange counts in full
    assert order.uncounted == Decimal("2.5")
    order.filled = Decimal("0.75")
    ledger.finish("a", status="Cancelled")
    assert order.uncounted == Decimal("0.25")
    order.counted = Decimal(5)
    assert order.uncounted == 0


def test_ledger_claim_is_never_below_nothing() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.settle({"a": Decimal(5)})
    assert order.claim == 0


def test_ledger_acknowledged_order_carries_the_exchanges_id() -> None:
    order = tracked("a")
    with_orders(order).acknowledge("a", "x1")
    assert order.order_id == "x1"


def test_ledger_late_status_of_an_ended_order_is_not_believed() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.finish("a", status="Filled")
    ledger.observe("a", status="New", filled=Decimal(0))
    assert order.status == "Filled"


def test_ledger_ended_order_without_a_fill_is_claimed_by_nothing() -> None:
    ledger = with_orders(tracked("a"))
    ledger.finish("a", status="Cancelled")
    assert list(ledger.claims()) == []
    ledger.observe("a", status="Cancelled", filled=Decimal(0))
    assert list(ledger.claims()) == []


def test_ledger_fill_that_is_known_after_the_end_is_claimed() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.finish("a", status="Cancelled")
    ledger.observe("a", status="Cancelled", filled=Decimal("0.004"))
    assert list(ledger.claims()) == [order]


def test_ledger_revived_order_counts_once_belongs_to_no_request_and_is_not_revived_again() -> None:
    order = tracked("a")
    ledger = with_orders(order)
    ledger.observe("a", status="PartiallyFilled", filled=Decimal("0.004"))
    ledger.finish("a", status="NotFound")
    assert ledger.revive("a", "x1")
    assert list(ledger.claims()) == [order]
    assert (order.phase, order.is_in_flow) == (Phase.WORKING, False)
    assert not ledger.revive("a", "x1")


def test_ledger_marks_only_what_has_filled_and_is_in_no_reading() -> None:
    ledger = with_orders(tracked("a"), tracked("b"))
    ledger.observe("a", status="PartiallyFilled", filled=Decimal("0.004"))
    assert ledger.fill_marks() == {"a": Decimal("0.004")}
    ledger.settle(ledger.fill_marks())
    assert ledger.fill_marks() == {}


def test_ledger_fill_is_settled_after_its_order_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED", 0)
    ledger = with_orders(tracked("a"))
    ledger.acknowledge("a", "x1")
    ledger.observe("a", status="Filled", filled=Decimal("0.01"))
    ledger.finish("a", status="Filled")
    assert ledger.get("a") is None
    ledger.settle({"a": Decimal("0.01")})
    assert list(ledger.claims()) == []
    assert ledger._by_order_id == {}  # names go with their order, or memory would grow for ever


def test_ledger_order_that_was_just_made_is_on_its_way_and_nothing_is_known_of_it() -> None:
    order = tracked("a")
    assert (order.phase, order.order_id, order.status, order.signed_at_ns) == (Phase.UNRESOLVED, None, "", 0)
    assert order.is_in_flow
    facts = (order.is_disowned, order.is_outcome_unknown, order.is_end_told, order.is_end_shown)
    assert facts == (False, False, False, False)


def test_ledger_remembered_order_is_found_by_its_names_counts_nowhere_and_is_settled() -> None:
    order = tracked("a", intent=order_intent(client_link_id="mine"))
    order.phase, order.order_id, order.filled = Phase.FINISHED, "x1", Decimal("0.004")
    nameless = tracked("b")
    nameless.phase = Phase.FINISHED
    ledger = OrderLedger()
    for known in (order, nameless):
        ledger.remember(known)
    assert ledger.get("a") is order
    assert ledger.find(order_id="x1", client_link_id=None) is order
    assert ledger.find(order_id=None, client_link_id="mine") is order
    assert (ledger.open_count(), list(ledger.claims()), order.claim) == (0, [], 0)
    assert set(ledger._by_order_id) == {"x1"}
    assert set(ledger._by_alias) == {"mine"}


def test_ledger_remembers_up_to_its_bound_and_forgets_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED", 2)
    ledger = OrderLedger()
    for tag in ("a", "b", "c"):
        order = tracked(tag, intent=order_intent(client_link_id=f"my-{tag}"))
        order.phase, order.order_id = Phase.FINISHED, f"x-{tag}"
        ledger.remember(order)
    assert [ledger.get(tag) is not None for tag in ("a", "b", "c")] == [False, True, True]
    assert set(ledger._by_order_id) == {"x-b", "x-c"}
    assert not ledger.is_alias_used("my-a")


def test_ledger_order_of_the_bot_is_not_the_gateways_own() -> None:
    assert not with_orders(tracked("a")).is_own_tag("a")


def test_ledger_key_is_working_from_reserve_to_the_end_of_the_last_order_that_has_it() -> None:
    ledger = OrderLedger()
    first, copy, other = tracked("a"), tracked("b"), tracked("c", intent=order_intent(quantity="7"))
    assert ledger.working_keys() == frozenset()
    for order in (first, copy, other, first):
        ledger.reserve(order)
    assert ledger.working_keys() == {first.key, other.key}
    ledger.acknowledge("a", "1")
    ledger.finish("a", status="Filled")
    ledger.finish("a", status="Filled")
    assert ledger.working_keys() == {copy.key, other.key}
    assert ledger.revive("a", "1")
    ledger.release("b")
    assert ledger.working_keys() == {first.key, other.key}
    ledger.finish("a", status="Filled")
    ledger.release("c")
    assert ledger.working_keys() == frozenset()


def test_ledger_key_of_a_stop_is_no_working_key() -> None:
    ledger = OrderLedger()
    ledger.reserve(tracked_stop("a"))
    assert ledger.working_keys() == frozenset()
    ledger.release("a")
    assert ledger.working_keys() == frozenset()


def test_ledger_memories_are_bounded_as_was_decided() -> None:
    assert (ledger_module.MAX_FINISHED, ledger_module.MAX_OWN_TAGS) == (20_000, 20_000)
