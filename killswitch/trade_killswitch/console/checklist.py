"""What must be true before something is released: what the console can tell, and what a person has to say. Pure.

After a halt: the cause. After a kill also: new keys, the ladder re-based by a decision that is written down, a drill
that passed. What cannot be told from here a person confirms, by name; it stands in the journal beside the warrant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from trade_killswitch.console.facts import ExecutorFacts, GatewayFacts

KILLED: Final = "KILLED"
VERIFIED: Final = "verified"
COMPLETE: Final = "complete"


@unique
class Standing(Enum):
    """Whether a condition is met."""

    MET = "met"
    UNMET = "unmet"
    TO_CONFIRM = "to_confirm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a release, in words."""

    name: str
    words: str
    standing: Standing


def is_killed(gateway: GatewayFacts) -> bool:
    """Tell whether the latch is that of a kill, which takes two keys."""
    return any(hold.holder == "operator_latch" and hold.ceiling == KILLED for hold in gateway.holds)


def conditions(gateway: GatewayFacts | None, executor: ExecutorFacts | None) -> tuple[Condition, ...]:
    """List the conditions beside the cause, which is asked for in words. None after a mere halt."""
    if gateway is None or not is_killed(gateway):
        return ()
    return (
        Condition(
            name="exit_key",
            words="the executor's exit key is new and verified",
            standing=_exit_key(executor),
        ),
        Condition(
            name="keys_new",
            words="the keys are new, and the old ones are gone from the exchange's own page",
            standing=Standing.TO_CONFIRM,
        ),
        Condition(
            name="ladder",
            words="a decision is written down that re-bases the ladder, its highest point too",
            standing=Standing.TO_CONFIRM,
        ),
        Condition(
            name="drill",
            words="a drill has passed since the kill",
            standing=Standing.MET if _has_drilled(executor) else Standing.TO_CONFIRM,
        ),
    )


def _exit_key(executor: ExecutorFacts | None) -> Standing:
    """Judge the exit key. The executor looks every five minutes: it may call one verified that a kill has deleted."""
    if executor is None or executor.exit_key != VERIFIED:
        return Standing.UNMET
    return Standing.MET if _has_drilled(executor) else Standing.TO_CONFIRM


def _has_drilled(executor: ExecutorFacts | None) -> bool:
    """Tell whether the last thing that the executor carried out is a drill that was proved."""
    last = executor.kill if executor is not None else None
    return last is not None and last.is_drill and not last.is_running and last.verdict == COMPLETE


def open_conditions(found: tuple[Condition, ...], confirmed: frozenset[str]) -> list[str]:
    """Say what is not met and not confirmed; what is known to be unmet nobody can confirm."""
    return [
        condition.words
        for condition in found
        if condition.standing is Standing.UNMET
        or (condition.standing is Standing.TO_CONFIRM and condition.name not in confirmed)
    ]
