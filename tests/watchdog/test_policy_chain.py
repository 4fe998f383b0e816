"""The warrants that the watchdog has seen: verified, kept, never fewer."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from watchdog.warrants import policy_warrant

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANTS
from trade_core.trust.ring import ring_hash
from trade_watchdog.policy_chain import CHAIN_FILE, PolicyChain

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def chain(deployment: Any) -> PolicyChain:
    return PolicyChain(deployment.state_dir, ring=deployment.ring)


def test_chain_begins_with_the_ring_s_policy(chain: PolicyChain, deployment: Any) -> None:
    assert chain.authorised_hash == chain.extend(()) == deployment.ring.policy_hash
    assert not (deployment.state_dir / CHAIN_FILE).exists()


def test_chain_leads_to_the_newest_warrant_and_is_remembered(chain: PolicyChain, deployment: Any) -> None:
    shown = [policy_warrant(deployment, A, B)]
    assert chain.extend(shown) == B
    shown.append(policy_warrant(deployment, A, C))  # from a policy that was tightened: not for the watchdog to judge
    assert chain.extend(shown) == chain.authorised_hash == C
    again = PolicyChain(deployment.state_dir, ring=deployment.ring)
    assert again.authorised_hash == C
    with pytest.raises(NotTrusted, match="do not continue"):
        again.extend(shown[:1])


def test_chain_that_is_shorter_or_another_is_refused_and_changes_nothing(chain: PolicyChain, deployment: Any) -> None:
    shown = [policy_warrant(deployment, A, B), policy_warrant(deployment, B, C)]
    chain.extend(shown)
    for wrong in ([], shown[:1], [shown[1], shown[0]], [policy_warrant(deployment, A, B), shown[1]]):
        with pytest.raises(NotTrusted, match="do not continue"):
            chain.extend(wrong)
    assert chain.extend(shown) == C


def test_chain_believes_what_was_seen_under_an_earlier_ring_and_nothing_new_under_it(
    chain: PolicyChain, deployment: Any
) -> None:
    first, shown = deployment.ring, [policy_warrant(deployment, A, B)]
    chain.extend(shown)
    ring = replace(first, version=2, previous_hash=ring_hash(first))
    chain.adopt_ring(ring)
    with pytest.raises(NotTrusted, match="ring_hash"):
        chain.extend([*shown, policy_warrant(deployment, B, C)])
    under_it = SimpleNamespace(ring=ring)
    assert chain.extend([*shown, policy_warrant(under_it, B, C)]) == C
    assert PolicyChain(deployment.state_dir, ring=ring, rings=(first, ring)).authorised_hash == C
    with pytest.raises(ConfigurationError, match="ring_hash"):
        PolicyChain(deployment.state_dir, ring=ring)


@pytest.mark.parametrize(
    "change",
    [{"purpose": "release"}, {"account": "1003"}, {"ring_hash": "x"}, {"subject": "latch:1"}, {"deployment": "d2"}],
)
def test_chain_with_a_warrant_of_something_else_is_refused(
    chain: PolicyChain, deployment: Any, change: dict[str, Any]
) -> None:
    with pytest.raises(NotTrusted):
        chain.extend([policy_warrant(deployment, A, B), policy_warrant(deployment, B, C, **change)])
    assert chain.authorised_hash == deployment.ring.policy_hash
    assert not (deployment.state_dir / CHAIN_FILE).exists()


@pytest.mark.parametrize("text", ["", "!!", "bm8="])
def test_chain_with_what_is_no_warrant_is_refused(chain: PolicyChain, text: str) -> None:
    with pytest.raises(NotTrusted):
        chain.extend([text])


def test_chain_with_a_warrant_twice_is_refused(chain: PolicyChain, deployment: Any) -> None:
    shown = policy_warrant(deployment, A, B)
    with pytest.raises(NotTrusted, match="twice"):
        chain.extend([shown, shown])


def test_chain_that_is_too_long_is_refused(chain: PolicyChain, deployment: Any) -> None:
    with pytest.raises(NotTrusted, match="at most"):
        chain.extend([policy_warrant(deployment, A, B) for _ in range(MAX_POLICY_WARRANTS + 1)])


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"warrants": 7}', '{"warrants": [7]}', '{"warrants": ["bm8="]}', "[" * 60_000]
)
def test_chain_file_that_is_damaged_is_refused(deployment: Any, content: str) -> None:
    (deployment.state_dir / CHAIN_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=CHAIN_FILE):
        PolicyChain(deployment.state_dir, ring=deployment.ring)


def test_chain_of_another_ring_is_refused(chain: PolicyChain, deployment: Any) -> None:
    chain.extend([policy_warrant(deployment, A, B)])
    assert json.loads((deployment.state_dir / CHAIN_FILE).read_bytes())["warrants"]
    with pytest.raises(ConfigurationError):
        PolicyChain(deployment.state_dir, ring=replace(deployment.ring, deployment="d2"))


def test_policies_that_may_have_been_in_force_are_those_that_were_not_replaced_before(
    chain: PolicyChain, deployment: Any
) -> None:
    first = deployment.ring.policy_hash
    assert chain.authorised_since(10**15) == (first,)
    chain.extend(
        [policy_warrant(deployment, A, B, expires_at_ms=5_000), policy_warrant(deployment, B, C, expires_at_ms=9_000)]
    )
    seen = {at_ms: chain.authorised_since(at_ms) for at_ms in (0, 5_000, 5_001, 9_000, 9_001)}
    assert seen == {0: (first, B, C), 5_000: (first, B, C), 5_001: (B, C), 9_000: (B, C), 9_001: (C,)}
    assert PolicyChain(deployment.state_dir, ring=deployment.ring).authorised_since(9_000) == (B, C)


def test_warrant_that_took_a_place_ends_all_that_were_before(chain: PolicyChain, deployment: Any) -> None:
    late = policy_warrant(deployment, A, B, expires_at_ms=9_000)
    chain.extend([late, policy_warrant(deployment, B, C, expires_at_ms=5_000)])
    assert chain.authorised_since(6_000) == (C,)
