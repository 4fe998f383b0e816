"""What a release warrant names: the row of the latch that it lifts, and the rungs of the ladder that it re-bases.

The gateway lifts the latch, the watchdog re-bases the rungs; each reads the subject and verifies the warrant by itself.
Naming the high-water mark, from which the kill is measured, takes two different security keys, as any release after a
kill does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trade_core.trust.keys import NotTrusted

RELEASABLE_RUNGS: Final = ("daily", "weekly", "monthly")
HIGH_WATER: Final = "high_water"
_RUNGS: Final = (*RELEASABLE_RUNGS, HIGH_WATER)
_SUBJECT: Final = re.compile(r"latch:(0|[1-9][0-9]{0,15})((?:\+[a-z_]+)*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSubject:
    """The sequence of the latch's row, and the rungs in the order in which they are walked."""

    sequence: int
    rungs: tuple[str, ...] = ()


def release_subject(sequence: int, *, rungs: Iterable[str] = ()) -> str:
    """Write the subject of a release. Raises ValueError for a rung that a release cannot name."""
    named = set(rungs)
    unknown = sorted(named - set(_RUNGS))
    if unknown:
        raise ValueError(f"{unknown[0]}: not a rung that a release can re-base")
    return f"latch:{sequence}" + "".join(f"+{rung}" for rung in _RUNGS if rung in named)


def parse_release_subject(text: str) -> ReleaseSubject:
    """Read the subject of a release; it has one form only. Raises NotTrusted."""
    found = _SUBJECT.fullmatch(text)
    if found is None:
        raise NotTrusted("release: subject does not name a latch")
    rungs = tuple(found[2].split("+")[1:])
    try:
        is_canonical = release_subject(int(found[1]), rungs=rungs) == text
    except ValueError as error:
        raise NotTrusted(f"release: {error}") from None
    if not is_canonical:
        raise NotTrusted("release: subject names its rungs twice or out of order")
    return ReleaseSubject(sequence=int(found[1]), rungs=rungs)
