"""`trade-journal succeed`: begins a new log behind the rows that the watchdog has seen, where the journal was lost.

It reads the watchdog's copy, verifies all of it with the ring's keys, shows what would go on and what is lost, and
drafts a warrant for a security key to sign. With the signed one it begins the new log. The journal that it makes begins
HALTED: what the lost rows held is not known.
"""

from __future__ import annotations

import argparse
import secrets
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.logs import neutralise
from trade_core.ring_keeper import current_ring
from trade_core.secrets import write_atomically
from trade_core.settings import load_settings
from trade_core.trust.keys import NotTrusted
from trade_core.trust.log_warrant import AUDIENCE, log_subject, open_log_warrant
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.warrant import WARRANT_VERSION, Warrant, WarrantPurpose, check_in_time, warrant_bytes
from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.log.key_file import parse_key_file
from trade_journal.log.log_succession import check_succession, succession_entry
from trade_journal.log.rendering import time_text
from trade_journal.log.ring_keys import gateway_journal_name, gateway_log_keys, public_keys_text
from trade_journal.log.rows import Draft, Entry, RowKind, draft, numbered, parse_row
from trade_journal.log.verify import PublicKeys, Verdict, Verification, checked_points
from trade_journal.note_checks import checked_notes
from trade_journal.sources import DatabaseSource, stored_rows
from trade_journal.store.database import parse_url
from trade_journal.store.sqlite_database import sqlite_path
from trade_journal.store.store import JournalReader, kept_log_number
from trade_journal.store.successor import Copy, go_on_behind, read_copy, require_room
from trade_journal.writer.emergency_segment import SEGMENT_FILE, EmergencySegment
from trade_journal.writer.writer_identity import load_log_identity
from trade_journal.writer.writer_settings import JournalWriterSettings

WARRANT_LIFETIME_MS: Final = 240_000
PUBLIC_KEYS_FILE: Final = "public-keys.txt"
_WORDS_MAX: Final = 380
_REASON: Final = "the journal was lost; look at the account before this is released"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the watchdog has seen of the lost journal, verified, and the log that it was in."""

    copy: Copy
    verdict: Verdict
    number: int


def add_succeed_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], *, epilog: str) -> None:
    """Add the command."""
    words = "begin a new log behind the rows that the watchdog has seen, where the gateway's journal was lost"
    succeed = commands.add_parser("succeed", help=words, description=words, epilog=epilog)
    succeed.add_argument("--config", required=True, type=Path, metavar="FILE", help="the journal writer's settings")
    succeed.add_argument("--copy", required=True, type=Path, metavar="FILE", help="the watchdog's witnessed-gateway.db")
    what = succeed.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--draft", type=Path, metavar="FILE", help="write the warrant's bytes, for a security key to sign"
    )
    what.add_argument("--warrant", type=Path, metavar="FILE", help="begin the new log by a signed warrant")
    succeed.add_argument("--reason", help="what happened; stands in the warrant and the journal")
    succeed.set_defaults(run=_succeed)


def _succeed(options: argparse.Namespace) -> int:
    settings = load_settings(options.config, JournalWriterSettings)
    path = _journal_path(settings)
    require_room(path)
    ring = current_ring(settings.ring_file)
    _require_no_emergency_rows(settings, ring)
    seen = _seen(options.copy.absolute(), ring)
    if options.draft is not None:
        return _draft(options, ring, seen)
    warrant = _signed(options.warrant, ring, seen)
    words = open_log_warrant(warrant, ring=ring).warrant.words
    identity = load_log_identity(settings, number=seen.number + 1)
    public = settings.ring_file.with_name(PUBLIC_KEYS_FILE)
    others = _published(public)
    note = identity.signer.sign(seen.copy.tree).rendered().encode()
    entries = _first_rows(ring, seen, note=note, warrant=warrant)
    go_on_behind(seen.copy, path, note=note, entries=entries)
    text = public_keys_text(ring, number=seen.number + 1, others=others)
    write_atomically(public, text.encode(), mode=0o644)
    print(f"{path}: goes on in log {seen.number + 1} with row {seen.copy.tree.size}; {words}")
    print(f"{public}: has the name of the new log; hand it to who verifies")
    print("It begins HALTED. Start journal writer, gateway and watchdog, look at the account, then release.")
    return 0


def _published(path: Path) -> tuple[PublicKeys, ...]:
    """Read the keys of the other journals, which stay; none where no file is. Raises NoteRefused."""
    return parse_key_file(path.read_text(encoding="utf-8")) if path.exists() else ()


def _draft(options: argparse.Namespace, ring: KeyRing, seen: _Seen) -> int:
    if not options.reason:
        raise ConfigurationError("--draft: a new log needs its --reason")
    words = neutralise(_words(seen, options.reason), limit=_WORDS_MAX)
    write_atomically(options.draft, warrant_bytes(_warrant(ring, seen, words)), mode=0o600)
    print(f"{options.draft}: drafted, a security key signs it within {WARRANT_LIFETIME_MS // 1000} s: {words}")
    return 0


def _signed(path: Path, ring: KeyRing, seen: _Seen) -> bytes:
    """Read a signed warrant for just this new log, in time. Raises NotTrusted, ConfigurationError."""
    try:
        raw = path.read_bytes().rstrip(b"\r\n")  # the end of a line is the file's, not the warrant's
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    ordered = open_log_warrant(raw, ring=ring)
    if (ordered.number, ordered.size, ordered.root) != (
        seen.number + 1,
        seen.copy.tree.size,
        seen.copy.tree.root().hex(),
    ):
        raise NotTrusted(f"{path}: is for another log than the one behind these {seen.copy.tree.size} rows")
    check_in_time(ordered.warrant, now_ms=time.time_ns() // 1_000_000)
    return raw


def _journal_path(settings: JournalWriterSettings) -> Path:
    url = parse_url(settings.journal_url)
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError("journal_url: only a journal in a SQLite file is begun anew by this command")
    return sqlite_path(url)


def _require_no_emergency_rows(settings: JournalWriterSettings, ring: KeyRing) -> None:
    path = settings.state_dir / SEGMENT_FILE
    if not path.exists():
        return
    segment = EmergencySegment.open(path, origin=gateway_journal_name(ring))
    segment.close()
    if segment.rows:
        raise JournalRefused(
            f"{path}: holds row {segment.rows[0][0]} and more of the lost journal, which were acknowledged; "
            "move it out of the way, and keep it"
        )


def _seen(path: Path, ring: KeyRing) -> _Seen:
    """Verify the whole copy with the ring's keys. Raises JournalDamaged for the first fault, JournalRefused."""
    journal = gateway_journal_name(ring)
    copy = read_copy(path)
    if copy.journal != journal:
        raise JournalRefused(f"{path}: a copy of {copy.journal!r}; expected {journal!r}")
    with closing(JournalReader(f"sqlite:///{path}")) as reader:
        number = kept_log_number(reader, journal=journal)
    keys = gateway_log_keys(ring, number=number)
    with closing(DatabaseSource(f"sqlite:///{path}")) as source:
        check = partial(checked_notes, keys=keys)
        verification = Verification(checked_points(source.checkpoints(), source.cosigned(), keys=keys, check=check))
        for page in stored_rows(source):
            verification.feed(page)
    verdict = verification.verdict()
    if verdict.fault is not None:
        raise JournalDamaged(f"{path}: {verdict.fault.text()}")
    if not verdict.witnessed_rows or verdict.root != copy.tree.root():
        raise JournalRefused(f"{path}: no row of it was ever cosigned; is it the watchdog's copy?")
    return _Seen(copy=copy, verdict=verdict, number=number)


