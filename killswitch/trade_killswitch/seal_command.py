"""`trade-kill-executor seal`: makes a key file, and seals secret files of any process under it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trade_core.errors import ConfigurationError
from trade_core.sealing import new_seal_key, read_seal_key
from trade_core.secrets import seal_secret_file


def seal_files(arguments: Sequence[str]) -> None:
    """Run the command. Raises ConfigurationError; what was sealed before it stays so."""
    options = _parser().parse_args(arguments)
    if options.make_key is not None:
        _make_key(options.make_key)
        sys.stdout.write(f"wrote {options.make_key}; keep it out of the backups of what it opens\n")
    for path in options.files:
        seal_secret_file(path, key=read_seal_key(options.make_key or options.key))
        sys.stdout.write(f"sealed {path}\n")


def _make_key(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: key file cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(new_seal_key())
        file.flush()
        os.fsync(descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-kill-executor seal",
        description="Encrypt secret files, so that a copy of the disk is worth nothing without the key.",
        epilog="A service opens its file with the key that TRADE_SEAL_KEY_FILE names, or with the systemd credential "
        "trade-seal-key. Exit codes: 0 done, 2 refused.",
    )
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--key", type=Path, metavar="FILE", help="the key file")
    key.add_argument("--make-key", type=Path, metavar="FILE", help="make this key file; it must not be there yet")
    parser.add_argument("files", type=Path, nargs="*", metavar="SECRETS.json", help="secret files, sealed in place")
    return parser
