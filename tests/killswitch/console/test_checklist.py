from __future__ import annotations

from typing import Any

import pytest
from killswitch.console.world import executor_status, gateway_state, held, killed

from trade_core.trust.release_terms import KillTerms
from trade_killswitch.console.checklist import (
    Condition,
    Standing,
    conditions,
    is_killed,
    kill_terms,
    open_conditions,
)
from trade_killswitch.console.facts import ExecutorFacts, executor_facts, gateway_facts

KILLED = gateway_facts(killed())
PROVED = {"step": "prove", "evidence": {"exit1": "33004"}}
DRILLED = {"kill_id": "1", "is_drill": True, "verdict": "complete", "in_words": "", "steps": [PROVED]}


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
        "order_key": Standing.MET,
        "exit_key": Standing.TO_CONFIRM,
        "keys_new": Standing.TO_CONFIRM,
    }
    assert [condition.words for condition in found] == [
        "the gateway uses a new order key",
        "the executor's exit key is new and verified",
        "the old keys are gone from the exchange's own page",
    ]


@pytest.mark.parametrize("changed", [{"order_key": "order1"}, {"order_key": None}, {"order_key": ""}])
def test_order_key_that_was_killed_or_is_not_known_is_unmet(changed: dict[str, Any]) -> None:
    assert standings(conditions(gateway_facts(killed(**changed)), executor()))["order_key"] is Standing.UNMET


@pytest.mark.parametrize(
    "known",
    [
        None,
        executor(exit_key="not verified yet"),
        executor(exit_key=""),
        executor(exit_key_id="order1"),
        executor(exit_key_id="exit1", kill={"running": None, "last": DRILLED}),
    ],
)
def test_exit_key_that_was_killed_or_is_not_known_to_be_verified_is_unmet(known: ExecutorFacts | None) -> None:
    assert standings(conditions(KILLED, known))["exit_key"] is Standing.UNMET


def test_exit_key_that_is_none_of_those_that_the_exchange_refused_is_met() -> None:
    known = executor(kill={"running": None, "last": {**DRILLED, "is_drill": False}})
    assert standings(conditions(KILLED, known))["exit_key"] is Standing.MET


@pytest.mark.parametrize(
    ("kill", "drill"),
    [
        ({"running": None, "last": DRILLED}, "1"),
        ({"running": DRILLED, "last": None}, ""),
        ({"running": None, "last": {**DRILLED, "is_drill": False}}, ""),
        ({"running": None, "last": {**DRILLED, "verdict": "pending"}}, ""),
        ({"running": None, "last": None}, ""),
    ],
)
def test_drill_is_the_last_thing_done_if_it_was_proved_unless_another_is_named(
    kill: dict[str, Any], drill: str
) -> None:
    known = executor(kill=kill)
    terms = kill_terms(KILLED, known, decision="stays", drill="")
    assert terms == KillTerms(decision="stays", drill=drill, order_key="order2", exit_key="exit2")
    assert kill_terms(KILLED, known, decision="stays", drill="d9").drill == "d9"


def test_executor_that_cannot_be_read_names_nothing() -> None:
    assert kill_terms(KILLED, None, decision="x", drill="") == KillTerms(
        decision="x", drill="", order_key="order2", exit_key=""
    )


def test_what_is_confirmed_is_open_no_more_but_what_is_unmet_stays_open() -> None:
    found = conditions(KILLED, None)
    everything = frozenset({"order_key", "exit_key", "keys_new"})
    assert open_conditions(found, everything) == ["the executor's exit key is new and verified"]
    assert open_conditions(found, frozenset()) == [found[1].words, found[2].words]
    assert open_conditions((), frozenset()) == []
