"""When the account view may be believed."""

from __future__ import annotations

import pytest

from trade_gateway.account.trust import (
    MAX_SURPRISES,
    NEVER_READ,
    SETTLE_NS,
    STALE_AFTER_NS,
    Trust,
    Trusted,
    TrustKeeper,
    Untrusted,
)

UP_NS = 100


def judged(keeper: TrustKeeper, *, now_ns: int = 200, has_unknown_outcome: bool = False) -> Trust:
    return keeper.judge(now_ns=now_ns, has_unknown_outcome=has_unknown_outcome)


def reason(keeper: TrustKeeper, *, now_ns: int = 200) -> str:
    trust = judged(keeper, now_ns=now_ns)
    return trust.reason if isinstance(trust, Untrusted) else ""


@pytest.fixture
def keeper() -> TrustKeeper:
    made = TrustKeeper()
    made.stream_up(at_ns=UP_NS)
    made.reading_completed(began_ns=UP_NS, has_differed=False)
    return made


def test_trust_begins_without_any() -> None:
    assert reason(TrustKeeper()) == NEVER_READ


def test_trust_keeper_tells_when_the_last_reading_began() -> None:
    keeper = TrustKeeper()
    assert keeper.read_at_ns is None
    keeper.reading_completed(began_ns=150, has_differed=False)
    assert keeper.read_at_ns == 150


def test_trust_comes_with_a_reading_made_after_the_stream_was_up(keeper: TrustKeeper) -> None:
    assert judged(keeper) == Trusted()


def test_trust_needs_the_stream() -> None:
    keeper = TrustKeeper()
    keeper.reading_completed(began_ns=150, has_differed=False)
    assert reason(keeper)


def test_trust_reading_begun_before_the_stream_was_up_is_none() -> None:
    keeper = TrustKeeper()
    keeper.stream_up(at_ns=UP_NS)
    keeper.reading_completed(began_ns=UP_NS - 1, has_differed=False)
    assert reason(keeper)


def test_trust_is_lost_with_the_stream_until_a_later_reading(keeper: TrustKeeper) -> None:
    keeper.stream_down("closed", at_ns=300)
    assert "closed" in reason(keeper)
    keeper.reading_completed(began_ns=310, has_differed=False)
    assert reason(keeper)
    keeper.stream_up(at_ns=320)
    assert reason(keeper)
    keeper.reading_completed(began_ns=319, has_differed=False)
    assert reason(keeper)
    keeper.reading_completed(began_ns=320, has_differed=False)
    assert reason(keeper) == ""


def test_trust_lost_to_nonsense_needs_a_reading_that_agrees(keeper: TrustKeeper) -> None:
    keeper.distrust("nonsense", at_ns=300)
    assert reason(keeper) == "nonsense"
    keeper.reading_completed(began_ns=301, has_differed=True)
    assert reason(keeper) == "nonsense"
    keeper.reading_completed(began_ns=302, has_differed=False)
    assert reason(keeper) == ""


@pytest.mark.parametrize(("age_ns", "is_trusted"), [(0, True), (STALE_AFTER_NS, True), (STALE_AFTER_NS + 1, False)])
def test_trust_ages_with_the_reading(keeper: TrustKeeper, age_ns: int, is_trusted: bool) -> None:
    assert isinstance(judged(keeper, now_ns=UP_NS + age_ns), Trusted) is is_trusted


def test_trust_is_withheld_while_an_outcome_is_unknown(keeper: TrustKeeper) -> None:
    assert isinstance(judged(keeper, has_unknown_outcome=True), Untrusted)
    assert judged(keeper) == Trusted()


@pytest.mark.parametrize(("late_ns", "is_trusted"), [(0, True), (SETTLE_NS, True), (SETTLE_NS + 1, False)])
def test_trust_is_lost_when_the_stream_does_not_tell_what_was_read(
    keeper: TrustKeeper, late_ns: int, is_trusted: bool
) -> None:
    keeper.surprise("coin BTC", at_ns=200)
    keeper.surprise("coin BTC", at_ns=200 + late_ns)  # read again: it is as old as its first sight
    assert isinstance(judged(keeper, now_ns=200 + late_ns), Trusted) is is_trusted
    if not is_trusted:
        assert "coin BTC" in reason(keeper, now_ns=200 + late_ns)


def test_trust_stays_when_the_stream_tells_in_time(keeper: TrustKeeper) -> None:
    keeper.surprise("coin BTC", at_ns=200)
    keeper.explained("coin BTC")
    assert judged(keeper, now_ns=200 + 2 * SETTLE_NS) == Trusted()


def test_trust_regained_is_not_lost_to_what_was_read_before(keeper: TrustKeeper) -> None:
    keeper.surprise("coin BTC", at_ns=200)
    keeper.distrust("nonsense", at_ns=300)
    keeper.surprise("coin ETH", at_ns=301)
    keeper.reading_completed(began_ns=302, has_differed=False)
    assert judged(keeper, now_ns=302 + 2 * SETTLE_NS) == Trusted()


def test_trust_too_many_surprises_are_distrust(keeper: TrustKeeper) -> None:
    for number in range(MAX_SURPRISES):
        keeper.surprise(f"order {number}", at_ns=200)
    assert judged(keeper) == Trusted()
    keeper.surprise("one more", at_ns=200)
    assert reason(keeper)


def test_trust_has_the_times_and_bounds_that_were_decided() -> None:
    assert (STALE_AFTER_NS, MAX_SURPRISES) == (10_000_000_000, 1_000)


def test_trust_of_a_keeper_that_was_just_made_comes_with_the_first_reading_however_early() -> None:
    keeper = TrustKeeper()
    keeper.stream_up(at_ns=0)
    keeper.reading_completed(began_ns=0, has_differed=False)
    assert judged(keeper, now_ns=0) == Trusted()


def test_trust_keeper_has_a_baseline_once_something_was_read(keeper: TrustKeeper) -> None:
    assert not TrustKeeper().has_baseline
    assert keeper.has_baseline


def test_trust_is_lost_when_the_stream_comes_up_anew_until_a_later_reading(keeper: TrustKeeper) -> None:
    keeper.stream_up(at_ns=300)
    assert reason(keeper, now_ns=300)
    keeper.reading_completed(began_ns=299, has_differed=False)
    assert reason(keeper, now_ns=300)
    keeper.reading_completed(began_ns=300, has_differed=False)
    assert judged(keeper, now_ns=300) == Trusted()


def test_trust_is_not_regained_by_a_reading_that_began_before_it_was_lost(keeper: TrustKeeper) -> None:
    keeper.distrust("nonsense", at_ns=300)
    keeper.reading_completed(began_ns=299, has_differed=False)
    assert reason(keeper, now_ns=301) == "nonsense"


def test_trust_stays_with_every_reading_that_agrees(keeper: TrustKeeper) -> None:
    keeper.reading_completed(began_ns=300, has_differed=False)
    assert judged(keeper, now_ns=300) == Trusted()
