"""A new user with nothing but README and pages: what they print is run on one stack, and says what they promise.

Only addresses and folders are the test's own. Pages use the names that the folder of a demo has.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.walk import ARM, JOURNAL, SITE, WALK, Step
from integration.shell import in_shell, is_ready_to_kill
from integration.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("pages"), has_console=True)
    try:
        wait_until(lambda: is_ready_to_kill(running), what="every part of a kill is ready")
        yield running
    finally:
        running.stop()


def told(step: Step, ran: subprocess.CompletedProcess[str]) -> str:
    return f"$ {step.line}\n{ran.stdout}{ran.stderr}-> exit code {ran.returncode}, expected {step.code} and {step.says}"


def test_new_user_enrols_arms_halts_releases_and_kills_by_the_pages_alone(state: Stack) -> None:
    for step in WALK:
        if step.line.startswith(ARM):
            wait_until(lambda: is_ready_to_kill(state), what="every part of a kill is ready")
        ran = in_shell(state, step.line)
        assert ran.returncode == step.code, told(step, ran)
        for words in step.says:
            assert words in ran.stdout + ran.stderr, told(step, ran)
        assert "Traceback" not in ran.stdout + ran.stderr, told(step, ran)
        if step.then:
            state.wait_for_state(step.then)


def test_row_is_proved_to_a_stranger(state: Stack) -> None:
    proof = in_shell(state, f"{JOURNAL} prove 3 {SITE} > row.tlog-proof")
    assert proof.returncode == 0, proof.stderr
    checked = in_shell(state, f"{JOURNAL} check-proof row.tlog-proof --keys public-keys.txt")
    assert (checked.returncode, checked.stdout[:4]) == (0, "GOOD"), checked.stderr


def test_nothing_that_a_person_is_shown_for_others_stays_open(state: Stack) -> None:
    where = Path(state.description["ring"]).parent
    for name in ("demo.json", "blue.key", "green.key", "codes.json"):
        assert (where / name).stat().st_mode & 0o077 == 0, name
