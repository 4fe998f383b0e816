"""The reference: index with mark beside it, a second venue where there is one, and the last good price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.clock import NS_PER_S
from trade_gateway.policy.references import (
    SECOND_MAX_AGE_S,
    Flaw,
    Judgement,
    KeptReference,
    Observation,
    Reference,
    ReferenceInputs,
    Source,
    Unusable,
    Usable,
    divergence_of,
    judge_reference,
)


def seen(price: str, *, age_ns: int = 0) -> Observation:
    return Observation(price=Decimal(price), age_ns=age_ns)


INPUTS = ReferenceInputs(
    has_index=True, index=seen("100"), mark=seen("100.1"), second=None, spot=None, second_disagreed=False
)
ALONE = replace(INPUTS, has_index=False, index=None, mark=None, second=seen("7"), spot=seen("7.01"))
DENIED = Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)


def judgement(inputs: ReferenceInputs = INPUTS, **changes: Any) -> Judgement:
    return judge_reference(replace(inputs, **changes), max_age_s=5, max_divergence=Decimal("0.01"))


def judged(inputs: ReferenceInputs = INPUTS, **changes: Any) -> Reference:
    return judgement(inputs, **changes).reference


def test_reference_is_the_index_price() -> None:
    assert judged() == Usable(price=Decimal(100))
    assert judged(second=seen("99.5")) == Usable(price=Decimal(100))


@pytest.mark.parametrize(
    ("age_ns", "is_usable"),
    [
        (0, True),
        (5 * NS_PER_S - 1, True),
        (5 * NS_PER_S, True),
        (5 * NS_PER_S + 1, False),
        (3600 * NS_PER_S, False),
        (-1, False),
    ],
)
@pytest.mark.parametrize(("name", "source"), [("index", Source.INDEX), ("mark", Source.MARK)])
def test_reference_bounds_the_age_of_index_and_mark(name: str, source: Source, age_ns: int, *, is_usable: bool) -> None:
    result = judged(**{name: seen("100", age_ns=age_ns)})
    assert result == (Usable(price=Decimal(100)) if is_usable else Unusable(flaw=Flaw.STALE, source=source))


@pytest.mark.parametrize(("name", "source"), [("index", Source.INDEX), ("mark", Source.MARK)])
def test_reference_without_index_or_mark_is_missing(name: str, source: Source) -> None:
    assert judged(**{name: None}) == Unusable(flaw=Flaw.MISSING, source=source)
    # A second venue does not stand in for a feed that has fallen silent.
    assert judged(**{name: None, "second": seen("100")}) == Unusable(flaw=Flaw.MISSING, source=source)


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "sNaN", "Infinity"])
@pytest.mark.parametrize(("name", "source"), [("index", Source.INDEX), ("mark", Source.MARK)])
def test_reference_of_nonsense_is_invalid(name: str, source: Source, price: str) -> None:
    assert judged(**{name: seen(price)}) == Unusable(flaw=Flaw.INVALID, source=source)
    assert judged(ALONE, second=seen(price)) == Unusable(flaw=Flaw.INVALID, source=Source.SECOND)


@pytest.mark.parametrize(
    ("price", "is_near"),
    [("100", True), ("101", True), ("99", True), ("101.000001", False), ("98.999999", False), ("200", False)],
)
def test_reference_bounds_the_divergence_of_mark_and_second(price: str, *, is_near: bool) -> None:
    usable = Usable(price=Decimal(100))
    assert judged(mark=seen(price)) == (usable if is_near else Unusable(flaw=Flaw.DIVERGES, source=Source.MARK))
    assert judged(second=seen(price)) == (usable if is_near else Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND))


@pytest.mark.parametrize("second", [seen("200", age_ns=SECOND_MAX_AGE_S * NS_PER_S + 1), seen("0"), seen("NaN")])
def test_reference_ignores_a_second_venue_that_is_old_or_nonsense(second: Observation) -> None:
    assert judged(second=second) == Usable(price=Decimal(100))


def test_reference_of_a_coin_without_index_is_the_second_venue() -> None:
    assert judged(ALONE) == Usable(price=Decimal(7))
    assert judged(ALONE, second=None) == Unusable(flaw=Flaw.MISSING, source=Source.SECOND)
    at, past = SECOND_MAX_AGE_S * NS_PER_S, SECOND_MAX_AGE_S * NS_PER_S + 1
    assert judged(ALONE, second=seen("7", age_ns=at)) == Usable(price=Decimal(7))
    assert judged(ALONE, second=seen("7", age_ns=past)) == Unusable(flaw=Flaw.STALE, source=Source.SECOND)


@pytest.mark.parametrize("price", ["1", "0.5", "0.000000000001"])
def test_reference_may_be_of_a_coin_that_is_worth_little(price: str) -> None:
    assert judged(index=seen(price), mark=seen(price)) == Usable(price=Decimal(price))


def test_second_venue_s_price_lives_no_longer_than_the_lease_that_brought_it() -> None:
    assert SECOND_MAX_AGE_S == 30


@pytest.mark.parametrize(("age_ns", "is_usable"), [(5 * NS_PER_S, True), (5 * NS_PER_S + 1, False), (-1, False)])
def test_reference_of_a_coin_without_index_needs_a_fresh_spot_book(age_ns: int, *, is_usable: bool) -> None:
    result = judged(ALONE, spot=seen("7", age_ns=age_ns))
    assert result == (Usable(price=Decimal(7)) if is_usable else Unusable(flaw=Flaw.STALE, source=Source.SPOT))


def test_reference_of_a_coin_without_index_denies_without_a_sensible_spot_book() -> None:
    assert judged(ALONE, spot=None) == Unusable(flaw=Flaw.MISSING, source=Source.SPOT)
    assert judged(ALONE, spot=seen("0")) == Unusable(flaw=Flaw.INVALID, source=Source.SPOT)


@pytest.mark.parametrize(
    ("second", "is_near"),
    [("100", True), ("101", True), ("99", True), ("101.000001", False), ("98.999999", False), ("1000000", False)],
)
def test_second_venue_alone_moves_no_reference_away_from_the_spot_book(second: str, *, is_near: bool) -> None:
    result = judgement(ALONE, spot=seen("100"), second=seen(second))
    assert result.reference == (Usable(price=Decimal(second)) if is_near else DENIED)
    assert result.own == result.reference
    assert not result.second_disagrees


@pytest.mark.parametrize(
    "second",
    [None, seen("100", age_ns=SECOND_MAX_AGE_S * NS_PER_S + 1), seen("100", age_ns=-1), seen("0"), seen("NaN")],
)
def test_second_venue_that_diverged_and_fell_silent_still_denies(second: Observation | None) -> None:
    result = judgement(second=second, second_disagreed=True)
    assert result.reference == DENIED
    assert result.second_disagrees
    assert judgement(second=second).reference == Usable(price=Decimal(100))


def test_second_venue_that_is_near_again_ends_the_denial() -> None:
    result = judgement(second=seen("101"), second_disagreed=True)
    assert result.reference == Usable(price=Decimal(100))
    assert not result.second_disagrees


@pytest.mark.parametrize("has_disagreed", [True, False])
def test_second_venue_is_not_compared_with_an_index_that_is_no_good(*, has_disagreed: bool) -> None:
    result = judgement(index=None, second=seen("200"), second_disagreed=has_disagreed)
    assert result.reference == Unusable(flaw=Flaw.MISSING, source=Source.INDEX)
    assert result.second_disagrees is has_disagreed


def test_second_venue_that_diverges_takes_nothing_from_an_exit() -> None:
    result = judgement(second=seen("200"))
    assert result.reference == DENIED
    assert result.own == Usable(price=Decimal(100))


@given(
    second=st.one_of(st.none(), st.builds(Observation, price=st.decimals(), age_ns=st.integers())),
    disagreed=st.booleans(),
    index=st.decimals(min_value="0.01", max_value="1000", places=2),
)
def test_second_venue_can_only_deny_a_coin_that_has_an_index(
    second: Observation | None, disagreed: bool, index: Decimal
) -> None:
    own = judgement(index=Observation(price=index, age_ns=0), mark=Observation(price=index, age_ns=0))
    told = judgement(
        index=Observation(price=index, age_ns=0),
        mark=Observation(price=index, age_ns=0),
        second=second,
        second_disagreed=disagreed,
    )
    assert told.reference in {own.reference, DENIED}
    assert told.own == own.own == Usable(price=index)


@pytest.mark.parametrize(
    ("price", "reference", "expected"),
    [("101", "100", "0.01"), ("99", "100", "0.01"), ("100", "100", "0"), ("1", "0", None), ("NaN", "1", None)],
)
def test_divergence_is_a_fraction_of_the_reference(price: str, reference: str, expected: str | None) -> None:
    found = divergence_of(Decimal(price), Decimal(reference))
    assert found == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("within", "lowest", "highest"), [("0.002", "99.8", "100.2"), ("0", "100", "100"), ("0.05", "95", "105")]
)
def test_kept_reference_covers_what_lies_within(within: str, lowest: str, highest: str) -> None:
    kept = KeptReference(price=Decimal(100), within=Decimal(within))
    assert (kept.lowest, kept.highest) == (Decimal(lowest), Decimal(highest))


def test_kept_reference_is_exact() -> None:
    kept = KeptReference(price=Decimal("123456789.123456789123"), within=Decimal("0.000123456789"))
    assert kept.highest - kept.price == kept.price - kept.lowest == kept.price * kept.within


def test_divergence_is_told_of_a_coin_that_is_worth_little_and_of_no_nonsense() -> None:
    assert divergence_of(Decimal("0.5"), Decimal("0.4")) == Decimal("0.25")
    for price, reference in (("1", "NaN"), ("1", "Infinity"), ("NaN", "1"), ("Infinity", "1")):
        assert divergence_of(Decimal(price), Decimal(reference)) is None
