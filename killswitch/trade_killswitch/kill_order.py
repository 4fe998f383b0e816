"""What a kill is told to do: by whose authority, why, and what becomes of open positions. Pure.

Guarantees
- What becomes of positions is said for every category, or there is no order: nothing is closed, or kept, by default.
- An order has one form in the journal and is read back from it, so that a kill goes on after a crash as it was ordered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from trade_core.errors import TradeError
from trade_journal.log.rows import Fields
from trade_killswitch.working_orders import Category

REASON_CHARACTERS_MAX: Final = 200
_KILL_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SUBJECT_HEAD: Final = "kill:"


class KillRefused(TradeError):
    """A kill that is not carried out; the message says what is wrong with what was asked."""


@unique
class Ending(StrEnum):
    """What becomes of what is open in a category."""

    HOLD = "hold"
    FLATTEN = "flatten"


@unique
class Authority(StrEnum):
    """Who says so."""

    TOUCH = "touch"
    RECOVERY_KEY = "recovery_key"
    STANDING_WARRANT = "standing_warrant"


Endings = Mapping[Category, Ending]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillOrder:
    """One kill. `kill_id` follows from what authorised it, so that the same touch is the same kill."""

    kill_id: str
    authority: Authority
    reason: str
    endings: Endings
    is_drill: bool

    def fields(self) -> Fields:
        """Return what the journal keeps of it."""
        return {
            "kill_id": self.kill_id,
            "authority": self.authority.value,
            "reason": self.reason,
            "endings": {category.value: self.endings[category].value for category in Category},
            "is_drill": self.is_drill,
        }


def order_of(fields: Fields) -> KillOrder:
    """Read an order back from its row. Raises KillRefused for what is none."""
    kill_id, reason, endings = fields.get("kill_id"), fields.get("reason"), fields.get("endings")
    if not isinstance(kill_id, str) or _KILL_ID.fullmatch(kill_id) is None:
        raise KillRefused("a kill's row names no kill")
    if not isinstance(reason, str) or not isinstance(endings, Mapping):
        raise KillRefused(f"the row of kill {kill_id} does not say what to do")
    try:
        authority = Authority(str(fields.get("authority")))
        chosen = {category: Ending(str(endings.get(category.value))) for category in Category}
    except ValueError:
        raise KillRefused(f"the row of kill {kill_id} says what this version does not know") from None
    return KillOrder(
        kill_id=kill_id,
        authority=authority,
        reason=reason,
        endings=chosen,
        is_drill=fields.get("is_drill") is True,
    )


def kill_subject(endings: Endings) -> str:
    """Return the subject that a kill's warrant must have: what it does to open positions, by category."""
    return _SUBJECT_HEAD + ",".join(f"{category.value}={endings[category].value}" for category in Category)


def endings_of(subject: str) -> dict[Category, Ending]:
    """Read what becomes of open positions from a warrant's subject. Raises KillRefused unless it has the one form."""
    parts = dict(part.partition("=")[::2] for part in subject.removeprefix(_SUBJECT_HEAD).split(","))
    try:
        endings = {category: Ending(parts.get(category.value, "")) for category in Category}
    except ValueError:
        endings = {}
    if not endings or kill_subject(endings) != subject:
        raise KillRefused("the warrant's subject does not say what becomes of open positions in each category")
    return endings
