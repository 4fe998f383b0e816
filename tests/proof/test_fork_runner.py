"""The runner on a component of three lines: it tells what its tests notice from what they do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from proof.mutate import ROOT
from proof.mutations import mutants_of

MODULE = """LIMIT = 7
UNUSED = 3
def count(things):
    steps = 0
    while steps < len(things):
        steps += 1
    return steps
def is_inside(x):
    return x <= LIMIT
def is_odd(x):
    return x % 2 == 1
EVENS = [x for x in range(10) if not is_odd(x)]
"""
TESTS = """from hypothesis import given, strategies as st
from toy.limits import EVENS, count, is_inside
def test_count():
    assert (count([1, 2, 3]), count([])) == (3, 0)
@given(st.integers(0, 9))
def test_is_inside(x):
    assert is_inside(x) is (x < 8)
def test_evens():
    assert EVENS == [0, 2, 4, 6, 8]
"""


def judge(folder: Path, tests: str = TESTS) -> tuple[int, dict[str, str]]:
    (folder / "core/toy").mkdir(parents=True)
    (folder / "core/toy/__init__.py").touch()
    (folder / "core/toy/limits.py").write_text(MODULE)
    (folder / "test_limits.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: none here\n")
    command = [
        sys.executable,
        "-m",
        "proof.fork_runner",
        "core/toy/limits.py",
        "results",
        "test_limits.py",
        "--cpu-s=1",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "core"), str(ROOT / "tests")])}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, timeout=120)
    results = folder / "results"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    verdicts = {line["number"]: line["verdict"] for line in lines}
    mutants = mutants_of(MODULE.encode())
    return done.returncode, {mutants[number].after: verdict for number, verdict in verdicts.items()}


@pytest.mark.slow  # starts python twice and waits for an endless loop to be ended
def test_runner_tells_what_tests_notice_from_what_they_do_not(tmp_path: Path) -> None:
    code, verdicts = judge(tmp_path)
    assert code == 0
    assert len(verdicts) == len(mutants_of(MODULE.encode()))
    assert {after for after, verdict in verdicts.items() if verdict == "survived"} == {
        "steps = (-1)",
        "UNUSED = 4",
        "UNUSED = (2)",
        "EVENS = [x for x in range((9)) if not is_odd(x)]",
    }
    # At module level, in a function, in one that runs while the module is imported, and by a random test only.
    for after in ("LIMIT = 8", "steps = 1", "return x % 2 != 1", "return x < LIMIT"):
        assert verdicts[after] == "killed"
    assert {after for after, verdict in verdicts.items() if verdict == "timed out"} == {
        "while steps >= len(things):",
        "steps += (0)",
        "steps -= 1",
        "pass",
    }


@pytest.mark.slow  # starts python twice
def test_runner_refuses_tests_that_fail_on_the_code_as_it_is(tmp_path: Path) -> None:
    code, verdicts = judge(tmp_path, TESTS + "def test_wrong():\n    assert count([]) == 1\n")
    assert code != 0
    assert verdicts == {}
