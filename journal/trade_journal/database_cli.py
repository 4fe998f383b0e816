"""`trade-journal database init`: makes an empty journal in a database of many, run once by the database's owner."""

from __future__ import annotations

import argparse
from typing import Final

from trade_journal.store.database import driver_loaded

EXIT_GOOD: Final = 0


def add_database_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], *, epilog: str) -> None:
    """Add the command and its own commands."""
    words = "make an empty journal in a PostgreSQL database"
    database = commands.add_parser("database", help=words, description=words, epilog=epilog)
    init = database.add_subparsers(dest="database_command", metavar="COMMAND", required=True).add_parser(
        "init", help=words, description=words + ", as the owner of it", epilog=epilog
    )
    init.add_argument("url", metavar="URL", help="postgresql://owner@host/database, without a password")
    init.add_argument("--origin", required=True, metavar="NAME", help="the journal's name, as in its checkpoints")
    init.add_argument("--role", required=True, metavar="ROLE", help="who may read and add rows; must be there already")
    init.add_argument("--reader", action="append", default=[], metavar="ROLE", help="who may read; repeatable")
    init.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    with driver_loaded():
        from trade_journal.store.postgres_init import init_journal  # noqa: PLC0415 - only its users load the driver
    made = init_journal(options.url, origin=options.origin, role=options.role, readers=options.reader)
    print(f"{made.place}: made an empty journal of {options.origin} (schema {made.schema})")
    print(f"  {options.role} may read it and add to it" + "".join(f", {name} may read it" for name in options.reader))
    return EXIT_GOOD
