"""Provenance tags: the order link id of every order of ours, which only a holder of the tag key can make.

36 characters: `T1`, 6 of the account's hash, 12 of a random nonce (72 bits), 16 of the MAC (96 bits), the last
three base64url. The MAC binds deployment, account, nonce and everything that says what the order does, so that a
tag cannot be moved to another order. It binds outsiders, not an owned gateway.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from decimal import Decimal

import msgspec

from trade_core.money import format_decimal
from trade_core.records import record

VERSION = "T1"
NONCE_BYTES = 9
TAG_CHARACTERS = 36
_ACCOUNT_CHARACTERS = 6
_NONCE_CHARACTERS = 12
_MAC_BYTES = 12
_ENCODER = msgspec.json.Encoder()


@record(frozen=True, slots=True, kw_only=True)
class TaggedOrder:
    """What a tag vouches for. Without the category, a spot tag would fit a linear order of the same figures."""

    category: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    is_reducing: bool


def tag_key_id(key: bytes) -> str:
    """Name a tag key without revealing it."""
    return hashlib.sha256(b"trade/tag-key-id\n" + key).hexdigest()[:16]


def make_tag(order: TaggedOrder, *, key: bytes, deployment: str, account: str, nonce: bytes) -> str:
    """Return the 36-character order link id of an order. Raises ValueError for a nonce of the wrong length."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a tag nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    mac = _mac(order, key=key, deployment=deployment, account=account, nonce=nonce)
    return VERSION + _account_part(account) + _encode(nonce) + _encode(mac)


def is_valid_tag(text: str, order: TaggedOrder, *, key: bytes, deployment: str, account: str) -> bool:
    """Tell whether an order link id was made with this key for exactly this order."""
    head = VERSION + _account_part(account)
    if len(text) != TAG_CHARACTERS or not text.isascii() or not text.startswith(head):
        return False
    nonce_text = text[len(head) : len(head) + _NONCE_CHARACTERS]
    try:
        nonce = base64.b64decode(nonce_text, altchars=b"-_", validate=True)
    except ValueError:
        return False
    expected = make_tag(order, key=key, deployment=deployment, account=account, nonce=nonce)
    return hmac.compare_digest(expected, text)


def _mac(order: TaggedOrder, *, key: bytes, deployment: str, account: str, nonce: bytes) -> bytes:
    # Canonical JSON: of texts and a flag in a list this encoder writes what `canonical` does, in no time.
    bound = _ENCODER.encode(
        [
            deployment,
            account,
            nonce.hex(),
            order.category,
            order.symbol,
            order.side,
            format_decimal(order.quantity),
            format_decimal(order.price),
            order.is_reducing,
        ]
    )
    signing = _keyed(key).copy()
    signing.update(bound)
    return signing.digest()[:_MAC_BYTES]


@functools.lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """Take in what every tag begins with; a copy goes on from there."""
    return hmac.new(key, b"trade/tag/v2\n", hashlib.sha256)


@functools.lru_cache(maxsize=64)
def _account_part(account: str) -> str:
    return _encode(hashlib.sha256(account.encode()).digest())[:_ACCOUNT_CHARACTERS]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
