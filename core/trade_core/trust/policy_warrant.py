"""Warrants for a looser policy: what they name, and the check that gateway and watchdog each make by themselves.

The subject names the hash of the policy in force and of the one that takes its place, so that a warrant permits one
step from one place. Whether it is in time is judged once, by the gateway, when it is handed in; afterwards the same
bytes prove for ever that the step was authorised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import MAX_ENVELOPE_BYTES, SignedWarrant, check_order, open_warrant
from trade_core.trust.warrant import Warrant, WarrantPurpose

AUDIENCE = "gateway"
"""Who a policy warrant orders something of; the watchdog reads it over the gateway's shoulder."""
MAX_POLICY_WARRANT_BYTES = MAX_ENVELOPE_BYTES
"""One row of the journal must hold it, and the gateway's state many of them."""
MAX_POLICY_WARRANTS = 64
"""Steps of one key ring; beyond them a new ring names the policy, so that a state answer stays readable."""
_NONCE_CHARACTERS_MAX = 128
_SUBJECT = re.compile(r"policy:([0-9a-f]{64}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStep:
    """One authorised step from a policy to another; hashes are lower-case hexadecimal SHA-256."""

    old_hash: str
    new_hash: str
    warrant: Warrant
    signed: SignedWarrant


def policy_subject(*, old_hash: str, new_hash: str) -> str:
    """The subject of a warrant that puts one policy in another's place."""
    return f"policy:{old_hash}:{new_hash}"


def open_policy_warrant(raw: bytes, *, ring: KeyRing) -> PolicyStep:
    """Verify a policy warrant of a ring's deployment. Raises NotTrusted saying what is wrong. Time is not judged."""
    signed = open_warrant(raw, ring=ring)
    warrant = signed.warrant
    check_order(signed, purpose=WarrantPurpose.POLICY, audience=AUDIENCE, subject=warrant.subject)
    if len(warrant.nonce) > _NONCE_CHARACTERS_MAX:
        raise NotTrusted("policy warrant: nonce is too long")
    hashes = _SUBJECT.fullmatch(warrant.subject)
    if hashes is None:
        raise NotTrusted("policy warrant: subject does not name two policies")
    return PolicyStep(old_hash=hashes[1], new_hash=hashes[2], warrant=warrant, signed=signed)
