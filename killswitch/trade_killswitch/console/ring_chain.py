"""The key ring that counts, as the console knows it: the ring of `init`, and every change that proves itself.

Guarantees
- A ring is followed by another only when its warrant verifies under the one before, as every other process has it.
- What was followed is kept on disk, so that a kill can be drafted while the gateway and its journal are gone.

The console decides nothing by it: it must know which keys to ask for, and what the others have pinned. A ring that it
follows wrongly makes warrants that nobody takes.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trade_core.secrets import write_atomically
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing, read_ring, ring_hash
from trade_core.trust.succession import replayed_ring

CHAIN_FILE: Final = "rings.json"
CHANGES_MAX: Final = 200
CHAIN_BYTES_MAX: Final = 4 * 1024 * 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RingProof:
    """A change of the ring and the warrant that orders it, as bytes."""

    change: bytes
    warrant: bytes


class RingChain:
    """The rings from the first to the one that counts."""

    def __init__(self, *, ring_file: Path, folder: Path) -> None:
        self._ring_file = ring_file
        self._file = folder / CHAIN_FILE
        self._proofs: list[RingProof] = []
        self.ring: KeyRing | None = None

    def begin(self) -> None:
        """Read the first ring, once there is one, and follow what was kept. Never raises."""
        if self.ring is not None:
            return
        try:
            self.ring = read_ring(self._ring_file)
        except NotTrusted as error:
            log.debug("%s", error)
            return
        for proof in _kept(self._file):
            if not self._step(proof):
                log.warning("%s: is not of the ring in %s; it is passed over", self._file, self._ring_file)
                return

    def follow(self, proofs: Iterable[RingProof]) -> bool:
        """Take whatever follows the ring that counts, in any order; returns whether the ring changed."""
        waiting = list(proofs)
        before = len(self._proofs)
        while len(self._proofs) < CHANGES_MAX:
            found = next((proof for proof in waiting if proof not in self._proofs and self._step(proof)), None)
            if found is None:
                break
        if len(self._proofs) == before:
            return False
        self._keep()
        return True

    def _step(self, proof: RingProof) -> bool:
        if self.ring is None:
            return False
        try:
            self.ring = replayed_ring(self.ring, change=proof.change, warrant=proof.warrant)
        except NotTrusted:
            return False
        self._proofs.append(proof)
        return True

    def _keep(self) -> None:
        content = [{name: _text(getattr(proof, name)) for name in ("change", "warrant")} for proof in self._proofs]
        try:
            write_atomically(self._file, json.dumps(content).encode() + b"\n", mode=0o600)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._file, error.strerror)


def proof_of_row(fields: Mapping[str, Any]) -> RingProof | None:
    """Read the proof out of a `ring:changed` row; None when it holds none."""
    try:
        change, warrant = (base64.b64decode("".join(fields[name]), validate=True) for name in ("change", "warrant"))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    return RingProof(change=change, warrant=warrant)


def is_of(ring: KeyRing | None, named: str) -> bool:
    """Tell whether a service has pinned the ring that the console knows."""
    return ring is not None and ring_hash(ring) == named


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _kept(file: Path) -> list[RingProof]:
    try:
        raw = file.read_bytes()
        content = json.loads(raw) if len(raw) <= CHAIN_BYTES_MAX else []
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(content, list):
        return []
    proofs = (proof_of_row(item) for item in content[:CHANGES_MAX] if isinstance(item, Mapping))
    return [proof for proof in proofs if proof is not None]
