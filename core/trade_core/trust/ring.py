"""The key ring: who the processes of one deployment are. Public halves only; each process pins its own copy.

A ring names the deployment, the environment and the account, so that nothing of one can be used in another, and the
baseline: what the account had before. It names who a person is, too: the security keys whose touch counts, where they
may be touched (rp id, exact origins), who must have made them, and the keys on paper. Later versions chain to the one
before by its hash; see `succession`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trade_core.canonical import canonical_json
from trade_core.trust.baseline import Baseline, parse_baseline
from trade_core.trust.certificate import parse_root
from trade_core.trust.credential import Credential, parse_credentials
from trade_core.trust.keys import NotTrusted, key_id

MAX_RING_BYTES = 256 * 1024  # a baseline at its bounds is about half of it
FIRST_VERSION = 1
SIMULATED = "simulated"
MAX_ORIGINS = 4
MAX_ROOTS = 2
_LISTED = frozenset({"baseline", "origins", "attestation_roots", "credentials"})
_INTEGERS = frozenset({"version", "bootstrap_expires_at_ms"})
_HOST = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,8}"
_RP_ID = re.compile(_HOST, re.ASCII)
_ORIGIN = re.compile(rf"(https?)://({_HOST})(:[1-9][0-9]{{0,4}})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The public identity of one deployment. Keys are base64 Ed25519 public keys; tag_key_id names, never holds.

    `executor_key`, `recovery_key` and `bootstrap_key` are empty where there is none. Origins are exact, as a browser
    writes them; attestation roots are certificates (base64 of DER), and none means that any maker's keys are taken.
    """

    version: int
    previous_hash: str
    deployment: str
    environment: str
    account: str
    gateway_key: str
    lease_key: str
    witness_key: str
    executor_key: str
    tag_key_id: str
    policy_hash: str
    rp_id: str
    origins: tuple[str, ...]
    attestation_roots: tuple[str, ...]
    credentials: tuple[Credential, ...]
    recovery_key: str
    bootstrap_key: str
    bootstrap_expires_at_ms: int
    baseline: Baseline

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "origins": list(self.origins),
            "attestation_roots": list(self.attestation_roots),
            "credentials": [credential.content() for credential in self.credentials],
            "baseline": self.baseline.content(),
        }


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
    for name in _LISTED - {"baseline"}:
        if type(content[name]) is not list:
            raise NotTrusted(f"key ring: {name} must be list")
    for name in set(content) - _LISTED:
        wanted = int if name in _INTEGERS else str
        if type(content[name]) is not wanted:
            raise NotTrusted(f"key ring: {name} must be {wanted.__name__}")
    ring = KeyRing(
        **{name: content[name] for name in set(content) - _LISTED},
        origins=parse_origins(content["origins"], rp_id=content["rp_id"], environment=content["environment"]),
        attestation_roots=parse_roots(content["attestation_roots"]),
        credentials=parse_credentials(content["credentials"], is_simulated=content["environment"] == SIMULATED),
        baseline=parse_baseline(content["baseline"]),
    )
    _check_keys(ring)
    return ring


def parse_origins(listed: list[Any], *, rp_id: str, environment: str) -> tuple[str, ...]:
    """Read the origins of a ring: https on the rp id's own names, or http://localhost when simulated."""
    if not 1 <= len(listed) <= MAX_ORIGINS or not all(isinstance(item, str) for item in listed):
        raise NotTrusted(f"key ring: origins must be 1 to {MAX_ORIGINS} texts")
    if _RP_ID.fullmatch(rp_id) is None:
        raise NotTrusted("key ring: rp_id is not the name of a host")
    for origin in listed:
        found = _ORIGIN.fullmatch(origin)
        if found is None:
            raise NotTrusted(f"key ring: origin {origin[:80]!r} is not one as a browser writes it")
        scheme, host = found[1], found[2]
        if host != rp_id and not host.endswith(f".{rp_id}"):
            raise NotTrusted(f"key ring: origin {origin!r} is not of rp id {rp_id!r}")
        if scheme != "https" and (host, environment) != ("localhost", SIMULATED):
            raise NotTrusted(f"key ring: origin {origin!r} is not https")
    return tuple(listed)


def parse_roots(listed: list[Any]) -> tuple[str, ...]:
    """Read the certificates that a security key's maker must be proved by."""
    if len(listed) > MAX_ROOTS or not all(isinstance(item, str) for item in listed):
        raise NotTrusted(f"key ring: attestation_roots must be at most {MAX_ROOTS} texts")
    for item in listed:
        parse_root(item)
    return tuple(listed)


def _check_keys(ring: KeyRing) -> None:
    if ring.version < FIRST_VERSION:
        raise NotTrusted(f"key ring: version {ring.version} is below {FIRST_VERSION}")
    for key in (ring.gateway_key, ring.lease_key, ring.witness_key):
        key_id(key)
    for key in (ring.executor_key, ring.recovery_key, ring.bootstrap_key):
        if key:
            key_id(key)
    if ring.bootstrap_key and (ring.credentials or ring.version != FIRST_VERSION):
        raise NotTrusted("key ring: a bootstrap key beside enrolled security keys")


def read_ring(path: Path) -> KeyRing:
    """Read the ring file. Raises NotTrusted naming the file."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        hint = "; `trade-gateway init` writes it" if isinstance(error, FileNotFoundError) else ""
        raise NotTrusted(f"{path}: key ring cannot be read: {error.strerror}{hint}") from error
    try:
        return parse_ring(raw)
    except NotTrusted as error:
        raise NotTrusted(f"{path}: {error}") from error


def ring_bytes(ring: KeyRing) -> bytes:
    """Write the ring as indented JSON, for people and for parse_ring."""
    return json.dumps(ring.content(), indent=1, sort_keys=True).encode() + b"\n"
