"""Ties a state folder to its journal, so that a wiped or foreign one is noticed at start and never begun anew.

Guarantees
- A journal is begun once: `init` leaves a permit, and the first start uses it up by writing down the first row's leaf
  hash in its place. A journal that is empty afterwards, or begins with another row, is refused: it would know of no
  halt and of no open intent.
- Without permit or leaf hash nothing starts: a folder from which they are gone has lost more than we can see.

Only `init` permits a beginning, and `init` refuses a folder that has an identity or a ring. An older copy of the same
journal passes here; the witness is who notices that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from trade_core.errors import ConfigurationError
from trade_core.secrets import write_atomically
from trade_journal.log.rows import RowKind, leaf_hash, row_bytes

if TYPE_CHECKING:
    from trade_journal.writer.journal import Journal

GENESIS_FILE = "genesis.json"
_KEY = "first_leaf_hash"


async def first_leaf_hash(journal: Journal) -> str | None:
    """The leaf hash of row 0, or None when the journal is empty."""
    rows = await journal.read(0, 1)
    return leaf_hash(row_bytes(rows[0])).hex() if rows else None


def permit_genesis(state_dir: Path) -> None:
    """Permit one journal to be begun; for `init` alone."""
    _write(state_dir, None)


async def check_genesis(state_dir: Path, journal: Journal, *, ring_hash: str) -> None:
    """Refuse a journal that is not the one this state folder began. Raises ConfigurationError naming both."""
    path = state_dir / GENESIS_FILE
    remembered = _remembered(path)
    found = await first_leaf_hash(journal)
    if remembered is None:
        if found is not None and not await _is_begun_by(journal, ring_hash):
            raise ConfigurationError(f"{path}: permits a first start, but the journal has rows of another deployment")
        return  # nothing was begun yet, or we crashed between the first row and the file
    if found is None:
        raise ConfigurationError(f"{path}: says that a journal was begun, but it is empty; it is wiped or elsewhere")
    if remembered != found:
        raise ConfigurationError(f"{path}: the journal begins with another row than it did; it is another's")


async def remember_genesis(state_dir: Path, journal: Journal) -> None:
    """Use up the permit: write down how the journal begins, once it does."""
    found = await first_leaf_hash(journal)
    if found is not None and _remembered(state_dir / GENESIS_FILE) is None:
        _write(state_dir, found)


async def _is_begun_by(journal: Journal, ring_hash: str) -> bool:
    first = (await journal.read(0, 1))[0]
    return first.kind is RowKind.PROCESS_STARTED and first.fields.get("ring_hash") == ring_hash


def _write(state_dir: Path, first: str | None) -> None:
    write_atomically(state_dir / GENESIS_FILE, json.dumps({_KEY: first}).encode() + b"\n", mode=0o600)


def _remembered(path: Path) -> str | None:
    """The leaf hash of row 0, or None when the permit is not used yet. Raises ConfigurationError for anything else."""
    try:
        value = json.loads(path.read_bytes())[_KEY]
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: not there; the state folder is wiped or foreign") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from None
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{path}: {_KEY} is neither a text nor null")
    return value
