from __future__ import annotations

import base64
from dataclasses import replace
from decimal import Decimal

import pytest
from trust_parts import cosigned, ring_of, signed_checkpoint, watchdogs_checkpoint

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.keys import NotTrusted, load_private_key, public_text
from trade_core.trust.lease import Lease, SecondPrice, sign_lease
from trade_core.trust.ring import ring_hash
from trade_gateway.lease_keeper import LeaseKeeper
from trade_gateway.witnessed_log import WitnessedLog
from trade_journal.log.ring_keys import gateway_log_keys

KEY = load_private_key(base64.b64encode(bytes(range(32))).decode())
STRANGER = load_private_key(base64.b64encode(bytes(32)).decode())
RING = ring_of(KEY, gateway_key=public_text(STRANGER))
SIGNED = signed_checkpoint(RING, STRANGER)


def keeper(clock: ManualClock, *, boot_nonce: str = "n1") -> LeaseKeeper:
    keys = gateway_log_keys(RING)
    assert keys.witness is not None
    witnessed = WitnessedLog(log=keys.log, witness=keys.witness, clock=clock, witnessed_size=0)
    witnessed.remember(SIGNED, began_ns=clock.monotonic_ns())
    return LeaseKeeper(ring=RING, policy_hash="a" * 64, boot_nonce=boot_nonce, clock=clock, witnessed=witnessed)


def lease(clock: ManualClock, *, generation: int = 1, lives_ms: int = 15_000, **prices_aged_ms: int) -> Lease:
    now_ms = clock.wall_ns() // NS_PER_MS
    return Lease(
        deployment="d1",
        environment="simulated",
        account="1002",
        boot_nonce="n1",
        generation=generation,
        ceiling="ACTIVE",
        scale="1",
        checkpoint=cosigned(SIGNED, RING, KEY),
        memory_checkpoint=watchdogs_checkpoint(RING),
        policy_hash="a" * 64,
        ring_hash=ring_hash(RING),
        second_venue="okx" if prices_aged_ms else "none",
        second_prices=tuple(
            SecondPrice(coin=coin, price="100.5", seen_at_ms=now_ms - age_ms) for coin, age_ms in prices_aged_ms.items()
        ),
        signed_at_ms=now_ms,
        expires_at_ms=now_ms + lives_ms,
    )


def test_keeper_before_the_first_lease_has_none() -> None:
    made = keeper(ManualClock())
    assert not made.is_fresh()
    assert (made.generation, made.age_s(), made.expires_in_s(), made.scale) == (0, None, 0.0, Decimal(1))


def test_keeper_valid_lease_is_fresh() -> None:
    clock = ManualClock()
    made = keeper(clock)
    assert made.accept(sign_lease(lease(clock), KEY)) == lease(clock)
    clock.advance(2 * NS_PER_S)
    assert made.is_fresh()
    assert (made.generation, made.age_s(), made.expires_in_s()) == (1, 2.0, 13.0)


def test_keeper_believes_leases_under_another_ring_and_the_held_one_no_more() -> None:
    clock = ManualClock()
    made = keeper(clock)
    ring = replace(RING, version=2, previous_hash=ring_hash(RING))
    made.adopt_ring(RING)
    assert made.held is None
    made.accept(sign_lease(lease(clock), KEY))
    made.adopt_ring(ring)
    assert (made.is_fresh(), made.generation) == (False, 1)
    with pytest.raises(NotTrusted, match="ring_hash"):
        made.accept(sign_lease(lease(clock, generation=2), KEY))
    made.accept(sign_lease(replace(lease(clock, generation=2), ring_hash=ring_hash(ring)), KEY))
    assert made.is_fresh()


@pytest.mark.parametrize("name", ["deployment", "environment", "account", "boot_nonce", "policy_hash", "ring_hash"])
def test_keeper_lease_with_another_name_is_refused(name: str) -> None:
    clock = ManualClock()
    made = keeper(clock)
    with pytest.raises(NotTrusted, match=f"{name} is not this gateway's"):
        made.accept(sign_lease(replace(lease(clock), **{name: "other"}), KEY))  # type: ignore[arg-type]
    assert not made.is_fresh()


def test_keeper_lease_by_a_stranger_is_refused() -> None:
    clock = ManualClock()
    made = keeper(clock)
    with pytest.raises(NotTrusted, match="not by key"):
        made.accept(sign_lease(lease(clock), STRANGER))
    assert not made.is_fresh()


@pytest.mark.parametrize("generation", [0, 4, 5])
def test_keeper_lease_whose_generation_does_not_rise_is_refused_and_the_held_one_stays(generation: int) -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock, generation=5), KEY))
    with pytest.raises(NotTrusted, match="does not rise above 5"):
        made.accept(sign_lease(lease(clock, generation=generation), KEY))
    assert made.is_fresh()
    assert made.generation == 5


def test_keeper_first_lease_of_generation_zero_is_refused() -> None:
    clock = ManualClock()
    with pytest.raises(NotTrusted, match="does not rise above 0"):
        keeper(clock).accept(sign_lease(lease(clock, generation=0), KEY))


