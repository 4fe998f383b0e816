"""Private keys in secret files: whatever is wrong with one, the file is named and the key is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.errors import ConfigurationError
from trade_core.secrets import secret_text
from trade_core.trust.keys import NotTrusted, load_private_key


def private_key_of(content: Mapping[str, object], name: str, *, path: Path) -> Ed25519PrivateKey:
    """Take a private key out of a secret file's content. Raises ConfigurationError without the key."""
    text = secret_text(content, name, path=path).reveal()
    try:
        return load_private_key(text)
    except NotTrusted as error:
        raise ConfigurationError(f"{path}: {name}: {error}") from None
