"""Counters that do not rise: a kill goes on and alarms, everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest
from trust_parts import KEYS, ring_of

from trade_core.trust.assertion import Touch
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.sign_counters import SignCounters, parse_counters
from trade_core.trust.signed_warrant import SignedWarrant, Signer
from trade_core.trust.warrant import Warrant, WarrantPurpose

FIRST, SECOND = (key.credential for key in KEYS)


def signed(*counters: int, purpose: str = "release") -> SignedWarrant:
    made = Warrant(
        purpose=purpose,
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1",
        ring_hash="r",
        subject="s",
        nonce="n",
        words="w",
        expires_at_ms=1,
    )
    touches = tuple(
        Touch(credential=one, counter=counter) for one, counter in zip((FIRST, SECOND), counters, strict=False)
    )
    return SignedWarrant(warrant=made, signer=Signer.SECURITY_KEYS, touches=touches)


def counters(first: int, second: int = 0) -> SignCounters:
    return SignCounters(seen={FIRST.credential_id: first, SECOND.credential_id: second})


@pytest.mark.parametrize(
    ("last", "shown", "is_good"),
    [(0, 0, True), (0, 1, True), (1, 2, True), (7, 2**32 - 1, True), (1, 1, False), (2, 1, False), (1, 0, False)],
)
def test_counter_must_rise_unless_the_key_has_none(last: int, shown: int, *, is_good: bool) -> None:
    assert counters(last).not_risen(signed(shown)) == (() if is_good else ("first",))


@pytest.mark.parametrize("purpose", [purpose.value for purpose in WarrantPurpose])
def test_counter_that_does_not_rise_refuses_all_but_a_kill(purpose: str) -> None:
    assert counters(1).check(signed(2, purpose=purpose)) == ()
    if purpose == "kill":
        assert counters(5).check(signed(5, purpose=purpose)) == ("first",)
    else:
        with pytest.raises(NotTrusted, match="counter of 'first' did not rise"):
            counters(5).check(signed(5, purpose=purpose))


def test_counter_of_each_key_is_judged() -> None:
    assert counters(1, 9).not_risen(signed(2, 9)) == ("second",)
    assert counters(2, 9).check(signed(2, 9, purpose="kill")) == ("first", "second")
    assert SignCounters().not_risen(signed(1, 1)) == ()


def test_counters_rise_and_never_fall() -> None:
    after = counters(3).after(signed(7, 1)).after(signed(4, 2))
    assert after.content() == {FIRST.credential_id: 7, SECOND.credential_id: 2}
    assert SignCounters().after(signed(4)).content() == {FIRST.credential_id: 4}
    assert SignCounters().after(signed(0)).content() == {FIRST.credential_id: 0}
    assert SignCounters().not_risen(signed(0)) == ()


def test_counters_of_keys_that_left_the_ring_are_forgotten() -> None:
    ring = ring_of(load_private_key(new_private_key()), credentials=(SECOND,))
    assert counters(3, 4).within(ring).content() == {SECOND.credential_id: 4}


def test_counters_survive_their_plain_form() -> None:
    assert parse_counters(dict(counters(3, 4).content())) == counters(3, 4)


@pytest.mark.parametrize("value", ["1", None, True, 1.5, -1])
def test_counters_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(NotTrusted, match="sign counters"):
        parse_counters({"key": value})
