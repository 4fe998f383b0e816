"""`trade-kill` against a real executor: drafted, touched, handed over, followed to its proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from integration.security_keys import enrol, ran, sign
from integration.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_drill_from_the_terminal_is_taken_and_proved(tmp_path: Path) -> None:
    stack = Stack(tmp_path, "--bot", "none")
    try:
        enrol(stack)
        executor = stack.description["processes"]["executor"]["command"]
        command = str(Path(executor[0]).with_name("trade-kill"))
        config = ["--config", executor[executor.index("--config") + 1]]
        assert ran([command, "--status", *config]).returncode == 0
        drafted = ran([command, "--drill", *config, "--out", str(tmp_path / "draft")])
        assert drafted.returncode == 0, drafted.stderr
        handed = ran([command, "--drill", *config, "--signed", str(sign(stack, tmp_path / "draft"))])
        assert handed.returncode == 0, handed.stderr
        assert "complete and proved" in handed.stderr
        status = ran([command, "--status", "--json", *config])
        assert status.returncode == 0
        assert json.loads(status.stdout)["kill"]["last"]["is_drill"] is True
        again = ran([command, "--drill", *config, "--signed", str(tmp_path / "signed")])
        assert again.returncode == 0, again.stderr  # the same touch is the same kill
    finally:
        stack.stop()
