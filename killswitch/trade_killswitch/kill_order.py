"""What a kill is told to do: by whose authority, why, and what becomes of open positions. Pure.

Guarantees
- What becomes of positions is said for every category, or there is no order: nothing is closed, or kept, by default.
- An order has one form in the journal and is read back from it, so that a kill goes on after a crash as it was ordered.
- An order joins a kill that goes on only when that one just began to do the same. One that began long ago has done its
  steps to another life of the account: to keys, a bot and orders that are not those of today.
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
JOIN_WITHIN_S: Final = 60.0
"""A kill has done, or named, everything by then; who orders one later wants it done again."""


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


def joins(asked: KillOrder, running: KillOrder, *, age_s: float | None) -> bool:
    """Tell whether an order adds nothing to the kill that goes on; otherwise it takes that kill's place.

    `age_s` is how long ago that kill began with nothing done; None when it went on from what was done before. Raises
    KillRefused for a drill, which never takes the place of a kill.
    """
    if asked.is_drill and not running.is_drill:
        raise KillRefused(f"kill {running.kill_id} is not over: a drill may begin when it is")
    if age_s is None or age_s >= JOIN_WITHIN_S or asked.is_drill is not running.is_drill:
        return False
    if asked.authority is Authority.STANDING_WARRANT:
        return True  # what a person ordered, or what this very warrant began, is not changed by a machine
    # A person who touches now does not end as a footnote of what was armed weeks ago.
    return running.authority is not Authority.STANDING_WARRANT and asked.endings == running.endings


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
