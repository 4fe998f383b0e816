"""Seals a journal at the start of who writes it, when its rows are older than they are kept in the file in use.

Sealing frees nobody's start and nobody's trading: what keeps it from being done is said, and the journal goes on as it
is. Only a journal that contradicts itself, or an archive in which another file is in the way, is refused.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_journal.errors import JournalError, JournalUnavailable
from trade_journal.log.verify import PublicKeys
from trade_journal.store.sealing import seal_old_rows
from trade_journal.store.store import JournalReader

_NS_PER_DAY: Final = 24 * 60 * 60 * NS_PER_S
log = logging.getLogger(__name__)


def seal_when_due(url: str, *, origin: str, keys: PublicKeys, retention_days: int, clock: Clock) -> None:
    """Seal a SQLite journal whose first row in use is older. Raises JournalRefused, JournalDamaged."""
    before_ns = clock.wall_ns() - retention_days * _NS_PER_DAY
    try:
        sealed = seal_old_rows(url, origin=origin, keys=keys, written_before_ns=before_ns)
    except JournalUnavailable as error:
        log.warning("rows older than %d days are not sealed, and stay where they are: %s", retention_days, error)
        return
    if sealed is not None:
        log.info("sealed rows %d to %d in %s", sealed.first, sealed.end - 1, sealed.path)


def say_what_is_missing(url: str, *, archive: Path | None = None) -> None:
    """Look for every sealed segment, and say which one does not join: whoever must read all rows will not start."""
    reader = JournalReader(url, archive=archive)
    try:
        reader.check_segments()
    except JournalError as error:
        log.error("the sealed rows cannot be read, and a gateway does not start without them: %s", error)
    finally:
        reader.close()
