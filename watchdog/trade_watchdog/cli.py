"""`trade-watchdog`: init makes its keys, announcer one file that an older init has not made; run (the default) watches;
ack, mitigated and announce tell it what a person says, and doctor looks at its keys.

Exit codes: 0 clean, 1 failure or something wrong, 2 refused.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system
from trade_core.errors import ConfigurationError
from trade_core.exit_codes import EXIT_CLEAN, EXIT_FAILURE, EXIT_REFUSED
from trade_core.findings import all_is_well, rendered
from trade_core.logs import configure_logging
from trade_core.settings import load_settings
from trade_core.trust.keys import NotTrusted
from trade_watchdog.identity import add_announcer, initialise
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.tell import NotTaken, acknowledge, announce, mitigate

REVIEW: Final = "rung:daily"

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("watchdog")
    try:
        settings = load_settings(options.config, WatchdogSettings)
        if options.command == "doctor" and not options.details:
            return _doctor(settings, as_json=options.json)
        return _carry_out(options.command, options.details, settings)
    except (ConfigurationError, NotTrusted) as error:
        _log.error("refused: %s", error)
        return EXIT_REFUSED
    except NotTaken as error:
        _log.error("%s", error)
        return EXIT_FAILURE
    except OSError as error:
        _log.error("failed: %s", refused_by_system(error))
        return EXIT_FAILURE
    except KeyboardInterrupt:
        _log.error(INTERRUPTED)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-watchdog",
        description="Watch the account with a read-only key and vouch for the gateway with short signed leases.",
        epilog="Exit codes: 0 ended cleanly, 1 failed, or of doctor that something is wrong, 2 refused to start "
        "(settings, keys, ring).",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "init", "announcer", "ack", "mitigated", "announce", "doctor"),
        default="run",
        help="init makes the keys and public.json; announcer makes the file to announce outflows with, where an older "
        "init has made none; run (default) watches; ack acknowledges an alert; "
        "mitigated says what was done about an incident of the watchdog's journal; announce says that money "
        "will leave the account; doctor looks at the keys and says what to do",
    )
    parser.add_argument(
        "details",
        nargs="*",
        help=f"of ack: the subject of an alert ({REVIEW} unless named); of mitigated: ROW TEXT; "
        "of announce: AMOUNT COIN",
    )
    parser.add_argument("--json", action="store_true", help="of doctor: for machines")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings file (TOML)")
    return parser


def _init(settings: WatchdogSettings) -> int:
    for path in initialise(settings):
        sys.stdout.write(f"wrote {path}\n")
    return EXIT_CLEAN


def _carry_out(command: str, details: Sequence[str], settings: WatchdogSettings) -> int:
    match command, details:
        case "init", []:
            return _init(settings)
        case "announcer", []:
            sys.stdout.write(f"wrote {add_announcer(settings)}\nstart the watchdog again: it reads it at its start\n")
        case "run", []:
            return _run(settings)
        case "ack", []:
            sys.stdout.write(acknowledge(settings, subject=REVIEW) + "\n")
        case "ack", [subject]:
            sys.stdout.write(acknowledge(settings, subject=subject) + "\n")
        case "mitigated", [incident, text]:
            sys.stdout.write(mitigate(settings, incident=incident, text=text) + "\n")
        case "announce", [amount, coin]:
            sys.stdout.write(announce(settings, amount=amount, coin=coin) + "\n")
        case _:
            raise ConfigurationError(f"{command} does not take: {' '.join(details) or 'nothing'}")
    return EXIT_CLEAN


def _doctor(settings: WatchdogSettings, *, as_json: bool) -> int:
    from trade_watchdog.doctor import examine  # noqa: PLC0415 - it asks through the exchange library, as below

    findings = asyncio.run(examine(settings))
    sys.stdout.write(rendered(findings, as_json=as_json) + "\n")
    return EXIT_CLEAN if all_is_well(findings) else EXIT_FAILURE


def _run(settings: WatchdogSettings) -> int:
    # The exchange library takes seconds to import; init and --help do without it.
    from trade_watchdog.service import run  # noqa: PLC0415

    configure_logging("watchdog", level=settings.log_level)
    try:
        asyncio.run(run(settings))
    except (ConfigurationError, NotTrusted):
        raise
    except ExceptionGroup as group:
        refusals, rest = group.split((ConfigurationError, NotTrusted))
        if rest is None and refusals is not None:
            raise refusals.exceptions[0] from None
        _log.exception("the watchdog failed; its leases lapse and the gateway will only reduce")
        return EXIT_FAILURE
    except Exception:  # noqa: BLE001 - the process boundary: whatever it was, leases stop
        _log.exception("the watchdog failed; its leases lapse and the gateway will only reduce")
        return EXIT_FAILURE
    _log.info("ended")
    return EXIT_CLEAN


if __name__ == "__main__":
    sys.exit(main())
