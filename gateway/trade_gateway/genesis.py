"""Ties a state folder to its journal, so that a wiped or foreign one is noticed at start and never begun anew.

The first row's leaf hash is remembered beside the identity. A journal that is empty although one was begun before,
or that begins with another row, is refused: an empty journal would know of no halt and of no open intent.
An older copy of the same journal passes here; the witness is who notices that.
"""

from __future__ import annotations

import json
from pathlib import Path

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_atomically
from trade_journal.rows import RowKind, leaf_hash, row_bytes
from trade_journal.writer import JournalWriter

GENESIS_FILE = "genesis.json"
_KEY = "first_leaf_hash"


async def first_leaf_hash(journal: JournalWriter) -> str | None:
    """The leaf hash of row 0, or None when the journal is empty."""
    rows = await journal.read(0, 1)
    return leaf_hash(row_bytes(rows[0])).hex() if rows else None


async def check_genesis(state_dir: Path, journal: JournalWriter, *, ring_hash: str) -> None:
    """Refuse a journal that is not the one this state folder began. Raises ConfigurationError naming both."""
    path = state_dir / GENESIS_FILE
    remembered = _remembered(path)
    found = await first_leaf_hash(journal)
    if remembered is None and found is not None and await _is_begun_by(journal, ring_hash):
        return  # we crashed between the first row and the file
    if remembered is None and found is not None:
        raise ConfigurationError(f"{path}: not there, but the journal has rows; the state folder is wiped or foreign")
    if remembered is not None and found is None:
        raise ConfigurationError(f"{path}: says that a journal was begun, but it is empty; it is wiped or elsewhere")
    if remembered != found:
        raise ConfigurationError(f"{path}: the journal begins with another row than it did; it is another's")


async def remember_genesis(state_dir: Path, journal: JournalWriter) -> None:
    """Write down how the journal begins, once it does."""
    path = state_dir / GENESIS_FILE
    found = await first_leaf_hash(journal)
    if found is not None and not path.exists():
        write_atomically(path, json.dumps({_KEY: found}).encode() + b"\n", mode=0o600)


async def _is_begun_by(journal: JournalWriter, ring_hash: str) -> bool:
    first = (await journal.read(0, 1))[0]
    return first.kind is RowKind.PROCESS_STARTED and first.fields.get("ring_hash") == ring_hash


def _remembered(path: Path) -> str | None:
    try:
        value = json.loads(path.read_bytes())[_KEY]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from None
    if not isinstance(value, str):
        raise ConfigurationError(f"{path}: {_KEY} is not a text")
    return value
