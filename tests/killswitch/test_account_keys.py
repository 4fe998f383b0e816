"""Which keys go, in which order, and when one counts as refused."""

from __future__ import annotations

from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid
from trade_killswitch.account_keys import KEYS_MAX, AccountKey, Refusals, deletion_order, parse_keys


def row(key: Any, *, read_only: Any = False) -> dict[str, Any]:
    return {"apiKey": key, "readOnly": read_only, "permissions": {}, "secret": "******"}


def test_keys_are_read_by_id_each_once() -> None:
    assert parse_keys([row("a"), row("b", read_only=True), row("c", read_only=1), row("a")]) == [
        AccountKey(key="a", is_read_only=False),
        AccountKey(key="b", is_read_only=True),
        AccountKey(key="c", is_read_only=True),
    ]
    assert parse_keys([]) == []


@pytest.mark.parametrize("value", [None, 0, "true", [], 2])
def test_key_that_does_not_say_so_is_none_that_only_reads(value: object) -> None:
    assert parse_keys([row("a", read_only=value)])[0].is_read_only is False


@pytest.mark.parametrize(
    "bad", [None, "x", 7, {}, row(""), row(None), row(7), row("a b"), row("a" * 65), row("a\u0661")]
)
def test_list_with_a_row_without_an_id_is_unreadable(bad: object) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match="without an id"):
        parse_keys([row("a"), bad])


def test_list_of_more_keys_than_there_can_be_is_unreadable() -> None:
    assert len(parse_keys([row(f"k{number}") for number in range(KEYS_MAX)])) == KEYS_MAX
    with pytest.raises(ExchangeAnswerInvalid, match="101 rows"):
        parse_keys([row(f"k{number}") for number in range(KEYS_MAX + 1)])


def test_keys_that_trade_go_first_and_the_exit_key_never() -> None:
    listed = parse_keys([row("watch", read_only=True), row("exit"), row("order"), row("rogue")])
    assert deletion_order(listed, exit_key="exit") == ["order", "rogue", "watch"]
    assert deletion_order(listed[1:2], exit_key="exit") == []


def refusals(unknown: str = "10003", **answers: str) -> Refusals:
    return Refusals(answers=answers, to_unknown=unknown)


@pytest.mark.parametrize("code", ["10003", "HTTP 401"])
def test_keys_that_are_answered_as_one_that_never_was_are_refused(code: str) -> None:
    assert refusals(code, a=code, b=code).not_refused(listed=()) == {}


@pytest.mark.parametrize("answer", ["10004", "0", "10027", "no answer", "HTTP 401"])
def test_key_that_is_answered_otherwise_is_named(answer: str) -> None:
    wrong = refusals(a=answer, b="10003").not_refused(listed=())
    assert wrong == {"a": f"is answered with {answer}, and a key that never was with 10003"}


@pytest.mark.parametrize("answer", ["10016", "no answer", "0", "10004"])
def test_exchange_that_answers_everything_alike_proves_nothing(answer: str) -> None:
    assert set(refusals(answer, a=answer).not_refused(listed=())) == {"a"}


def test_key_that_is_still_listed_is_not_refused_whatever_is_answered() -> None:
    assert refusals(a="10003", b="10003").not_refused(listed=("a",)) == {"a": "is still listed"}
