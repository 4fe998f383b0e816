"""What a doctor finds: one line a check, with what to do where something is to be done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum, unique
from typing import Final

from trade_core.logs import neutralise

TEXT_CHARACTERS_MAX: Final = 400


@unique
class Level(StrEnum):
    """How it is. What cannot be told is never called good."""

    GOOD = "good"
    WARNING = "warning"
    UNKNOWN = "unknown"
    WRONG = "wrong"


_MARKS: Final = {Level.GOOD: "ok ", Level.WARNING: "!  ", Level.UNKNOWN: "?  ", Level.WRONG: "NO "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `advice` says what to do, and is empty when there is nothing to do."""

    check: str
    level: Level
    found: str
    advice: str = ""


def finding(check: str, level: Level, found: str, advice: str = "") -> Finding:
    """Make a finding whose words are safe on a terminal."""
    return Finding(
        check=check,
        level=level,
        found=neutralise(found, limit=TEXT_CHARACTERS_MAX),
        advice=neutralise(advice, limit=TEXT_CHARACTERS_MAX),
    )


def rendered(findings: Sequence[Finding], *, as_json: bool) -> str:
    """Show findings to a person, or to a machine."""
    if as_json:
        return json.dumps([asdict(one) for one in findings], indent=1)
    lines = []
    for one in findings:
        lines.append(f"{_MARKS[one.level]} {one.check}: {one.found}")
        if one.advice:
            lines.append(f"     -> {one.advice}")
    wrong = sum(one.level is Level.WRONG for one in findings)
    open_ = sum(one.level in {Level.WARNING, Level.UNKNOWN} for one in findings)
    lines.append(f"{len(findings)} checks, {wrong} wrong, {open_} to look at")
    return "\n".join(lines)


def all_is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is wrong; warnings and what could not be told do not count."""
    return all(one.level is not Level.WRONG for one in findings)
