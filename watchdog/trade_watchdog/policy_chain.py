"""The policy warrants that the gateway has shown: each verified here, kept, and never fewer than before.

Guarantees
- A lease names the ring's policy, or the newest one that a warrant of the operator authorised; this watchdog has
  verified that warrant itself.
- What was shown once stays: a gateway that comes back with another or a shorter list is foreign. So a wiped or older
  journal of the gateway does not bring an older policy back.
- The list is on disk before a lease names what it leads to.

It does not judge what tightens: a policy in force that is tighter than the authorised one is the gateway's affair.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_atomically
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import (
    MAX_POLICY_WARRANT_BYTES,
    MAX_POLICY_WARRANTS,
    PolicyStep,
    open_policy_warrant,
)
from trade_core.trust.ring import KeyRing

CHAIN_FILE: Final = "policy_warrants.json"
_FILE_BYTES_MAX: Final = 2 * MAX_POLICY_WARRANTS * MAX_POLICY_WARRANT_BYTES


class PolicyChain:
    """The warrants that led to the authorised policy, base64, oldest first."""

    __slots__ = ("_hashes", "_path", "_rings", "_until_ms", "_warrants")

    def __init__(self, state_dir: Path, *, ring: KeyRing, rings: Sequence[KeyRing] | None = None) -> None:
        """Read what was kept; nothing when nothing was ever shown. Raises ConfigurationError for a damaged file.

        `rings` are all that ever counted, oldest first, `ring` the last of them.
        """
        self._path = state_dir / CHAIN_FILE
        self._rings = (ring,) if rings is None else tuple(rings)
        self._warrants = self._stored()
        try:
            self._take(self._warrants, self._verified(self._warrants, known=len(self._warrants)))
        except NotTrusted as error:
            raise ConfigurationError(f"{self._path}: {error}") from error

    @property
    def authorised_hash(self) -> str:
        """The hash of the policy that is authorised, as far as this watchdog has seen."""
        return self._hashes[-1]

    def authorised_since(self, at_ms: int) -> tuple[str, ...]:
        """Name the policies that were authorised at a time (UTC ms) or later, oldest first.

        The warrant that put another in a policy's place was handed in before it expired.
        """
        gone = 0
        for place, until_ms in enumerate(self._until_ms):
            gone = place + 1 if until_ms < at_ms else gone
        return self._hashes[gone:]

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe warrants under another ring from now on, and those seen before under theirs."""
        self._rings = (*self._rings, ring)

    def extend(self, shown: Sequence[str]) -> str:
        """Take in the whole list that the gateway shows; answers the authorised hash.

        Raises NotTrusted when it does not continue what was kept or holds a warrant that is none, and OSError when
        what is new cannot be kept.
        """
        warrants = tuple(shown)
        if warrants[: len(self._warrants)] != self._warrants:
            raise NotTrusted("the gateway's policy warrants do not continue those that it showed before")
        if len(warrants) > len(self._warrants):
            steps = self._verified(warrants, known=len(self._warrants))
            content = json.dumps({"warrants": warrants}).encode() + b"\n"
            write_atomically(self._path, content, mode=0o600)
            self._take(warrants, steps)
        return self.authorised_hash

    def _take(self, warrants: tuple[str, ...], steps: Sequence[PolicyStep]) -> None:
        self._warrants = warrants
        self._hashes = (self._rings[-1].policy_hash, *(step.new_hash for step in steps))
        self._until_ms = tuple(step.warrant.expires_at_ms for step in steps)  # of each but the last

    def _verified(self, warrants: Sequence[str], *, known: int) -> list[PolicyStep]:
        if len(warrants) > MAX_POLICY_WARRANTS:
            raise NotTrusted(f"{len(warrants)} policy warrants, at most {MAX_POLICY_WARRANTS}")
        steps: list[PolicyStep] = []
        nonces: set[str] = set()
        for place, text in enumerate(warrants):
            # What was seen before may be of an earlier ring; what is new was ordered under the one that counts.
            rings = self._rings if place < known else self._rings[-1:]
            step = _opened(_decoded(text), rings)
            if step.warrant.nonce in nonces:
                raise NotTrusted("a policy warrant is shown twice")
            nonces.add(step.warrant.nonce)
            steps.append(step)
        return steps

    def _stored(self) -> tuple[str, ...]:
        if not self._path.exists():
            return ()
        try:
            with self._path.open("rb") as file:
                warrants = json.loads(file.read(_FILE_BYTES_MAX))["warrants"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigurationError(
                f"{self._path}: is not a list of policy warrants ({type(error).__name__})"
            ) from error
        if not isinstance(warrants, list) or not all(isinstance(text, str) for text in warrants):
            raise ConfigurationError(f"{self._path}: warrants is not a list of texts")
        return tuple(warrants)


def _opened(raw: bytes, rings: Sequence[KeyRing]) -> PolicyStep:
    """Open a policy warrant under the newest ring that it counts under. Raises NotTrusted as the newest would."""
    for ring in reversed(rings[:-1]):
        with suppress(NotTrusted):
            return open_policy_warrant(raw, ring=ring)
    return open_policy_warrant(raw, ring=rings[-1])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise NotTrusted("a policy warrant is not base64") from None