def _words(seen: _Seen, reason: str) -> str:
    witnessed = time_text((seen.verdict.witnessed_at_s or 0) * 10**9)
    return (
        f"begin log {seen.number + 1} of {seen.copy.journal} behind the {seen.copy.tree.size} rows that the watchdog "
        f"has seen, the last cosigned at {witnessed}; what came after them is lost; HALTED until released; "
        f"reason given: {reason}"
    )


def _warrant(ring: KeyRing, seen: _Seen, words: str) -> Warrant:
    tree = seen.copy.tree
    return Warrant(
        purpose=WarrantPurpose.LOG.value,
        version=WARRANT_VERSION,
        deployment=ring.deployment,
        environment=ring.environment,
        audience=AUDIENCE,
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=log_subject(number=seen.number + 1, size=tree.size, root=tree.root().hex()),
        nonce=secrets.token_hex(16),
        words=words,
        expires_at_ms=time.time_ns() // 1_000_000 + WARRANT_LIFETIME_MS,
    )


def _first_rows(ring: KeyRing, seen: _Seen, *, note: bytes, warrant: bytes) -> list[Draft]:
    """Make the new log's first rows, and believe them as gateway and watchdog will. Raises NotTrusted."""
    tree, at_ns = seen.copy.tree, time.time_ns()
    succeeded = draft(
        succession_entry(
            number=seen.number + 1, size=tree.size, root=tree.root(), note=note, warrant=warrant, at_ns=at_ns
        )
    )
    check_succession(parse_row(numbered(succeeded.head, tree.size)), ring=ring, number=seen.number)
    fields = {"holder": "operator_latch", "ceiling": "HALTED", "reason": _REASON, "by": "succession"}
    return [succeeded, draft(Entry(at_ns=at_ns, kind=RowKind.STATE_CHANGED, actor="journal", fields=fields))]
