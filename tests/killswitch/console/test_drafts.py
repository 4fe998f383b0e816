from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from killswitch.console.world import gateway_state, held, killed
from trust_parts import FastKey, ring_of

from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.release_terms import KillTerms, ReleaseTerms
from trade_core.trust.ring import ring_hash
from trade_core.trust.succession import cancel_subject, next_ring, ring_change, ring_subject
from trade_core.trust.warrant import MAX_ARMED_MS, Warrant, parse_warrant
from trade_killswitch.console.drafts import (
    ARMED_DAYS_MAX,
    LIFETIME_MS,
    CannotDraft,
    Draft,
    Receiver,
    draft_executor,
    draft_release,
    draft_ring,
    draft_ring_cancel,
)
from trade_killswitch.console.facts import GatewayFacts, gateway_facts

RING = ring_of(load_private_key(new_private_key()))
NOW_NS = 1_700_000_100_123_456_789
NOW_MS = 1_700_000_100_123
CHANGE = ring_change(RING, credentials=[*RING.credentials, FastKey("third").credential])


def told(purpose: str = "kill", **changed: Any) -> dict[str, Any]:
    """What an executor says that a warrant must name."""
    return {
        "purpose": purpose,
        "subject": f"{purpose}:x",
        "words": f"{purpose.upper()} it",
        "ring_hash": ring_hash(RING),
        **changed,
    }


def for_executor(action: str, said: dict[str, Any], *, armed_days: int = 0) -> Draft:
    return draft_executor(action, said, ring=RING, nonce="n1", now_ns=NOW_NS, armed_days=armed_days)


SAID = KillTerms(decision="stays", drill="d1", order_key="order2", exit_key="exit2")


def release(gateway: GatewayFacts, *, rungs: tuple[str, ...] = (), after_kill: KillTerms | None = None) -> Draft:
    terms = ReleaseTerms(cause="found", after_kill=after_kill)
    return draft_release(gateway, terms=terms, rungs=rungs, ring=RING, nonce="n1", now_ns=NOW_NS)


def latched(ceiling: str, subject: str | None = "latch:41", reason: str = "by hand") -> GatewayFacts:
    return gateway_facts({**held(ceiling, reason), "latch_subject": subject})


def warrant_of(draft: Draft) -> Warrant:
    """Read the bytes back, as whoever verifies them does."""
    return parse_warrant(draft.payload)


@pytest.mark.parametrize(
    ("action", "path", "receiver"),
    [
        ("kill", "/kill", Receiver.EXECUTOR_AND_GATEWAY),
        ("drill", "/kill", Receiver.EXECUTOR),
        ("arm", "/arm", Receiver.EXECUTOR),
        ("disarm", "/disarm", Receiver.EXECUTOR),
    ],
)
def test_order_to_the_executor_names_what_the_executor_said(action: str, path: str, receiver: Receiver) -> None:
    draft = for_executor(action, told(action), armed_days=1)
    assert (draft.action, draft.path, draft.receiver, draft.keys, draft.change) == (action, path, receiver, 1, b"")
    warrant = warrant_of(draft)
    assert (warrant.purpose, warrant.audience, warrant.subject) == (action, "executor", f"{action}:x")
    assert (warrant.nonce, warrant.ring_hash, warrant.account) == ("n1", ring_hash(RING), "1002")
    assert (warrant.deployment, warrant.environment, warrant.version) == ("d1", "simulated", 1)
    assert warrant.words == draft.words
    lifetime_ms = 86_400_000 if action == "arm" else 240_000
    assert warrant.expires_at_ms == NOW_MS + lifetime_ms


def test_draft_lives_a_minute_less_than_is_allowed() -> None:
    assert LIFETIME_MS == 240_000
    assert MAX_ARMED_MS == 90 * 86_400_000
    assert ARMED_DAYS_MAX == 89


def test_words_say_when_an_automatic_kill_lapses() -> None:
    assert for_executor("arm", told("arm"), armed_days=30).words == "ARM it It lapses on 2023-12-14 22:15 UTC."
    assert for_executor("kill", told()).words == "KILL it"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"subject": None}, "does not say"),
        ({"subject": 1}, "does not say"),
        ({"words": None}, "does not say"),
        ({"purpose": "drill"}, "does not say"),
        ({"ring_hash": "f" * 64}, "another key ring"),
        ({"ring_hash": None}, "another key ring"),
    ],
)
def test_executor_that_says_less_or_has_another_ring_gets_no_draft(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotDraft, match=why):
        for_executor("kill", told(**changed))


def test_release_names_the_latch_its_reason_and_its_cause() -> None:
    draft = release(latched("HALTED"))
    assert (draft.action, draft.path, draft.receiver, draft.keys) == ("release", "/release", Receiver.GATEWAY, 1)
    warrant = warrant_of(draft)
    assert (warrant.purpose, warrant.audience, warrant.subject) == ("release", "gateway", "latch:41")
    assert warrant.words == "release HALTED (held because: by hand); cause: found"


def test_release_names_the_rungs_in_their_order() -> None:
    draft = release(latched("HALTED"), rungs=("monthly", "daily"))
    assert warrant_of(draft).subject == "latch:41+daily+monthly"
    assert draft.words.startswith("release HALTED and re-base the rungs daily, monthly (held")


