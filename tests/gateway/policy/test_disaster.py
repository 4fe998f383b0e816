"""What to place and what to withdraw, so that every position has one stop that fits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from gateway.parts import stop_intent
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.disaster import (
    STOPS_A_SYMBOL,
    Action,
    CannotPlace,
    Place,
    PositionHeld,
    StopHeld,
    Withdraw,
    fits,
    plan,
)
from trade_gateway.policy.stops import MAX_STOPS_A_SYMBOL, disaster_stop
from trade_gateway.wire.intents import Side, StopIntent

FRACTION = Decimal("0.1")
TICKS = {"BTCUSDT": Decimal("0.1")}
EXCHANGE_TAKES = 10


def held(size: str = "0.5", entry: str | None = "30000", symbol: str = "BTCUSDT") -> PositionHeld:
    return PositionHeld(symbol=symbol, size=Decimal(size), entry_price=None if entry is None else Decimal(entry))


def stop(
    tag: str = "a", *, quantity: str = "0.5", trigger: str = "27000", side: Side = Side.SELL, is_standing: bool = True
) -> StopHeld:
    intent = stop_intent(side=side, quantity=quantity, trigger_price=trigger, limit_price=None)
    return StopHeld(tag=tag, stop=intent, is_standing=is_standing)


def planned(positions: list[PositionHeld], stops: list[StopHeld], **changes: Any) -> list[Action]:
    facts: dict[str, Any] = {"fraction": FRACTION, "tick_sizes": TICKS, "is_trusted": True, **changes}
    return plan(positions, stops, **facts)


def wanted(size: str = "0.5", entry: str = "30000") -> StopIntent:
    return disaster_stop(
        symbol="BTCUSDT",
        position=Decimal(size),
        entry_price=Decimal(entry),
        fraction=FRACTION,
        tick_size=Decimal("0.1"),
    )


@pytest.mark.parametrize("size", ["0.5", "-0.5"])
def test_plan_position_without_a_stop_gets_one(size: str) -> None:
    assert planned([held(size)], []) == [Place(stop=wanted(size))]


def test_plan_position_whose_stop_fits_is_left_alone() -> None:
    assert planned([held()], [stop()]) == []


@pytest.mark.parametrize(
    ("quantity", "trigger", "is_fit"),
    [
        ("0.51", "27000", True),
        ("0.49", "27000", True),
        ("0.511", "27000", False),
        ("0.489", "27000", False),
        ("0.5", "27150", True),
        ("0.5", "26850", True),
        ("0.5", "27150.1", False),
        ("0.5", "26849.9", False),
    ],
)
def test_plan_stop_fits_within_its_tolerances(quantity: str, trigger: str, is_fit: bool) -> None:
    actions = planned([held()], [stop(quantity=quantity, trigger=trigger)])
    assert actions == ([] if is_fit else [Place(stop=wanted())])


def test_plan_stop_of_the_other_side_never_fits() -> None:
    assert planned([held("-0.5")], [stop()]) == [Place(stop=wanted("-0.5"))]
    other = stop(side=Side.BUY).stop
    assert not fits(other, wanted(), entry_price=Decimal(30000), fraction=FRACTION)


def test_plan_replaced_stop_goes_only_once_the_new_one_stands() -> None:
    old, new = stop("old", quantity="0.2"), stop("new", is_standing=False)
    assert planned([held()], [old]) == [Place(stop=wanted())]
    assert planned([held()], [old, new]) == []
    assert planned([held()], [old, stop("new")]) == [Withdraw(tag="old", reason="a newer one fits the position")]


def test_plan_stop_whose_outcome_is_unknown_is_waited_for() -> None:
    assert planned([held()], [stop(is_standing=False)]) == []
    assert planned([], [stop(is_standing=False)]) == []


def test_plan_two_stops_that_do_not_fit_make_room_for_one_that_does() -> None:
    actions = planned([held()], [stop("a", quantity="0.1"), stop("b", quantity="0.2")])
    assert actions[0] == Withdraw(tag="a", reason="neither fits the position")
    assert isinstance(actions[1], CannotPlace)


def test_plan_stop_without_a_position_is_withdrawn() -> None:
    assert planned([], [stop()]) == [Withdraw(tag="a", reason="its position is gone")]
    assert planned([held("0")], [stop()]) == [Withdraw(tag="a", reason="its position is gone")]


def test_plan_nothing_is_withdrawn_while_the_view_is_not_trusted() -> None:
    assert planned([], [stop()], is_trusted=False) == []
    assert planned([held()], [stop("old", quantity="0.2"), stop("new")], is_trusted=False) == []
    assert planned([held()], [], is_trusted=False) == [Place(stop=wanted())]
    two = [stop("a", quantity="0.1"), stop("b", quantity="0.2")]
    assert [type(action) for action in planned([held()], two, is_trusted=False)] == [CannotPlace]


def test_plan_without_a_fraction_withdraws_what_stands() -> None:
    gone = [Withdraw(tag="a", reason="the policy wants no disaster stop")]
    assert planned([held()], [stop()], fraction=None) == gone
    assert planned([held()], [], fraction=None) == []


@pytest.mark.parametrize(
    ("position", "ticks", "reason"),
    [
        (held(symbol="DOGEUSDT"), TICKS, "no instrument facts: it is no linear symbol of the policy"),
        (held(), {}, "no instrument facts: it is no linear symbol of the policy"),
        (held(entry=None), TICKS, "the exchange names no entry price"),
        (held(entry="0"), TICKS, "the exchange names no entry price"),
    ],
)
def test_plan_position_that_cannot_be_protected_is_named(
    position: PositionHeld, ticks: dict[str, Decimal], reason: str
) -> None:
    assert planned([position], [], tick_sizes=ticks) == [CannotPlace(symbol=position.symbol, reason=reason)]


def test_plan_the_bots_stops_leave_room_for_the_gateways() -> None:
    assert MAX_STOPS_A_SYMBOL + STOPS_A_SYMBOL <= EXCHANGE_TAKES


@given(
    size=st.decimals("-5", "5", places=3),
    stops=st.lists(
        st.tuples(st.decimals("0.001", "5", places=3), st.sampled_from(list(Side)), st.booleans()), max_size=4
    ),
    is_trusted=st.booleans(),
)
def test_plan_carried_out_ends_with_one_fitting_stop_and_never_more_than_two(
    size: Decimal, stops: list[tuple[Decimal, Side, bool]], is_trusted: bool
) -> None:
    """Whatever stands at first: rounds that do what is planned, and learn of unknown outcomes, come to rest."""
    position = PositionHeld(symbol="BTCUSDT", size=size, entry_price=Decimal(30000))
    standing = [
        StopHeld(
            tag=f"t{number}",
            stop=stop_intent(side=side, quantity=str(quantity), trigger_price="27000", limit_price=None),
            is_standing=known,
        )
        for number, (quantity, side, known) in enumerate(stops)
    ]
    for number in range(10):
        for action in planned([position], standing, is_trusted=is_trusted or number > 3):
            match action:
                case Place():
                    assert len(standing) < STOPS_A_SYMBOL
                    standing.append(StopHeld(tag=f"n{number}", stop=action.stop, is_standing=False))
                case Withdraw():
                    assert is_trusted or number > 3
                    standing = [known for known in standing if known.tag != action.tag]
        standing = [StopHeld(tag=known.tag, stop=known.stop, is_standing=True) for known in standing]
    assert len(standing) == (0 if size == 0 else 1)
    if size:
        fitting = wanted(str(size))
        assert fits(standing[0].stop, fitting, entry_price=Decimal(30000), fraction=FRACTION)


def test_plan_of_several_stops_that_fit_keeps_the_newest() -> None:
    actions = planned([held()], [stop("a"), stop("b"), stop("c")])
    assert actions == [Withdraw(tag=tag, reason="a newer one fits the position") for tag in ("a", "b")]


def test_plan_of_several_stops_that_do_not_fit_withdraws_all_but_the_newest() -> None:
    stops = [stop(tag, quantity="0.1") for tag in ("a", "b", "c")]
    actions = planned([held()], stops)
    assert actions[:-1] == [Withdraw(tag=tag, reason="neither fits the position") for tag in ("a", "b")]
    assert isinstance(actions[-1], CannotPlace)
