"""The key that signs the gateway's log: made by the journal writer, and nowhere else.

Guarantees
- The private half is made here and never leaves its file (mode 0600) in the writer's own folder. The gateway, whose log
  it is, gets the public half for the key ring, and can sign nothing in the log's name.
- A ring that names another log key, account or environment is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.key_file import private_key_of
from trade_core.secrets import read_secret_file, write_atomically, write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.log_warrant import FIRST_LOG
from trade_core.trust.ring import read_ring
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.ring_keys import gateway_journal_name, gateway_log_keys, gateway_log_signer
from trade_journal.log.verify import PublicKeys
from trade_journal.writer.writer_settings import JournalWriterSettings

KEY_FILE: Final = "log-key.json"
PUBLIC_FILE: Final = "public.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIdentity:
    """Who signs the log, and whose signatures count for it."""

    signer: LogSigner
    keys: PublicKeys


def initialise(settings: JournalWriterSettings) -> list[Path]:
    """Make the log's key; answers the files written. Raises ConfigurationError if there is one.

    The private half comes last: if we crash before it, `init` can simply be run again.
    """
    key_file, public_file = settings.state_dir / KEY_FILE, settings.state_dir / PUBLIC_FILE
    if key_file.exists():
        raise ConfigurationError(f"{key_file}: exists already; a journal writer is initialised once")
    key = new_private_key()
    public = {
        "account": settings.account,
        "environment": settings.environment,
        "log_key": public_text(load_private_key(key)),
    }
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(public_file, json.dumps(public, indent=1).encode() + b"\n", mode=0o644)
    write_secret_file(key_file, {"log_key": key})
    return [public_file, key_file]


def load_log_identity(settings: JournalWriterSettings, *, number: int = FIRST_LOG) -> LogIdentity:
    """Read the key and the ring, and check that they belong together. Raises ConfigurationError, NotTrusted.

    ``number`` is that of the log which the journal is in; it is 1 unless a disk was lost.
    """
    path = settings.state_dir / KEY_FILE
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; run `trade-journal-writer init` first")
    key = private_key_of(read_secret_file(path), "log_key", path=path)
    ring = read_ring(settings.ring_file)
    expected = {
        "environment": settings.environment,
        "account": settings.account,
        "gateway_key": public_text(key),
    }
    for name, wanted in expected.items():
        if getattr(ring, name) != wanted:
            raise ConfigurationError(f"{settings.ring_file}: {name} is not that of {path} and the settings")
    return LogIdentity(signer=gateway_log_signer(ring, key, number=number), keys=gateway_log_keys(ring, number=number))


def number_of_log(settings: JournalWriterSettings) -> int:
    """Read from the journal itself which of its logs it is in; opening it proves that the key here signed that log.

    Raises ConfigurationError, NotTrusted, JournalError.
    """
    # The library of the database takes a third of a second to import; `init` does without.
    from trade_journal.store.database import is_yet_to_be_made  # noqa: PLC0415
    from trade_journal.store.store import JournalReader, kept_log_number  # noqa: PLC0415

    if is_yet_to_be_made(settings.journal_url):
        return FIRST_LOG
    reader = JournalReader(settings.journal_url)
    try:
        return kept_log_number(reader, journal=gateway_journal_name(read_ring(settings.ring_file)))
    finally:
        reader.close()
