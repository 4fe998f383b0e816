"""What is drafted and shown is what is signed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trust_parts import ring_of

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import parse_warrant
from trade_killswitch.command.draft import ARMED_DAYS_MAX, draft_warrant, read_draft, shown, time_text

RING = ring_of(load_private_key(new_private_key()))
NOW_MS = 1_800_000_000_000
TOLD: dict[str, Any] = {
    "deployment": RING.deployment,
    "environment": RING.environment,
    "account": RING.account,
    "ring_hash": ring_hash(RING),
    "purpose": "kill",
    "audience": "executor",
    "subject": "kill:spot=hold",
    "words": "KILL account 1002",
}


def drafted(**changed: Any) -> bytes:
    return draft_warrant({**TOLD, **changed}, ring=RING, nonce="n1", now_ms=NOW_MS)


def test_draft_says_what_the_executor_told_and_is_good_for_less_than_five_minutes() -> None:
    assert json.loads(drafted()) == {**TOLD, "version": 1, "nonce": "n1", "expires_at_ms": NOW_MS + 290_000}


@pytest.mark.parametrize(("days", "lapses"), [(1, "2027-01-16 08:00:00 UTC"), (89, "2027-04-14 08:00:00 UTC")])
def test_draft_that_arms_is_good_for_its_days_and_says_until_when(days: int, lapses: str) -> None:
    told = {**TOLD, "purpose": "arm", "subject": "arm:x", "words": "ARM."}
    raw = draft_warrant(told, ring=RING, nonce="n1", now_ms=NOW_MS, armed_days=days)
    drafted_warrant = parse_warrant(raw)
    assert drafted_warrant.expires_at_ms == NOW_MS + days * 86_400_000
    assert drafted_warrant.words == f"ARM. It lapses on {lapses}."


def test_warrant_that_arms_leaves_a_day_for_clocks_that_differ() -> None:
    assert ARMED_DAYS_MAX == 89


def test_time_is_written_in_utc_to_the_second() -> None:
    assert time_text(NOW_MS + 1_999) == "2027-01-15 08:00:01 UTC"


@pytest.mark.parametrize("name", ["purpose", "audience", "subject", "words"])
@pytest.mark.parametrize("value", [None, 7, ["x"]])
def test_draft_without_a_text_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(NotTrusted, match=f"^the executor's draft does not say its {name}$"):
        drafted(**{name: value})


@pytest.mark.parametrize("name", ["deployment", "environment", "account"])
def test_draft_of_another_house_is_refused(name: str) -> None:
    with pytest.raises(NotTrusted, match=f"^the executor is of another {name} than the key ring$"):
        drafted(**{name: "other"})


def test_draft_under_another_ring_is_refused() -> None:
    with pytest.raises(NotTrusted, match=r"^the executor has pinned another key ring than this one$"):
        drafted(ring_hash="0" * 64)


def test_draft_that_the_executor_would_refuse_is_refused_here() -> None:
    with pytest.raises(NotTrusted, match="purpose is not a known one"):
        drafted(purpose="pay")


def test_draft_of_this_ring_is_read_back() -> None:
    assert read_draft(drafted(), ring=RING) == parse_warrant(drafted())


@pytest.mark.parametrize("name", ["deployment", "environment", "account", "ring_hash"])
def test_draft_that_names_another_house_is_not_read(name: str) -> None:
    changed = canonical_json({**json.loads(drafted()), name: "other"})
    with pytest.raises(NotTrusted, match=f"^the warrant names another {name} than the key ring$"):
        read_draft(changed, ring=RING)


def test_person_is_shown_every_field() -> None:
    assert shown(parse_warrant(drafted()), now_ms=NOW_MS + 1) == "\n".join(
        [
            "You are about to sign:",
            "",
            "  KILL account 1002",
            "",
            "  purpose      kill, for the executor",
            "  subject      kill:spot=hold",
            f"  environment  {RING.environment}",
            f"  account      {RING.account}",
            f"  deployment   {RING.deployment}, key ring {ring_hash(RING)[:16]}",
            "  valid until  2027-01-15 08:04:50 UTC, for 289 s",
            "  nonce        n1",
        ]
    )


@pytest.mark.parametrize(
    ("at_ms", "words"),
    [(289_000, ", for 1 s"), (289_001, ", which is OVER"), (290_000, ", which is OVER"), (900_000, "OVER")],
)
def test_person_is_told_when_it_is_over(at_ms: int, words: str) -> None:
    (line,) = [line for line in shown(parse_warrant(drafted()), now_ms=NOW_MS + at_ms).split("\n") if "until" in line]
    assert line.endswith(words)


def test_long_words_are_shown_whole() -> None:
    words = "w" * 400
    assert f"\n  {words}\n" in shown(parse_warrant(drafted(words=words)), now_ms=NOW_MS)
