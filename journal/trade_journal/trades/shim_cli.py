"""`trade-journal shim`, `lesson` and `mitigated`: what is written into the journal beside the gateway."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Final

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_core.exit_codes import EXIT_REFUSED
from trade_core.logs import configure_logging
from trade_core.settings import load_settings
from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.log.rendering import time_text
from trade_journal.trades.lesson import missing_lessons, write_lesson
from trade_journal.trades.mitigation import write_mitigation
from trade_journal.trades.remark import RemarkRefused
from trade_journal.trades.shim import Shim
from trade_journal.trades.shim_settings import ShimSettings

EXIT_GOOD: Final = 0
EXIT_MISSING: Final = 4
_ROW_DIGITS: Final = 19


def add_shim_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the three commands."""
    words = "follow the bot's own database and write its trades into the journal"
    shim = commands.add_parser(
        "shim",
        help=words,
        description=words,
        epilog="Exit codes: 0 ended by SIGTERM or Ctrl-C, 1 tampered, 2 refused (settings, socket, state_dir).",
    )
    _config(shim)
    shim.set_defaults(run=_shim)
    words = "write what a trade has taught, or list the trades without a lesson"
    lesson = commands.add_parser(
        "lesson",
        help=words,
        description=words,
        epilog="Exit codes: 0 written, or none is missing; 1 tampered; 2 usage, or no such trade; 3 no journal to be "
        "reached; 4 trades that were closed more than a week ago have no lesson (--missing).",
    )
    lesson.add_argument("trade", nargs="?", metavar="TRADE", help="the trade's id")
    lesson.add_argument("text", nargs="?", metavar="TEXT", help="the lesson, in one line; the last one counts")
    lesson.add_argument("--missing", action="store_true", help="list trades closed more than a week ago without one")
    lesson.add_argument("--json", action="store_true", help="with --missing: one JSON object a line")
    _config(lesson)
    lesson.set_defaults(run=_lesson)
    words = "write what was done about an incident, so that it counts as mitigated"
    mitigated = commands.add_parser(
        "mitigated",
        help=words,
        description=words,
        epilog="Exit codes: 0 written; 1 tampered; 2 usage, or the row is no incident; 3 no journal to be reached.",
    )
    mitigated.add_argument(
        "row", type=_row_number, metavar="ROW", help="the incident's row, as `table incidents` shows it"
    )
    mitigated.add_argument("text", metavar="TEXT", help="what was done, in one line")
    _config(mitigated)
    mitigated.set_defaults(run=_mitigated)


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, type=Path, metavar="FILE", help="the shim's settings file (TOML)")


def _shim(options: argparse.Namespace) -> int:
    configure_logging("journal-shim")
    try:
        settings = load_settings(options.config, ShimSettings)
        configure_logging("journal-shim", level=settings.log_level)
        asyncio.run(_until_ended(Shim(settings, clock=SystemClock())))
    except JournalDamaged:
        raise
    except (ConfigurationError, JournalRefused) as error:
        print(f"trade-journal: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_GOOD


async def _until_ended(shim: Shim) -> None:
    """Run until a signal. Whatever is under way is left as a crash would leave it, which is made for that."""
    work = asyncio.create_task(shim.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()


def _lesson(options: argparse.Namespace) -> int:
    if options.missing != (options.trade is None) or options.missing != (options.text is None):
        print("trade-journal: lesson takes a TRADE and a TEXT, or --missing", file=sys.stderr)
        return EXIT_REFUSED
    try:
        settings = load_settings(options.config, ShimSettings)
        return _list_missing(settings, options) if options.missing else _write(settings, options)
    except RemarkRefused as error:
        print(f"trade-journal: {error}", file=sys.stderr)
        return EXIT_REFUSED


def _write(settings: ShimSettings, options: argparse.Namespace) -> int:
    seq = asyncio.run(write_lesson(settings, trade_id=options.trade, text=options.text, clock=SystemClock()))
    print(f"row {seq}: the lesson of trade {options.trade}")
    return EXIT_GOOD


def _row_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _ROW_DIGITS):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a row")
    return int(text)


def _mitigated(options: argparse.Namespace) -> int:
    try:
        settings = load_settings(options.config, ShimSettings)
        written = write_mitigation(settings, incident=options.row, text=options.text, clock=SystemClock())
        seq = asyncio.run(written)
    except RemarkRefused as error:
        print(f"trade-journal: {error}", file=sys.stderr)
        return EXIT_REFUSED
    print(f"row {seq}: the incident of row {options.row} is mitigated")
    return EXIT_GOOD


def _list_missing(settings: ShimSettings, options: argparse.Namespace) -> int:
    unlearned = asyncio.run(missing_lessons(settings, clock=SystemClock()))
    for one in unlearned:
        if options.json:
            print(json.dumps({"trade_id": one.trade_id, "pair": one.pair, "closed_at_ns": one.closed_at_ns}))
        else:
            print(f"{one.trade_id}  {one.pair}  closed {time_text(one.closed_at_ns)}")
    if not unlearned and not options.json:
        print("every trade that was closed more than a week ago has a lesson")
    return EXIT_MISSING if unlearned else EXIT_GOOD
