"""What the gateway makes for itself at `init`: its keys, the bot's virtual key, admin tokens, and the key ring.

Secrets stay in the identity file, readable by the gateway's user alone. What others need is handed over in one file
each: the watchdog an address and a token, the operator the same with fewer rights, the bot its key. The keys of log,
lease and witness are made by journal writer and watchdog; the ring gets their public halves.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from trade_core.errors import ConfigurationError
from trade_core.secrets import (
    Secret,
    read_secret_file,
    rewrite_secret_file,
    secret_text,
    write_atomically,
    write_secret_file,
)
from trade_core.trust.baseline import Baseline
from trade_core.trust.keys import key_id
from trade_core.trust.ring import FIRST_VERSION, KeyRing, parse_origins, read_ring, ring_bytes, ring_hash
from trade_core.trust.succession import difference
from trade_core.trust.tag import tag_key_id
from trade_gateway.codes import Codes
from trade_gateway.genesis import GENESIS_FILE, permit_genesis
from trade_gateway.settings import GatewaySettings
from trade_journal.log.ring_keys import public_keys_text

IDENTITY_FILE = "identity.json"
HANDOVER_FOLDER = "handover"
PUBLIC_KEYS_FILE = "public-keys.txt"


class Role(Enum):
    """What a caller of the admin listener may do; each is a token of its own."""

    WATCHDOG = "watchdog"  # read, tighten, lease
    OPERATOR = "operator"  # read, tighten
    PROBE = "probe"  # health and readiness only


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The gateway's own secrets. `virtual_keys` maps each bot's key to its secret."""

    deployment: str
    tag_key: bytes
    virtual_keys: Mapping[str, Secret]
    admin_tokens: Mapping[Role, Secret]
    ring_hash: str
    ring_version: int


def identity_path(settings: GatewaySettings) -> Path:
    """Where the identity file stands."""
    return settings.state_dir / IDENTITY_FILE


def require_uninitialised(settings: GatewaySettings) -> None:
    """Refuse to begin a deployment where one was begun. Raises ConfigurationError."""
    made = (identity_path(settings), settings.ring_file, settings.state_dir / GENESIS_FILE)
    there = [path for path in made if path.exists()]
    if not there:
        return
    refusal = f"{there[0]}: exists already; a deployment is initialised once"
    missing = ", ".join(str(path) for path in made if path not in there)
    if missing:
        left = ", ".join(str(path) for path in there)
        refusal += (
            f". {missing}: not there. If an init was broken off, and no process of this deployment has ever run, "
            f"remove {left} and run init again; else put back what is missing"
        )
    raise ConfigurationError(refusal)


def initialise(
    settings: GatewaySettings,
    *,
    log_key: str,
    lease_key: str,
    witness_key: str,
    policy_hash: str,
    baseline: Baseline,
    executor_key: str = "",
    watchdog_log_key: str = "",
    codes: Codes | None = None,
) -> KeyRing:
    """Make the identity, the ring and the handover files. Raises ConfigurationError when an identity exists.

    ``watchdog_log_key`` signs the watchdog's own journal; the ring names it nowhere, and strangers verify with it.
    """
    require_uninitialised(settings)
    path = identity_path(settings)
    for key in (log_key, lease_key, witness_key, *filter(None, [watchdog_log_key])):
        key_id(key)
    content = _new_identity()
    ring = KeyRing(
        version=FIRST_VERSION,
        previous_hash="",
        deployment=str(content["deployment"]),
        environment=settings.environment,
        account=settings.account,
        gateway_key=log_key,
        lease_key=lease_key,
        witness_key=witness_key,
        executor_key=executor_key,
        tag_key_id=tag_key_id(bytes.fromhex(str(content["tag_key"]))),
        policy_hash=policy_hash,
        rp_id=settings.rp_id,
        origins=parse_origins(list(settings.origins), rp_id=settings.rp_id, environment=settings.environment),
        attestation_roots=(),
        credentials=(),
        recovery_key="" if codes is None else codes.public("recovery"),
        bootstrap_key="" if codes is None else codes.public("bootstrap"),
        bootstrap_expires_at_ms=0 if codes is None else codes.expires_at_ms,
        baseline=baseline,
    )
    write_secret_file(path, {**content, "ring_hash": ring_hash(ring), "ring_version": ring.version})
    permit_genesis(settings.state_dir)
    _hand_over(settings, content)
    settings.ring_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(settings.ring_file, ring_bytes(ring), mode=0o644)
    _publish_log_keys(settings, ring, watchdog_log_key=watchdog_log_key)
    return ring


