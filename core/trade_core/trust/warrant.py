"""Warrants: a person's signed order to loosen something, for one audience, one subject and a few minutes.

The subject makes a warrant single use without memory: a release names the sequence of the latch row that it lifts,
a policy change the old and the new hash. The words are what the person was shown when signing.

In this version an operator key signs, made at `init` and named in the ring, on the simulated exchange only. It gives
way to a security key's assertion over the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import NotTrusted
from trade_core.trust.statement import check_fields, open_statement, sign_statement

SIGNATURE_PURPOSE = "warrant/v1"
WARRANT_VERSION = 1
MAX_LIFETIME_MS = 5 * 60 * 1000
MAX_WORDS_CHARACTERS = 400
_INTEGERS = frozenset({"version", "expires_at_ms"})


class WarrantPurpose(Enum):
    """What a warrant may order."""

    RELEASE = "release"
    POLICY = "policy"
    RING = "ring"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """One order of a person. `purpose` is a WarrantPurpose value; times are UTC milliseconds."""

    purpose: str
    version: int
    deployment: str
    environment: str
    audience: str
    account: str
    ring_hash: str
    subject: str
    nonce: str
    words: str
    expires_at_ms: int

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def sign_warrant(warrant: Warrant, private_key: Ed25519PrivateKey) -> bytes:
    """Serialise and sign a warrant."""
    return sign_statement(warrant.content(), private_key, purpose=SIGNATURE_PURPOSE)


def open_warrant(raw: bytes, *, operator_key: str) -> Warrant:
    """Verify a signed warrant and return it; who it is for and whether it is in time is the caller's to check.

    Raises NotTrusted saying what is wrong, before believing any field.
    """
    content = open_statement(raw, what="warrant", purpose=SIGNATURE_PURPOSE, public_key=operator_key)
    check_fields(content, what="warrant", fields=Warrant.__slots__, integers=_INTEGERS)
    if content["version"] != WARRANT_VERSION:
        raise NotTrusted(f"warrant: version {content['version']} is not {WARRANT_VERSION}")
    if content["purpose"] not in {purpose.value for purpose in WarrantPurpose}:
        raise NotTrusted("warrant: purpose is not a known one")
    if len(content["words"]) > MAX_WORDS_CHARACTERS or not content["words"].isprintable():
        raise NotTrusted("warrant: words are too long or not plain text")
    return Warrant(**content)


def check_warrant(
    warrant: Warrant,
    *,
    purpose: WarrantPurpose,
    deployment: str,
    environment: str,
    audience: str,
    account: str,
    ring_hash: str,
    subject: str,
) -> None:
    """Check that a warrant orders exactly this, here and of us. Raises NotTrusted naming what differs."""
    expected = {
        "purpose": purpose.value,
        "deployment": deployment,
        "environment": environment,
        "audience": audience,
        "account": account,
        "ring_hash": ring_hash,
        "subject": subject,
    }
    for name, wanted in expected.items():
        if getattr(warrant, name) != wanted:
            raise NotTrusted(f"warrant: {name} is not what it must be here")


def check_in_time(warrant: Warrant, *, now_ms: int) -> None:
    """Check that a warrant is still valid and was not made for longer than allowed. Raises NotTrusted."""
    left_ms = warrant.expires_at_ms - now_ms
    if left_ms <= 0:
        raise NotTrusted(f"warrant: expired {-left_ms} ms ago")
    if left_ms > MAX_LIFETIME_MS:
        raise NotTrusted("warrant: valid for more than five minutes")
