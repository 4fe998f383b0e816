"""What must be true before something is released: what the console can tell, and what a person has to say. Pure.

After a halt: the cause. After a kill also: new keys, the decision about the ladder, a drill that passed. What a person
says stands in the words that are signed, where gateway and watchdog read it (`trade_core.trust.release_terms`); the
console finds out what is known already, so that nobody signs what would be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from trade_core.trust.release_terms import KILLED, KillTerms
from trade_killswitch.console.facts import ExecutorFacts, GatewayFacts

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
        Condition(name="order_key", words="the gateway uses a new order key", standing=_order_key(gateway)),
        Condition(
            name="exit_key", words="the executor's exit key is new and verified", standing=_exit_key(gateway, executor)
        ),
        Condition(
            name="keys_new",
            words="the old keys are gone from the exchange's own page",
            standing=Standing.TO_CONFIRM,
        ),
    )


def kill_terms(gateway: GatewayFacts, executor: ExecutorFacts | None, *, decision: str, drill: str) -> KillTerms:
    """Put together what is signed after a kill. Without the name of a drill elsewhere it is the one proved here."""
    last = executor.kill if executor is not None else None
    is_proved = last is not None and last.is_drill and not last.is_running and last.verdict == COMPLETE
    here = last.kill_id if last is not None and is_proved else ""
    return KillTerms(
        decision=decision,
        drill=drill or here,
        order_key=gateway.order_key,
        exit_key=executor.exit_key_id if executor is not None else "",
    )


def _order_key(gateway: GatewayFacts) -> Standing:
    is_new = bool(gateway.order_key) and gateway.order_key not in gateway.killed_keys
    return Standing.MET if is_new else Standing.UNMET


def _exit_key(gateway: GatewayFacts, executor: ExecutorFacts | None) -> Standing:
    """Judge the exit key. The executor looks every five minutes: it may call one verified that a kill has deleted."""
    if executor is None or executor.exit_key != VERIFIED:
        return Standing.UNMET
    killed = executor.kill.refused_keys if executor.kill is not None else frozenset()
    if executor.exit_key_id in killed or executor.exit_key_id in gateway.killed_keys:
        return Standing.UNMET
    return Standing.MET if killed else Standing.TO_CONFIRM


def open_conditions(found: tuple[Condition, ...], confirmed: frozenset[str]) -> list[str]:
    """Say what is not met and not confirmed; what is known to be unmet nobody can confirm."""
    return [
        condition.words
        for condition in found
        if condition.standing is Standing.UNMET
        or (condition.standing is Standing.TO_CONFIRM and condition.name not in confirmed)
    ]
