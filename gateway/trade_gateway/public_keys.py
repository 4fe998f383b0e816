"""The file of public keys beside the key ring: what it lacks, and its missing lines.

Guarantees
- A line that is there stays as it is. One of the same name with another key refuses everything: whoever verifies with
  the file took that key from somebody, and no command puts another in its place unsaid.
- Only keys of this deployment are added: those that the ring names, the own log of the watchdog whose lease key the
  ring names, and the executor's where the ring names none.
- Added twice is added once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from trade_core.errors import ConfigurationError
from trade_core.ring_keeper import current_ring
from trade_core.secrets import write_atomically
from trade_core.trust.ring import KeyRing
from trade_gateway.identity import PUBLIC_KEYS_FILE
from trade_gateway.settings import GatewaySettings
from trade_journal.errors import NoteRefused
from trade_journal.log.key_file import parse_key_file
from trade_journal.log.note import Verifier, parse_verifier
from trade_journal.log.ring_keys import executor_log_keys, gateway_log_keys, watchdog_log_keys, watchdog_log_name


def read_public(path: Path, *names: str, of: str) -> list[str]:
    """Read public keys by their names from a service's `public.json`. Raises ConfigurationError."""
    try:
        public = json.loads(path.read_bytes())
        return [str(public[name]) for name in names]
    except KeyError as missing:
        raise ConfigurationError(f"{path}: is not {of}'s public.json: it names no {missing.args[0]}") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not {of}'s public.json ({type(error).__name__})") from None


def require_of_account(path: Path, *, environment: str, account: str) -> None:
    """Refuse the `public.json` of a service that was initialised for another account. Raises ConfigurationError."""
    for name, wanted in (("environment", environment), ("account", account)):
        (found,) = read_public(path, name, of="a service")
        if found != wanted:
            raise ConfigurationError(f"{path}: is of the {name} {ascii(found)[:40]}, and the settings say {wanted!r}")


def complete_public_keys(
    settings: GatewaySettings, *, watchdog_public: Path | None, executor_public: Path | None
) -> str:
    """Add the lines that are missing, and answer what to tell the person. Raises ConfigurationError, NotTrusted."""
    path = public_keys_path(settings)
    ring = current_ring(settings.ring_file)
    wanted = ring_keys(ring)
    if watchdog_public is not None:
        wanted.append(_watchdog_key(watchdog_public, ring))
    if executor_public is not None:
        wanted.append(_executor_key(executor_public, ring))
    text = read_text(path)
    missing = missing_keys(text, wanted, path=path)
    if missing:
        added = "".join(f"# of {key.name}\n{key.text()}\n" for key in missing)
        completed = text if not text or text.endswith("\n") else f"{text}\n"
        completed += added
        _checked(completed, path)
        write_atomically(path, completed.encode(), mode=0o644)
    return "\n".join([*_said(path, missing), *_still_missing(read_text(path), ring, path=path)])


def public_keys_path(settings: GatewaySettings) -> Path:
    """Say where the file is."""
    return settings.ring_file.with_name(PUBLIC_KEYS_FILE)


def read_text(path: Path) -> str:
    """Read the file; empty where none is. Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {type(error).__name__}") from None


def ring_keys(ring: KeyRing) -> list[Verifier]:
    """Return the keys that the ring names: of the gateway's log, its witness, and the executor's log if it is there."""
    gateway, executor = gateway_log_keys(ring), executor_log_keys(ring)
    assert gateway.witness is not None
    return [gateway.log, gateway.witness, *([] if executor is None else [executor.log])]


def missing_keys(text: str, wanted: Sequence[Verifier], *, path: Path) -> list[Verifier]:
    """Return those that have no line yet. Raises ConfigurationError for a line of the same name with another key."""
    there = {(key.name, key.kind): key for key in _checked(text, path)}
    missing: dict[str, Verifier] = {}
    for key in wanted:
        found = there.get((key.name, key.kind))
        if found is None:
            missing[key.text()] = key
        elif found.text() != key.text():
            raise ConfigurationError(
                f"{path}: has the key {found.key_id.hex()} of {key.name}, and that of this deployment is "
                f"{key.key_id.hex()}; nothing was written. Find out whose the other one is"
            )
    return list(missing.values())


def has_watchdog_log(text: str, ring: KeyRing, *, path: Path) -> bool:
    """Tell whether the watchdog's own log has a key there; the ring names it nowhere. Raises ConfigurationError."""
    # Any key will do: its name is the name of the log, and a witness's key is of another kind.
    kind = gateway_log_keys(ring).log.kind
    return any((key.name, key.kind) == (watchdog_log_name(ring), kind) for key in _checked(text, path))


def _checked(text: str, path: Path) -> list[Verifier]:
    """Read every key of the file, which must hold together. Raises ConfigurationError."""
    lines = [line.strip() for line in text.splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    try:
        if named:
            parse_key_file(text)
        return [parse_verifier(line) for line in named]
    except NoteRefused as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _watchdog_key(path: Path, ring: KeyRing) -> Verifier:
    lease_key, log_key = read_public(path, "lease_key", "log_key", of="a watchdog")
    if lease_key != ring.lease_key:
        raise ConfigurationError(f"{path}: is of another watchdog than the one that the key ring names")
    return watchdog_log_keys(ring, watchdog_key=log_key).log


def _executor_key(path: Path, ring: KeyRing) -> Verifier:
    (executor_key,) = read_public(path, "executor_key", of="an executor")
    if ring.executor_key not in ("", executor_key):
        raise ConfigurationError(f"{path}: is of another kill executor than the one that the key ring names")
    keys = executor_log_keys(ring, executor_key=executor_key)
    assert keys is not None
    return keys.log


def _said(path: Path, missing: Sequence[Verifier]) -> list[str]:
    if not missing:
        return [f"{path}: nothing was missing of what is known here"]
    names = ", ".join(key.name for key in missing)
    return [f"{path}: added the keys of {names}; hand it to who verifies"]


def _still_missing(text: str, ring: KeyRing, *, path: Path) -> list[str]:
    if has_watchdog_log(text, ring, path=path):
        return []
    return [f"it has no key of {watchdog_log_name(ring)} yet: name the watchdog's --watchdog-public FILE"]
