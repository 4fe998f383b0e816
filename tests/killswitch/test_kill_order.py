"""What a kill is told to do, as a row and as the subject of a warrant."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from trade_killswitch.kill_order import (
    JOIN_WITHIN_S,
    REASON_CHARACTERS_MAX,
    Authority,
    Ending,
    KillOrder,
    KillRefused,
    endings_of,
    joins,
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


FLAT = dict.fromkeys(Category, Ending.FLATTEN)


@pytest.mark.parametrize(
    ("asked", "running", "age_s", "is_joined"),
    [
        ({}, {}, 0.0, True),
        ({}, {}, JOIN_WITHIN_S - 0.001, True),
        ({}, {}, JOIN_WITHIN_S, False),
        ({}, {}, 1e6, False),
        ({}, {}, None, False),
        ({"endings": FLAT}, {}, 0.0, False),
        ({}, {"endings": FLAT}, 0.0, False),
        ({}, {"is_drill": True}, 0.0, False),
        ({"is_drill": True}, {"is_drill": True}, 0.0, True),
        ({"is_drill": True}, {"is_drill": True}, JOIN_WITHIN_S, False),
        ({"authority": Authority.RECOVERY_KEY}, {}, 0.0, True),
        ({}, {"authority": Authority.RECOVERY_KEY}, 0.0, True),
        ({}, {"authority": Authority.STANDING_WARRANT}, 0.0, False),
        ({"authority": Authority.STANDING_WARRANT}, {}, 0.0, True),
        ({"authority": Authority.STANDING_WARRANT, "endings": FLAT}, {}, 0.0, True),
        ({"authority": Authority.STANDING_WARRANT}, {"authority": Authority.STANDING_WARRANT}, 0.0, True),
        ({"authority": Authority.STANDING_WARRANT}, {}, JOIN_WITHIN_S, False),
        ({"authority": Authority.STANDING_WARRANT}, {}, None, False),
        ({"authority": Authority.STANDING_WARRANT}, {"is_drill": True}, 0.0, False),
    ],
)
def test_order_joins_only_a_kill_that_just_began_to_do_the_same(
    asked: dict[str, Any], running: dict[str, Any], age_s: float | None, is_joined: bool
) -> None:
    assert joins(order(kill_id="f" * 16, **asked), order(**running), age_s=age_s) is is_joined


@pytest.mark.parametrize("age_s", [0.0, JOIN_WITHIN_S, None])
def test_drill_is_refused_while_a_kill_goes_on(age_s: float | None) -> None:
    with pytest.raises(KillRefused, match="kill 0123456789abcdef is not over: a drill may begin when it is"):
        joins(order(is_drill=True), order(), age_s=age_s)
    assert JOIN_WITHIN_S == 60
