"""Bots against a running stack, with limits: `locust -f loadtests/locustfile.py --headless --stack FILE CLASS...`.

FILE is what `trade-demo --bot none --describe FILE` writes. The scenarios are the classes, alone or together:
NormalBot · TwentyBots · HonestBot and Flood · BotDuringHalt and HaltingOperator · BotAtSlowExchange and ExchangeSlows.
A run ends with 1 when a limit of one of its classes is broken, and says which.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from locust import events
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).parent))

from bots.limits import Figures, broken
from bots.signed_user import Stage
from bots.trading import NormalBot, TwentyBots
from bots.trouble import (
    BotAtSlowExchange,
    BotDuringHalt,
    ExchangeSlows,
    Flood,
    HaltingOperator,
    HonestBot,
)

DEFAULT_RUN_TIME_S = 60

__all__ = [
    "BotAtSlowExchange",
    "BotDuringHalt",
    "ExchangeSlows",
    "Flood",
    "HaltingOperator",
    "HonestBot",
    "NormalBot",
    "TwentyBots",
]


@events.init_command_line_parser.add_listener
def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what our scenarios need to know."""
    parser.add_argument("--stack", metavar="FILE", required=True, help="what trade-demo --describe wrote")
    parser.add_argument(
        "--errors-only", action="store_true", help="judge no latency: on a busy machine it says nothing"
    )


@events.init.add_listener
def read_stack(environment: Environment, **_: Any) -> None:
    """Find the gateway."""
    options = environment.parsed_options
    assert options is not None
    Stage.stack = json.loads(Path(options.stack).read_text())
    environment.host = Stage.stack["gateway"]["url"]


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Begin with the calm."""
    options = environment.parsed_options
    assert options is not None
    Stage.begin(run_time_s=options.run_time or DEFAULT_RUN_TIME_S)


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """Hold what was measured against the limits of the classes that ran."""
    options = environment.parsed_options
    assert options is not None

    def figures(name: str) -> Figures:
        found = [entry for entry in environment.stats.entries.values() if entry.name == name]
        return Figures(
            count=sum(entry.num_requests for entry in found),
            failures=sum(entry.num_failures for entry in found),
            p95_ms=max((entry.get_response_time_percentile(0.95) for entry in found), default=0.0),
        )

    limits = [limit for kind in environment.user_classes for limit in getattr(kind, "limits", ())]
    sentences = [
        sentence for limit in limits for sentence in broken(limit, figures, are_ratios_judged=not options.errors_only)
    ]
    for sentence in sentences:
        print(f"BROKEN  {sentence}", file=sys.stderr)
    print(f"{'holds' if not sentences else 'FALLS SHORT'}: {len(limits)} limits", file=sys.stderr)
    environment.process_exit_code = 1 if sentences else 0
