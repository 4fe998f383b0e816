"""A security key over USB, through the client of python-fido2: its PIN, its touch, its assertion.

Guarantees
- User verification is required, and the challenge is the hash of exactly the bytes that were shown.
- What the key answers is checked as the executor will check it, so that a wrong key is known at once.
- A person who does not touch, and a key that hangs, end after TOUCH_WITHIN_S.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Timer
from typing import Any, Final

from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.pin import ClientPin
from fido2.hid import CtapHidDevice

from trade_core.errors import TradeError
from trade_core.trust.assertion import Assertion, challenge_of, check_assertion
from trade_core.trust.credential import Credential
from trade_core.trust.ring import SIMULATED, KeyRing

TOUCH_WITHIN_S: Final = 60.0
Devices = Callable[[], Iterable[CtapDevice]]
_CAUSES: Final = {
    CtapError.ERR.PIN_INVALID: "the PIN is wrong",
    CtapError.ERR.PIN_BLOCKED: "the PIN is blocked: this key signs nothing until it is reset",
    CtapError.ERR.PIN_AUTH_BLOCKED: "the PIN was wrong three times: pull the key out, put it in, and try again",
    CtapError.ERR.PIN_NOT_SET: "the key has no PIN; set one with its maker's tool, and enrol it",
    CtapError.ERR.OPERATION_DENIED: "the key was not touched",
}
_NONE: Final = (
    "no security key is plugged in (or this user may not use it: see the udev rule in docs/trade-kill.md). "
    "Open the console in a browser, or sign on another machine: --out FILE here, --sign FILE there, --signed FILE here"
)


class NotSigned(TradeError):
    """No security key signed; the message says why."""


class Terminal(UserInteraction):
    """The person at the terminal."""

    def __init__(self, *, ask_pin: Callable[[str], str], say: Callable[[str], None]) -> None:
        self._ask_pin = ask_pin
        self._say = say

    def prompt_up(self) -> None:
        """Ask for the touch."""
        self._say("touch the security key now")

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:  # noqa: ARG002
        """Ask for the PIN."""
        return self._ask_pin("PIN of the security key: ") or None


def plugged_in() -> Iterable[CtapDevice]:
    """List the security keys on USB that this user may use."""
    try:
        return list(CtapHidDevice.list_devices())
    except OSError as error:
        raise NotSigned(f"security keys cannot be listed: {error.strerror}; {_NONE}") from None


def sign_by_touch(
    payload: bytes, *, ring: KeyRing, person: Terminal, devices: Devices, without: Sequence[Assertion] = ()
) -> Assertion:
    """Have one security key of the ring sign a warrant's bytes, `without` those that did. Raises NotSigned."""
    used = {base64.b64encode(assertion.credential_id).decode("ascii") for assertion in without}
    credentials = [credential for credential in ring.credentials if credential.credential_id not in used]
    if not credentials:
        raise NotSigned("the key ring names no security key that could sign; enrol one first")
    found = list(devices())
    if not found:
        raise NotSigned(_NONE)
    for device in found:
        assertion = _asked(device, payload, ring=ring, credentials=credentials, person=person)
        if assertion is not None:
            _check(assertion, payload, ring=ring)
            return assertion
    labels = ", ".join(credential.label for credential in credentials)
    raise NotSigned(f"none of the {len(found)} security keys plugged in is one of the key ring's ({labels})")


def _asked(
    device: CtapDevice, payload: bytes, *, ring: KeyRing, credentials: Sequence[Credential], person: Terminal
) -> Assertion | None:
    """Ask one device; None when it holds none of the credentials."""
    options: Any = {
        "challenge": challenge_of(payload),
        "rpId": ring.rp_id,
        "allowCredentials": [
            {"type": "public-key", "id": base64.b64decode(credential.credential_id)} for credential in credentials
        ],
        "userVerification": "required",
    }
    over = Event()
    timer = Timer(TOUCH_WITHIN_S, over.set)
    timer.daemon = True
    timer.start()
    try:
        collector = DefaultClientDataCollector(ring.origins[0])
        client = Fido2Client(device, collector, user_interaction=person, extensions=[])
        answer = client.get_assertion(options, event=over).get_response(0)
    except ClientError as error:
        if error.code is ClientError.ERR.DEVICE_INELIGIBLE:
            return None
        raise NotSigned(_words(error)) from None
    except (CtapError, OSError, ValueError) as error:
        raise NotSigned(f"the security key does not answer as one: {type(error).__name__}") from None
    finally:
        timer.cancel()
    return Assertion(
        credential_id=answer.raw_id,
        authenticator_data=bytes(answer.response.authenticator_data),
        client_data=bytes(answer.response.client_data),
        signature=answer.response.signature,
    )


def _check(assertion: Assertion, payload: bytes, *, ring: KeyRing) -> None:
    check_assertion(
        assertion,
        challenge=challenge_of(payload),
        rp_id=ring.rp_id,
        origins=ring.origins,
        credentials=ring.credentials,
        is_simulated=ring.environment == SIMULATED,
    )


def _words(error: ClientError) -> str:
    cause = error.cause
    if isinstance(cause, CtapError) and cause.code in _CAUSES:
        return _CAUSES[cause.code]
    match error.code:
        case ClientError.ERR.TIMEOUT:
            return f"nobody touched the security key within {TOUCH_WITHIN_S:g} s"
        case ClientError.ERR.CONFIGURATION_UNSUPPORTED:
            return "this security key cannot verify its person (it has no PIN and no fingerprint)"
        case _:
            return "the security key did not sign: no PIN was given, or it refuses"
