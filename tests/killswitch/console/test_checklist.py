from __future__ import annotations

from typing import Any

import pytest
from killswitch.console.world import executor_status, gateway_state, held

from trade_killswitch.console.checklist import Condition, Standing, conditions, is_killed, open_conditions
from trade_killswitch.console.facts import ExecutorFacts, executor_facts, gateway_facts

KILLED = gateway_facts(held("KILLED", "by a touch"))
DRILLED = {"kill_id": "1", "is_drill": True, "verdict": "complete", "in_words": "", "steps": []}


def executor(**changed: Any) -> ExecutorFacts:
    return executor_facts(executor_status(**changed))


def standings(found: tuple[Condition, ...]) -> dict[str, Standing]:
    return {condition.name: condition.standing for condition in found}


@pytest.mark.parametrize("ceiling", ["ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED"])
def test_latch_below_killed_has_no_list(ceiling: str) -> None:
    gateway = gateway_facts(held(ceiling, "x"))
    assert not is_killed(gateway)
    assert conditions(gateway, executor()) == ()


def test_only_the_latch_makes_a_kill() -> None:
    assert is_killed(KILLED)
    assert not is_killed(gateway_facts(held("KILLED", "x", holder="watchdog_ceiling")))
    assert not is_killed(gateway_facts(gateway_state()))


def test_gateway_that_cannot_be_read_has_no_list() -> None:
    assert conditions(None, executor()) == ()


def test_list_after_a_kill() -> None:
    found = conditions(KILLED, executor())
    assert standings(found) == {
        "exit_key": Standing.TO_CONFIRM,
        "keys_new": Standing.TO_CONFIRM,
        "ladder": Standing.TO_CONFIRM,
        "drill": Standing.TO_CONFIRM,
    }
    assert [condition.words for condition in found] == [
        "the executor's exit key is new and verified",
        "the keys are new, and the old ones are gone from the exchange's own page",
        "a decision is written down that re-bases the ladder, its highest point too",
        "a drill has passed since the kill",
    ]


@pytest.mark.parametrize("known", [None, executor(exit_key="not verified yet"), executor(exit_key="")])
def test_exit_key_that_is_not_known_to_be_verified_is_unmet(known: ExecutorFacts | None) -> None:
    assert standings(conditions(KILLED, known))["exit_key"] is Standing.UNMET


@pytest.mark.parametrize(
    ("kill", "standing"),
    [
        ({"running": None, "last": DRILLED}, Standing.MET),
        ({"running": DRILLED, "last": None}, Standing.TO_CONFIRM),
        ({"running": None, "last": {**DRILLED, "is_drill": False}}, Standing.TO_CONFIRM),
        ({"running": None, "last": {**DRILLED, "verdict": "pending"}}, Standing.TO_CONFIRM),
        ({"running": None, "last": None}, Standing.TO_CONFIRM),
    ],
)
def test_drill_is_met_when_the_last_thing_done_is_a_drill_that_was_proved(
    kill: dict[str, Any], standing: Standing
) -> None:
    found = standings(conditions(KILLED, executor(kill=kill)))
    assert (found["drill"], found["exit_key"]) == (standing, standing)


def test_drill_of_an_executor_that_cannot_be_read_is_to_confirm() -> None:
    assert standings(conditions(KILLED, None))["drill"] is Standing.TO_CONFIRM


def test_what_is_confirmed_is_open_no_more_but_what_is_unmet_stays_open() -> None:
    found = conditions(KILLED, None)
    everything = frozenset({"exit_key", "keys_new", "ladder", "drill"})
    assert open_conditions(found, everything) == ["the executor's exit key is new and verified"]
    assert open_conditions(found, frozenset()) == [condition.words for condition in found]
    assert open_conditions(found, frozenset({"ladder"})) == [found[0].words, found[1].words, found[3].words]
    met = conditions(KILLED, executor(kill={"running": None, "last": DRILLED}))
    assert open_conditions(met, frozenset()) == [met[1].words, met[2].words]
    assert open_conditions((), frozenset()) == []
