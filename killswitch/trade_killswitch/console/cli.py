"""`trade-console`: run (the default) serves the page, code prints a one-time code for it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from trade_core.clock import SystemClock
from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system
from trade_core.errors import ConfigurationError, TradeError
from trade_core.exit_codes import EXIT_CLEAN, EXIT_FAILURE, EXIT_REFUSED
from trade_core.logs import configure_logging
from trade_core.settings import load_settings
from trade_core.trust.keys import NotTrusted
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.console.sign_in import CODE_LIFETIME_S, CodeBook

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("console")
    try:
        settings = load_settings(options.config, ConsoleSettings)
        configure_logging("console", level=settings.log_level)
        if options.command == "code":
            return _print_code(settings)
        # Whoever wants a code at night waits for no web framework.
        from trade_killswitch.console.service import run  # noqa: PLC0415

        asyncio.run(run(settings))
    except (ConfigurationError, NotTrusted) as error:
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
        log.exception("the console failed; the others go on without it: start it again")
        return EXIT_FAILURE
    log.info("ended")
    return EXIT_CLEAN


def _print_code(settings: ConsoleSettings) -> int:
    try:
        code = CodeBook(settings.state_dir, clock=SystemClock()).issue()
    except OSError as error:
        log.error("failed: %s: no code can be kept there: %s", settings.state_dir, error.strerror)
        return EXIT_FAILURE
    sys.stdout.write(f"{code}\n")
    sys.stderr.write(f"Enter it at {settings.origin}/ within {CODE_LIFETIME_S // 60} minutes; it is good once.\n")
    return EXIT_CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-console",
        description="Serve the page that shows how things stand, and hand on what a person orders with a security key. "
        "It holds no credential of the exchange, the cluster or the secret store.",
        epilog="Exit codes: 0 ended cleanly, 1 failed, 2 refused to start (settings, ring, a taken port).",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "code"),
        default="run",
        help="code prints a one-time code with which a browser may read the page; run (default) serves it",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings file (TOML)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
