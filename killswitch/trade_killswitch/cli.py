"""`trade-kill-executor`: init makes the key of its log, run (the default) waits for requests, seal encrypts secrets."""

from __future__ import annotations

import argparse
import asyncio
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
from trade_journal.errors import JournalRefused
from trade_killswitch.identity import initialise
from trade_killswitch.seal_command import seal_files
from trade_killswitch.settings import ExecutorSettings

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    configure_logging("kill-executor")
    try:
        if words[:1] == ["seal"]:
            seal_files(words[1:])
            return EXIT_CLEAN
        options = _parser().parse_args(words)
        settings = load_settings(options.config, ExecutorSettings)
        configure_logging("kill-executor", level=settings.log_level)
        if options.command == "init":
            for path in initialise(settings):
                sys.stdout.write(f"wrote {path}\n")
            return EXIT_CLEAN
        # A web server and a database take a second to import; init does without.
        from trade_killswitch.service import run  # noqa: PLC0415

        asyncio.run(run(settings))
    except (ConfigurationError, NotTrusted, JournalRefused) as error:
        log.error("refused: %s", error)
        return EXIT_REFUSED
    except TradeError as error:
        log.error("failed: %s", error)
        return EXIT_FAILURE
    except OSError as error:
        log.error("failed: %s", refused_by_system(error))
        return EXIT_FAILURE
    except KeyboardInterrupt:
        log.error(INTERRUPTED)
        return EXIT_INTERRUPTED
    except Exception:
        log.exception("the executor failed; start it again, it goes on where it was")
        return EXIT_FAILURE
    log.info("ended")
    return EXIT_CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-kill-executor",
        description="Hold the exit key, listen on no port, and cancel everything that adds risk when asked to.",
        epilog="`trade-kill-executor seal --help`: encrypt secret files. "
        "Exit codes: 0 ended cleanly, 1 failed, 2 refused to start (settings, keys, ring, journal).",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "init"),
        default="run",
        help="init makes the key of the executor's log and public.json; run (default) takes requests",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings file (TOML)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
