"""One touch of a security key: everything that WebAuthn leaves to the verifier is checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, ORIGIN, RP_ID, FastKey

from trade_core.trust.assertion import (
    AUTHENTICATOR_DATA_BYTES,
    MAX_CLIENT_DATA_BYTES,
    MAX_SIGNATURE_BYTES,
    Assertion,
    Touch,
    challenge_of,
    check_assertion,
    parse_assertion,
)
from trade_core.trust.keys import NotTrusted

KEY = KEYS[0]
PAYLOAD = b"what was ordered"
RP_HASH = hashlib.sha256(RP_ID.encode()).digest()
DATA = RP_HASH + b"\x05" + (7).to_bytes(4, "big")


def check(assertion: Assertion, *, is_simulated: bool = True, payload: bytes = PAYLOAD) -> Touch:
    return check_assertion(
        assertion,
        challenge=challenge_of(payload),
        rp_id=RP_ID,
        origins=(ORIGIN, "https://b.example"),
        credentials=[key.credential for key in KEYS],
        is_simulated=is_simulated,
    )


def test_touch_of_a_key_in_the_ring_counts() -> None:
    assert check(KEY.touch(PAYLOAD, counter=7)) == Touch(credential=KEY.credential, counter=7)
    assert check(KEYS[1].touch(PAYLOAD, client={"origin": "https://b.example", "more": 1})).credential.label == "second"
    assert check(KEY.touch(PAYLOAD, client={"crossOrigin": None}), is_simulated=False)


def test_touch_survives_its_plain_form() -> None:
    assertion = KEY.touch(PAYLOAD)
    assert parse_assertion(assertion.content()) == assertion


def test_touch_of_a_stranger_is_refused() -> None:
    with pytest.raises(NotTrusted, match="no security key of the key ring"):
        check(FastKey("stranger").touch(PAYLOAD))


def test_touch_by_another_key_under_a_name_of_the_ring_is_refused() -> None:
    stranger = FastKey("stranger")
    with pytest.raises(NotTrusted, match="not by security key 'first'"):
        check(replace(stranger.touch(PAYLOAD), credential_id=KEY.identifier))


def test_touch_for_other_bytes_is_refused() -> None:
    with pytest.raises(NotTrusted, match="challenge is another"):
        check(KEY.touch(PAYLOAD + b" "))


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ({"type": "webauthn.create"}, "type is not webauthn.get"),
        ({"type": "payment.get"}, "type is not webauthn.get"),
        ({"type": None}, "type is not webauthn.get"),
        ({"challenge": ""}, "challenge"),
        ({"challenge": None}, "challenge"),
        ({"challenge": 1}, "challenge"),
        ({"origin": None}, "origin"),
        ({"origin": "http://localhost"}, "origin"),
        ({"origin": "http://localhost:8651"}, "origin"),
        ({"origin": "http://localhost:8650/"}, "origin"),
        ({"origin": "http://localhost:86500"}, "origin"),
        ({"origin": "https://localhost:8650"}, "origin"),
        ({"origin": "http://LOCALHOST:8650"}, "origin"),
        ({"origin": "http://evil.localhost:8650"}, "origin"),
        ({"origin": "http://localhost:8650@evil.example"}, "origin"),
        ({"origin": "http://localhost:8650.evil.example"}, "origin"),
        ({"origin": [ORIGIN]}, "origin"),
        ({"crossOrigin": True}, "another site's page"),
        ({"crossOrigin": 0}, "another site's page"),
        ({"crossOrigin": "false"}, "another site's page"),
        ({"topOrigin": "https://evil.example"}, "another site's page"),
        ({"topOrigin": ORIGIN}, "another site's page"),
    ],
)
def test_touch_that_was_asked_otherwise_is_refused(client: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=f"client data: .*{reason}"):
        check(KEY.touch(PAYLOAD, client=client))


@pytest.mark.parametrize("padding", ["=", "\n", "A"])
def test_touch_with_a_padded_challenge_is_refused(padding: str) -> None:
    told = json.loads(KEY.touch(PAYLOAD).client_data)
    with pytest.raises(NotTrusted, match="challenge"):
        check(KEY.touch(PAYLOAD, client={"challenge": told["challenge"] + padding}))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw + b"x",
        lambda raw: raw[:-1] + b',"origin":"http://localhost:8650"}',
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw[:-1] + b',"more":"' + b"m" * 1024 + b'"}',
    ],
)
def test_touch_with_client_data_in_another_form_is_refused(change: Any) -> None:
    with pytest.raises(NotTrusted, match="client data"):
        check(KEY.sign(DATA, change(KEY.touch(PAYLOAD).client_data)))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (0x00, "nobody was present"),
        (0x04, "nobody was present"),
        (0x01, "was not verified"),
        (0x45, "says more than a touch does"),
        (0x85, "says more than a touch does"),
    ],
)
def test_touch_with_flags_that_say_too_little_or_too_much_is_refused(flags: int, reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        check(KEY.touch(PAYLOAD, flags=flags))


def test_touch_of_a_key_that_can_be_copied_counts_when_simulated_only() -> None:
    copied = KEY.touch(PAYLOAD, flags=0x0D)
    check(copied)
    with pytest.raises(NotTrusted, match="can be copied"):
        check(copied, is_simulated=False)


def test_touch_for_another_rp_id_is_refused() -> None:
    for other in ("evil.example", "", "localhost.", "sub.localhost"):
        with pytest.raises(NotTrusted, match="rp id"):
            check(KEY.touch(PAYLOAD, rp_id=other))


@pytest.mark.parametrize("more", [b"\0", b"\xa0"])
def test_touch_with_more_than_the_fixed_bytes_is_refused(more: bytes) -> None:
    with pytest.raises(NotTrusted, match="38 bytes, must be 37"):
        check(KEY.touch(PAYLOAD, more=more))
    with pytest.raises(NotTrusted, match="36 bytes, must be 37"):
        check(KEY.sign(DATA[:-1], KEY.touch(PAYLOAD).client_data))


def test_touch_whose_data_was_changed_after_signing_is_refused() -> None:
    made = KEY.touch(PAYLOAD, counter=7)
    risen = made.authenticator_data[:-1] + b"\xff"
    with pytest.raises(NotTrusted, match="signature"):
        check(replace(made, authenticator_data=risen))
    with pytest.raises(NotTrusted, match="signature"):
        check(replace(made, client_data=made.client_data + b" "))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"credential_id": "A" * 344}, "credential_id has 258 bytes, at most 255"),
        ({"authenticator_data": "A" * 52}, "authenticator_data has 39 bytes, at most 37"),
        ({"client_data": "A" * 1368}, "client_data has 1026 bytes, at most 1024"),
        ({"signature": "A" * 108}, "signature has 81 bytes, at most 80"),
        ({"signature": "AA"}, "assertion: signature: not base64"),
        ({"signature": 1}, "signature must be str"),
        ({"user_handle": ""}, "fields"),
    ],
)
def test_assertion_with_an_absurd_field_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTrusted, match=reason):
        parse_assertion({**KEY.touch(PAYLOAD).content(), **change})


@pytest.mark.parametrize("item", [None, [], "x", {}])
def test_assertion_that_is_none_is_refused(item: object) -> None:
    with pytest.raises(NotTrusted, match="assertion"):
        parse_assertion(item)


def test_assertion_at_its_bounds_is_read() -> None:
    lengths = {"credential_id": 255, "authenticator_data": 37, "client_data": 1024, "signature": 80}
    longest = Assertion(**{name: b"x" * length for name, length in lengths.items()})
    assert parse_assertion(longest.content()) == longest
    assert (AUTHENTICATOR_DATA_BYTES, MAX_CLIENT_DATA_BYTES, MAX_SIGNATURE_BYTES) == (37, 1024, 80)
