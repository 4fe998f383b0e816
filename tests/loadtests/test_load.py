"""The load scenarios: their limits can be broken, the page names their commands, and the halt's scenario runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtests"))

from bots.limits import CALM, Figures, Limit, broken  # noqa: E402 - found by the line above
from load import SCENARIOS, command  # noqa: E402

NOTHING = Figures(count=0, failures=0, p95_ms=0.0)
LIMIT = Limit(name="order", least=3, highest_failed=0.1, highest_ratio=2, allowance_ms=10)


def judged(figures: Figures, *, calm: Figures = NOTHING, limit: Limit = LIMIT, are_ratios_judged: bool = True) -> str:
    found = {"order": figures, "order" + CALM: calm}
    return "; ".join(broken(limit, lambda name: found[name], are_ratios_judged=are_ratios_judged))


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (Figures(count=10, failures=1, p95_ms=50), ""),
        (Figures(count=10, failures=2, p95_ms=50), "order: 2 of 10 failed, 10.0% may"),
        (Figures(count=10, failures=0, p95_ms=51), "order: p95 51 ms, at most 50 ms (calm 20 ms)"),
        (Figures(count=2, failures=0, p95_ms=1), "order: 2 requests, too few to judge"),
        (NOTHING, "order: 0 requests, too few to judge"),
    ],
)
def test_limit_is_judged_at_its_bound_and_just_past_it(figures: Figures, said: str) -> None:
    assert judged(figures, calm=Figures(count=3, failures=0, p95_ms=20)) == said


def test_limit_without_a_calm_to_compare_with_is_broken() -> None:
    said = judged(Figures(count=10, failures=0, p95_ms=1), calm=Figures(count=2, failures=0, p95_ms=20))
    assert said == "order: 2 requests in calm, too few to compare with"


def test_limit_on_errors_alone_judges_no_latency() -> None:
    assert judged(Figures(count=10, failures=0, p95_ms=9_999), are_ratios_judged=False) == ""


def test_page_names_the_command_of_every_scenario() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    for name, (users, classes) in SCENARIOS.items():
        assert f"| `{name}` |" in page
        assert f"-u {users} " in page
        assert f" {' '.join(classes)}\n" in page


def test_command_names_the_classes_of_its_scenario(tmp_path: Path) -> None:
    line = command("hostile-flood", stack_file=tmp_path, seconds=20)
    assert line[-6:] == ["-u", "5", "-r", "5", "HonestBot", "Flood"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_load_in_its_short_form_keeps_its_limits_through_a_halt() -> None:
    script = [sys.executable, ROOT / "loadtests/load.py", "halt-under-load", "--seconds", "40", "--errors-only"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holds: 5 limits" in done.stderr
