"""Sealed secret files: encrypted at rest under a key that stands elsewhere, and opened without a person.

Guarantees
- AES-256-GCM under a key derived (HKDF-SHA-256) from 32 random bytes and a salt of the file's own; the file's name is
  part of what is authenticated, so that one process's secrets never pass for another's.
- The key comes from a file that only its owner may read, or from a systemd credential, never from a prompt: a reboot
  comes back alone. Without it, or with another, nothing is read.
- Nothing of key or content stands in an error.

What it protects from: a stolen disk, backup or copy of the file without the key. Not from who is root while it runs.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trade_core.canonical import canonical_json
from trade_core.errors import ConfigurationError

SEALED_FORMAT: Final = "trade-sealed/v1"
KEY_FORMAT: Final = "trade-seal-key/v1"
KEY_FILE_VARIABLE: Final = "TRADE_SEAL_KEY_FILE"
CREDENTIAL_NAME: Final = "trade-seal-key"
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_FILE_BYTES_MAX: Final = 256
_FIELDS: Final = frozenset({"sealed", "salt", "nonce", "content"})


def new_seal_key() -> bytes:
    """Make the text of a key file."""
    return f"{KEY_FORMAT} {_text(secrets.token_bytes(_KEY_BYTES))}\n".encode()


def seal(content: Mapping[str, object], *, key: bytes, name: str) -> dict[str, object]:
    """Encrypt a secret file's content; `name` is the name of the file it will stand in."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(_derived(key, salt)).encrypt(nonce, json.dumps(content).encode(), _bound(name, salt))
    return {"sealed": SEALED_FORMAT, "salt": _text(salt), "nonce": _text(nonce), "content": _text(sealed)}


def open_sealed(content: Mapping[str, object], *, key: bytes, path: Path) -> dict[str, object]:
    """Decrypt what `seal` made for a file of this name. Raises ConfigurationError."""
    if set(content) != _FIELDS or content["sealed"] != SEALED_FORMAT:
        raise ConfigurationError(f"{path}: is not sealed in the format {SEALED_FORMAT}")
    try:
        salt, nonce, sealed = (
            base64.b64decode(str(content[name]), validate=True) for name in ("salt", "nonce", "content")
        )
        plain = AESGCM(_derived(key, salt)).decrypt(nonce, sealed, _bound(path.name, salt))
    except (ValueError, InvalidTag):
        raise ConfigurationError(
            f"{path}: cannot be opened with this key: another key's, another file's, or changed"
        ) from None
    return cast("dict[str, object]", json.loads(plain))


def read_seal_key(path: Path) -> bytes:
    """Read a key file. Raises ConfigurationError without the key."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(f"{path}: key file cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077:
            raise ConfigurationError(f"{path}: key file is no regular file that only its owner may read; chmod 600 it")
        words = file.read(_KEY_FILE_BYTES_MAX).decode("ascii", "replace").split()
    try:
        kind, text = words
        key = base64.b64decode(text, validate=True)
    except ValueError:
        kind, key = "", b""
    if kind != KEY_FORMAT or len(key) != _KEY_BYTES:
        raise ConfigurationError(f"{path}: is no key file of the format {KEY_FORMAT}")
    return key


def seal_key_file(environment: Mapping[str, str]) -> Path | None:
    """Say where the key of this process stands: the variable, or a systemd credential; None when neither is given."""
    if environment.get(KEY_FILE_VARIABLE):
        return Path(environment[KEY_FILE_VARIABLE])
    folder = environment.get("CREDENTIALS_DIRECTORY")
    return Path(folder) / CREDENTIAL_NAME if folder else None


def _derived(key: bytes, salt: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=SEALED_FORMAT.encode()).derive(key)


def _bound(name: str, salt: bytes) -> bytes:
    return canonical_json({"sealed": SEALED_FORMAT, "name": name, "salt": _text(salt)})


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
