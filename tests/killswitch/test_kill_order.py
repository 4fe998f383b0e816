"""What a kill is told to do, as a row and as the subject of a warrant."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from trade_killswitch.kill_order import (
    REASON_CHARACTERS_MAX,
    Authority,
    Ending,
    KillOrder,
    KillRefused,
    endings_of,
    kill_subject,
    order_of,
)
from trade_killswitch.working_orders import Category

MIXED = {Category.SPOT: Ending.HOLD, Category.LINEAR: Ending.FLATTEN, Category.INVERSE: Ending.HOLD}


def order(**changed: Any) -> KillOrder:
    values: dict[str, Any] = {
        "kill_id": "0123456789abcdef",
        "authority": Authority.TOUCH,
        "reason": "a person said so",
        "endings": MIXED,
        "is_drill": False,
    }
    return KillOrder(**{**values, **changed})


def test_order_is_read_back_from_its_row() -> None:
    assert order().fields() == {
        "kill_id": "0123456789abcdef",
        "authority": "touch",
        "reason": "a person said so",
        "endings": {"spot": "hold", "linear": "flatten", "inverse": "hold"},
        "is_drill": False,
    }
    for made in (order(), order(is_drill=True, authority=Authority.STANDING_WARRANT)):
        assert order_of(made.fields()) == made


@pytest.mark.parametrize(
    "changed",
    [
        {"kill_id": "0123456789ABCDEF"},
        {"kill_id": "0123456789abcdef0"},
        {"kill_id": 7},
        {"reason": None},
        {"endings": "hold"},
        {"endings": {"spot": "hold", "linear": "hold"}},
        {"endings": {"spot": "hold", "linear": "hold", "inverse": "sell"}},
        {"authority": "nobody"},
    ],
)
def test_row_that_does_not_say_what_to_do_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(KillRefused):
        order_of({**order().fields(), **changed})


def test_only_true_is_a_drill() -> None:
    assert order_of({**order().fields(), "is_drill": 1}).is_drill is False


def test_subject_says_what_becomes_of_every_category() -> None:
    assert kill_subject(MIXED) == "kill:spot=hold,linear=flatten,inverse=hold"
    for chosen in itertools.product(Ending, repeat=3):
        endings = dict(zip(Category, chosen, strict=True))
        assert endings_of(kill_subject(endings)) == endings


def test_reasons_are_as_long_as_the_socket_takes() -> None:
    assert REASON_CHARACTERS_MAX == 200


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "kill:",
        "spot=hold,linear=flatten,inverse=hold",
        "kill:spot=hold,linear=flatten",
        "kill:linear=flatten,spot=hold,inverse=hold",
        "kill:spot=hold,linear=flatten,inverse=hold,option=hold",
        "kill:spot=hold,spot=hold,linear=flatten,inverse=hold",
        "kill:spot=hold,linear=flatten,inverse=hold ",
        "kill:spot=HOLD,linear=flatten,inverse=hold",
        "kill:kill:spot=hold,linear=flatten,inverse=hold",
    ],
)
def test_subject_in_another_form_is_refused(subject: str) -> None:
    with pytest.raises(KillRefused, match="subject"):
        endings_of(subject)