def test_keeper_replayed_lease_is_refused() -> None:
    clock = ManualClock()
    made = keeper(clock)
    raw = sign_lease(lease(clock), KEY)
    made.accept(raw)
    with pytest.raises(NotTrusted, match="does not rise"):
        made.accept(raw)


def test_keeper_lease_of_the_boot_before_is_refused() -> None:
    clock = ManualClock()
    raw = sign_lease(lease(clock), KEY)
    keeper(clock).accept(raw)
    with pytest.raises(NotTrusted, match="boot_nonce"):
        keeper(clock, boot_nonce="n2").accept(raw)


@pytest.mark.parametrize(("lives_ms", "is_accepted"), [(1, True), (0, False), (-1, False), (-86_400_000, False)])
def test_keeper_lease_that_has_expired_is_refused(lives_ms: int, is_accepted: bool) -> None:
    clock = ManualClock()
    made = keeper(clock)
    raw = sign_lease(lease(clock, lives_ms=lives_ms), KEY)
    if is_accepted:
        made.accept(raw)
    else:
        with pytest.raises(NotTrusted, match="expired"):
            made.accept(raw)
    assert made.is_fresh() is is_accepted


@pytest.mark.parametrize("scale", ["0", "1.01", "-1", "NaN", "", "1e-1", "0.0", "12"])
def test_keeper_lease_with_an_absurd_scale_is_refused(scale: str) -> None:
    clock = ManualClock()
    with pytest.raises(NotTrusted, match="scale"):
        keeper(clock).accept(sign_lease(replace(lease(clock), scale=scale), KEY))


def test_keeper_scale_is_that_of_the_held_lease() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(replace(lease(clock), scale="0.25"), KEY))
    assert made.scale == Decimal("0.25")


@pytest.mark.parametrize(("after_ns", "is_fresh"), [(15 * NS_PER_S - 1, True), (15 * NS_PER_S, False)])
def test_keeper_lease_ends_at_its_own_expiry(after_ns: int, is_fresh: bool) -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    clock.advance(after_ns)
    assert made.is_fresh() is is_fresh


@pytest.mark.parametrize(("after_ns", "is_fresh"), [(30 * NS_PER_S - 1, True), (30 * NS_PER_S, False)])
def test_keeper_lease_ends_thirty_seconds_after_receipt_whatever_it_says(after_ns: int, is_fresh: bool) -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock, lives_ms=86_400_000), KEY))
    clock.advance(after_ns)
    assert made.is_fresh() is is_fresh
    assert (made.expires_in_s() > 0) is is_fresh


def test_keeper_wall_clock_set_back_does_not_lengthen_a_lease() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    clock.leap_wall(-3600 * NS_PER_S)
    clock.advance(15 * NS_PER_S)
    assert not made.is_fresh()


def test_keeper_wall_clock_set_forward_ends_a_lease() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    clock.leap_wall(3600 * NS_PER_S)
    assert not made.is_fresh()
    assert made.expires_in_s() == 0.0


def test_keeper_old_lease_accepted_on_a_clock_set_back_lives_thirty_seconds_at_most() -> None:
    clock = ManualClock()
    made = keeper(clock)
    raw = sign_lease(lease(clock), KEY)
    clock.advance(3600 * NS_PER_S)
    clock.leap_wall(-7200 * NS_PER_S)
    made.witnessed.remember(SIGNED, began_ns=clock.monotonic_ns())
    made.accept(raw)
    clock.advance(30 * NS_PER_S)
    assert not made.is_fresh()


def test_keeper_next_lease_renews() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    clock.advance(20 * NS_PER_S)
    assert not made.is_fresh()
    made.witnessed.remember(SIGNED, began_ns=clock.monotonic_ns())
    made.accept(sign_lease(lease(clock, generation=2), KEY))
    assert made.is_fresh()
    assert made.age_s() == 0.0


def test_keeper_lease_counts_for_its_last_nanosecond() -> None:
    clock = ManualClock()
    raw = sign_lease(lease(clock), KEY)
    clock.advance(15 * NS_PER_S - 1)
    made = keeper(clock)
    made.accept(raw)
    assert made.is_fresh()


@pytest.mark.parametrize(("leap_ns", "is_fresh"), [(15 * NS_PER_S - 1, True), (15 * NS_PER_S, False)])
def test_keeper_lease_ends_when_the_wall_clock_says_so(leap_ns: int, *, is_fresh: bool) -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    clock.leap_wall(leap_ns)
    assert made.is_fresh() is is_fresh


def test_keeper_lease_that_counts_tells_how_much_is_witnessed_and_a_refused_one_does_not() -> None:
    clock = ManualClock()
    made = keeper(clock)
    with pytest.raises(NotTrusted):
        made.accept(sign_lease(lease(clock, lives_ms=0), KEY))
    assert made.witnessed.witnessed_size == 0
    made.accept(sign_lease(lease(clock), KEY))
    assert made.witnessed.witnessed_size == 3


