from __future__ import annotations

import base64

import pytest

from trade_core.trust.keys import (
    NotTrusted,
    decode_base64,
    key_id,
    load_private_key,
    load_public_key,
    new_private_key,
    public_text,
    sign,
    verify,
)

PRIVATE = base64.b64encode(bytes(range(32))).decode()
KEY = load_private_key(PRIVATE)
PUBLIC = public_text(KEY)
OTHER_PUBLIC = public_text(load_private_key(base64.b64encode(bytes(32)).decode()))


def test_signature_verifies_for_its_key_purpose_and_payload() -> None:
    verify(PUBLIC, purpose="p/v1", payload=b"x", signature=sign(KEY, purpose="p/v1", payload=b"x"))


@pytest.mark.parametrize(
    ("public", "purpose", "payload"),
    [
        (OTHER_PUBLIC, "p/v1", b"x"),
        (PUBLIC, "p/v2", b"x"),
        (PUBLIC, "p/v", b"1\nx"),
        (PUBLIC, "p/v1", b"y"),
        (PUBLIC, "p/v1", b""),
    ],
)
def test_signature_for_anything_else_is_not_trusted(public: str, purpose: str, payload: bytes) -> None:
    signature = sign(KEY, purpose="p/v1", payload=b"x")
    with pytest.raises(NotTrusted, match="not by key"):
        verify(public, purpose=purpose, payload=payload, signature=signature)


@pytest.mark.parametrize("signature", ["", "!", "AAAA", "\u00e9" * 88, base64.b64encode(bytes(63)).decode()])
def test_signature_of_the_wrong_form_is_not_trusted(signature: str) -> None:
    with pytest.raises(NotTrusted, match="signature"):
        verify(PUBLIC, purpose="p/v1", payload=b"x", signature=signature)


@pytest.mark.parametrize("text", ["", "x", PRIVATE[:-4], PRIVATE + "AAAA", PRIVATE + "\n", " " + PRIVATE])
def test_private_key_of_the_wrong_form_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(NotTrusted) as caught:
        load_private_key(text)
    assert PRIVATE[:-4] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", PUBLIC[:-4], PUBLIC + "AAAA"])
def test_public_key_of_the_wrong_form_is_refused(text: str) -> None:
    with pytest.raises(NotTrusted, match="public key"):
        load_public_key(text)


def test_key_id_is_short_stable_and_distinct() -> None:
    other = public_text(load_private_key(new_private_key()))
    assert len(key_id(PUBLIC)) == 16
    assert key_id(PUBLIC) == key_id(PUBLIC)
    assert key_id(PUBLIC) != key_id(other)


def test_new_private_keys_differ() -> None:
    assert new_private_key() != new_private_key()


def test_base64_has_one_form_only() -> None:
    # "QQ==" and "QR==" decode to the same byte; a second form would be a second signature of one statement.
    assert decode_base64("QQ==", length=1, what="it") == b"A"
    with pytest.raises(NotTrusted, match="canonical"):
        decode_base64("QR==", length=1, what="it")


@pytest.mark.parametrize("count", [0, 1, 100])
def test_base64_may_have_any_length_where_none_is_named(count: int) -> None:
    assert decode_base64(base64.b64encode(bytes(count)).decode(), length=None, what="it") == bytes(count)


@pytest.mark.parametrize("count", [31, 33])
def test_keys_have_thirty_two_bytes(count: int) -> None:
    text = base64.b64encode(bytes(count)).decode()
    for read in (load_private_key, load_public_key):
        with pytest.raises(NotTrusted, match="must be 32"):
            read(text)
