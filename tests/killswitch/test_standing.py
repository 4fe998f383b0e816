"""What was armed, and when a request is confirmed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trade_killswitch.kill_order import Ending
from trade_killswitch.kill_words import arm_words
from trade_killswitch.standing import (
    TOLERANCE,
    Condition,
    Judgement,
    OwnView,
    Terms,
    judge,
)
from trade_killswitch.working_orders import Category

ENDINGS = {Category.SPOT: Ending.HOLD, Category.LINEAR: Ending.FLATTEN, Category.INVERSE: Ending.HOLD}


def terms(**changed: Any) -> Terms:
    values: dict[str, Any] = {
        "account": "1002", "keys": ("exit", "order"), "endings": ENDINGS, "drawdown": Decimal("0.18")
    }  # fmt: skip
    return Terms(**{**values, **changed})


def test_terms_are_said_whole_and_hashed() -> None:
    assert terms().content() == {
        "account": "1002",
        "keys": ["exit", "order"],
        "endings": {"spot": "hold", "linear": "flatten", "inverse": "hold"},
        "drawdown": "0.18",
        "conditions": ["drawdown", "rogue_order", "rogue_key", "forked_journal"],
    }
    subject = terms().subject()
    assert subject.startswith("arm:")
    assert len(subject) == 4 + 64
    assert terms(drawdown=Decimal("0.180")).subject() == subject
    others = [
        terms(account="1003"),
        terms(keys=("exit", "order", "new")),
        terms(keys=("exit",)),
        terms(endings={**ENDINGS, Category.SPOT: Ending.FLATTEN}),
        terms(drawdown=Decimal("0.17")),
    ]
    assert len({subject, *(other.subject() for other in others)}) == 6


def test_words_name_what_is_armed() -> None:
    assert terms().words(environment="simulated", secrets=("gateway",)) == arm_words(
        account="1002",
        environment="simulated",
        endings=ENDINGS,
        keys=("exit", "order"),
        secrets=("gateway",),
        drawdown=Decimal("0.18"),
    )


@pytest.mark.parametrize(
    ("own", "holds"), [("0.1699", False), ("0.17", True), ("0.18", True), ("0.5", True), ("0", False), ("-0.2", False)]
)
def test_drawdown_is_confirmed_by_our_own_within_the_tolerance(own: str, holds: bool) -> None:
    found = judge(terms(), Condition.DRAWDOWN, OwnView(drawdown=Decimal(own)))
    assert found.holds is holds
    assert "armed for 18.00 %" in found.why
    assert Decimal("0.01") == TOLERANCE


def test_what_cannot_be_read_confirms_nothing() -> None:
    for condition in Condition:
        assert judge(terms(), condition, OwnView()).holds is False


def test_key_that_was_not_armed_for_is_seen() -> None:
    found = judge(terms(), Condition.ROGUE_KEY, OwnView(keys=["order", "exit", "z", "b", "a", "c"]))
    assert found.holds
    assert found.why == "keys that nobody armed for: a, b, c"
    for keys in (["order", "exit"], ["order"], []):
        assert judge(terms(), Condition.ROGUE_KEY, OwnView(keys=keys)).holds is False


def test_order_is_confirmed_when_the_exchange_shows_it() -> None:
    seen = judge(terms(), Condition.ROGUE_ORDER, OwnView(has_order=True))
    assert (seen.holds, seen.why) == (True, "the exchange shows the order")
    unseen = judge(terms(), Condition.ROGUE_ORDER, OwnView(has_order=False))
    assert (unseen.holds, unseen.why) == (False, "the exchange shows no such order")


@pytest.mark.parametrize(
    ("has_forked", "holds", "why"),
    [
        (None, False, "nothing that proves a fork came with the request"),
        (False, False, "the gateway's log signed no two roots that contradict each other"),
        (True, True, "the gateway's log signed two roots that contradict each other"),
    ],
)
def test_fork_is_confirmed_by_its_proof_alone(has_forked: bool | None, holds: bool, why: str) -> None:
    own = OwnView(drawdown=Decimal(1), keys=["x"], has_order=True, has_forked=has_forked)
    assert judge(terms(), Condition.FORKED_JOURNAL, own) == Judgement(holds=holds, why=why)
