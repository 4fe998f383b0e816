"""The units, judged by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "ops/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
EXPOSURE_MAX = 2.0
"""Of 10; what is left is that most processes must reach the network."""
pytestmark = [pytest.mark.slow]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the units, with a program in each place that this machine does not have."""
    for unit in UNITS:
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_takes_every_unit_without_a_word(folder: Path) -> None:
    judged = analyze("verify", "--man=no", *(str(folder / unit.name) for unit in UNITS))
    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_unit_is_little_exposed(folder: Path, unit: str) -> None:
    judged = analyze("security", "--offline=yes", "--no-pager", str(folder / unit))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert found is not None, judged.stderr
    assert float(found[1]) < EXPOSURE_MAX
