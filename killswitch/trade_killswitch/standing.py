"""The standing warrant: under which conditions the executor kills by itself. Pure.

Guarantees
- Its terms are everything that a person was shown when he armed it, and their hash is the warrant's subject: with
  another account, another key, another ending or another drawdown it is another warrant.
- A request by itself is never enough. The executor's own figures must agree, or it must see the key or the order
  itself; what it cannot read, or reads otherwise, is no kill.

Of a forked journal it judges what the gateway's log signed itself: two roots that contradict each other need no other
witness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique
from typing import Any, Final, assert_never

from trade_core.canonical import canonical_json
from trade_killswitch.kill_order import Endings
from trade_killswitch.kill_words import arm_words
from trade_killswitch.working_orders import Category

TOLERANCE: Final = Decimal("0.01")
"""The watchdog looks every second and we once a minute: our own drawdown may lag by so much."""
_SUBJECT_HEAD: Final = "arm:"


@unique
class Condition(StrEnum):
    """Why a kill may come by itself: the closed list."""

    DRAWDOWN = "drawdown"
    ROGUE_ORDER = "rogue_order"
    ROGUE_KEY = "rogue_key"
    FORKED_JOURNAL = "forked_journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was armed: the account, every key that it had, what becomes of positions, and from which drawdown."""

    account: str
    keys: tuple[str, ...]
    endings: Endings
    drawdown: Decimal

    def content(self) -> dict[str, Any]:
        """Return the terms as plain values."""
        return {
            "account": self.account,
            "keys": list(self.keys),
            "endings": {category.value: self.endings[category].value for category in Category},
            "drawdown": f"{self.drawdown.normalize():f}",
            "conditions": [condition.value for condition in Condition],
        }

    def subject(self) -> str:
        """Return what the warrant that arms them is for."""
        return _SUBJECT_HEAD + hashlib.sha256(canonical_json(self.content())).hexdigest()

    def words(self, *, environment: str, secrets: Sequence[str]) -> str:
        """Say what is armed, as the person reads it before he touches his key. Raises NotTrusted for too much of it."""
        return arm_words(
            account=self.account,
            environment=environment,
            endings=self.endings,
            keys=self.keys,
            secrets=secrets,
            drawdown=self.drawdown,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnView:
    """What the executor saw itself: its drawdown, the account's keys, whether it found the order. None: unreadable.

    `has_forked` says whether a proof that came with the request shows a fork; None when none came.
    """

    drawdown: Decimal | None = None
    keys: Sequence[str] | None = None
    has_order: bool | None = None
    has_forked: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether a condition holds, and the figures that say so."""

    holds: bool
    why: str


def judge(terms: Terms, condition: Condition, own: OwnView) -> Judgement:
    """Tell whether a condition of the standing warrant is confirmed by what the executor saw itself."""
    match condition:
        case Condition.DRAWDOWN:
            if own.drawdown is None:
                return Judgement(holds=False, why="our own equity cannot be read")
            shown = f"our own drawdown is {own.drawdown * 100:.2f} %, armed for {terms.drawdown * 100:.2f} %"
            return Judgement(holds=own.drawdown >= terms.drawdown - TOLERANCE, why=shown)
        case Condition.ROGUE_KEY:
            if own.keys is None:
                return Judgement(holds=False, why="the account's keys cannot be listed")
            strange = sorted(set(own.keys) - set(terms.keys))
            if not strange:
                return Judgement(holds=False, why="every key that is listed was there when the warrant was armed")
            return Judgement(holds=True, why=f"keys that nobody armed for: {', '.join(strange[:3])}")
        case Condition.ROGUE_ORDER:
            if own.has_order is None:
                return Judgement(holds=False, why="the order cannot be looked for")
            words = "the exchange shows the order" if own.has_order else "the exchange shows no such order"
            return Judgement(holds=own.has_order, why=words)
        case Condition.FORKED_JOURNAL:
            if own.has_forked is None:
                return Judgement(holds=False, why="nothing that proves a fork came with the request")
            words = "two roots" if own.has_forked else "no two roots"
            return Judgement(holds=own.has_forked, why=f"the gateway's log signed {words} that contradict each other")
        case _:
            assert_never(condition)
