"""The command: every check, in the order in which things are set up. It changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any, Final

from trade_core.findings import Finding, all_is_well, rendered
from trade_gateway.doctor.exchange_checks import check_exchange
from trade_gateway.doctor.file_checks import check_files
from trade_gateway.doctor.process_checks import check_alerts, check_executor, check_gateway, check_journal_writer
from trade_gateway.settings import GatewaySettings

EXIT_WELL: Final = 0
EXIT_WRONG: Final = 1


def add_doctor(commands: Any) -> None:
    """Add the command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="look at keys, clock, addresses, files, alerts and armed state, and say what to do",
        epilog="Exit codes: 0 nothing is wrong, 1 something is, 2 the settings cannot be used.",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings (TOML)")
    parser.add_argument("--bot-user", metavar="NAME", help="the user that the bot runs as: what may it read?")
    parser.add_argument("--alerts", type=Path, metavar="FILE", help="the alerts_file of watchdog and executor")
    parser.add_argument("--send-test-alert", action="store_true", help="send a test message over each of its channels")
    parser.add_argument("--executor-socket", type=Path, metavar="FILE", help="the kill executor's socket")
    parser.add_argument("--json", action="store_true", help="for machines")


def examine(settings: GatewaySettings, options: argparse.Namespace) -> int:
    """Run the checks and print what they find; answers the exit code."""
    findings: list[Finding] = [
        *check_files(settings, bot_user=options.bot_user),
        *asyncio.run(check_exchange(settings)),
        check_journal_writer(settings),
        *check_gateway(settings),
        *check_executor(options.executor_socket),
        *asyncio.run(check_alerts(settings, options.alerts, send=options.send_test_alert)),
    ]
    sys.stdout.write(rendered(findings, as_json=options.json) + "\n")
    return EXIT_WELL if all_is_well(findings) else EXIT_WRONG