def _publish_log_keys(settings: GatewaySettings, ring: KeyRing, *, watchdog_log_key: str) -> None:
    """Write what a stranger needs to verify the journals, in the words of signed notes."""
    text = public_keys_text(ring, watchdog_key=watchdog_log_key)
    write_atomically(settings.ring_file.with_name(PUBLIC_KEYS_FILE), text.encode(), mode=0o644)


def _new_identity() -> dict[str, Any]:
    return {
        "deployment": secrets.token_hex(8),
        "tag_key": secrets.token_hex(32),
        "virtual_keys": _new_virtual_key(),
        "admin_tokens": {role.value: secrets.token_urlsafe(32) for role in Role},
    }


def _new_virtual_key() -> dict[str, str]:
    return {"bot" + secrets.token_hex(8): secrets.token_hex(24)}


def renew_virtual_key(settings: GatewaySettings) -> Path:
    """Make a new virtual key in the place of the old one, which no start of the gateway knows any more.

    Answers the handover file that holds it. Raises ConfigurationError, and nothing has changed.
    """
    path = identity_path(settings)
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-gateway init` first")
    content = read_secret_file(path)
    _parse_identity(content, path)
    renewed = _new_virtual_key()
    # If we crash between the two, the bot has a key that the gateway refuses: run again.
    rewrite_secret_file(path, {**content, "virtual_keys": renewed})
    return _hand_over_to_bot(settings, renewed)


def _hand_over(settings: GatewaySettings, content: Mapping[str, Any]) -> None:
    folder = settings.state_dir / HANDOVER_FOLDER
    for role in Role:
        handed = {"admin_url": settings.admin_url, "admin_token": content["admin_tokens"][role.value]}
        # The watchdog's audit tells our orders from others by the tag key; nobody else needs it.
        more = {"tag_key": content["tag_key"]} if role is Role.WATCHDOG else {}
        write_secret_file(folder / f"{role.value}.json", {**handed, **more})
    _hand_over_to_bot(settings, content["virtual_keys"])


def _hand_over_to_bot(settings: GatewaySettings, virtual_keys: Mapping[str, str]) -> Path:
    ((key, secret),) = virtual_keys.items()
    address = f"{settings.listen_host}:{settings.listen_port}"
    path = settings.state_dir / HANDOVER_FOLDER / "freqtrade.json"
    write_secret_file(path, {"url": f"http://{address}", "ws": f"ws://{address}", "key": key, "secret": secret})
    return path


def load_identity(settings: GatewaySettings) -> tuple[Identity, KeyRing]:
    """Read the identity and the ring and check that they belong together. Raises ConfigurationError, NotTrusted."""
    path = identity_path(settings)
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-gateway init` first")
    identity = _parse_identity(read_secret_file(path), path)
    ring = read_ring(settings.ring_file)
    expected = {
        "deployment": identity.deployment,
        "environment": settings.environment,
        "account": settings.account,
        "tag_key_id": tag_key_id(identity.tag_key),
    }
    for name, wanted in expected.items():
        if getattr(ring, name) != wanted:
            raise ConfigurationError(f"{settings.ring_file}: {name} is not that of {path} and the settings")
    # Another lease key in an otherwise fitting ring would let a stranger vouch for risk.
    wrong = difference(ring, pinned_hash=identity.ring_hash, pinned_version=identity.ring_version)
    if wrong is not None:
        raise ConfigurationError(f"{settings.ring_file}: is not the key ring that this gateway has pinned: {wrong}")
    return identity, ring


def load_order_key(settings: GatewaySettings) -> tuple[Secret, Secret]:
    """Read the exchange key and its secret. Raises ConfigurationError."""
    content = read_secret_file(settings.secrets_file)
    return (
        secret_text(content, "exchange_key", path=settings.secrets_file),
        secret_text(content, "exchange_secret", path=settings.secrets_file),
    )


def _parse_identity(content: Mapping[str, Any], path: Path) -> Identity:
    try:
        virtual_keys, tokens = dict(content["virtual_keys"]), dict(content["admin_tokens"])
        return Identity(
            deployment=str(content["deployment"]),
            tag_key=bytes.fromhex(str(content["tag_key"])),
            virtual_keys={str(key): secret_text(virtual_keys, key, path=path) for key in virtual_keys},
            admin_tokens={role: secret_text(tokens, role.value, path=path) for role in Role},
            ring_hash=str(content["ring_hash"]),
            ring_version=int(str(content["ring_version"])),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path}: is not a gateway identity ({type(error).__name__})") from None
