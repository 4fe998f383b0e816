"""Security keys as a ring names them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fido2 import cbor
from fido2.cose import ES256, ES384, RS256
from trust_parts import KEYS, FastKey

from trade_core.trust.credential import (
    MAX_CREDENTIAL_ID_BYTES,
    MAX_CREDENTIALS,
    MAX_LABEL_CHARACTERS,
    MAX_PUBLIC_KEY_BYTES,
    Credential,
    check_credentials,
    cose_key,
    parse_credentials,
    verify_by,
)
from trade_core.trust.keys import NotTrusted

ONE = KEYS[0].credential
P256 = ec.generate_private_key(ec.SECP256R1())
COSE: dict[int, Any] = dict(ES256.from_cryptography_key(P256.public_key()))


def text(key: object) -> str:
    return base64.b64encode(cbor.encode(key)).decode()  # type: ignore[arg-type]


def identifier(length: int) -> str:
    return base64.b64encode(b"i" * length).decode()


def parsed(*credentials: Credential, is_simulated: bool = True) -> tuple[Credential, ...]:
    return parse_credentials([one.content() for one in credentials], is_simulated=is_simulated)


def test_credentials_survive_their_plain_form() -> None:
    both = tuple(key.credential for key in KEYS)
    assert parsed(*both) == both
    assert parsed(is_simulated=False) == ()


def test_signature_of_both_kinds_of_key_is_checked() -> None:
    es256 = replace(ONE, public_key=text(COSE))
    signature = P256.sign(b"message", ec.ECDSA(hashes.SHA256()))
    verify_by(es256, message=b"message", signature=signature)
    for wrong in (b"", signature[:-1], signature + b"\0"):
        with pytest.raises(NotTrusted, match="not by security key 'first'"):
            verify_by(es256, message=b"message", signature=wrong)
    with pytest.raises(NotTrusted, match="not by security key"):
        verify_by(es256, message=b"another", signature=signature)
    with pytest.raises(NotTrusted, match="not by security key"):
        verify_by(ONE, message=b"message", signature=b"s" * 64)


def test_key_of_another_algorithm_is_refused() -> None:
    others = (
        ES384.from_cryptography_key(ec.generate_private_key(ec.SECP384R1()).public_key()),
        {**COSE, 3: -9},
        {**COSE, 3: -65_000},
    )
    for other in others:
        with pytest.raises(NotTrusted, match="only ES256 and Ed25519"):
            cose_key(text(other))
    with pytest.raises(NotTrusted, match="bytes, at most 128"):
        cose_key(text(RS256.from_cryptography_key(rsa.generate_private_key(65537, 2048).public_key())))


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", b"\xa0", b"\xa1\x03\x26" * 2, b"\x80", b"\xc0\x00", b"\x81" * 100, b"\xa1\x80\x00", b"\xbf"]
)
def test_key_that_is_no_cose_is_refused(raw: bytes) -> None:
    with pytest.raises(NotTrusted, match="security key: not a COSE key"):
        cose_key(base64.b64encode(raw).decode())


def test_key_has_at_most_its_bytes() -> None:
    for length, reason in ((128, "not a COSE key"), (129, "129 bytes, at most 128")):
        with pytest.raises(NotTrusted, match=reason):
            cose_key(base64.b64encode(b"x" * length).decode())


@pytest.mark.parametrize("change", [{-1: 2}, {-2: b"x" * 32}, {-2: "x"}, {-2: None}])
def test_key_that_is_no_point_of_its_curve_is_refused(change: dict[int, Any]) -> None:
    changed = {name: value for name, value in {**COSE, **change}.items() if value is not None}
    with pytest.raises(NotTrusted, match="security key: not a COSE key in its one form"):
        cose_key(text(changed))


def test_key_in_another_form_is_refused() -> None:
    raw = cbor.encode(COSE)
    longer = raw.replace(b"\x03\x26", b"\x03\x38\x06", 1)  # the algorithm -7, written in two bytes
    assert cbor.decode(longer) == COSE
    with pytest.raises(NotTrusted, match="one form"):
        cose_key(base64.b64encode(longer).decode())
    with pytest.raises(NotTrusted, match="not a COSE key"):
        cose_key(base64.b64encode(raw + b"\0").decode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"credential_id": ""}, "0 bytes, must be 1 to 255"),
        ({"credential_id": identifier(256)}, "256 bytes, must be 1 to 255"),
        ({"credential_id": "AA"}, "credential id: not base64"),
        ({"label": ""}, "label is empty"),
        ({"label": "l" * 41}, "too long"),
        ({"label": "a\x1bb"}, "not plain text"),
        ({"aaguid": "0" * 36}, "aaguid"),
        ({"aaguid": "00000000-0000-0000-0000-00000000000g"}, "aaguid"),
        ({"public_key": "AAAA"}, "security key"),
        ({"added_at_ms": "1"}, "added_at_ms must be int"),
        ({"added_at_ms": -1}, "out of range"),
        ({"is_backup_eligible": 1}, "is_backup_eligible must be bool"),
        ({"is_backup_eligible": None}, "is_backup_eligible must be bool"),
        ({"more": "x"}, "its fields are not those of a credential"),
    ],
)
def test_credential_with_an_absurd_field_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        parse_credentials([{**ONE.content(), **change}], is_simulated=True)


@pytest.mark.parametrize(
    "change", [{"credential_id": identifier(1)}, {"credential_id": identifier(255)}, {"label": "l"}]
)
def test_credential_at_its_bounds_is_read(change: dict[str, Any]) -> None:
    made = replace(ONE, **{"label": "l" * 40, **change})
    assert parsed(made) == (made,)


def test_credential_without_a_field_is_refused() -> None:
    for name in ONE.content():
        content = ONE.content()
        del content[name]
        with pytest.raises(NotTrusted, match=r"fields|is_backup_eligible"):
            parse_credentials([content], is_simulated=True)


@pytest.mark.parametrize("listed", [None, {}, "x", [1], [None]])
def test_credentials_that_are_no_list_of_objects_are_refused(listed: object) -> None:
    with pytest.raises(NotTrusted, match="key ring: "):
        parse_credentials(listed, is_simulated=True)


def test_credentials_are_at_most_five() -> None:
    many = [FastKey(f"key {number}").credential for number in range(6)]
    assert len(parsed(*many[:5])) == 5
    with pytest.raises(NotTrusted, match="at most 5"):
        parsed(*many)


def test_credentials_that_repeat_are_refused() -> None:
    other = KEYS[1].credential
    with pytest.raises(NotTrusted, match="stands in it twice"):
        parsed(ONE, replace(other, credential_id=ONE.credential_id))
    with pytest.raises(NotTrusted, match="two credentials have one key"):
        parsed(ONE, replace(other, public_key=ONE.public_key))


def test_credential_that_can_be_copied_counts_when_simulated_only() -> None:
    copied = replace(ONE, is_backup_eligible=True)
    assert parsed(copied) == (copied,)
    check_credentials([ONE], is_simulated=False)
    with pytest.raises(NotTrusted, match="can be copied"):
        parsed(copied, is_simulated=False)


def test_credentials_have_the_bounds_that_were_decided() -> None:
    bounds = (MAX_CREDENTIALS, MAX_CREDENTIAL_ID_BYTES, MAX_LABEL_CHARACTERS, MAX_PUBLIC_KEY_BYTES)
    assert bounds == (5, 255, 40, 128)
