"""The simulated security key, driven by the real client of python-fido2."""

from __future__ import annotations

import pytest
from fido2.client import ClientError
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.hid import CTAPHID
from fido2.webauthn import AttestationObject, AuthenticatorData

from trade_simulator.security_key.client import Made, make_credential, sign_payload
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import AAGUID, new_maker

ORIGIN = "http://localhost:8650"
MAKER = new_maker()


def key(**changed: object) -> SoftwareKey:
    return SoftwareKey(memory=Memory(pin_hash=pin_hash("1234")), maker=MAKER, **changed)  # type: ignore[arg-type]


def enrolled(device: SoftwareKey) -> Made:
    return make_credential(device, rp_id="localhost", origin=ORIGIN, challenge=b"c" * 32, pin="1234")


def signed(device: SoftwareKey, made: Made, *, pin: str = "1234") -> AuthenticatorData:
    answer = sign_payload(
        device, b"payload", rp_id="localhost", origin=ORIGIN, credential_ids=[made.credential_id], pin=pin
    )
    return AuthenticatorData(answer.authenticator_data)


def test_key_makes_a_credential_with_its_person_verified() -> None:
    data = AttestationObject(enrolled(key()).attestation_object).auth_data
    assert data.is_user_present()
    assert data.is_user_verified()
    assert data.credential_data is not None
    assert bytes(data.credential_data.aaguid) == AAGUID


def test_key_signs_and_its_counter_rises() -> None:
    device = key()
    made = enrolled(device)
    counters = [signed(device, made).counter for _ in range(3)]
    assert counters == sorted(set(counters))


def test_key_without_its_pin_signs_nothing_and_blocks_itself() -> None:
    device = key()
    made = enrolled(device)
    for _ in range(8):
        with pytest.raises(ClientError):
            signed(device, made, pin="4321")
    with pytest.raises(ClientError):
        signed(device, made)


def test_key_that_nobody_touches_signs_nothing() -> None:
    touched = [True]
    device = key(is_touched=lambda: touched[0])
    made = enrolled(device)
    touched[0] = False
    with pytest.raises(ClientError):
        signed(device, made)


def test_key_signs_for_its_own_credentials_alone() -> None:
    with pytest.raises(ClientError):
        signed(key(), enrolled(key()))


def test_key_refuses_what_it_does_not_know() -> None:
    device = key()
    with pytest.raises(CtapError):
        device.call(CTAPHID.PING, b"")
    assert device.call(CTAPHID.CBOR, bytes([Ctap2.CMD.RESET]))[0] == CtapError.ERR.INVALID_COMMAND
    assert list(SoftwareKey.list_devices()) == []
