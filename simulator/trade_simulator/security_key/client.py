"""Drives a security key with the real client of python-fido2: enrolment and touches, as `trade-kill` or a browser does.

Works with any CtapDevice; the answers are plain bytes, in the words of WebAuthn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fido2.client import DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.cose import ES256
from fido2.ctap import CtapDevice
from fido2.ctap2.pin import ClientPin


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a key answers when it makes a credential."""

    credential_id: bytes
    attestation_object: bytes
    client_data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a key answers when it signs."""

    credential_id: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes


class _Person(UserInteraction):
    def __init__(self, pin: str) -> None:
        self._pin = pin

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:  # noqa: ARG002
        """Type the PIN."""
        return self._pin


def make_credential(device: CtapDevice, *, rp_id: str, origin: str, challenge: bytes, pin: str) -> Made:
    """Make a credential, its person verified. Raises fido2.client.ClientError."""
    options: Any = {
        "rp": {"id": rp_id, "name": "Trade"},
        "user": {"id": hashlib.sha256(challenge).digest(), "name": "operator", "displayName": "operator"},
        "challenge": challenge,
        "pubKeyCredParams": [{"type": "public-key", "alg": ES256.ALGORITHM}],
        "authenticatorSelection": {"userVerification": "required"},
        "attestation": "direct",
    }
    answer = _client(device, origin, pin).make_credential(options)
    return Made(
        credential_id=answer.raw_id,
        attestation_object=bytes(answer.response.attestation_object),
        client_data=bytes(answer.response.client_data),
    )


def sign_payload(
    device: CtapDevice, payload: bytes, *, rp_id: str, origin: str, credential_ids: Sequence[bytes], pin: str
) -> Signed:
    """Sign the bytes of a warrant with one of the credentials. Raises fido2.client.ClientError."""
    options: Any = {
        "challenge": hashlib.sha256(payload).digest(),
        "rpId": rp_id,
        "allowCredentials": [{"type": "public-key", "id": identifier} for identifier in credential_ids],
        "userVerification": "required",
    }
    answer = _client(device, origin, pin).get_assertion(options).get_response(0)
    return Signed(
        credential_id=answer.raw_id,
        authenticator_data=bytes(answer.response.authenticator_data),
        client_data=bytes(answer.response.client_data),
        signature=answer.response.signature,
    )


def _client(device: CtapDevice, origin: str, pin: str) -> Fido2Client:
    return Fido2Client(device, DefaultClientDataCollector(origin), user_interaction=_Person(pin), extensions=[])