def test_release_takes_over_no_rung_that_the_latch_s_subject_brings() -> None:
    assert warrant_of(release(latched("HALTED", "latch:41+weekly"))).subject == "latch:41"


def test_release_of_a_kill_takes_two_keys() -> None:
    draft = release(gateway_facts(killed()), after_kill=SAID)
    assert draft.keys == 2
    assert draft.words.endswith("; cause: found; decision: stays; drill: d1; order key: order2; exit key: exit2")
    assert release(latched("HALTED")).keys == 1
    assert release(latched("HALTED"), rungs=("monthly",)).keys == 1
    assert release(latched("HALTED"), rungs=("high_water",)).keys == 2


def test_release_without_a_holder_names_the_state() -> None:
    document = {**gateway_state(trading_state="HALTED", holders={}), "latch_subject": "latch:1"}
    assert release(gateway_facts(document)).words == "release HALTED (held because: unknown); cause: found"


@pytest.mark.parametrize(
    ("state", "said", "why"),
    [
        (killed(), None, "do not end with cause, decision"),
        (killed(), replace(SAID, drill=""), "drill: must be"),
        (killed(), replace(SAID, order_key="order1"), "order1 is one that was killed"),
        (killed(killed_keys=[]), SAID, "names no key that it killed"),
    ],
)
def test_release_of_a_kill_that_would_be_refused_is_not_drafted(
    state: dict[str, Any], said: KillTerms | None, why: str
) -> None:
    with pytest.raises(CannotDraft, match=why):
        release(gateway_facts(state), after_kill=said)


@pytest.mark.parametrize("subject", [None, "", "latch:", "latch:01", "policy:1", "latch:1+yearly"])
def test_what_is_no_latch_is_not_released(subject: str | None) -> None:
    with pytest.raises(CannotDraft, match=r"nothing to release: the gateway is HALTED|release: "):
        release(latched("HALTED", subject))


def test_rung_that_no_release_can_name_is_refused() -> None:
    with pytest.raises(CannotDraft, match="yearly: not a rung"):
        release(latched("HALTED"), rungs=("yearly",))


def test_words_are_plain_and_within_what_a_warrant_takes() -> None:
    draft = release(latched("HALTED", reason="\u202e" * 300))
    assert draft.words.isprintable()
    assert len(draft.words) == 400
    assert warrant_of(draft).words == draft.words
    assert "\\u202e" * 3 in draft.words
    short = release(latched("HALTED", reason="r" * 121))
    assert f"{'r' * 120}...)" in short.words


def test_ring_is_drafted_with_its_change_for_everybody() -> None:
    draft = draft_ring(CHANGE, words="add third", keys=2, ring=RING, nonce="n2", now_ns=NOW_NS)
    assert (draft.action, draft.path, draft.receiver, draft.keys) == ("ring", "/ring", Receiver.EVERYBODY, 2)
    assert draft.change == CHANGE
    warrant = warrant_of(draft)
    assert (warrant.purpose, warrant.audience, warrant.nonce) == ("ring", "deployment", "n2")
    assert warrant.subject == ring_subject(RING, next_ring(RING, CHANGE))
    assert draft_ring(CHANGE, words="x", keys=1, ring=RING, nonce="n", now_ns=NOW_NS).keys == 1


def test_waiting_ring_is_cancelled_by_name() -> None:
    draft = draft_ring_cancel(CHANGE, ring=RING, nonce="n3", now_ns=NOW_NS)
    assert (draft.action, draft.path, draft.receiver) == ("ring_cancel", "/ring", Receiver.EVERYBODY)
    assert (draft.keys, draft.change) == (1, b"")
    assert draft.words == "cancel the key ring that waits, whose keys would be: first, second, third"
    warrant = warrant_of(draft)
    assert (warrant.purpose, warrant.audience) == ("ring", "deployment")
    assert warrant.subject == cancel_subject(RING, next_ring(RING, CHANGE))


@pytest.mark.parametrize("change", [b"", b"{}", json.dumps({"credentials": []}).encode()])
def test_change_that_makes_no_ring_is_not_drafted(change: bytes) -> None:
    with pytest.raises(CannotDraft):
        draft_ring(change, words="x", keys=2, ring=RING, nonce="n", now_ns=NOW_NS)
    with pytest.raises(CannotDraft):
        draft_ring_cancel(change, ring=RING, nonce="n", now_ns=NOW_NS)


def test_words_that_a_warrant_does_not_hold_are_not_drafted() -> None:
    assert len(for_executor("kill", told(words="w" * 1000)).words) == 1000
    with pytest.raises(CannotDraft, match="more than 1000 characters"):
        for_executor("kill", told(words="w" * 1001))
    assert len(for_executor("disarm", told("disarm", words="w" * 400)).words) == 400
    with pytest.raises(CannotDraft, match="more than 400 characters"):
        for_executor("disarm", told("disarm", words="w" * 401))
    with pytest.raises(CannotDraft, match="more than 1000 characters"):
        for_executor("kill", told(words="\u202e" * 200))  # six characters each, once they are shown
