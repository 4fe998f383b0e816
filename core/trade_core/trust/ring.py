"""The key ring: who the processes of one deployment are. Public halves only; each process pins its own copy.

A ring names the deployment, the environment and the account, so that nothing of one can be used in another, and the
baseline: what the account had before. Later versions chain to the one before by its hash; see `succession`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trade_core.canonical import canonical_json
from trade_core.trust.baseline import Baseline, parse_baseline
from trade_core.trust.keys import NotTrusted, key_id

MAX_RING_BYTES = 256 * 1024  # a baseline at its bounds is about half of it
FIRST_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The public identity of one deployment. Keys are base64 Ed25519 public keys; tag_key_id names, never holds."""

    version: int
    previous_hash: str
    deployment: str
    environment: str
    account: str
    gateway_key: str
    lease_key: str
    witness_key: str
    operator_key: str
    tag_key_id: str
    policy_hash: str
    baseline: Baseline

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "baseline"}
        return {**plain, "baseline": self.baseline.content()}


def ring_hash(ring: KeyRing) -> str:
    """Return the SHA-256 of the ring's canonical form, lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(ring.content())).hexdigest()


def parse_ring(raw: bytes) -> KeyRing:
    """Read a ring from its JSON bytes. Raises NotTrusted naming what is wrong."""
    if len(raw) > MAX_RING_BYTES:
        raise NotTrusted(f"key ring: {len(raw)} bytes, at most {MAX_RING_BYTES}")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise NotTrusted("key ring: not JSON") from None
    if not isinstance(content, dict) or set(content) != set(KeyRing.__slots__):
        raise NotTrusted("key ring: its fields are not those of a key ring")
    baseline = content.pop("baseline")
    for name, value in content.items():
        wanted = int if name == "version" else str
        if type(value) is not wanted:
            raise NotTrusted(f"key ring: {name} must be {wanted.__name__}")
    ring = KeyRing(**content, baseline=parse_baseline(baseline))
    if ring.version < FIRST_VERSION:
        raise NotTrusted(f"key ring: version {ring.version} is below {FIRST_VERSION}")
    key_id(ring.gateway_key)
    key_id(ring.lease_key)
    key_id(ring.witness_key)
    key_id(ring.operator_key)
    return ring


def read_ring(path: Path) -> KeyRing:
    """Read the ring file. Raises NotTrusted naming the file."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NotTrusted(f"{path}: key ring cannot be read: {error.strerror}") from error
    try:
        return parse_ring(raw)
    except NotTrusted as error:
        raise NotTrusted(f"{path}: {error}") from error


def ring_bytes(ring: KeyRing) -> bytes:
    """Write the ring as indented JSON, for people and for parse_ring."""
    return json.dumps(ring.content(), indent=1, sort_keys=True).encode() + b"\n"