def test_keeper_hands_on_second_prices_with_their_age() -> None:
    clock = ManualClock()
    made = keeper(clock)
    assert made.second.venue is None
    made.accept(sign_lease(lease(clock, BTC=4000, ETH=0), KEY))
    assert made.second.venue == "okx"
    assert set(made.second.prices) == {"BTC", "ETH"}
    assert made.second.prices["BTC"].price == Decimal("100.5")
    assert clock.monotonic_ns() - made.second.prices["BTC"].at_ns == 4 * NS_PER_S
    clock.advance(3 * NS_PER_S)
    assert clock.monotonic_ns() - made.second.prices["BTC"].at_ns == 7 * NS_PER_S


def test_keeper_lease_that_was_long_on_its_way_brings_old_prices() -> None:
    clock = ManualClock()
    made = keeper(clock)
    signed = sign_lease(lease(clock, BTC=4000), KEY)
    clock.advance(10 * NS_PER_S)
    made.accept(signed)
    assert clock.monotonic_ns() - made.second.prices["BTC"].at_ns == 14 * NS_PER_S


def test_keeper_clock_behind_the_watchdog_s_makes_no_price_younger() -> None:
    clock = ManualClock()
    made = keeper(clock)
    signed = sign_lease(lease(clock, BTC=4000), KEY)
    clock.leap_wall(-5 * NS_PER_S)
    made.accept(signed)
    assert clock.monotonic_ns() - made.second.prices["BTC"].at_ns == 4 * NS_PER_S


def test_keeper_lease_takes_away_the_prices_that_it_does_not_bring() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock, BTC=0, ETH=0), KEY))
    made.accept(sign_lease(lease(clock, generation=2, ETH=0), KEY))
    assert set(made.second.prices) == {"ETH"}


def test_keeper_venue_stays_expected_when_a_later_lease_names_none() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock, BTC=0), KEY))
    made.accept(sign_lease(lease(clock, generation=2), KEY))
    assert (made.second.venue, dict(made.second.prices)) == ("okx", {})


def test_keeper_lease_that_is_refused_brings_no_prices() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock, BTC=0), KEY))
    with pytest.raises(NotTrusted):
        made.accept(sign_lease(lease(clock, ETH=0), KEY))
    assert set(made.second.prices) == {"BTC"}


def test_keeper_lease_counts_only_as_long_as_its_policy_is_the_authorised_one() -> None:
    clock = ManualClock()
    made = keeper(clock)
    made.accept(sign_lease(lease(clock), KEY))
    made.policy_hash = "b" * 64
    assert not made.is_fresh()
    assert (made.generation, made.expires_in_s()) == (1, 0.0)
    with pytest.raises(NotTrusted, match="policy_hash"):
        made.accept(sign_lease(lease(clock, generation=2), KEY))
    made.accept(sign_lease(replace(lease(clock, generation=2), policy_hash="b" * 64), KEY))
    assert made.is_fresh()


def test_lease_of_another_holder_counts_only_after_the_current_one_expired() -> None:
    clock = ManualClock()
    made = keeper(clock)
    first = made.accept(sign_lease(lease(clock), KEY))
    other = replace(lease(clock, generation=2, lives_ms=20_000), holder="f" * 16, ceiling="HALTED")
    clock.advance(14 * NS_PER_S + NS_PER_S - 1)
    with pytest.raises(NotTrusted, match=r"another watchdog, 0{16}, leads; its lease lives 0\.0 s"):
        made.accept(sign_lease(other, KEY))
    assert made.held is not None
    assert made.held.lease == first
    clock.advance(1)
    assert made.accept(sign_lease(other, KEY)) == other
    with pytest.raises(NotTrusted, match=r"another watchdog, f{16}, leads; its lease lives 5\.0 s"):
        made.accept(sign_lease(lease(clock, generation=3), KEY))


def test_lease_of_the_same_holder_counts_at_once() -> None:
    clock = ManualClock()
    made = keeper(clock)
    for generation in (1, 2):
        mine = replace(lease(clock, generation=generation), holder="f" * 16)
        assert made.accept(sign_lease(mine, KEY)) == mine


def test_ring_that_is_adopted_ends_the_lease_given_under_the_one_before() -> None:
    clock = ManualClock()
    made = keeper(clock)
    other = replace(RING, version=2)
    made.adopt_ring(other)
    assert not made.is_fresh()
    under_it = replace(lease(clock), ring_hash=ring_hash(other))
    assert made.accept(sign_lease(under_it, KEY)) == under_it
    assert made.is_fresh()
    made.adopt_ring(RING)
    assert not made.is_fresh()
    assert made.generation == 1


@pytest.mark.parametrize("note", ["", watchdogs_checkpoint(RING, size=1)])
def test_keeper_lease_that_names_no_checkpoint_of_its_watchdog_s_journal_is_refused(note: str) -> None:
    clock = ManualClock()
    made = keeper(clock)
    with pytest.raises(NotTrusted, match="its watchdog's journal"):
        made.accept(sign_lease(replace(lease(clock), memory_checkpoint=note), KEY))
    assert made.held is None
