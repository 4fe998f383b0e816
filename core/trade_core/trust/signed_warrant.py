"""A warrant with the signatures that make it count: touches of security keys, or a key on paper where one may sign.

The envelope is canonical JSON: {"warrant": base64 of the exact bytes, "assertions": [...]}, or with
"recovery_signature" or "bootstrap_signature" in the place of the assertions.

Guarantees
- The bytes received are hashed first, and that hash is what every touch must have signed. Only then are they parsed.
- Whoever signed stands in the ring that the verifier has pinned, never in something that the warrant brings along.
- Touches count once a key: the same key twice is refused, not counted twice.
- A recovery key signs kills and ring changes only, a bootstrap key nothing but the first enrolment.
- What it opens is of the ring's own deployment, environment and account, and names that very ring.

Not judged here: what it is for (`check_order`), time (`check_in_time`), counters (`sign_counters`), and how many keys
the purpose needs (`require_two_keys`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.canonical import canonical_json
from trade_core.trust.assertion import Assertion, Touch, challenge_of, check_assertion, parse_assertion
from trade_core.trust.keys import NotTrusted, decode_base64, sign, verify
from trade_core.trust.one_form import canonical_object
from trade_core.trust.ring import SIMULATED, KeyRing, ring_hash
from trade_core.trust.warrant import Warrant, WarrantPurpose, parse_warrant

MAX_ENVELOPE_BYTES = 4096
"""One row of a journal must hold it, as base64 and with what it changes beside it."""
MAX_TOUCHES = 2


class Signer(Enum):
    """Who signed a warrant; the value is the field of the envelope."""

    SECURITY_KEYS = "assertions"
    RECOVERY_KEY = "recovery_signature"
    BOOTSTRAP_KEY = "bootstrap_signature"


_MAY_ORDER: Mapping[Signer, frozenset[str]] = {
    Signer.SECURITY_KEYS: frozenset(purpose.value for purpose in WarrantPurpose),
    Signer.RECOVERY_KEY: frozenset({WarrantPurpose.KILL.value, WarrantPurpose.RING.value}),
    Signer.BOOTSTRAP_KEY: frozenset({WarrantPurpose.RING.value}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWarrant:
    """A warrant that was verified, and by whom. `touches` is empty when a key on paper signed."""

    warrant: Warrant
    signer: Signer
    touches: tuple[Touch, ...]


def open_warrant(raw: bytes, *, ring: KeyRing) -> SignedWarrant:
    """Verify an envelope against the pinned ring. Raises NotTrusted naming what is wrong, before believing a field."""
    content = canonical_object(raw, what="warrant envelope", most_bytes=MAX_ENVELOPE_BYTES)
    signer = _signer_of(content)
    payload = _payload(content)
    challenge = challenge_of(payload)
    touches: tuple[Touch, ...] = ()
    if signer is Signer.SECURITY_KEYS:
        touches = _touches(content[signer.value], challenge=challenge, ring=ring)
    else:
        _check_printed(signer, content[signer.value], payload=payload, ring=ring)
    warrant = parse_warrant(payload)
    if warrant.purpose not in _MAY_ORDER[signer]:
        raise NotTrusted(f"warrant: a {signer.name.lower().replace('_', ' ')} cannot order a {warrant.purpose}")
    _check_house(warrant, ring)
    return SignedWarrant(warrant=warrant, signer=signer, touches=touches)


def check_order(signed: SignedWarrant, *, purpose: WarrantPurpose, audience: str, subject: str) -> None:
    """Check that a warrant orders exactly this of us. Raises NotTrusted naming what differs."""
    expected = {"purpose": purpose.value, "audience": audience, "subject": subject}
    for name, wanted in expected.items():
        if getattr(signed.warrant, name) != wanted:
            raise NotTrusted(f"warrant: {name} is not what it must be here")


def require_two_keys(signed: SignedWarrant) -> None:
    """Check that two different security keys were touched. Raises NotTrusted."""
    if len(signed.touches) < MAX_TOUCHES:
        raise NotTrusted(f"warrant: it takes two different security keys, and {len(signed.touches)} signed")


def touched_envelope(payload: bytes, assertions: Sequence[Assertion]) -> bytes:
    """Put warrant bytes and the touches of them together, as `open_warrant` reads them."""
    touched = [assertion.content() for assertion in assertions]
    return canonical_json({"warrant": _base64(payload), Signer.SECURITY_KEYS.value: touched})


def printed_envelope(payload: bytes, private_key: Ed25519PrivateKey, *, signer: Signer) -> bytes:
    """Sign warrant bytes with a key on paper. Raises ValueError for a signer that is none."""
    signature = sign(private_key, purpose=_printed_purpose(signer), payload=payload)
    return canonical_json({"warrant": _base64(payload), signer.value: signature})


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode("ascii")


def _signer_of(content: Mapping[str, Any]) -> Signer:
    for signer in Signer:
        if set(content) == {"warrant", signer.value}:
            return signer
    raise NotTrusted("warrant envelope: must hold exactly a warrant and who signed it")


def _payload(content: Mapping[str, Any]) -> bytes:
    text = content["warrant"]
    if not isinstance(text, str):
        raise NotTrusted("warrant envelope: warrant must be text")
    return decode_base64(text, length=None, what="warrant")


def _touches(listed: object, *, challenge: bytes, ring: KeyRing) -> tuple[Touch, ...]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_TOUCHES:
        raise NotTrusted(f"warrant envelope: assertions must be a list of 1 to {MAX_TOUCHES}")
    touches = tuple(
        check_assertion(
            parse_assertion(item),
            challenge=challenge,
            rp_id=ring.rp_id,
            origins=ring.origins,
            credentials=ring.credentials,
            is_simulated=ring.environment == SIMULATED,
        )
        for item in listed
    )
    if len({touch.credential.credential_id for touch in touches}) != len(touches):
        raise NotTrusted("warrant envelope: the same security key signed twice")
    return touches


def _check_printed(signer: Signer, signature: object, *, payload: bytes, ring: KeyRing) -> None:
    public = ring.recovery_key if signer is Signer.RECOVERY_KEY else ring.bootstrap_key
    if not public:
        raise NotTrusted(f"warrant: the key ring has no {signer.name.lower().replace('_', ' ')}")
    if not isinstance(signature, str):
        raise NotTrusted(f"warrant envelope: {signer.value} must be text")
    verify(public, purpose=_printed_purpose(signer), payload=payload, signature=signature)


def _printed_purpose(signer: Signer) -> str:
    if signer is Signer.SECURITY_KEYS:
        raise ValueError("a security key signs by a touch")
    return f"warrant/{signer.value}"


def _check_house(warrant: Warrant, ring: KeyRing) -> None:
    expected = {
        "deployment": ring.deployment,
        "environment": ring.environment,
        "account": ring.account,
        "ring_hash": ring_hash(ring),
    }
    for name, wanted in expected.items():
        if getattr(warrant, name) != wanted:
            raise NotTrusted(f"warrant: {name} is not what it must be here")
