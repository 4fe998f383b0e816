"""Every command that is printed is one that somebody tries: the walk runs it, or says why it does not."""

from __future__ import annotations

import re

from docs.pages import PAGES, printed_lines
from docs.walk import NOT_WALKED, NOT_WALKED_BEGINNINGS, WALK


def without_comment(line: str) -> str:
    return re.sub(r"\s+#.*$", "", line)


def printed() -> set[str]:
    return {without_comment(found.line) for page in PAGES for found in printed_lines(page)}


def test_every_printed_command_is_walked_or_excused() -> None:
    walked = {step.line for step in WALK}
    unknown = {
        line
        for line in printed() - walked - NOT_WALKED.keys()
        if not any(line.startswith(beginning) for beginning in NOT_WALKED_BEGINNINGS)
    }
    assert unknown == set(), "the walk neither runs nor excuses these; add them to tests/docs/walk.py"


def test_walk_runs_and_excuses_only_what_is_printed() -> None:
    lines = printed()
    assert {step.line for step in WALK if step.is_printed} <= lines
    assert NOT_WALKED.keys() <= lines
    for beginning in NOT_WALKED_BEGINNINGS:
        assert any(line.startswith(beginning) for line in lines), beginning
