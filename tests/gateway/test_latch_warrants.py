"""What lifts the latch and what kills: the one warrant that says so, and no other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.kill_notice import kill_notice
from trade_core.trust.release_terms import ReleaseTerms
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.warrant import Warrant
from trade_gateway.latch_warrants import check_release, checked_kill
from trade_gateway.policy.trading_state import TradingState

OPERATOR = load_private_key(new_private_key())
RING = ring_of(OPERATOR)
NOW_MS = 1_700_000_000_000
RELEASE = Warrant(
    purpose="release",
    version=1,
    deployment="d1",
    environment="simulated",
    audience="gateway",
    account="1002",
    ring_hash=ring_hash(RING),
    subject="latch:7",
    nonce="n",
    words="release HALTED; cause: found",
    expires_at_ms=NOW_MS + 60_000,
)
KILL = replace(RELEASE, purpose="kill", audience="executor", subject="kill:1", words="stop everything")
ARMED = replace(KILL, purpose="arm", words="ARM an automatic KILL")
AFTER_KILL = "release KILLED; cause: found; decision: stays; drill: d1; order key: order2; exit key: exit2"


def released(
    made: Warrant,
    *,
    by: Sequence[FastKey] = KEYS[:1],
    sequence: int = 7,
    latch: TradingState = TradingState.HALTED,
    killed_keys: Collection[str] = (),
) -> ReleaseTerms:
    signed = open_warrant(touch(made, by=by), ring=RING)
    return check_release(signed, latch_sequence=sequence, latch=latch, killed_keys=killed_keys)


def killed(made: Warrant, *, by: Sequence[FastKey] = KEYS[:1], is_clock_trusted: bool = True) -> str:
    return checked_kill(touch(made, by=by), ring=RING, now_ms=NOW_MS, is_clock_trusted=is_clock_trusted)


def noticed(made: Warrant = ARMED, *, by: Any = OPERATOR, aged_ms: int = 0, is_clock_trusted: bool = True) -> str:
    raw = kill_notice(touch(made, by=KEYS[:1]), now_ms=NOW_MS - aged_ms, private_key=by)
    return checked_kill(raw, ring=RING, now_ms=NOW_MS, is_clock_trusted=is_clock_trusted)


def test_release_of_the_latch_s_own_row_holds_also_with_rungs_of_the_watchdog() -> None:
    assert released(RELEASE).after_kill is None
    assert released(replace(RELEASE, subject="latch:7+daily+monthly")).after_kill is None


@pytest.mark.parametrize("sequence", [6, 8])
def test_release_of_another_row_is_refused(sequence: int) -> None:
    with pytest.raises(NotTrusted, match="subject is not what it must be here"):
        released(RELEASE, sequence=sequence)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"purpose": "kill"}, "purpose"), ({"audience": "executor"}, "audience"), ({"subject": "kill:7"}, "subject")],
)
def test_release_that_is_none_or_of_somebody_else_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(NotTrusted, match=said):
        released(replace(RELEASE, **change))


def test_release_of_the_high_water_mark_takes_two_keys() -> None:
    made = replace(RELEASE, subject="latch:7+high_water")
    with pytest.raises(NotTrusted, match="two different security keys"):
        released(made)
    assert released(made, by=KEYS).after_kill is None


def test_release_after_a_kill_takes_two_keys_and_names_keys_that_were_not_killed() -> None:
    made = replace(RELEASE, words=AFTER_KILL)
    with pytest.raises(NotTrusted, match="two different security keys"):
        released(made, latch=TradingState.KILLED, killed_keys=["order1"])
    with pytest.raises(NotTrusted, match="order2 is one that was killed"):
        released(made, by=KEYS, latch=TradingState.KILLED, killed_keys=["order2"])
    terms = released(made, by=KEYS, latch=TradingState.KILLED, killed_keys=["order1"])
    assert terms.after_kill is not None
    assert terms.after_kill.order_key == "order2"


def test_release_with_words_for_another_state_is_refused() -> None:
    with pytest.raises(NotTrusted):
        released(RELEASE, by=KEYS, latch=TradingState.KILLED)


def test_kill_says_the_words_that_were_signed() -> None:
    assert killed(KILL) == "killed: stop everything"


@pytest.mark.parametrize(
    ("change", "said"),
    [({"purpose": "release"}, "purpose"), ({"purpose": "arm"}, "purpose"), ({"audience": "gateway"}, "audience")],
)
def test_warrant_that_orders_no_kill_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(NotTrusted, match=said):
        killed(replace(KILL, **change))


def test_kill_by_a_stranger_s_key_is_refused() -> None:
    with pytest.raises(NotTrusted):
        killed(KILL, by=[FastKey("stranger")])


def test_kill_too_late_is_refused_but_by_a_clock_that_is_not_trusted() -> None:
    with pytest.raises(NotTrusted):
        killed(replace(KILL, expires_at_ms=NOW_MS - 1))
    assert killed(replace(KILL, expires_at_ms=NOW_MS - 1), is_clock_trusted=False) == "killed: stop everything"


def test_notice_of_an_automatic_kill_says_what_was_armed() -> None:
    assert noticed() == "killed automatically, as armed: ARM an automatic KILL"


def test_notice_that_the_executor_did_not_sign_is_refused() -> None:
    with pytest.raises(NotTrusted):
        noticed(by=load_private_key(new_private_key()))


def test_notice_too_old_is_refused_but_by_a_clock_that_is_not_trusted() -> None:
    with pytest.raises(NotTrusted):
        noticed(aged_ms=60_001)
    assert noticed(aged_ms=60_001, is_clock_trusted=False).endswith("ARM an automatic KILL")
