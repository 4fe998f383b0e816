"""`trade-journal database`: what the owner of a database of journals does: makes one, and seals the old rows of one."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S
from trade_core.setting_types import RETENTION_DAYS_MAX
from trade_journal.errors import JournalUnavailable, NoteRefused
from trade_journal.log.key_file import keys_of, parse_key_file
from trade_journal.store.database import driver_loaded, parse_url
from trade_journal.store.postgres_address import postgres_address

EXIT_GOOD: Final = 0
_NS_PER_DAY: Final = 24 * 60 * 60 * NS_PER_S


def add_database_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], *, epilog: str) -> None:
    """Add the command and its own commands."""
    words = "make a journal in a PostgreSQL database, or seal the old rows of one, as its owner"
    database = commands.add_parser("database", help=words, description=words, epilog=epilog)
    owners = database.add_subparsers(dest="database_command", metavar="COMMAND", required=True)
    words = "make an empty journal in a PostgreSQL database"
    init = owners.add_parser("init", help=words, description=words + ", as the owner of it", epilog=epilog)
    init.add_argument("url", metavar="URL", help="postgresql://owner@host/database, without a password")
    init.add_argument("--origin", required=True, metavar="NAME", help="the journal's name, as in its checkpoints")
    init.add_argument("--role", required=True, metavar="ROLE", help="who may read and add rows; must be there already")
    init.add_argument("--reader", action="append", default=[], metavar="ROLE", help="who may read; repeatable")
    init.set_defaults(run=_init)
    words = "put the rows that are cosigned into a verified segment, and drop them from the database"
    seal = owners.add_parser("seal", help=words, description=words + "; the writer is stopped", epilog=epilog)
    seal.add_argument("url", metavar="URL", help="postgresql://owner@host/database, without a password")
    seal.add_argument("--keys", required=True, type=Path, metavar="FILE", help="public keys of log and witness")
    seal.add_argument("--archive", required=True, type=Path, metavar="DIR", help="folder of the sealed segments")
    seal.add_argument("--days", type=_days, metavar="N", help="only when the first row is older than so many days")
    seal.set_defaults(run=_seal)


def _init(options: argparse.Namespace) -> int:
    with driver_loaded():
        from trade_journal.store.postgres_init import init_journal  # noqa: PLC0415 - only its users load the driver
    made = init_journal(options.url, origin=options.origin, role=options.role, readers=options.reader)
    print(f"{made.place}: made an empty journal of {options.origin} (schema {made.schema})")
    print(f"  {options.role} may read it and add to it" + "".join(f", {name} may read it" for name in options.reader))
    return EXIT_GOOD


def _seal(options: argparse.Namespace) -> int:
    with driver_loaded():
        from trade_journal.store.postgres_sealing import seal_in_postgres  # noqa: PLC0415 - as above
    try:
        journals = parse_key_file(options.keys.read_text(encoding="utf-8"))
    except (NoteRefused, UnicodeDecodeError) as error:
        # Wrong keys say nothing about the journal.
        raise JournalUnavailable(f"{options.keys}: {error}", cause="keys") from error
    named = postgres_address(parse_url(options.url)).journal
    keys = journals[0] if named is None else keys_of(named, journals)  # another one's are refused by the database
    before_ns = None if options.days is None else time.time_ns() - options.days * _NS_PER_DAY
    sealed = seal_in_postgres(options.url, keys=keys, archive=options.archive.absolute(), written_before_ns=before_ns)
    if sealed is None:
        print("nothing to seal: no cosigned row in the database is as old")
    else:
        print(f"{sealed.path}: rows {sealed.first} to {sealed.end - 1}, verified; the database goes on behind them")
    return EXIT_GOOD


def _days(words: str) -> int:
    if not words.isascii() or not words.isdigit() or len(words) > 4 or not 0 < int(words) <= RETENTION_DAYS_MAX:
        raise argparse.ArgumentTypeError(f"a number of days from 1 to {RETENTION_DAYS_MAX}, not {ascii(words)[:20]}")
    return int(words)
