"""Policy warrants: two policies in the subject, the names of the ring, the operator's signature, a bounded size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from trust_parts import FastKey, ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANTS, open_policy_warrant, policy_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant

KEY = load_private_key(new_private_key())
OLD, NEW = "a" * 64, "b" * 64
RING = ring_of(KEY, policy_hash=OLD)
WARRANT = Warrant(
    purpose="policy",
    version=1,
    deployment="d1",
    environment="simulated",
    audience="gateway",
    account="1002",
    ring_hash=ring_hash(RING),
    subject=policy_subject(old_hash=OLD, new_hash=NEW),
    nonce="n",
    words="loosen",
    expires_at_ms=1,
)


def test_policy_warrant_opens_to_its_step_whenever_it_expired() -> None:
    step = open_policy_warrant(touch(WARRANT), ring=RING)
    assert (step.old_hash, step.new_hash, step.warrant) == (OLD, NEW, WARRANT)


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "release"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"audience": "watchdog"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"subject": "latch:7"},
        {"subject": f"policy:{OLD}"},
        {"subject": f"policy:{OLD}:{NEW}\n"},
        {"subject": f"policy:{OLD.upper()}:{NEW}"},
        {"words": "x" * 401},
        {"nonce": "n" * 129},
        {"nonce": "\n"},
    ],
)
def test_policy_warrant_that_names_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted):
        open_policy_warrant(touch(replace(WARRANT, **change)), ring=RING)


def test_policy_warrant_of_another_key_is_refused() -> None:
    with pytest.raises(NotTrusted):
        open_policy_warrant(touch(WARRANT, by=[FastKey("stranger")]), ring=RING)


def test_policy_warrant_fills_a_row_and_a_longer_one_is_refused() -> None:
    raw = touch(WARRANT)
    with pytest.raises(NotTrusted, match="one canonical form"):
        open_policy_warrant(raw.ljust(4096), ring=RING)
    with pytest.raises(NotTrusted, match="4097 bytes, at most 4096"):
        open_policy_warrant(raw.ljust(4097), ring=RING)


def test_policy_warrant_may_have_a_nonce_of_128_characters() -> None:
    longest = replace(WARRANT, nonce="n" * 128)
    assert open_policy_warrant(touch(longest), ring=RING).warrant == longest


def test_policy_warrants_of_one_ring_are_few_enough_to_read() -> None:
    assert MAX_POLICY_WARRANTS == 64
