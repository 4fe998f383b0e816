"""What a person signs to be true: all of it or nothing, in one form, and no killed key among it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trade_core.trust.keys import NotTrusted
from trade_core.trust.release_terms import (
    AFTER_KILL_CHARACTERS,
    CAUSE_CHARACTERS,
    WHY_CHARACTERS,
    KillTerms,
    ReleaseTerms,
    check_release_terms,
    killed_keys_of,
    read_release_terms,
    release_words,
)

SAID = KillTerms(decision="stays as it is", drill="0123456789abcdef", order_key="order2", exit_key="exit2")
AFTER_HALT = ReleaseTerms(cause="a bad feed")
AFTER_KILL = ReleaseTerms(cause="a thief", after_kill=SAID)
KILLED_KEYS = frozenset({"order1"})
ENDING = "; cause: a thief; decision: stays as it is; drill: 0123456789abcdef; order key: order2; exit key: exit2"


def written(terms: ReleaseTerms, *, ceiling: str = "KILLED", why: str = "by hand", rungs: tuple[str, ...] = ()) -> str:
    return release_words(ceiling=ceiling, why=why, rungs=rungs, terms=terms)


def test_words_of_a_halt_end_with_the_cause() -> None:
    words = written(AFTER_HALT, ceiling="HALTED")
    assert words == "release HALTED (held because: by hand); cause: a bad feed"
    assert read_release_terms(words, is_killed=False) == AFTER_HALT
    assert check_release_terms(words, ceiling="HALTED", killed_keys=()) == AFTER_HALT


def test_words_of_a_kill_end_with_everything() -> None:
    words = written(AFTER_KILL, rungs=("daily", "high_water"))
    assert words == f"release KILLED and re-base the rungs daily, high_water (held because: by hand){ENDING}"
    assert read_release_terms(words, is_killed=True) == AFTER_KILL
    assert check_release_terms(words, ceiling="KILLED", killed_keys=KILLED_KEYS) == AFTER_KILL


def test_longest_words_fit_and_why_gets_the_rest() -> None:
    said = KillTerms(decision="d" * 80, drill="1" * 32, order_key="2" * 32, exit_key="3" * 32)
    rungs = ("daily", "weekly", "monthly", "high_water")
    words = written(ReleaseTerms(cause="c" * 80, after_kill=said), why="why" * 100, rungs=rungs)
    assert len(words) == 400
    assert "(held because: w);" in words
    assert read_release_terms(words, is_killed=True).after_kill == said
    assert len(written(AFTER_HALT, ceiling="HALTED", why="w" * 399)) == 400


def test_why_that_has_no_room_at_all_is_left_out() -> None:
    said = KillTerms(decision="d" * 80, drill="1" * 32, order_key="2" * 32, exit_key="3" * 32)
    rungs = ("daily", "weekly", "monthly", "high_water", "another")
    words = written(ReleaseTerms(cause="c" * 80, after_kill=said), why="why", rungs=rungs)
    assert "(held because: );" in words


def test_why_cannot_say_the_terms() -> None:
    words = written(AFTER_KILL, why=f"x{ENDING.replace('order2', 'forged')}"[:110])
    assert read_release_terms(words, is_killed=True) == AFTER_KILL


@pytest.mark.parametrize(
    "words",
    [
        "",
        "release HALTED",
        "release HALTED (held because: x); reason given: y",
        "release HALTED; cause: ",
        "release HALTED; cause: found; more",
    ],
)
def test_release_without_a_cause_is_refused(words: str) -> None:
    with pytest.raises(NotTrusted, match="do not end with a cause"):
        read_release_terms(words, is_killed=False)


@pytest.mark.parametrize("left_out", ["cause", "decision", "drill", "order key", "exit key"])
def test_release_after_a_kill_without_one_of_its_terms_is_refused(left_out: str) -> None:
    kept = [part for part in ENDING.split("; ") if not part.startswith(f"{left_out}: ")]
    with pytest.raises(NotTrusted, match="do not end with cause, decision, drill, order key and exit key"):
        check_release_terms("release KILLED" + "; ".join(kept), ceiling="KILLED", killed_keys=KILLED_KEYS)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"decision": "ab"}, "decision: must be 3 to 80"),
        ({"decision": "  ab  "}, "decision: must be 3 to 80"),
        ({"decision": "d" * 81}, "decision: must be 3 to 80"),
        ({"drill": "a b"}, "drill: must be 1 to 32"),
        ({"drill": "1" * 33}, "drill: must be 1 to 32"),
        ({"drill": ""}, "drill: must be 1 to 32"),
        ({"order_key": "no key"}, "order key: must be"),
        ({"exit_key": "x/y"}, "exit key: must be"),
        ({"exit_key": "order2"}, "another one than the order key"),
        ({"decision": "a; drill: 1"}, "without a semicolon"),
        ({"decision": "abc\n"}, "plain text"),
    ],
)
def test_terms_of_another_form_are_neither_written_nor_read(change: dict[str, str], why: str) -> None:
    terms = ReleaseTerms(cause="a thief", after_kill=replace(SAID, **change))
    with pytest.raises(ValueError, match=why):
        written(terms)


@pytest.mark.parametrize(
    ("cause", "why"),
    [("ab", "3 to 120"), ("a  ", "3 to 120"), ("c" * 121, "3 to 120"), ("a; b", "semicolon"), ("tab\there", "plain")],
)
def test_cause_of_another_form_is_not_written(cause: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        written(ReleaseTerms(cause=cause), ceiling="HALTED")


def test_causes_at_their_bounds_are_written() -> None:
    for cause in ("abc", "c" * 120):
        words = written(ReleaseTerms(cause=cause), ceiling="HALTED")
        assert read_release_terms(words, is_killed=False).cause == cause
    with pytest.raises(ValueError, match="cause: must be 3 to 80"):
        written(ReleaseTerms(cause="c" * 81, after_kill=SAID))


@pytest.mark.parametrize(
    ("old", "new"), [("stays as it is", "ok"), ("order2", "not a key"), ("exit2", "order2"), ("a thief", "c" * 81)]
)
def test_signed_words_of_another_form_are_refused(old: str, new: str) -> None:
    words = "release KILLED" + ENDING.replace(old, new)
    with pytest.raises(NotTrusted, match="release: "):
        read_release_terms(words, is_killed=True)


@pytest.mark.parametrize(("role", "key"), [("order", "order2"), ("exit", "exit2")])
def test_killed_key_is_not_used_on(role: str, key: str) -> None:
    with pytest.raises(NotTrusted, match=f"the {role} key {key} is one that was killed"):
        check_release_terms(written(AFTER_KILL), ceiling="KILLED", killed_keys={"order1", key})


def test_kill_whose_row_names_no_key_is_not_released() -> None:
    with pytest.raises(NotTrusted, match="names no key that it killed; kill again"):
        check_release_terms(written(AFTER_KILL), ceiling="KILLED", killed_keys=())


def test_killed_keys_are_read_from_rows() -> None:
    assert killed_keys_of({"killed_keys": ["a", "b", 1]}) == {"a", "b"}
    assert killed_keys_of({"killed_keys": ("a",)}) == {"a"}
    assert killed_keys_of({"killed_keys": "abc"}) == frozenset()
    assert killed_keys_of({}) == frozenset()


def test_bounds_are_those_that_were_decided() -> None:
    assert (WHY_CHARACTERS, CAUSE_CHARACTERS, AFTER_KILL_CHARACTERS) == (120, 120, 80)
