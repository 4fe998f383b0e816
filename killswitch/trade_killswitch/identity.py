"""Who the executor is: the key that signs its log, the ring it has pinned, and the exit key.

Guarantees
- The private half of the log's key is made here and never leaves its file (mode 0600).
- A ring is pinned at the first start; another one is refused afterwards, whoever put it there, and so is every
  one when the pin is gone from a folder that was worked with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.key_file import private_key_of
from trade_core.secrets import Secret, read_secret_file, secret_text, write_atomically, write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, read_ring, ring_bytes, ring_hash
from trade_core.trust.succession import difference
from trade_journal.log.checkpoint import LogSigner, signer_name
from trade_killswitch.settings import ExecutorSettings

IDENTITY_FILE: Final = "identity.json"
PUBLIC_FILE: Final = "public.json"
PUBLIC_KEYS_FILE: Final = "public-keys.txt"
PINNED_RING_FILE: Final = "ring.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeKey:
    """A credential: the sub-account's that cancels and reduces, or the master's that deletes keys."""

    key: Secret
    secret: Secret


def initialise(settings: ExecutorSettings) -> list[Path]:
    """Make the log's key; answers the files written. Raises ConfigurationError if there is one.

    The private half comes last: if we crash before it, `init` can simply be run again.
    """
    identity_file = settings.state_dir / IDENTITY_FILE
    if identity_file.exists():
        raise ConfigurationError(f"{identity_file}: exists already; an executor is initialised once")
    key = new_private_key()
    public_file, keys_file = settings.state_dir / PUBLIC_FILE, settings.state_dir / PUBLIC_KEYS_FILE
    public = {
        "account": settings.account,
        "environment": settings.environment,
        "executor_key": public_text(load_private_key(key)),
    }
    signer = LogSigner(origin=origin_of(settings), private_key=load_private_key(key), ring_hash="")
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(public_file, json.dumps(public, indent=1).encode() + b"\n", mode=0o644)
    text = f"# the log of the kill executor; the watchdog keeps a witnessed copy\n{signer.verifier().text()}\n"
    write_atomically(keys_file, text.encode(), mode=0o644)
    write_secret_file(identity_file, {"log_key": key})
    return [public_file, keys_file, identity_file]


def origin_of(settings: ExecutorSettings) -> str:
    """Name the executor's log."""
    return signer_name(environment=settings.environment, account=settings.account, service="executor")


def load_signer(settings: ExecutorSettings, ring: KeyRing) -> LogSigner:
    """Read the key that `init` made. Raises ConfigurationError, NotTrusted."""
    path = settings.state_dir / IDENTITY_FILE
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-kill-executor init` first")
    key = private_key_of(read_secret_file(path), "log_key", path=path)
    return LogSigner(origin=origin_of(settings), private_key=key, ring_hash=ring_hash(ring))


def load_pinned_ring(settings: ExecutorSettings, *, kept: Sequence[str]) -> KeyRing:
    """Read the ring, check that it is of this deployment's account, and pin it at the first start.

    `kept` names the files of the state folder that only an executor with a pinned ring writes.

    Raises ConfigurationError, NotTrusted.
    """
    ring = read_ring(settings.ring_file)
    for name in ("environment", "account"):
        if getattr(ring, name) != getattr(settings, name):
            raise ConfigurationError(f"{settings.ring_file}: {name} is not that of the settings")
    pinned_file = settings.state_dir / PINNED_RING_FILE
    if not pinned_file.exists():
        worked = [name for name in kept if (settings.state_dir / name).exists()]
        if worked:
            # It has worked under a ring: whoever took that one away would choose who may order a kill.
            raise ConfigurationError(
                f"{pinned_file}: not there, but {', '.join(worked)} beside it say that this executor has worked under "
                "a pinned ring; put it back from a copy"
            )
        write_atomically(pinned_file, ring_bytes(ring), mode=0o600)
        return ring
    pinned = read_ring(pinned_file)
    wrong = difference(ring, pinned_hash=ring_hash(pinned), pinned_version=pinned.version)
    if wrong is not None:
        raise ConfigurationError(f"{settings.ring_file}: is not the ring pinned in {pinned_file}: {wrong}")
    return ring


def load_exchange_key(path: Path, *, name: str) -> ExchangeKey:
    """Read the exit or the revoker key. Raises ConfigurationError."""
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; it is written by whoever hands over the {name} key")
    content = read_secret_file(path)
    return ExchangeKey(
        key=secret_text(content, "exchange_key", path=path), secret=secret_text(content, "exchange_secret", path=path)
    )
