"""`trade-journal`, and the quick way of its most frequent use: `verify` of a whole SQLite file that is good.

The quick way says GOOD or nothing. Whatever else there is to say (a fault, an unreadable file, wrong options, help, any
other kind of journal) is said by the whole command, which looks for itself. So the quick way needs to load neither what
writes journals nor what shows, exports or proves them: that alone takes longer than 100,000 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from trade_journal.errors import JournalError, NoteRefused
from trade_journal.log.key_file import parse_keys
from trade_journal.log.verdicts import verdict_text, verdict_values
from trade_journal.log.verify import PublicKeys, Verdict, Verification, checked_points
from trade_journal.row_checks import Block, hashed_blocks
from trade_journal.store.plain_sqlite import PlainSqlite

EXIT_GOOD: Final = 0
EXIT_UNREADABLE: Final = 3
NOTES_MAX: Final = 20_000
_SQLITE: Final = "sqlite:///"
_PAGE: Final = 1000
_SCHEME: Final = "://"
_SHOWN_EVERY_S: Final = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit codes as in `cli`, and 3 where nobody reads the output to its end, as `head` does."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # what is left is flushed at the end of the process
        return EXIT_UNREADABLE
    return code


def _run(given: list[str]) -> int:
    try:
        if given[:1] == ["verify"] and is_found_good(given[1:]):
            return EXIT_GOOD
    except KeyboardInterrupt:
        return EXIT_UNREADABLE
    from trade_journal.cli import main as whole  # noqa: PLC0415 - what the quick way does without

    return whole(given)


def is_found_good(arguments: Sequence[str]) -> bool:
    """Verify quickly, if this is the case for it; prints and answers True only for a journal that is good."""
    options = _options(arguments)
    path = None if options is None else _path_of(options.journal)
    if options is None or path is None:
        return False
    try:
        found = _verified(path, options.keys.read_text(encoding="utf-8"))
    except (NoteRefused, JournalError, UnicodeDecodeError, OSError, sqlite3.Error):
        return False
    if found is None or not found[0].is_good:
        return False
    verdict, keys = found
    print(json.dumps(verdict_values(verdict, keys)) if options.json else verdict_text(verdict, keys))
    return True


class _NotQuick(Exception):
    """Options that the quick way does not know, or not so."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise _NotQuick(message)


def _options(arguments: Sequence[str]) -> argparse.Namespace | None:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--keys", required=True, type=Path)
    parser.add_argument("--json", action="store_true")
    try:
        return parser.parse_args(arguments)
    except _NotQuick:
        return None


def _path_of(where: str) -> Path | None:
    """Take the path of a file; None for every other place of a journal."""
    rest = where.removeprefix(_SQLITE)
    if _SCHEME in rest or "?" in rest or (rest != where and not Path(rest).is_absolute()):
        return None
    path = Path(rest).absolute()
    return path if path.is_file() else None


def _verified(path: Path, key_file: str) -> tuple[Verdict, PublicKeys] | None:
    """Verify a journal with its own keys of a file, if it is a plain one."""
    journal = PlainSqlite.opened(path)
    if journal is None:
        return None
    origin, size, notes = journal.origin(), journal.size(), journal.count_notes()
    journal.close()  # no connection is carried into another process
    if notes > NOTES_MAX:
        return None  # their signatures take longer than the rows: the whole command checks them on all processors
    keys = parse_keys(key_file, origin=origin)
    with closing(hashed_blocks(path, rows=size)) as blocks, closing(PlainSqlite(path)) as journal:
        # Checkpoints first: rows that are written meanwhile are then merely not vouched for yet.
        verification = Verification(checked_points(journal.checkpoints(), journal.cosigned(), keys=keys))
        with _progress(size) as shown:
            for block in blocks:
                if not _is_taken(block, verification, journal):
                    break
                shown(verification.rows)
            while page := journal.rows(verification.rows, _PAGE):
                verification.feed(page)
                shown(verification.rows)
                if verification.has_fault:
                    break
        return verification.verdict(), keys


def _is_taken(block: Block | None, verification: Verification, journal: PlainSqlite) -> bool:
    """Feed a block; False when the rest is to be looked at row by row."""
    if block is None:
        return False
    if verification.times.is_worth_a_look(block.times):
        verification.feed(journal.rows(verification.rows, len(block.leaves)))
        return not verification.has_fault
    if verification.feed_hashed(block.leaves, block.root) < len(block.leaves):
        return False
    verification.times.take_span(block.times)
    return True


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many rows have been taken, a few times a second, and take it away at the end.

    The bar of the whole command takes a thread of its own and more time than the rows.
    """
    is_shown = sys.stderr.isatty()
    next_at_s = 0.0

    def shown(rows: int) -> None:
        nonlocal next_at_s
        if is_shown and time.monotonic() >= next_at_s:
            next_at_s = time.monotonic() + _SHOWN_EVERY_S
            print(f"\r{rows} of {total} rows", end="", file=sys.stderr, flush=True)

    try:
        yield shown
    finally:
        if next_at_s:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
