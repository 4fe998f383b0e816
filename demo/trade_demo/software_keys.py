"""Two security keys in files for the demo: enrolled by the bootstrap code, touched for what a person would order."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from trade_core.clock import NS_PER_MS, Clock
from trade_core.trust.attestation import Attestation, credential_of, enrolment_challenge
from trade_core.trust.printed_key import printed_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.signed_warrant import Signer, printed_envelope
from trade_core.trust.succession import next_ring, ring_change, ring_offer, ring_subject
from trade_core.trust.warrant import WARRANT_VERSION, Warrant, WarrantPurpose, warrant_bytes

LABELS: Final = ("blue", "red")
_LIFETIME_MS: Final = 4 * 60 * 1000
Run = Callable[[list[str]], Awaitable[bytes]]
"""Runs a command to its end and gives its standard output."""


class SoftwareKeys:
    """The keys of one demo, in a folder of its own."""

    def __init__(self, *, folder: Path, command: str, run: Run) -> None:
        """Prepare; `command` is `trade-security-key`."""
        self._folder = folder
        self._command = command
        self._run = run
        self._change = b""

    @property
    def files(self) -> list[Path]:
        """The key files."""
        return [self._folder / f"{label}.key" for label in LABELS]

    async def offer(self, ring: KeyRing, *, bootstrap_code: str, clock: Clock) -> bytes:
        """Make both keys, and the offer that enrols them: the body of POST /ring."""
        challenge = base64.b64encode(enrolment_challenge(ring)).decode("ascii")
        now_ms = clock.wall_ns() // NS_PER_MS
        attestations = []
        for path in self.files:
            words = ["make", "--file", str(path), "--challenge", challenge]
            made: dict[str, str] = json.loads(await self._ran(ring, words))
            attestations.append(Attestation(**{name: base64.b64decode(text) for name, text in made.items()}))
        credentials = [
            credential_of(attestation, label=label, added_at_ms=now_ms)
            for attestation, label in zip(attestations, LABELS, strict=True)
        ]
        self._change = change = ring_change(ring, credentials=credentials)
        order = Warrant(
            purpose=WarrantPurpose.RING.value,
            version=WARRANT_VERSION,
            deployment=ring.deployment,
            environment=ring.environment,
            audience="deployment",
            account=ring.account,
            ring_hash=ring_hash(ring),
            subject=ring_subject(ring, next_ring(ring, change)),
            nonce=secrets.token_hex(16),
            words=f"enrol the first two security keys, {' and '.join(LABELS)}",
            expires_at_ms=now_ms + _LIFETIME_MS,
        )
        private = printed_key(bootstrap_code, purpose="bootstrap")
        envelope = printed_envelope(warrant_bytes(order), private, signer=Signer.BOOTSTRAP_KEY)
        return ring_offer(change=change, warrant=envelope, attestations=attestations)

    def offered(self, pinned: KeyRing) -> KeyRing:
        """Return the ring that the last offer makes of the pinned one."""
        return next_ring(pinned, self._change)

    async def touch(self, ring: KeyRing, draft: Mapping[str, Any], *, clock: Clock) -> bytes:
        """Touch the first key for what the executor drafted; answers the envelope to hand over."""
        order = Warrant(
            purpose=str(draft["purpose"]),
            version=WARRANT_VERSION,
            deployment=ring.deployment,
            environment=ring.environment,
            audience=str(draft["audience"]),
            account=ring.account,
            ring_hash=ring_hash(ring),
            subject=str(draft["subject"]),
            nonce=secrets.token_hex(16),
            words=str(draft["words"]),
            expires_at_ms=clock.wall_ns() // NS_PER_MS + _LIFETIME_MS,
        )
        warrant = self._folder / "warrant"
        warrant.write_bytes(warrant_bytes(order))
        return (await self._ran(ring, ["sign", str(warrant), "--file", str(self.files[0])])).strip()

    async def _ran(self, ring: KeyRing, words: list[str]) -> bytes:
        return await self._run([self._command, *words, "--rp-id", ring.rp_id, "--origin", ring.origins[0]])
