"""The scenarios of the demo, played to their end with all real processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PLAYED_WITHIN_S = 1500
DEMO = Path(sys.prefix).parent / "demo" / "bin" / "trade-demo"


def played(folder: Path, scenario: str, *, bot: str = "none") -> str:
    """Play a scenario; answers what was on the screen."""
    command = [DEMO, "--bot", bot, "--minutes", "20", "--scenario", scenario, "--state-dir", folder / "state"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PLAYED_WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_crash_walks_every_rung_beside_freqtrade_and_falls_back_without_a_warrant(tmp_path: Path) -> None:
    shown = played(tmp_path, "crash", bot="freqtrade")
    evidence = [line for line in shown.splitlines() if line.startswith("  - ")]
    assert [line.split()[2] for line in evidence[:4]] == ["daily", "weekly", "monthly", "high_water"]
    assert "the gateway is TRIMMED" in evidence[1]
    assert "the gateway is HALTED" in evidence[3]
    assert "  - the gateway halted: done" in evidence
    assert "  - the kill asked for at the executor: done" in evidence
    assert "  - the bot paused and stopped: done" in evidence


def test_rogue_order_is_found_and_swept(tmp_path: Path) -> None:
    shown = played(tmp_path, "rogue")
    assert "the kill executor swept it away" in shown
    assert "the watchdog's audit counts 1 rogue orders, no alarm about keys" in shown


def test_leaked_key_is_found(tmp_path: Path) -> None:
    shown = played(tmp_path, "leak")
    made = re.search(r"the key sentinel found (\S+), and the gateway was HALTED", shown)
    assert made, shown
    assert f"  - the watchdog's audit counts 0 rogue orders, key {made[1]} rogue" in shown.splitlines()
    assert "nobody expects it; it may use Spot" in shown


def test_row_that_root_edits_is_found_and_named(tmp_path: Path) -> None:
    shown = played(tmp_path, "tamper")
    edited = re.search(r"root changes what row (\d+) of the gateway's journal says", shown)
    assert edited, shown
    evidence = "\n".join(line for line in shown.splitlines() if line.startswith("  - "))
    assert "the journal's writer saw another hand, and the gateway was HALTED" in evidence
    assert f"row {edited[1]} of the gateway's journal is not what it was when it was witnessed" in evidence
    assert "trade-journal verify ends with 1" in evidence


def test_drill_stops_everything_and_proves_it(tmp_path: Path) -> None:
    shown = played(tmp_path, "drill")
    evidence = "\n".join(line for line in shown.splitlines() if line.startswith("  - "))
    assert "two security keys are enrolled" in evidence
    assert "the kill drill is complete and proved after" in evidence
    for part in ("the gateway refuses what adds risk", "secrets are destroyed", "the exchange refuses the old keys"):
        assert part in evidence, evidence
    assert "the exchange itself shows 0 orders, 0 positions, 0 keys of the account" in evidence
    assert "the gateway says HALTED" in evidence


def test_drill_kills_the_world_of_a_running_freqtrade(tmp_path: Path) -> None:
    shown = played(tmp_path, "drill", bot="freqtrade")
    evidence = "\n".join(line for line in shown.splitlines() if line.startswith("  - "))
    assert "two security keys are enrolled" in evidence
    assert "the kill drill is complete and proved after" in evidence
    for part in ("the bot runs nowhere", "no order works that could add risk", "the account's keys are deleted"):
        assert part in evidence, evidence
    assert "the exchange itself shows 0 orders" in evidence
    assert "0 keys of the account" in evidence
