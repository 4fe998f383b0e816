"""Who the watchdog is: its lease, witness and log keys, admin token, pinned ring and the generation it has reached.

Guarantees
- The private halves of the keys are made here and never leave the identity file (mode 0600).
- A ring is pinned at the first start; afterwards another one is refused, whoever put it there, and so is a start
  without the pinned one once a lease was sent.
- The lease generation is on disk before a lease carries it, so that a restart never goes back.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.administration import AdminAddress, admin_address
from trade_core.errors import ConfigurationError, TradeError
from trade_core.key_file import private_key_of
from trade_core.secrets import Secret, read_secret_file, secret_text, write_atomically, write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, read_ring, ring_bytes, ring_hash
from trade_core.trust.succession import difference
from trade_core.trust.tag import tag_key_id
from trade_watchdog.settings import WatchdogSettings

IDENTITY_FILE: Final = "identity.json"
PUBLIC_FILE: Final = "public.json"
PINNED_RING_FILE: Final = "ring.json"
GENERATION_FILE: Final = "generation.json"
OPERATOR_FILE: Final = "handover/operator.json"
ANNOUNCER_FILE: Final = "handover/announcer.json"
"""For whoever may say that money will leave; it goes to no console, which holds the operator's file."""
GENERATION_MAX: Final = 2**53 - 1
HOLDER_DIGITS: Final = 16
_GENERATION_FILE_BYTES_MAX: Final = 256
_PUBLIC_FILE_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The watchdog's own secrets."""

    lease_key: Ed25519PrivateKey
    witness_key: Ed25519PrivateKey
    log_key: Ed25519PrivateKey
    admin_token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """Where the gateway's admin listener is, the token that may send it leases, and the key that makes its tags."""

    admin: AdminAddress
    token: Secret
    tag_key: Secret

    def tag_key_of(self, ring: KeyRing) -> bytes:
        """Return the tag key. Raises ConfigurationError unless it is the one that the ring names."""
        try:
            key = bytes.fromhex(self.tag_key.reveal())
        except ValueError:
            key = b""
        if tag_key_id(key) != ring.tag_key_id:
            raise ConfigurationError("the gateway's handover: tag_key is not the one that the key ring names")
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeKey:
    """The read-only key that the watchdog sees the account with."""

    key: Secret
    secret: Secret


def initialise(settings: WatchdogSettings) -> list[Path]:
    """Make the keys and the admin token; answers the files written. Raises ConfigurationError if there are any.

    The identity comes last: if we crash before it, `init` can simply be run again.
    """
    identity_file = settings.state_dir / IDENTITY_FILE
    if identity_file.exists():
        raise ConfigurationError(f"{identity_file}: exists already; a watchdog is initialised once")
    private = {name: new_private_key() for name in ("lease_key", "witness_key", "log_key")}
    token = secrets.token_urlsafe(32)
    public_file, operator_file = settings.state_dir / PUBLIC_FILE, settings.state_dir / OPERATOR_FILE
    public = {
        "account": settings.account,
        "environment": settings.environment,
        **{name: public_text(load_private_key(key)) for name, key in private.items()},
    }
    write_secret_file(operator_file, {"admin_url": settings.admin_url, "admin_token": token})
    announcer_file = _write_announcer(settings)
    write_atomically(public_file, json.dumps(public, indent=1).encode() + b"\n", mode=0o644)
    write_secret_file(identity_file, {**private, "admin_token": token})
    return [public_file, operator_file, announcer_file, identity_file]


def add_announcer(settings: WatchdogSettings) -> Path:
    """Make the announcer's file of a watchdog that was initialised before there was one; answers the file.

    A watchdog that runs takes it up at its next start. Raises ConfigurationError before `init`, and when there is one.
    """
    load_identity(settings)
    path = settings.state_dir / ANNOUNCER_FILE
    if path.exists():
        raise ConfigurationError(f"{path}: exists already; to give out another token, take it away first")
    return _write_announcer(settings)


def _write_announcer(settings: WatchdogSettings) -> Path:
    path = settings.state_dir / ANNOUNCER_FILE
    write_secret_file(path, {"admin_url": settings.admin_url, "announce_token": secrets.token_urlsafe(32)})
    return path


