"""Verifies what a person ordered by touching his key: a kill, a drill, to arm, to disarm. The executor's own judgement.

Guarantees
- Nothing of an envelope is believed before every signature in it was checked against the pinned ring; see the core's
  `signed_warrant`. Who brought it, and what he says of it, counts for nothing.
- A kill is never refused for time that cannot be judged, nor for a counter that did not rise: it goes on, and alarms. A
  kill whose time has passed is refused, and so is everything else by either.
- Counters are durable before what they allowed begins; when they cannot be written, a kill goes on all the same.
- The same touch is the same kill: its id follows from the warrant's bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ConfigurationError
from trade_core.secrets import read_secret_file, write_atomically
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import AUDIENCE as RELEASE_AUDIENCE
from trade_core.trust.release_subject import HIGH_WATER, parse_release_subject
from trade_core.trust.ring import KeyRing
from trade_core.trust.sign_counters import SignCounters, parse_counters
from trade_core.trust.signed_warrant import SignedWarrant, Signer, check_order, open_warrant, require_two_keys
from trade_core.trust.warrant import MAX_LIFETIME_MS, Warrant, WarrantPurpose, check_in_time, warrant_bytes
from trade_journal.log.rows import STRING_CHARACTERS_MAX, Fields
from trade_killswitch.authorised import AUDIENCE, AuthorisedKill
from trade_killswitch.kill_order import REASON_CHARACTERS_MAX, Authority, KillOrder, endings_of

COUNTERS_FILE: Final = "counters.json"
KILL_ID_DIGITS: Final = 16
REBASE_WITHIN_MS: Final = 24 * 60 * 60 * 1000
_AUTHORITIES: Final = {Signer.SECURITY_KEYS: Authority.TOUCH, Signer.RECOVERY_KEY: Authority.RECOVERY_KEY}
_KILLING: Final = frozenset({WarrantPurpose.KILL.value, WarrantPurpose.DRILL.value})
log = logging.getLogger(__name__)


class Authorisation:
    """One executor's ring, clock and counters."""

    def __init__(
        self,
        *,
        ring: Callable[[], KeyRing],
        clock: Clock,
        state_dir: Path,
        is_clock_trusted: Callable[[], bool] = lambda: True,
        is_known: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Read the counters that were kept. Raises ConfigurationError for a damaged file.

        `is_known` tells whether a kill of this id was ordered before: its touch may be shown again, and begins nothing.
        """
        self._ring = ring
        self._clock = clock
        self._file = state_dir / COUNTERS_FILE
        self._is_clock_trusted = is_clock_trusted
        self.is_known = is_known
        self._counters = self._kept()

    @property
    def ring(self) -> KeyRing:
        """The pinned key ring of this moment."""
        return self._ring()

    def kill(self, raw: bytes) -> AuthorisedKill:
        """Verify a warrant that orders a kill or a drill. Raises NotTrusted, KillRefused."""
        signed = open_warrant(raw, ring=self._ring())
        warrant = signed.warrant
        if warrant.purpose not in _KILLING:
            raise NotTrusted(f"warrant: it orders a {warrant.purpose}, not a kill")
        check_order(signed, purpose=WarrantPurpose(warrant.purpose), audience=AUDIENCE, subject=warrant.subject)
        endings = endings_of(warrant.subject)
        check_in_time(warrant, now_ms=self._now_ms(), is_clock_trusted=self._is_clock_trusted())
        kill_id = kill_id_of(warrant)
        alarms = () if self.is_known(kill_id) else self._counted(signed)
        order = KillOrder(
            kill_id=kill_id,
            authority=_AUTHORITIES[signed.signer],
            reason=(warrant.words or "a person ordered it")[:REASON_CHARACTERS_MAX],
            endings=endings,
            is_drill=warrant.purpose == WarrantPurpose.DRILL.value,
        )
        return AuthorisedKill(order=order, fields=warrant_fields(raw, signed), alarms=alarms)

    def order(self, raw: bytes, *, purpose: WarrantPurpose, subject: str) -> SignedWarrant:
        """Verify a warrant that orders something else of us. Raises NotTrusted."""
        signed = open_warrant(raw, ring=self._ring())
        check_order(signed, purpose=purpose, audience=AUDIENCE, subject=subject)
        check_in_time(signed.warrant, now_ms=self._now_ms(), is_clock_trusted=self._is_clock_trusted())
        self._counted(signed)
        return signed

    def standing(self, raw: bytes) -> SignedWarrant:
        """Verify a kept warrant to kill by itself again; its counters were taken when it came. Raises NotTrusted."""
        signed = open_warrant(raw, ring=self._ring())
        subject = signed.warrant.subject
        check_order(signed, purpose=WarrantPurpose.ARM, audience=AUDIENCE, subject=subject)
        check_in_time(signed.warrant, now_ms=self._now_ms(), is_clock_trusted=self._is_clock_trusted())
        return signed

    def rebasing(self, raw: bytes) -> SignedWarrant:
        """Verify the release by which two persons re-base the highest point. Raises NotTrusted.

        It was handed in to the gateway within its five minutes, took effect after one, and is brought here afterwards:
        so it counts for a day more, and it is for the caller to take it once. Its counters were the gateway's to judge;
        here another touch may have come before it.
        """
        signed = open_warrant(raw, ring=self._ring())
        warrant = signed.warrant
        check_order(signed, purpose=WarrantPurpose.RELEASE, audience=RELEASE_AUDIENCE, subject=warrant.subject)
        if HIGH_WATER not in parse_release_subject(warrant.subject).rungs:
            raise NotTrusted("release: it does not re-base the highest point")
        require_two_keys(signed)
        if not self._is_clock_trusted():
            raise NotTrusted("release: the clock is not trusted, so its time cannot be judged")
        left_ms = warrant.expires_at_ms - self._now_ms()
        if not -REBASE_WITHIN_MS < left_ms <= MAX_LIFETIME_MS:
            raise NotTrusted("release: it is not of the last day")
        return signed

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS

    def _counted(self, signed: SignedWarrant) -> tuple[str, ...]:
        suspects = self._counters.check(signed)
        self._counters = self._counters.after(signed).within(self._ring())
        try:
            write_atomically(self._file, json.dumps(self._counters.content()).encode() + b"\n", mode=0o600)
        except OSError as error:
            if signed.warrant.purpose != WarrantPurpose.KILL.value:
                raise NotTrusted(f"{self._file}: cannot be written, so a touch could be used twice") from error
            log.error("%s: cannot be written: %s; the kill goes on", self._file, error.strerror)
        return tuple(f"the counter of the security key {label!r} did not rise: was it copied?" for label in suspects)

    def _kept(self) -> SignCounters:
        if not self._file.exists():
            return SignCounters()
        try:
            return parse_counters(read_secret_file(self._file))
        except NotTrusted as error:
            raise ConfigurationError(f"{self._file}: {error}") from error


def kill_id_of(warrant: Warrant) -> str:
    """Name a kill after the bytes that ordered it."""
    return hashlib.sha256(warrant_bytes(warrant)).hexdigest()[:KILL_ID_DIGITS]


def warrant_fields(raw: bytes, signed: SignedWarrant) -> Fields:
    """Return what the journal keeps of a warrant: who signed, and the envelope itself, in pieces that a row takes."""
    text = raw.decode("ascii")  # canonical JSON of base64, which was parsed
    pieces = [text[start : start + STRING_CHARACTERS_MAX] for start in range(0, len(text), STRING_CHARACTERS_MAX)]
    return {
        "signer": signed.signer.name.lower(),
        "security_keys": [touch.credential.label for touch in signed.touches],
        "warrant": pieces,
    }
