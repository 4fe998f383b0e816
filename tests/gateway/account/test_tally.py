from __future__ import annotations

from decimal import Decimal, getcontext, localcontext

import pytest
from gateway.parts import order_intent, tracked, tracked_stop
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.account.tally import tally
from trade_gateway.ledger import Phase, TrackedOrder
from trade_gateway.wire.intents import Category, Side

BTC = (Category.SPOT, "BTCUSDT")
LINEAR_BTC = (Category.LINEAR, "BTCUSDT")


def test_tally_of_nothing_is_empty() -> None:
    found = tally([])
    assert found == ({}, {}, 0, 0, {}, frozenset(), ())


def test_tally_adds_up_each_side_by_symbol() -> None:
    orders = [
        tracked("a", intent=order_intent(quantity="1")),
        tracked("b", intent=order_intent(quantity="2")),
        tracked("c", intent=order_intent(quantity="4", symbol="ETHUSDT")),
        tracked("d", intent=order_intent(quantity="8", category=Category.LINEAR)),
        tracked("e", intent=order_intent(quantity="16", side=Side.SELL)),
        tracked("f", intent=order_intent(quantity="32", side=Side.SELL)),
    ]
    orders[1].filled = orders[1].settled = Decimal("0.5")
    found = tally(orders)
    assert found.buys == {BTC: Decimal("2.5"), (Category.SPOT, "ETHUSDT"): Decimal(4), LINEAR_BTC: Decimal(8)}
    assert found.sells == {BTC: Decimal(48)}
    assert found.working == len(orders)


def test_tally_of_a_finished_order_keeps_what_no_reading_contains_and_is_not_working() -> None:
    it = tracked("a", intent=order_intent(quantity="4"), phase=Phase.FINISHED)
    it.filled, it.settled = Decimal(3), Decimal(1)
    it.is_outcome_unknown = True
    found = tally([it, tracked("b", intent=order_intent(quantity="8"))])
    assert found.buys == {BTC: Decimal(10)}
    assert found.working == 1
    assert found.unresolved == frozenset()


def test_tally_turnover_is_of_orders_that_add_risk_alone() -> None:
    adding = tracked("a", intent=order_intent(quantity="2", price="100"))
    reducing = tracked("b", intent=order_intent(quantity="2", price="100"), adds_risk=False)
    assert tally([adding, adding, reducing]).pending_usdt == 400


def test_tally_counts_the_bots_stops_alone_and_no_stop_is_a_working_order() -> None:
    found = tally([tracked_stop("a"), tracked_stop("b"), tracked_stop("c", is_gateways=True)])
    assert (found.stops, found.working) == ({"BTCUSDT": 2}, 0)


def test_tally_is_exact_in_any_context_and_leaves_that_as_it_was() -> None:
    orders = [tracked(name, intent=order_intent(quantity="1.0001", price="1")) for name in "ab"]
    with localcontext(prec=2):
        found = tally(orders)
        assert getcontext().prec == 2
    assert (found.buys, found.pending_usdt) == ({BTC: Decimal("2.0002")}, Decimal("2.0002"))


@pytest.mark.parametrize(
    ("phase", "is_outcome_unknown", "is_in_flow", "is_blocked"),
    [
        (Phase.UNRESOLVED, False, True, False),
        (Phase.UNRESOLVED, True, True, True),
        (Phase.UNRESOLVED, False, False, True),
        (Phase.WORKING, True, False, False),
    ],
)
def test_tally_names_the_symbols_that_an_unknown_outcome_blocks(
    phase: Phase, is_outcome_unknown: bool, is_in_flow: bool, is_blocked: bool
) -> None:
    it = tracked("a", phase=phase)
    it.is_outcome_unknown, it.is_in_flow = is_outcome_unknown, is_in_flow
    assert tally([it]).unresolved == ({BTC} if is_blocked else set())
    assert it.is_unresolved is is_blocked


def test_tally_names_what_would_be_the_copy_of_an_order_whose_effect_is_not_known() -> None:
    sent, found = tracked("a"), tracked("b", intent=order_intent(quantity="2"), phase=Phase.WORKING)
    ended = tracked("c", intent=order_intent(quantity="3"), phase=Phase.FINISHED)
    assert tally([sent, found, ended, tracked_stop("d")]).unresolved_keys == (sent.key,)


def test_tally_weighs_an_order_once_and_leaves_no_trace_of_it() -> None:
    it = tracked("a")
    shown = repr(it)
    assert it.weight() is it.weight()
    assert (it, repr(it)) == (tracked("a"), shown)
    with pytest.raises(TypeError):
        TrackedOrder(tag="a", intent=order_intent(), adds_risk=True, _memo=None)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("filled", Decimal(1)),
        ("settled", Decimal(1)),
        ("counted", Decimal(1)),
        ("notional_usdt", Decimal(99)),
        ("phase", Phase.FINISHED),
    ],
)
def test_tally_weighs_an_order_again_once_what_its_weight_depends_on_has_changed(name: str, value: object) -> None:
    it = tracked("a", intent=order_intent(quantity="10", price="3"))
    before = it.weight()
    setattr(it, name, value)
    assert it.weight() is not before


AMOUNTS = st.decimals(0, 20, places=3)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["filled", "settled", "counted", "notional_usdt", "phase"]),
        AMOUNTS,
        st.sampled_from(Phase),
    ),
    max_size=12,
)


@given(CHANGES)
def test_tally_remembers_no_weight_that_is_no_longer_true(changes: list[tuple[str, Decimal, Phase]]) -> None:
    it = tracked("a", intent=order_intent(quantity="10", price="3"))
    tally([it])
    for name, amount, phase in changes:
        setattr(it, name, phase if name == "phase" else amount)
        fresh = _copied(it)
        assert tally([it]) == tally([fresh])
        assert it.weight() == (fresh.claim, tally([fresh]).pending_usdt)


def _copied(it: TrackedOrder) -> TrackedOrder:
    fresh = tracked("a", intent=it.intent, phase=it.phase)
    fresh.filled, fresh.settled, fresh.counted, fresh.notional_usdt = (
        it.filled,
        it.settled,
        it.counted,
        it.notional_usdt,
    )
    return fresh
