"""A security key in software: CTAP 2.1 with PIN protocol 2, ES256 and packed attestation, as far as a client asks.

It behaves as hardware does: without its PIN nothing is verified, without a touch nothing is signed, credentials stay
inside, and its counter rises with each signature. It protects nothing: whoever reads its memory or file is its owner.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin, PinProtocolV2
from fido2.hid import CAPABILITY, CTAPHID
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

from trade_simulator.security_key.maker import AAGUID, Maker

PIN_TRIES: Final = 8
_FLAG = AuthenticatorData.FLAG
_ERR = CtapError.ERR
_COSE: Any = ES256  # its constructor has no types


@dataclass(slots=True, kw_only=True)
class Memory:
    """What a key keeps: the PIN's hash, its counter, and its credentials by rp id and identifier."""

    pin_hash: bytes
    counter: int = 0
    pin_tries: int = PIN_TRIES
    credentials: dict[str, dict[bytes, ec.EllipticCurvePrivateKey]] = field(default_factory=dict)


def pin_hash(pin: str) -> bytes:
    """Return what a key keeps of a PIN (CTAP 2.1, section 6.5.5.7)."""
    return hashlib.sha256(pin.encode()).digest()[:16]


class SoftwareKey(CtapDevice):
    """One simulated security key; `is_touched` is asked at each signature whether its person touches it."""

    def __init__(
        self,
        *,
        memory: Memory,
        maker: Maker,
        is_touched: Callable[[], bool] = lambda: True,
        on_change: Callable[[], None] = lambda: None,
        is_backup_eligible: bool = False,
    ) -> None:
        self.memory = memory
        self._maker = maker
        self._is_touched = is_touched
        self._on_change = on_change
        self._backup_flags = _FLAG.BE if is_backup_eligible else _FLAG(0)
        self._pin: Any = PinProtocolV2()  # its methods have no types
        self._agreement = ec.generate_private_key(ec.SECP256R1())
        self._token = secrets.token_bytes(32)

    @property
    def capabilities(self) -> int:
        """It speaks CTAP 2."""
        return CAPABILITY.CBOR

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        """None is plugged in; one is made."""
        return iter(())

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        """Answer one command: a status byte, then CBOR."""
        del event, on_keepalive  # it never waits
        if cmd != CTAPHID.CBOR:
            raise CtapError(_ERR.INVALID_COMMAND)
        given: Mapping[int, Any] = cbor.decode(data[1:]) if len(data) > 1 else {}  # type: ignore[assignment]
        try:
            answer = self._answer(data[0], given)
        except CtapError as error:
            return bytes([error.code])
        return b"\0" + cbor.encode(answer) if answer else b"\0"

    def _answer(self, command: int, given: Mapping[int, Any]) -> dict[int, Any]:
        match command:
            case Ctap2.CMD.GET_INFO:
                return self._info()
            case Ctap2.CMD.CLIENT_PIN:
                return self._client_pin(given)
            case Ctap2.CMD.MAKE_CREDENTIAL:
                return self._make_credential(given)
            case Ctap2.CMD.GET_ASSERTION:
                return self._get_assertion(given)
            case Ctap2.CMD.SELECTION:
                self._require_touch()
                return {}
            case _:
                raise CtapError(_ERR.INVALID_COMMAND)

    def _info(self) -> dict[int, Any]:
        return {
            1: ["FIDO_2_0", "FIDO_2_1"],
            3: AAGUID,
            4: {"rk": False, "up": True, "clientPin": True, "pinUvAuthToken": True},
            5: 4096,
            6: [PinProtocolV2.VERSION],
            7: 8,
            8: 64,
        }

    def _client_pin(self, given: Mapping[int, Any]) -> dict[int, Any]:
        match given[2]:
            case ClientPin.CMD.GET_PIN_RETRIES:
                return {ClientPin.RESULT.PIN_RETRIES: self.memory.pin_tries}
            case ClientPin.CMD.GET_KEY_AGREEMENT:
                point = _COSE.from_cryptography_key(self._agreement.public_key())
                return {ClientPin.RESULT.KEY_AGREEMENT: {**point, 3: -25}}
            case ClientPin.CMD.GET_TOKEN_USING_PIN:
                return {ClientPin.RESULT.PIN_UV_TOKEN: self._token_for(given)}
            case _:
                raise CtapError(_ERR.INVALID_SUBCOMMAND)

    def _token_for(self, given: Mapping[int, Any]) -> bytes:
        if self.memory.pin_tries == 0:
            raise CtapError(_ERR.PIN_BLOCKED)
        shared = self._shared_secret(given[3])
        if not hmac.compare_digest(self._pin.decrypt(shared, given[6]), self.memory.pin_hash):
            self.memory.pin_tries -= 1
            self._on_change()
            raise CtapError(_ERR.PIN_INVALID)
        self.memory.pin_tries = PIN_TRIES
        self._token = secrets.token_bytes(32)
        self._on_change()
        return bytes(self._pin.encrypt(shared, self._token))

    def _shared_secret(self, theirs: Mapping[int, bytes]) -> bytes:
        x, y = int.from_bytes(theirs[-2], "big"), int.from_bytes(theirs[-3], "big")
        peer = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        return bytes(self._pin.kdf(self._agreement.exchange(ec.ECDH(), peer)))

    def _make_credential(self, given: Mapping[int, Any]) -> dict[int, Any]:
        client_data_hash, rp_id = given[1], given[2]["id"]
        flags = self._verified(client_data_hash, given.get(8))
        if not any(item["alg"] == ES256.ALGORITHM for item in given[4]):
            raise CtapError(_ERR.UNSUPPORTED_ALGORITHM)
        held = self.memory.credentials.setdefault(rp_id, {})
        self._require_touch()
        if any(item["id"] in held for item in given.get(5) or ()):
            raise CtapError(_ERR.CREDENTIAL_EXCLUDED)
        private, identifier = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(32)
        held[identifier] = private
        made = AttestedCredentialData.create(AAGUID, identifier, _COSE.from_cryptography_key(private.public_key()))
        data = self._data(rp_id, flags | _FLAG.UP | _FLAG.AT, made)
        signature = self._maker.model_key.sign(data + client_data_hash, ec.ECDSA(hashes.SHA256()))
        statement = {"alg": ES256.ALGORITHM, "sig": signature, "x5c": [self._maker.model_certificate]}
        return {1: "packed", 2: bytes(data), 3: statement}

    def _get_assertion(self, given: Mapping[int, Any]) -> dict[int, Any]:
        rp_id, client_data_hash = given[1], given[2]
        flags = self._verified(client_data_hash, given.get(6))
        held = self.memory.credentials.get(rp_id, {})
        found = next((item["id"] for item in given.get(3) or () if item["id"] in held), None)
        is_touch_asked = (given.get(5) or {}).get("up", True)
        if is_touch_asked:
            self._require_touch()
            flags |= _FLAG.UP
        if found is None:
            raise CtapError(_ERR.NO_CREDENTIALS)
        data = self._data(rp_id, flags)
        signature = held[found].sign(data + client_data_hash, ec.ECDSA(hashes.SHA256()))
        return {1: {"type": "public-key", "id": found}, 2: bytes(data), 3: signature}

    def _verified(self, client_data_hash: bytes, proof: bytes | None) -> AuthenticatorData.FLAG:
        if proof is None:
            return _FLAG(0)
        if not hmac.compare_digest(self._pin.authenticate(self._token, client_data_hash), proof):
            raise CtapError(_ERR.PIN_AUTH_INVALID)
        return _FLAG.UV

    def _require_touch(self) -> None:
        if not self._is_touched():
            raise CtapError(_ERR.OPERATION_DENIED)

    def _data(self, rp_id: str, flags: AuthenticatorData.FLAG, made: bytes = b"") -> AuthenticatorData:
        self.memory.counter += 1
        self._on_change()
        rp_hash = hashlib.sha256(rp_id.encode()).digest()
        return AuthenticatorData(
            rp_hash + bytes([flags | self._backup_flags]) + self.memory.counter.to_bytes(4, "big") + made
        )
