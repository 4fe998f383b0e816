"""`trade-journal-writer`: init makes the log's key, run (the default) writes the journal for its peers."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system
from trade_core.errors import ConfigurationError, TradeError
from trade_core.exit_codes import EXIT_CLEAN, EXIT_FAILURE, EXIT_REFUSED
from trade_core.logs import configure_logging
from trade_core.settings import load_settings
from trade_core.trust.keys import NotTrusted
from trade_journal.writer.writer_identity import initialise
from trade_journal.writer.writer_settings import JournalWriterSettings

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("journal-writer")
    try:
        settings = load_settings(options.config, JournalWriterSettings)
        if options.command == "init":
            for path in initialise(settings):
                sys.stdout.write(f"wrote {path}\n")
            return EXIT_CLEAN
        _run(settings)
    except TradeError as error:
        print(f"trade-journal-writer: {error}", file=sys.stderr)
        return EXIT_REFUSED if isinstance(error, ConfigurationError | NotTrusted) else EXIT_FAILURE
    except OSError as error:
        print(f"trade-journal-writer: {refused_by_system(error)}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print(f"trade-journal-writer: {INTERRUPTED}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-journal-writer",
        description="The only process that writes the gateway's journal, and that holds the key which signs it.",
        epilog="Exit codes: 0 ended cleanly, 1 failed, 2 refused to start (settings, key, ring, journal).",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "init"),
        default="run",
        help="init makes the log's key and public.json; run (default) writes",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings file (TOML)")
    return parser


def _run(settings: JournalWriterSettings) -> None:
    import uvloop  # noqa: PLC0415 - init and --help do without it and the database

    from trade_journal.writer.writer_process import run  # noqa: PLC0415

    configure_logging("journal-writer", level=settings.log_level)
    uvloop.run(run(settings))
    log.info("ended")


if __name__ == "__main__":
    sys.exit(main())
