from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text, sign
from trade_core.trust.lease import (
    CEILINGS,
    MAX_LEASE_BYTES,
    MAX_LIFETIME_S,
    PURPOSE,
    SEND_EVERY_S,
    Lease,
    open_lease,
    sign_lease,
)

KEY = load_private_key(base64.b64encode(bytes(range(32))).decode())
PUBLIC = public_text(KEY)
LEASE = Lease(
    deployment="d1",
    environment="simulated",
    account="1002",
    boot_nonce="n1",
    generation=7,
    ceiling="ACTIVE",
    scale="1",
    policy_hash="a" * 64,
    ring_hash="b" * 64,
    expires_at_ms=1_700_000_030_000,
)
SIGNED = sign_lease(LEASE, KEY)


def signed_content(content: object, *, purpose: str = PURPOSE) -> bytes:
    """Sign whatever content with the right key: only the parser stands between it and belief."""
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    signature = sign(KEY, purpose=purpose, payload=payload)
    return json.dumps({"payload": base64.b64encode(payload).decode(), "signature": signature}).encode()


def test_lease_opens_as_it_was_signed() -> None:
    assert open_lease(SIGNED, lease_key=PUBLIC) == LEASE


def test_lease_with_any_byte_changed_is_not_trusted() -> None:
    for index in range(len(SIGNED)):
        for flip in (0x01, 0x20, 0x80):
            tampered = bytearray(SIGNED)
            tampered[index] ^= flip
            with pytest.raises(NotTrusted):
                open_lease(bytes(tampered), lease_key=PUBLIC)


def test_lease_cut_anywhere_is_not_trusted() -> None:
    for length in range(len(SIGNED)):
        with pytest.raises(NotTrusted):
            open_lease(SIGNED[:length], lease_key=PUBLIC)


@pytest.mark.parametrize("name", LEASE.content())
def test_lease_with_a_field_changed_under_the_old_signature_is_not_trusted(name: str) -> None:
    outer = json.loads(SIGNED)
    content = LEASE.content()
    content[name] = content[name] + 1 if isinstance(content[name], int) else "X"
    outer["payload"] = base64.b64encode(canonical_json(content)).decode()
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(json.dumps(outer).encode(), lease_key=PUBLIC)


def test_lease_by_another_key_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(sign_lease(LEASE, load_private_key(new_private_key())), lease_key=PUBLIC)


@pytest.mark.parametrize("purpose", ["lease/v2", "warrant/v1", "lease"])
def test_lease_signed_for_another_purpose_is_not_trusted(purpose: str) -> None:
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(signed_content(LEASE.content(), purpose=purpose), lease_key=PUBLIC)


@pytest.mark.parametrize("name", LEASE.content())
def test_signed_lease_without_a_field_is_not_trusted(name: str) -> None:
    content = LEASE.content()
    del content[name]
    with pytest.raises(NotTrusted, match="not those of a lease"):
        open_lease(signed_content(content), lease_key=PUBLIC)


def test_signed_lease_with_a_further_field_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="not those of a lease"):
        open_lease(signed_content({**LEASE.content(), "more": 1}), lease_key=PUBLIC)


@pytest.mark.parametrize("name", LEASE.content())
@pytest.mark.parametrize("value", [None, True, 1.0, [], {}])
def test_signed_lease_with_a_field_of_another_type_is_not_trusted(name: str, value: object) -> None:
    with pytest.raises(NotTrusted, match=f"{name} must be"):
        open_lease(signed_content({**LEASE.content(), name: value}), lease_key=PUBLIC)


@pytest.mark.parametrize("name", ["generation", "expires_at_ms"])
@pytest.mark.parametrize(("value", "is_trusted"), [(0, True), (2**53 - 1, True), (-1, False), (2**53, False)])
def test_signed_lease_integers_have_bounds(name: str, value: int, is_trusted: bool) -> None:
    raw = signed_content({**LEASE.content(), name: value})
    if is_trusted:
        assert getattr(open_lease(raw, lease_key=PUBLIC), name) == value
    else:
        with pytest.raises(NotTrusted, match="out of range"):
            open_lease(raw, lease_key=PUBLIC)


@pytest.mark.parametrize("ceiling", CEILINGS)
def test_signed_lease_of_every_ceiling_opens(ceiling: str) -> None:
    lease = replace(LEASE, ceiling=ceiling)
    assert open_lease(sign_lease(lease, KEY), lease_key=PUBLIC) == lease


@pytest.mark.parametrize("ceiling", ["KILLED", "active", "", "FREE"])
def test_signed_lease_of_another_ceiling_is_not_trusted(ceiling: str) -> None:
    with pytest.raises(NotTrusted, match="not a trading state"):
        open_lease(sign_lease(replace(LEASE, ceiling=ceiling), KEY), lease_key=PUBLIC)


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_signed_payload_that_is_no_object_is_not_trusted(payload: bytes) -> None:
    with pytest.raises(NotTrusted, match="lease: "):
        open_lease(signed_content(payload), lease_key=PUBLIC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payload":"","signature":"","x":""}',
        b'{"payload":1,"signature":""}',
        b'{"payload":"","signature":1}',
        b"[" * 10_000,
        b"\xff",
    ],
)
def test_lease_of_another_form_is_not_trusted(raw: bytes) -> None:
    with pytest.raises(NotTrusted):
        open_lease(raw, lease_key=PUBLIC)


@pytest.mark.parametrize(("excess", "is_trusted"), [(0, True), (1, False)])
def test_lease_length_has_a_bound(excess: int, is_trusted: bool) -> None:
    raw = SIGNED + b" " * (MAX_LEASE_BYTES - len(SIGNED) + excess)
    if is_trusted:
        assert open_lease(raw, lease_key=PUBLIC) == LEASE
    else:
        with pytest.raises(NotTrusted, match="at most"):
            open_lease(raw, lease_key=PUBLIC)


def test_lease_lives_for_thirty_seconds_at_most_and_is_renewed_every_five() -> None:
    assert (MAX_LIFETIME_S, SEND_EVERY_S, MAX_LEASE_BYTES) == (30, 5, 16_384)


@pytest.mark.parametrize(("generation", "is_trusted"), [(0, True), (2**53 - 1, True), (2**53, False), (-1, False)])
def test_lease_has_whole_numbers_that_every_reader_of_json_keeps(generation: int, *, is_trusted: bool) -> None:
    raw = signed_content({**LEASE.content(), "generation": generation})
    if is_trusted:
        assert open_lease(raw, lease_key=PUBLIC).generation == generation
    else:
        with pytest.raises(NotTrusted):
            open_lease(raw, lease_key=PUBLIC)


def test_lease_that_is_a_list_of_the_right_words_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="exactly payload and signature"):
        open_lease(b'["payload", "signature"]', lease_key=PUBLIC)


@pytest.mark.parametrize(("length", "sentence"), [(16_384, ""), (16_385, "at most 16384")])
def test_lease_of_more_than_its_bytes_is_not_read(length: int, sentence: str) -> None:
    raw = SIGNED + b" " * (length - len(SIGNED))
    if not sentence:
        assert open_lease(raw, lease_key=PUBLIC) == LEASE
    else:
        with pytest.raises(NotTrusted, match=sentence):
            open_lease(raw, lease_key=PUBLIC)
