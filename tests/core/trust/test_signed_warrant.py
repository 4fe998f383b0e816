"""Warrants with the touches that make them count."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.signed_warrant import (
    MAX_ENVELOPE_BYTES,
    MAX_TOUCHES,
    SignedWarrant,
    Signer,
    check_order,
    open_warrant,
    printed_envelope,
    require_two_keys,
    touched_envelope,
)
from trade_core.trust.statement import sign_statement
from trade_core.trust.warrant import Warrant, WarrantPurpose, warrant_bytes

PROCESS = load_private_key(new_private_key())
RECOVERY, BOOTSTRAP = load_private_key(new_private_key()), load_private_key(new_private_key())
RING = ring_of(PROCESS, recovery_key=public_text(RECOVERY))
NEW_RING = ring_of(PROCESS, credentials=(), bootstrap_key=public_text(BOOTSTRAP))


def warrant(ring: KeyRing = RING, **changed: Any) -> Warrant:
    made = Warrant(
        purpose="release",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(ring),
        subject="latch:7",
        nonce="n",
        words="release HALTED",
        expires_at_ms=1_800_000_000_000,
    )
    return replace(made, **changed)


def opened(raw: bytes, *, ring: KeyRing = RING) -> SignedWarrant:
    return open_warrant(raw, ring=ring)


def test_warrant_that_a_key_of_the_ring_touched_opens() -> None:
    signed = opened(touch(warrant()))
    assert (signed.warrant, signed.signer) == (warrant(), Signer.SECURITY_KEYS)
    assert [one.credential.label for one in signed.touches] == ["first"]
    check_order(signed, purpose=WarrantPurpose.RELEASE, audience="gateway", subject="latch:7")


@pytest.mark.parametrize("purpose", [purpose.value for purpose in WarrantPurpose])
def test_warrant_of_every_purpose_can_be_touched(purpose: str) -> None:
    assert opened(touch(warrant(purpose=purpose))).warrant.purpose == purpose


def test_two_different_keys_count_as_two() -> None:
    signed = opened(touch(warrant(), by=KEYS))
    assert [one.credential.label for one in signed.touches] == ["first", "second"]
    require_two_keys(signed)
    with pytest.raises(NotTrusted, match="two different security keys, and 1 signed"):
        require_two_keys(opened(touch(warrant())))


def test_the_same_key_twice_is_refused() -> None:
    with pytest.raises(NotTrusted, match="same security key signed twice"):
        opened(touch(warrant(), by=(KEYS[0], KEYS[0])))


def test_the_same_assertion_twice_is_refused() -> None:
    payload = warrant_bytes(warrant())
    once = KEYS[0].touch(payload)
    with pytest.raises(NotTrusted, match="same security key signed twice"):
        opened(touched_envelope(payload, [once, once]))


def test_a_stranger_beside_a_key_of_the_ring_is_refused() -> None:
    for by in ((KEYS[0], FastKey("stranger")), (FastKey("stranger"), KEYS[0])):
        with pytest.raises(NotTrusted, match="no security key of the key ring"):
            opened(touch(warrant(), by=by))


@pytest.mark.parametrize("count", [0, 3])
def test_touches_are_one_or_two(count: int) -> None:
    with pytest.raises(NotTrusted, match="list of 1 to 2"):
        opened(touch(warrant(), by=(*KEYS, *KEYS)[:count]))
    assert (MAX_TOUCHES, MAX_ENVELOPE_BYTES) == (2, 4096)


@pytest.mark.parametrize(
    ("name", "value"), [("deployment", "d2"), ("environment", "live"), ("account", "1003"), ("ring_hash", "r" * 64)]
)
def test_warrant_of_another_house_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(NotTrusted, match=f"warrant: {name} is not"):
        opened(touch(warrant(**{name: value})))


@pytest.mark.parametrize(("name", "value"), [("purpose", "policy"), ("audience", "watchdog"), ("subject", "latch:8")])
def test_warrant_that_orders_something_else_is_refused_by_name(name: str, value: str) -> None:
    signed = opened(touch(warrant(**{name: value})))
    with pytest.raises(NotTrusted, match=f"warrant: {name} is not"):
        check_order(signed, purpose=WarrantPurpose.RELEASE, audience="gateway", subject="latch:7")


def test_warrant_under_an_older_ring_is_refused() -> None:
    older = touch(warrant())
    newer = replace(RING, version=2, previous_hash=ring_hash(RING))
    with pytest.raises(NotTrusted, match="ring_hash"):
        opened(older, ring=newer)
    with pytest.raises(NotTrusted, match="no security key of the key ring"):
        opened(touch(warrant(newer)), ring=replace(newer, credentials=(KEYS[1].credential,)))


@pytest.mark.parametrize("purpose", [purpose.value for purpose in WarrantPurpose])
def test_recovery_key_orders_kills_and_rings_alone(purpose: str) -> None:
    raw = printed_envelope(warrant_bytes(warrant(purpose=purpose)), RECOVERY, signer=Signer.RECOVERY_KEY)
    if purpose in {"kill", "ring"}:
        signed = opened(raw)
        assert (signed.signer, signed.touches) == (Signer.RECOVERY_KEY, ())
        with pytest.raises(NotTrusted, match="two different"):
            require_two_keys(signed)
    else:
        with pytest.raises(NotTrusted, match=f"a recovery key cannot order a {purpose}"):
            opened(raw)


@pytest.mark.parametrize("purpose", [purpose.value for purpose in WarrantPurpose])
def test_bootstrap_key_orders_rings_alone(purpose: str) -> None:
    made = warrant_bytes(warrant(NEW_RING, purpose=purpose))
    raw = printed_envelope(made, BOOTSTRAP, signer=Signer.BOOTSTRAP_KEY)
    if purpose == "ring":
        assert opened(raw, ring=NEW_RING).signer is Signer.BOOTSTRAP_KEY
    else:
        with pytest.raises(NotTrusted, match=f"a bootstrap key cannot order a {purpose}"):
            opened(raw, ring=NEW_RING)


def test_printed_key_in_another_ones_place_is_refused() -> None:
    payload = warrant_bytes(warrant(purpose="kill"))
    with pytest.raises(NotTrusted, match="signature"):
        opened(printed_envelope(payload, BOOTSTRAP, signer=Signer.RECOVERY_KEY))
    with pytest.raises(NotTrusted, match="the key ring has no bootstrap key"):
        opened(printed_envelope(payload, BOOTSTRAP, signer=Signer.BOOTSTRAP_KEY))
    with pytest.raises(NotTrusted, match="the key ring has no recovery key"):
        opened(printed_envelope(payload, RECOVERY, signer=Signer.RECOVERY_KEY), ring=NEW_RING)
    both = replace(RING, bootstrap_key=RING.recovery_key)
    content = json.loads(printed_envelope(payload, RECOVERY, signer=Signer.RECOVERY_KEY))
    moved = {"warrant": content["warrant"], "bootstrap_signature": content["recovery_signature"]}
    with pytest.raises(NotTrusted, match="signature"):
        opened(canonical_json(moved), ring=both)
    with pytest.raises(ValueError, match="by a touch"):
        printed_envelope(payload, RECOVERY, signer=Signer.SECURITY_KEYS)


def test_touch_of_a_key_that_can_be_copied_counts_when_simulated_only() -> None:
    live = replace(RING, environment="live")
    for ring in (RING, live):
        payload = warrant_bytes(warrant(ring, environment=ring.environment))
        raw = touched_envelope(payload, [KEYS[0].touch(payload, flags=0x0D)])
        if ring is RING:
            assert opened(raw).warrant.environment == "simulated"
        else:
            with pytest.raises(NotTrusted, match="can be copied"):
                opened(raw, ring=ring)
        assert opened(touched_envelope(payload, [KEYS[0].touch(payload)]), ring=ring)


def test_warrant_without_any_credential_in_the_ring_is_refused() -> None:
    with pytest.raises(NotTrusted, match="no security key of the key ring"):
        opened(touch(warrant(NEW_RING)), ring=NEW_RING)


def test_warrant_of_a_process_key_is_refused() -> None:
    with pytest.raises(NotTrusted, match="warrant envelope"):
        opened(sign_statement(warrant().content(), PROCESS, purpose="warrant/v1"))


def changed(**fields: Any) -> bytes:
    content = {**json.loads(touch(warrant())), **fields}
    return canonical_json({name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "warrant envelope: not JSON"),
        (b"null", "not an object"),
        (b"{}", "must hold exactly"),
        (changed(more=1), "must hold exactly"),
        (changed(warrant=None), "must hold exactly"),
        (changed(assertions=None), "must hold exactly"),
        (changed(recovery_signature="AAAA"), "must hold exactly"),
        (changed(assertions=None, recovery_signature=1), "recovery_signature must be text"),
        (changed(assertions=None, recovery_signature="AAAA"), "3 bytes, must be 64"),
        (changed(assertions={}), "list of 1 to 2"),
        (changed(assertions=1), "list of 1 to 2"),
        (changed(assertions="a"), "list of 1 to 2"),
        (changed(assertions=[1]), "assertion: not an object"),
        (changed(warrant=1), "warrant must be text"),
        (changed(warrant="AA"), "not base64"),
        (touch(warrant()) + b"\n", "not in its one canonical form"),
        (b" " + touch(warrant()), "not in its one canonical form"),
        (touch(warrant())[:-1] + b',"warrant":""}', "a key twice"),
        (b" " * 4097, "4097 bytes, at most 4096"),
    ],
)
def test_envelope_in_another_form_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        opened(raw)


def test_signed_bytes_that_are_no_warrant_are_refused() -> None:
    for payload in (b"", b"{}", b"yes", b"w" * 2049, warrant_bytes(warrant()) + b" ", b'{"purpose":"kill"}'):
        raw = touched_envelope(payload, [KEYS[0].touch(payload)])
        with pytest.raises(NotTrusted, match="warrant: "):
            opened(raw)
