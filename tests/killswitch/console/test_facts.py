from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from killswitch.console.world import executor_status, gateway_state, watchdog_state

from trade_killswitch.console.facts import OpenIncident, executor_facts, gateway_facts, watchdog_facts

NONSENSE: list[Any] = [None, True, 7, -1, 1.5, float("inf"), "", "x", [], [1], {}, {"a": 1}, {"a": {"b": []}}, "9" * 99]


def test_documents_of_the_services_are_understood() -> None:
    gateway = gateway_facts(gateway_state())
    assert (gateway.trading_state, gateway.lease_age_s, gateway.journal_size) == ("ACTIVE", 1.25, 3)
    assert gateway.limits[1].use == Decimal(1999)
    assert gateway.hostile_loss == "123.40 USDT (3.1 %)"
    watchdog = watchdog_facts(watchdog_state())
    assert watchdog.equity_usdt == Decimal("4000.50")
    assert watchdog.rungs[0].fires_at == Decimal("1.025") * Decimal("0.95")
    assert executor_facts(executor_status()).armed_reason == "nobody armed it"


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_document_of_another_form_is_unknown_and_never_a_failure(value: Any) -> None:
    documents: list[tuple[Any, dict[str, Any]]] = [
        (gateway_facts, gateway_state()),
        (watchdog_facts, watchdog_state()),
        (executor_facts, executor_status()),
    ]
    for read, whole in documents:
        read({})
        for name, part in whole.items():
            read({**whole, name: value})
            if isinstance(part, dict):
                for inner in part:
                    read({**whole, name: {**part, inner: value}})


def test_open_incidents_of_the_watchdog_are_read_and_nonsense_among_them_is_left_out() -> None:
    incident = {"row": 7, "at_ns": 3, "kind": "outflow", "severity": "critical", "detail": "detail=5 USDT"}
    newest = [incident, 5, {"kind": "no row"}, {"row": 8}]
    assert watchdog_facts(watchdog_state(incidents={"open": 4, "newest": newest})).incidents == (
        OpenIncident(row=7, at_ns=3, kind="outflow", severity="critical", detail="detail=5 USDT"),
        OpenIncident(row=8, at_ns=None, kind="", severity="", detail=""),
    )


def test_alarms_of_the_audit_are_told_in_its_words() -> None:
    audit = {
        "rogue_orders": 2,
        "key_alarms": [{"alarm": "rogue", "key": "abc", "detail": "nobody expects it"}, 5],
        "posture_alarms": [{"alarm": "borrowed", "name": "USDT", "detail": "a loan"}],
    }
    assert watchdog_facts(watchdog_state(audit=audit)).alarms == (
        "rogue abc: nobody expects it",
        " : ",
        "borrowed USDT: a loan",
        "2 rogue orders at the exchange",
    )


def test_parts_that_are_not_ready_are_named() -> None:
    ready = {"is_ready": False, "parts": {"exit_key": "ready", "revoker_key": "not set up"}}
    facts = executor_facts(executor_status(ready=ready))
    assert (facts.is_ready, facts.not_ready) == (False, ("revoker key: not set up",))


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"running": {"is_pending": False}}, "a sweep goes on"),
        ({"running": {"is_pending": True}}, "a sweep goes on; it has no proof yet"),
        ({"running": None, "last": {"sweep_id": "1"}}, "the last sweep is proved"),
        ({"running": None, "last": None}, ""),
    ],
)
def test_sweep_is_told_in_words(sweep: dict[str, Any], words: str) -> None:
    assert executor_facts(executor_status(sweep=sweep)).sweep == words
