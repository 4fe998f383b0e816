"""Which ring may follow the pinned one: the next version, ordered by people under the one there is."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.canonical import canonical_json
from trade_core.trust.attestation import Attestation, credential_of, enrolment_challenge
from trade_core.trust.credential import Credential
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.signed_warrant import Signer, printed_envelope
from trade_core.trust.succession import (
    AUDIENCE,
    MAX_CHANGE_BYTES,
    MAX_OFFER_BYTES,
    MAX_PROOF_BYTES,
    MIN_CREDENTIALS,
    RING_WAIT_MS,
    RingOffer,
    cancel_subject,
    check_cancel,
    difference,
    next_ring,
    open_ring_offer,
    replayed_ring,
    ring_change,
    ring_offer,
    ring_subject,
)
from trade_core.trust.warrant import Warrant, warrant_bytes
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

PROCESS = load_private_key(new_private_key())
RECOVERY, BOOTSTRAP = load_private_key(new_private_key()), load_private_key(new_private_key())
NOW_MS = 1_800_000_000_000
PINNED = ring_of(PROCESS, version=3, previous_hash="p" * 64, recovery_key=public_text(RECOVERY))
FIRST = ring_of(
    PROCESS,
    credentials=(),
    recovery_key=public_text(RECOVERY),
    bootstrap_key=public_text(BOOTSTRAP),
    bootstrap_expires_at_ms=NOW_MS + 1,
)
THIRD = FastKey("third")
THREE = (*(key.credential for key in KEYS), THIRD.credential)
TWO = THREE[1:]
MAKER = new_maker()


def warrant(pinned: KeyRing, change: bytes, **changed: Any) -> Warrant:
    made = Warrant(
        purpose="ring",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="deployment",
        account="1002",
        ring_hash=ring_hash(pinned),
        subject=ring_subject(pinned, next_ring(pinned, change)),
        nonce="n",
        words="a third key",
        expires_at_ms=NOW_MS + 60_000,
    )
    return replace(made, **changed)


def signed(order: Warrant, by: Sequence[FastKey] | Signer) -> bytes:
    if not isinstance(by, Signer):
        return touch(order, by=by)
    private = RECOVERY if by is Signer.RECOVERY_KEY else BOOTSTRAP
    return printed_envelope(warrant_bytes(order), private, signer=by)


def offered(
    pinned: KeyRing = PINNED,
    *,
    credentials: Sequence[Credential] = THREE,
    by: Sequence[FastKey] | Signer = KEYS,
    now_ms: int = NOW_MS,
    is_clock_trusted: bool = True,
    attestations: Sequence[Attestation] = (),
    order: dict[str, Any] | None = None,
    **changed: Any,
) -> RingOffer:
    change = ring_change(pinned, credentials=credentials, **changed)
    raw = ring_offer(
        change=change, warrant=signed(warrant(pinned, change, **(order or {})), by), attestations=attestations
    )
    return open_ring_offer(raw, pinned=pinned, now_ms=now_ms, is_clock_trusted=is_clock_trusted)


def test_ring_by_two_keys_counts_at_once() -> None:
    offer = offered()
    assert offer.wait_ms == 0
    assert offer.ring == replace(PINNED, version=4, previous_hash=ring_hash(PINNED), credentials=THREE)
    assert [one.credential.label for one in offer.signed.touches] == ["first", "second"]
    assert replayed_ring(PINNED, change=offer.change, warrant=offer.warrant) == offer.ring


def test_ring_by_one_key_or_the_recovery_key_waits_three_days() -> None:
    assert offered(by=KEYS[:1]).wait_ms == 259_200_000
    assert offered(by=Signer.RECOVERY_KEY).wait_ms == RING_WAIT_MS == 259_200_000


def test_ring_can_change_all_that_says_who_a_person_is() -> None:
    recovery, root = public_text(BOOTSTRAP), base64.b64encode(MAKER.root).decode()
    made = offered(
        credentials=TWO, origins=["http://localhost:1"], attestation_roots=[root], recovery_key=recovery
    ).ring
    assert (made.origins, made.attestation_roots) == (("http://localhost:1",), (root,))
    assert (made.credentials, made.recovery_key) == (TWO, recovery)
    assert offered(recovery_key="").ring.recovery_key == ""


def test_bootstrap_enrols_the_first_two_keys() -> None:
    offer = offered(FIRST, credentials=TWO, by=Signer.BOOTSTRAP_KEY)
    assert (offer.wait_ms, offer.ring.version, offer.ring.credentials) == (0, 2, TWO)
    assert (offer.ring.bootstrap_key, offer.ring.bootstrap_expires_at_ms) == ("", 0)


def test_bootstrap_enrols_neither_one_key_nor_three() -> None:
    with pytest.raises(NotTrusted, match="1 credentials, at least 2"):
        offered(FIRST, credentials=TWO[:1], by=Signer.BOOTSTRAP_KEY)
    with pytest.raises(NotTrusted, match="exactly 2 security keys"):
        offered(FIRST, credentials=THREE, by=Signer.BOOTSTRAP_KEY)


def test_bootstrap_expires() -> None:
    with pytest.raises(NotTrusted, match="bootstrap code has expired"):
        offered(FIRST, credentials=TWO, by=Signer.BOOTSTRAP_KEY, now_ms=NOW_MS + 1)
    with pytest.raises(NotTrusted, match="clock"):
        offered(FIRST, credentials=TWO, by=Signer.BOOTSTRAP_KEY, is_clock_trusted=False)


@pytest.mark.parametrize("pinned", [replace(FIRST, credentials=THREE), replace(FIRST, version=2)])
def test_bootstrap_counts_never_again_once_a_ring_holds_a_credential(pinned: KeyRing) -> None:
    with pytest.raises(NotTrusted, match="counts no more"):
        offered(pinned, credentials=TWO, by=Signer.BOOTSTRAP_KEY)
    with pytest.raises(NotTrusted, match="has no bootstrap key"):
        offered(replace(pinned, bootstrap_key=""), credentials=TWO, by=Signer.BOOTSTRAP_KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"origins": ["http://localhost:1"]},
        {"attestation_roots": [base64.b64encode(MAKER.root).decode()]},
        {"recovery_key": ""},
    ],
)
def test_key_on_paper_changes_credentials_alone(change: dict[str, Any]) -> None:
    (name,) = change
    for pinned, by in ((PINNED, Signer.RECOVERY_KEY), (FIRST, Signer.BOOTSTRAP_KEY)):
        with pytest.raises(NotTrusted, match=f"a key on paper cannot change {name}"):
            offered(pinned, credentials=TWO, by=by, **change)


def test_recovery_enrols_new_keys_where_none_was_enrolled_or_all_are_lost() -> None:
    assert offered(FIRST, credentials=TWO, by=Signer.RECOVERY_KEY).wait_ms == RING_WAIT_MS
    new = tuple(FastKey(f"new {number}").credential for number in range(2))
    assert offered(credentials=new, by=Signer.RECOVERY_KEY).ring.credentials == new


def test_ring_by_a_key_that_it_brings_along_is_refused() -> None:
    with pytest.raises(NotTrusted, match="no security key of the key ring"):
        offered(by=(THIRD,))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("purpose", "release"),
        ("audience", "gateway"),
        ("deployment", "d2"),
        ("environment", "live"),
        ("account", "1003"),
        ("ring_hash", "r" * 64),
        ("subject", f"ring:3:{'0' * 64}"),
        pytest.param("subject", f"ring:2:{ring_hash(PINNED)}", id="subject-of-the-pinned-ring"),
    ],
)
def test_ring_with_a_warrant_for_something_else_is_refused(name: str, value: str) -> None:
    with pytest.raises(NotTrusted, match=f"warrant: {name} is not"):
        offered(order={name: value})


@pytest.mark.parametrize("now_ms", [NOW_MS + 60_000, NOW_MS - 5 * 60_000])
def test_ring_with_a_warrant_out_of_its_time_is_refused(now_ms: int) -> None:
    with pytest.raises(NotTrusted, match=r"expired|five minutes"):
        offered(now_ms=now_ms)
    with pytest.raises(NotTrusted, match="clock"):
        offered(is_clock_trusted=False)


def test_ring_with_fewer_than_two_credentials_is_refused() -> None:
    with pytest.raises(NotTrusted, match="1 credentials, at least 2"):
        offered(credentials=THREE[:1])
    assert MIN_CREDENTIALS == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "fields"),
        ({"gateway_key": ""}, "fields"),
        ({"origins": "x"}, "origins must be list"),
        ({"attestation_roots": {}}, "attestation_roots must be list"),
        ({"origins": []}, "1 to 4"),
        ({"origins": ["http://evil.example"]}, "not of rp id"),
        ({"attestation_roots": ["AAAA"]}, "attestation root"),
        ({"credentials": {}}, "credentials must be a list"),
        ({"recovery_key": 1}, "recovery_key must be str"),
        ({"recovery_key": "AAAA"}, "public key"),
    ],
)
def test_change_with_an_absurd_field_is_refused(change: dict[str, Any], reason: str) -> None:
    content = json.loads(ring_change(PINNED, credentials=THREE))
    with pytest.raises(NotTrusted, match=reason):
        next_ring(PINNED, canonical_json({**content, **change}))


def test_change_without_a_field_or_too_long_is_refused() -> None:
    content = json.loads(ring_change(PINNED, credentials=THREE))
    del content["origins"]
    with pytest.raises(NotTrusted, match="fields"):
        next_ring(PINNED, canonical_json(content))
    with pytest.raises(NotTrusted, match="at most 3072"):
        next_ring(PINNED, b" " * 3073)
    assert (MAX_CHANGE_BYTES, MAX_OFFER_BYTES, MAX_PROOF_BYTES, AUDIENCE) == (3072, 16_384, 5400, "deployment")


def test_copied_key_is_refused_outside_the_simulated_exchange() -> None:
    copied = (*TWO, replace(KEYS[0].credential, is_backup_eligible=True))
    next_ring(PINNED, ring_change(PINNED, credentials=copied))
    live = replace(PINNED, environment="live", origins=("https://localhost",))
    with pytest.raises(NotTrusted, match="can be copied"):
        next_ring(live, ring_change(live, credentials=copied))


def opened(raw: bytes) -> RingOffer:
    return open_ring_offer(raw, pinned=PINNED, now_ms=NOW_MS, is_clock_trusted=True)


def long_offer(words: int, *, label: str = "wide") -> RingOffer:
    """Make an offer whose warrant grows by four bytes for each of its words, of three bytes in UTF-8."""
    wide = [
        replace(FastKey("wide").credential, credential_id=base64.b64encode(bytes([n]) * 255).decode()) for n in range(4)
    ]
    wide[0] = replace(wide[0], label=label)
    return offered(credentials=wide, order={"words": "\u6f22" * words, "nonce": "n" * 200})


def room_in(offer: RingOffer) -> int:
    return MAX_PROOF_BYTES - len(offer.change) - len(offer.warrant)


def test_offer_fits_one_row_of_a_journal() -> None:
    label = "wide" + "x" * (room_in(long_offer(0)) % 4)
    words = room_in(long_offer(0, label=label)) // 4
    assert words >= 2
    assert room_in(long_offer(words, label=label)) == 0
    with pytest.raises(NotTrusted, match="more than 5400 bytes"):
        long_offer(words + 1, label=label)


def test_every_new_key_can_be_proved() -> None:
    proofs = [hardware(ROOTED) for _ in range(2)]
    made = [credential_of(proof, label=f"key {n}", added_at_ms=1) for n, proof in enumerate(proofs)]
    assert offered(ROOTED, credentials=made, attestations=proofs).ring.credentials == tuple(made)
    with pytest.raises(NotTrusted, match="of new credentials only"):
        offered(ROOTED, credentials=made, attestations=[*proofs, proofs[0]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": 1}, "fields"),
        ({"change": 1}, "change must be text"),
        ({"change": "A"}, "ring offer: change: not base64"),
        ({"warrant": None}, "warrant must be text"),
        ({"warrant": "A"}, "ring offer: warrant: not base64"),
        ({"attestations": {}}, "attestations must be a list"),
        ({"attestations": [1]}, "attestation: not an object"),
        ({"attestations": [1] * 4}, "attestations must be a list"),
    ],
)
def test_offer_with_an_absurd_field_is_refused(change: dict[str, Any], reason: str) -> None:
    made = ring_change(PINNED, credentials=THREE)
    content = json.loads(ring_offer(change=made, warrant=touch(warrant(PINNED, made), by=KEYS)))
    assert opened(canonical_json(content)).wait_ms == 0
    with pytest.raises(NotTrusted, match=reason):
        opened(canonical_json({**content, **change}))


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b" " * 16_385])
def test_offer_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(NotTrusted, match="ring offer"):
        opened(raw)


# What proves a new key's maker.


def hardware(pinned: KeyRing, *, maker: Any = MAKER) -> Attestation:
    key = SoftwareKey(memory=Memory(pin_hash=pin_hash("1234")), maker=maker)
    answer = make_credential(
        key, rp_id="localhost", origin="http://localhost:8650", challenge=enrolment_challenge(pinned), pin="1234"
    )
    return Attestation(
        credential_id=answer.credential_id,
        attestation_object=answer.attestation_object,
        client_data=answer.client_data,
    )


ROOTED = replace(PINNED, attestation_roots=(base64.b64encode(MAKER.root).decode(),))
PROVED = hardware(ROOTED)
PROVED_CREDENTIAL = credential_of(PROVED, label="hardware", added_at_ms=1)


def test_new_key_of_a_maker_in_the_ring_is_taken() -> None:
    offer = offered(ROOTED, credentials=(*TWO[:1], PROVED_CREDENTIAL), attestations=[PROVED])
    assert offer.ring.credentials[1] == PROVED_CREDENTIAL


def test_new_key_that_nothing_proves_is_refused_where_roots_are_named() -> None:
    for attestations in ((), [hardware(ROOTED)]):
        with pytest.raises(NotTrusted, match="nothing proves who made the security key 'hardware'"):
            offered(ROOTED, credentials=(*TWO[:1], PROVED_CREDENTIAL), attestations=attestations)
    swapped = replace(KEYS[0].credential, public_key=THIRD.credential.public_key)
    with pytest.raises(NotTrusted, match="nothing proves who made the security key 'first'"):
        offered(ROOTED, credentials=(KEYS[1].credential, swapped))


def test_new_key_of_another_maker_is_refused() -> None:
    other = hardware(ROOTED, maker=new_maker())
    with pytest.raises(NotTrusted, match="no certificate chain"):
        offered(
            ROOTED,
            credentials=(*TWO[:1], credential_of(other, label="other", added_at_ms=1)),
            attestations=[other],
        )


def test_roots_that_an_offer_brings_along_prove_nothing() -> None:
    stranger = new_maker()
    other = hardware(ROOTED, maker=stranger)
    with pytest.raises(NotTrusted, match="no certificate chain"):
        offered(
            ROOTED,
            credentials=(*TWO[:1], credential_of(other, label="other", added_at_ms=1)),
            attestations=[other],
            attestation_roots=[base64.b64encode(stranger.root).decode()],
        )


def test_proof_that_is_given_is_checked_where_no_roots_are_named_too() -> None:
    proof = hardware(PINNED)
    credential = credential_of(proof, label="hardware", added_at_ms=1)
    assert offered(credentials=(*TWO[:1], credential), attestations=[proof]).wait_ms == 0
    with pytest.raises(NotTrusted, match="not of the credential"):
        offered(
            credentials=(*TWO[:1], replace(credential, aaguid="00000000-0000-0000-0000-000000000000")),
            attestations=[proof],
        )


# What stops a ring that waits.


def cancel(by: Sequence[FastKey] | Signer = KEYS[1:2], *, now_ms: int = NOW_MS, **changed: Any) -> None:
    waiting = next_ring(PINNED, ring_change(PINNED, credentials=THREE))
    made = warrant(PINNED, ring_change(PINNED, credentials=THREE))
    order = replace(made, **{"subject": cancel_subject(PINNED, waiting), **changed})
    raw = signed(order, by)
    assert check_cancel(raw, pinned=PINNED, offered=waiting, now_ms=now_ms, is_clock_trusted=True).warrant == order
    with pytest.raises(NotTrusted, match="clock"):
        check_cancel(raw, pinned=PINNED, offered=waiting, now_ms=now_ms, is_clock_trusted=False)


def test_any_key_of_the_pinned_ring_cancels() -> None:
    cancel()
    cancel(KEYS[:1])
    assert cancel_subject(PINNED, PINNED) == f"ring-cancel:3:{ring_hash(PINNED)}"


def test_cancel_by_a_new_key_or_the_recovery_key_is_refused() -> None:
    with pytest.raises(NotTrusted, match="no security key"):
        cancel((THIRD,))
    with pytest.raises(NotTrusted, match="only a security key cancels"):
        cancel(Signer.RECOVERY_KEY)


@pytest.mark.parametrize(
    "change", [{"subject": "ring-cancel:3:x"}, {"audience": "gateway"}, {"purpose": "release"}, {"account": "1"}]
)
def test_cancel_of_something_else_is_refused(change: dict[str, str]) -> None:
    (name,) = change
    with pytest.raises(NotTrusted, match=name):
        cancel(**change)


def test_cancel_out_of_its_time_is_refused() -> None:
    with pytest.raises(NotTrusted, match="expired"):
        cancel(now_ms=NOW_MS + 60_000)


# Why a ring in a file is not the pinned one.

NEXT = next_ring(PINNED, ring_change(PINNED, credentials=THREE))


def said(ring: KeyRing) -> str | None:
    return difference(ring, pinned_hash=ring_hash(PINNED), pinned_version=PINNED.version)


def test_difference_of_the_pinned_ring_is_none() -> None:
    assert said(PINNED) is None


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        (replace(PINNED, version=2), "version 2 is older than the pinned version 3"),
        (replace(PINNED, policy_hash="b" * 64), "another ring of version 3"),
        (replace(NEXT, previous_hash="q" * 64), "version 4 does not follow"),
        (replace(NEXT, version=5), "version 5 does not follow"),
        (NEXT, "version 4 follows the pinned one, but no warrant orders it"),
    ],
)
def test_difference_names_why_a_ring_is_not_the_pinned_one(ring: KeyRing, reason: str) -> None:
    assert reason in str(said(ring))
