"""The red team's page and its tests are the same list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs/redteam.md"


def test_redteam_page_names_every_test_and_no_other() -> None:
    listed = re.findall(r"`(test_\w+)`", PAGE.read_text())
    written = [
        node.name
        for file in FOLDER.glob("test_*.py")
        if file.name != Path(__file__).name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert sorted(listed) == sorted(written)


def test_redteam_page_lists_each_case_with_tests_of_its_own_number() -> None:
    rows = re.findall(r"^\| (R\d\d) \| .+ \| .+ \| (.+) \|$", PAGE.read_text(), re.M)
    assert len(rows) == len({case for case, _ in rows})
    assert {"R01", "R20", "R39", "R54", "R62"} <= {case for case, _ in rows}
    for case, tests in rows:
        assert all(name.startswith(f"test_{case.lower()}_") for name in re.findall(r"`(\w+)`", tests)), case
