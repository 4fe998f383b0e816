"""Who made a security key: proved by certificates, never by a name."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.webauthn import AttestationObject
from trust_parts import ORIGIN, RP_ID, ring_of

from trade_core.trust.attestation import (
    MAX_ATTESTATION_BYTES,
    Attestation,
    check_attestation,
    credential_of,
    enrolment_challenge,
    parse_attestation,
)
from trade_core.trust.credential import Credential
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import Maker, new_maker

MAKER, STRANGER = new_maker(), new_maker()
RING = ring_of(
    load_private_key(new_private_key()), attestation_roots=(base64.b64encode(MAKER.root).decode(),), credentials=()
)


def made(
    ring: KeyRing = RING, *, maker: Maker = MAKER, origin: str = ORIGIN, rp_id: str = RP_ID, **changed: Any
) -> Attestation:
    key = SoftwareKey(memory=Memory(pin_hash=pin_hash("1234")), maker=maker, **changed)
    answer = make_credential(key, rp_id=rp_id, origin=origin, challenge=enrolment_challenge(ring), pin="1234")
    return Attestation(
        credential_id=answer.credential_id,
        attestation_object=answer.attestation_object,
        client_data=answer.client_data,
    )


GOOD = made()


def named(attestation: Attestation, label: str = "blue") -> Credential:
    return credential_of(attestation, label=label, added_at_ms=1)


def check(attestation: Attestation = GOOD, *, ring: KeyRing = RING, **changed: Any) -> None:
    check_attestation(attestation, credential=replace(named(attestation), **changed), pinned=ring)


def restated(**statement: Any) -> Attestation:
    """Change the statement of a good attestation."""
    content: Any = dict(cbor.decode(GOOD.attestation_object))  # type: ignore[call-overload]
    content["attStmt"] = {name: value for name, value in {**content["attStmt"], **statement}.items() if value}
    return replace(GOOD, attestation_object=cbor.encode(content))


def without_a_statement(form: str = "none") -> Attestation:
    auth_data = AttestationObject(GOOD.attestation_object).auth_data
    return replace(GOOD, attestation_object=bytes(AttestationObject.create(form, auth_data, {})))


def test_attestation_of_a_maker_in_the_ring_passes() -> None:
    check()
    found = named(GOOD)
    assert (found.label, found.aaguid) == ("blue", "7d351e0a-5e2b-4ad1-b7c4-51af0d70c0de")
    assert parse_attestation(GOOD.content()) == GOOD


def test_attestation_of_another_maker_is_refused_where_roots_are_named() -> None:
    other = made(maker=STRANGER)
    with pytest.raises(NotTrusted, match="no certificate chain leads to a root"):
        check(other)
    unnamed = replace(RING, attestation_roots=())
    check(made(unnamed, maker=STRANGER), ring=unnamed)
    both = replace(RING, attestation_roots=(base64.b64encode(STRANGER.root).decode(), *RING.attestation_roots))
    check(made(both), ring=both)


@pytest.mark.parametrize(
    ("attestation", "reason"),
    [
        (without_a_statement(), "no certificate chain"),
        (without_a_statement("packed"), "no certificate chain"),
        (without_a_statement("fido-u2f"), "no certificate chain"),
        (restated(x5c=None), "no certificate chain"),
        (restated(sig=b"s" * 70), "no certificate chain"),
        (restated(x5c=[STRANGER.model_certificate]), "no certificate chain"),
        (restated(x5c=[b"certificate"]), "no certificate chain"),
        (restated(x5c=[MAKER.root]), "no certificate chain"),
        (restated(ecdaaKeyId=b"e"), "no certificate chain"),
        (restated(alg=-65_000), "no certificate chain"),
    ],
)
def test_attestation_that_proves_no_maker_is_refused(attestation: Attestation, reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        check(attestation)


def test_key_that_vouches_for_itself_is_refused_where_roots_are_named() -> None:
    key = SoftwareKey(memory=Memory(pin_hash=pin_hash("1234")), maker=MAKER)
    answer = make_credential(key, rp_id=RP_ID, origin=ORIGIN, challenge=enrolment_challenge(RING), pin="1234")
    data = AttestationObject(answer.attestation_object).auth_data
    private = key.memory.credentials[RP_ID][answer.credential_id]
    signature = private.sign(data + hashlib.sha256(answer.client_data).digest(), ec.ECDSA(hashes.SHA256()))
    itself = Attestation(
        credential_id=answer.credential_id,
        attestation_object=bytes(AttestationObject.create("packed", data, {"alg": -7, "sig": signature})),
        client_data=answer.client_data,
    )
    with pytest.raises(NotTrusted, match="no certificate chain leads to a root"):
        check(itself)


def test_attestation_for_another_ring_origin_or_rp_id_is_refused() -> None:
    with pytest.raises(NotTrusted, match="challenge"):
        check(made(replace(RING, version=2)))
    with pytest.raises(NotTrusted, match="origin"):
        check(made(origin="http://localhost:8651"))
    elsewhere = replace(RING, rp_id="example.org", origins=("https://example.org", ORIGIN))
    with pytest.raises(NotTrusted, match="rp id"):
        check(made(elsewhere), ring=elsewhere)


def test_challenge_of_an_enrolment_is_bound_to_the_ring() -> None:
    assert enrolment_challenge(RING) != enrolment_challenge(replace(RING, version=2))
    assert len(enrolment_challenge(RING)) == 32
    assert ring_hash(RING).encode() not in enrolment_challenge(RING)


@pytest.mark.parametrize(
    "change",
    [
        {"aaguid": "00000000-0000-0000-0000-000000000000"},
        {"public_key": "AAAA"},
        {"credential_id": "AAAA"},
        {"is_backup_eligible": True},
    ],
)
def test_attestation_of_another_credential_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted, match="not of the credential 'blue'"):
        check(**change)


def test_attestation_under_another_identifier_is_refused() -> None:
    with pytest.raises(NotTrusted, match="not of the credential"):
        check(replace(GOOD, credential_id=b"another"))


def test_attestation_of_a_key_that_can_be_copied_counts_when_simulated_only() -> None:
    copied = made(is_backup_eligible=True)
    assert named(copied).is_backup_eligible
    check(copied)
    live = replace(RING, environment="live")
    with pytest.raises(NotTrusted, match="can be copied"):
        check(made(live, is_backup_eligible=True), ring=live)
    check(made(live), ring=live)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xa0",
        b"\x00",
        b"\x81" * 2000,
        cbor.encode({"fmt": "none", "attStmt": {}, "authData": b"short"}),
        cbor.encode({"fmt": "none", "attStmt": {}}),
        GOOD.attestation_object + b"\0",
        GOOD.attestation_object[:-1],
    ],
)
def test_attestation_that_cannot_be_read_is_refused(raw: bytes) -> None:
    broken = replace(GOOD, attestation_object=raw)
    with pytest.raises(NotTrusted, match="attestation"):
        check_attestation(broken, credential=named(GOOD), pinned=RING)
    with pytest.raises(NotTrusted, match="attestation"):
        named(broken)


def test_attestation_without_a_credential_is_refused() -> None:
    bare = AttestationObject(GOOD.attestation_object).auth_data[:32] + b"\x05\0\0\0\1"
    raw = cbor.encode({"fmt": "none", "attStmt": {}, "authData": bare})
    with pytest.raises(NotTrusted, match="holds no credential"):
        named(replace(GOOD, attestation_object=raw))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"more": "x"}, "fields"),
        ({"client_data": 1}, "client_data must be str"),
        ({"client_data": "A"}, "attestation: client_data: not base64"),
        ({"attestation_object": base64.b64encode(b"x" * 4097).decode()}, "more than 4096 bytes"),
    ],
)
def test_attestation_with_an_absurd_field_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        parse_attestation({**GOOD.content(), **change})


@pytest.mark.parametrize("item", [None, [], "x"])
def test_attestation_that_is_none_is_refused(item: object) -> None:
    with pytest.raises(NotTrusted, match="attestation: not an object"):
        parse_attestation(item)
    longest = replace(GOOD, attestation_object=b"x" * 4096)
    assert parse_attestation(longest.content()) == longest
    assert MAX_ATTESTATION_BYTES == 4096
