"""Keeps a simulated security key in a file, mode 0600: whoever reads the file is its owner."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from trade_core.errors import ConfigurationError
from trade_core.secrets import read_secret_file, write_secret_file
from trade_simulator.security_key.key import Memory


def read_memory(path: Path) -> Memory:
    """Read a key. Raises ConfigurationError."""
    content: Any = read_secret_file(path)
    try:
        return Memory(
            pin_hash=base64.b64decode(content["pin_hash"]),
            counter=int(content["counter"]),
            pin_tries=int(content["pin_tries"]),
            credentials={
                rp_id: {base64.b64decode(name): _private(text) for name, text in held.items()}
                for rp_id, held in content["credentials"].items()
            },
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: is no simulated security key ({type(error).__name__})") from None


def write_memory(path: Path, memory: Memory) -> None:
    """Write a key, whole or not at all."""
    content = {
        "pin_hash": _text(memory.pin_hash),
        "counter": memory.counter,
        "pin_tries": memory.pin_tries,
        "credentials": {
            rp_id: {_text(name): _text(_der(private)) for name, private in held.items()}
            for rp_id, held in memory.credentials.items()
        },
    }
    write_secret_file(path, json.loads(json.dumps(content)))


def _private(text: str) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(base64.b64decode(text), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not on a curve")
    return key


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