def load_identity(settings: WatchdogSettings) -> Identity:
    """Read what `init` made. Raises ConfigurationError, NotTrusted."""
    path = settings.state_dir / IDENTITY_FILE
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-watchdog init` first")
    content = read_secret_file(path)
    return Identity(
        lease_key=private_key_of(content, "lease_key", path=path),
        witness_key=private_key_of(content, "witness_key", path=path),
        log_key=private_key_of(content, "log_key", path=path),
        admin_token=secret_text(content, "admin_token", path=path),
    )


def load_announce_token(settings: WatchdogSettings) -> Secret | None:
    """Read the token that announces outflows; without its file nobody can. Raises ConfigurationError."""
    path = settings.state_dir / ANNOUNCER_FILE
    return secret_text(read_secret_file(path), "announce_token", path=path) if path.exists() else None


def holder_of(settings: WatchdogSettings) -> str:
    """Name this watchdog among those that have its keys: the same after a restart, another one for a copied folder.

    Raises ConfigurationError when there is no identity.
    """
    path = settings.state_dir / IDENTITY_FILE
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    place = f"{socket.gethostname()} {found.st_dev} {found.st_ino} {path.resolve()}"
    return hashlib.sha256(place.encode()).hexdigest()[:HOLDER_DIGITS]


def load_pinned_ring(settings: WatchdogSettings, identity: Identity) -> KeyRing:
    """Read the ring, check that it is of this watchdog, and pin it at the first start.

    Raises ConfigurationError when it names another watchdog, account or environment, or is not the pinned one.
    """
    ring = read_ring(settings.ring_file)
    expected = {
        "environment": settings.environment,
        "account": settings.account,
        "lease_key": public_text(identity.lease_key),
        "witness_key": public_text(identity.witness_key),
    }
    for name, wanted in expected.items():
        if getattr(ring, name) != wanted:
            raise ConfigurationError(f"{settings.ring_file}: {name} is not this watchdog's")
    _pin(ring, settings.state_dir / PINNED_RING_FILE, source=settings.ring_file)
    return ring


def _pin(ring: KeyRing, pinned_file: Path, *, source: Path) -> None:
    if not pinned_file.exists():
        if (pinned_file.parent / GENERATION_FILE).exists():
            # It has sent leases under a ring: whoever took that one away would choose the next.
            raise ConfigurationError(f"{pinned_file}: not there, but this watchdog has vouched under a pinned ring")
        write_atomically(pinned_file, ring_bytes(ring), mode=0o600)
        return
    pinned = read_ring(pinned_file)
    wrong = difference(ring, pinned_hash=ring_hash(pinned), pinned_version=pinned.version)
    if wrong is not None:
        raise ConfigurationError(f"{source}: is not the ring that this watchdog has pinned in {pinned_file}: {wrong}")


def load_executor_key(path: Path | None) -> str:
    """Read the key of the executor's log from its public file; "" without one. Raises ConfigurationError."""
    if path is None:
        return ""
    try:
        content = json.loads(path.read_bytes()[:_PUBLIC_FILE_BYTES_MAX])
        key = content["executor_key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not an executor's public file ({type(error).__name__})") from error
    if not isinstance(key, str):
        raise ConfigurationError(f"{path}: executor_key is not text")
    return key


def load_gateway_address(path: Path) -> GatewayAddress:
    """Read the handover that the gateway's `init` wrote. Raises ConfigurationError."""
    content = _read_existing(path, maker="trade-gateway init")
    try:
        admin = admin_address(str(content.get("admin_url", "")))
    except ValueError as error:
        raise ConfigurationError(f"{path}: admin_url: {error}") from error
    return GatewayAddress(
        admin=admin,
        token=secret_text(content, "admin_token", path=path),
        tag_key=secret_text(content, "tag_key", path=path),
    )


def load_exchange_key(path: Path) -> ExchangeKey:
    """Read the exchange key. Raises ConfigurationError."""
    content = _read_existing(path, maker="whoever hands over the read-only exchange key")
    return ExchangeKey(
        key=secret_text(content, "exchange_key", path=path),
        secret=secret_text(content, "exchange_secret", path=path),
    )


def _read_existing(path: Path, *, maker: str) -> Mapping[str, object]:
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; it is written by {maker}")
    return read_secret_file(path)


class GenerationUnavailable(TradeError):
    """No generation can be taken now: the disk refuses, or the gateway named an absurd one. Without it, no lease."""


class GenerationStore:
    """The highest lease generation this watchdog ever used."""

    __slots__ = ("_path", "_value")

    def __init__(self, state_dir: Path) -> None:
        """Read the stored generation; 0 when none was ever used. Raises ConfigurationError for a damaged file."""
        self._path = state_dir / GENERATION_FILE
        self._value = self._stored()

    @property
    def value(self) -> int:
        """The last generation used."""
        return self._value

    def next_above(self, gateways: int) -> int:
        """Take the next generation, above our own and the gateway's, and make it durable before it is used.

        Raises GenerationUnavailable: no lease is better than a repeated generation.
        """
        value = max(self._value, gateways) + 1
        if value > GENERATION_MAX:
            raise GenerationUnavailable(
                f"lease generation {value} is beyond {GENERATION_MAX}; the gateway named {gateways}"
            )
        try:
            write_atomically(self._path, json.dumps({"generation": value}).encode() + b"\n", mode=0o600)
        except OSError as error:
            raise GenerationUnavailable(f"{self._path}: cannot be written: {error.strerror}") from error
        self._value = value
        return value

    def _stored(self) -> int:
        if not self._path.exists():
            return 0
        try:
            content = json.loads(self._path.read_bytes()[:_GENERATION_FILE_BYTES_MAX])
            value = content["generation"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{self._path}: is not a generation file ({type(error).__name__})") from error
        if type(value) is not int or not 0 < value <= GENERATION_MAX:
            raise ConfigurationError(f"{self._path}: generation is not a whole number from 1 to {GENERATION_MAX}")
        return value
