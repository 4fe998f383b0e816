"""`trade-journal table`: one of the tables for people, as a table at a terminal, as lines elsewhere, or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rich.console import Console
from rich.table import Table as ShownTable
from rich.text import Text

from trade_core.logs import neutralise
from trade_journal.log.rows import Row, RowKind, parse_row
from trade_journal.sources import Source, stored_rows
from trade_journal.tables import TABLES, Record, Table

_CELL_CHARACTERS: Final = 512


def add_table_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `table` takes beside the journal."""
    command.add_argument("name", choices=sorted(TABLES), metavar="NAME", help=", ".join(sorted(TABLES)))
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def show_table(source: Source, options: argparse.Namespace, *, advance: Callable[[int], None]) -> None:
    """Read the journal and print the table. Raises JournalError."""
    table = TABLES[options.name]
    records = table.project(_rows_of(source, table.kinds, advance))
    if options.json:
        for record in records:
            print(json.dumps(record))
    elif sys.stdout.isatty():
        Console().print(_shown(table, records))
    else:
        for record in records:
            print("\t".join(_cell(record[name]) for name in table.columns))


def _rows_of(source: Source, kinds: frozenset[RowKind], advance: Callable[[int], None]) -> Iterator[Row]:
    # Only rows that can be of these kinds are parsed; which they are, their own field says.
    marks = [f'"kind":"{kind.value}"'.encode() for kind in kinds]
    for page in stored_rows(source):
        for stored in page:
            if any(mark in stored.body for mark in marks):
                row = parse_row(stored.body)
                if row.kind in kinds:
                    yield row
        advance(len(page))


def _shown(table: Table, records: Iterable[Record]) -> ShownTable:
    shown = ShownTable(*table.columns)
    for record in records:
        shown.add_row(*(Text(_cell(record[name])) for name in table.columns))  # Text has no markup
    return shown


def _cell(value: str | None) -> str:
    return "-" if value is None else neutralise(value, limit=_CELL_CHARACTERS)
