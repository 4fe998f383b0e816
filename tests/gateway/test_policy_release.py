"""What a person is shown before signing a looser policy: computed from the file, never taken from the gateway."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import POLICY
from gateway.policy_parts import LOOSER, MIXED, TIGHTER, policy_toml

from trade_core.errors import ConfigurationError
from trade_gateway.policy.limits import policy_content, policy_hash
from trade_gateway.policy.model import Policy, SymbolLimits
from trade_gateway.policy_file import Look
from trade_gateway.policy_release import explained, requested_policy, subject_of, words_of
from trade_gateway.wire.intents import Category


def look(policy: Policy) -> Look:
    return Look(raw=policy_toml(policy).encode())


def state(policy: Policy = POLICY, **changed: Any) -> dict[str, Any]:
    return {"policy_hash": policy_hash(policy), "policy": {"in_force": policy_content(policy)}, **changed}


def test_request_is_what_the_file_changes() -> None:
    old, new = requested_policy(look(MIXED), state())
    assert (policy_hash(old), policy_hash(new)) == (policy_hash(POLICY), policy_hash(MIXED))
    assert subject_of(old, new) == f"policy:{policy_hash(POLICY)}:{policy_hash(MIXED)}"


@pytest.mark.parametrize(("policy", "why"), [(POLICY, "what is in force"), (TIGHTER, "only tightens")])
def test_request_for_what_takes_no_warrant_is_refused(policy: Policy, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        requested_policy(look(policy), state())


@pytest.mark.parametrize("shown", [state(LOOSER) | {"policy_hash": policy_hash(POLICY)}, {"policy_hash": "x"}, {}])
def test_request_by_a_gateway_that_shows_another_policy_than_it_names_is_refused(shown: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        requested_policy(look(LOOSER), shown)


def test_request_with_a_file_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not TOML"):
        requested_policy(Look(raw=b"x"), state())


def test_explanation_says_every_change_and_the_losses_before_and_after() -> None:
    wider = replace(POLICY, max_open_orders=5, turnover_budget_24h=Decimal(2))
    said = explained(POLICY, wider)
    assert "loosens max_open_orders: 4 -> 5" in said
    assert "loosens turnover_budget_24h: 1.5 -> 2" in said
    assert "hostile loss 74.04 USDT (0.0185) -> 92.05 USDT (0.0230)" in said
    assert "stress loss 640.00 USDT (0.1600) -> 640.00 USDT (0.1600)" in said


def test_words_name_losses_changes_and_reason_and_stay_short() -> None:
    words = words_of(POLICY, LOOSER, reason="a new \x1b[31mcoin")
    assert policy_hash(LOOSER)[:12] in words
    assert "hostile loss 74.04 USDT" in words
    assert "loosens max_open_orders: 4 -> 5" in words
    assert "a new \\x1b[31mcoin" in words
    limits = SymbolLimits(max_order_quantity=Decimal(1), max_notional_usdt=Decimal(2000))
    many = {(Category.SPOT, f"A{number}USDT"): limits for number in range(40)}
    words = words_of(POLICY, replace(POLICY, symbols={**POLICY.symbols, **many}), reason="r" * 500)
    assert len(words) <= 400
    assert words.isprintable()
    assert " more" in words
