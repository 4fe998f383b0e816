"""`make load`: every scenario of the locustfile against a stack of its own, and whether its limits were kept.

Name scenarios to run only those; `--seconds` is how long each lasts. Ends with 1 when a limit was broken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from integration.stack import Stack  # noqa: E402 - the tests' own harness

LOCUST = ROOT / ".venv/load/bin/locust"
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
SCENARIOS: dict[str, tuple[int, list[str]]] = {
    "normal-bot": (1, ["NormalBot"]),
    "twenty-bots": (20, ["TwentyBots"]),
    "hostile-flood": (5, ["HonestBot", "Flood"]),
    "exchange-slow": (6, ["BotAtSlowExchange", "ExchangeSlows"]),
    "halt-under-load": (6, ["BotDuringHalt", "HaltingOperator"]),
}


def command(name: str, *, stack_file: Path, seconds: int) -> list[str]:
    """Return the command that runs one scenario."""
    users, classes = SCENARIOS[name]
    options = ["--headless", "--only-summary", "--stack", str(stack_file), "-t", f"{seconds}s"]
    return [str(LOCUST), "-f", str(LOCUSTFILE), *options, "-u", str(users), "-r", str(users), *classes]


def run(name: str, *, seconds: int, are_errors_only: bool) -> bool:
    """Run one scenario; True when its limits were kept."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.wait_for_state("ACTIVE")
            line = command(name, stack_file=Path(folder) / "stack.json", seconds=seconds)
            done = subprocess.run([*line, *(["--errors-only"] if are_errors_only else [])], check=False)
        finally:
            stack.stop()
    return done.returncode == 0


def main() -> int:
    """Run the scenarios that were named."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (all)")
    parser.add_argument("--seconds", type=int, default=60, help="how long each lasts (60)")
    parser.add_argument("--errors-only", action="store_true", help="judge no latency")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.scenarios) - SCENARIOS.keys())
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    kept = {}
    for name in arguments.scenarios or SCENARIOS:
        print(f"== {name}", flush=True)
        kept[name] = run(name, seconds=arguments.seconds, are_errors_only=arguments.errors_only)
    for name, is_kept in kept.items():
        print(f"{name:20}{'holds' if is_kept else 'FALLS SHORT'}")
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
