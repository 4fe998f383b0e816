from __future__ import annotations

from typing import Any

import pytest
from killswitch.console.world import row

from trade_killswitch.console.digest import DENIALS_SHOWN, LESSONS_SHOWN, Digest, rows_of


def digest_of(*rows: Any) -> Digest:
    digest = Digest()
    for one in rows:
        digest.take(one)
    return digest


def test_denials_are_the_newest_whatever_the_order_of_reading() -> None:
    rows = [row(seq, "order:denied", code="LIMIT_TURNOVER", symbol=f"S{seq}") for seq in range(100)]
    digest = digest_of(*rows[50:], *reversed(rows[:50]), *rows[90:])
    assert [note.seq for note in digest.denials] == list(range(99, 99 - DENIALS_SHOWN, -1))
    assert digest.denials[0].detail == "symbol S99"


def test_counted_denials_of_older_rows_say_how_many_they_were() -> None:
    (note,) = digest_of(row(1, "request:counted", code="AUTH_KEY_UNKNOWN", count=812)).denials
    assert (note.subject, note.count, note.detail) == ("AUTH_KEY_UNKNOWN", 812, "")


def test_counted_denials_of_many_codes_name_the_most_frequent_first() -> None:
    codes = {"LIMIT_TURNOVER": 3, "AUTH_KEY_UNKNOWN": 812, "NOT_POST_ONLY": 3}
    (note,) = digest_of(row(1, "request:counted", codes=codes, count=818)).denials
    assert (note.subject, note.count) == ("AUTH_KEY_UNKNOWN and 2 more", 818)
    assert note.detail == "AUTH_KEY_UNKNOWN 812, LIMIT_TURNOVER 3, NOT_POST_ONLY 3"


def test_counted_denials_of_one_code_are_named_by_it() -> None:
    (note,) = digest_of(row(1, "request:counted", codes={"AUTH_KEY_UNKNOWN": 812}, count=812)).denials
    assert (note.subject, note.count) == ("AUTH_KEY_UNKNOWN", 812)


@pytest.mark.parametrize("codes", [{}, [], "X", {"A": "many"}])
def test_counted_denials_of_another_form_are_shown_as_they_can_be(codes: object) -> None:
    (note,) = digest_of(row(1, "request:counted", codes=codes, count=2)).denials
    assert (note.subject, note.count) == ("A" if isinstance(codes, dict) and codes else "unknown", 2)


def test_lesson_is_owed_for_a_closed_trade_without_one_whatever_the_order_of_reading() -> None:
    closed = row(5, "swing_trade:closed", trade_id="7", pair="BTC/USDT")
    lesson = row(9, "swing_trade:lesson", trade_id="7", lesson="wait")
    assert [note.subject for note in digest_of(closed).lessons_owed] == ["trade 7"]
    assert digest_of(closed, lesson).lessons_owed == ()
    assert digest_of(lesson, closed).lessons_owed == ()
    many = [row(seq, "swing_trade:closed", trade_id=str(seq)) for seq in range(50)]
    assert len(digest_of(*many).lessons_owed) == LESSONS_SHOWN


def test_incident_that_a_person_dealt_with_says_how_whatever_the_order_of_reading() -> None:
    digest = Digest()
    for read in (
        row(2, "incident:mitigated", incident="1", mitigation="sold by hand"),
        row(3, "incident:mitigated", incident=[], mitigation="nonsense"),
        row(1, "incident:opened", type="stop_denied", severity="high"),
        row(0, "incident:opened", type="stranger", severity="high"),
    ):
        digest.take(read)
    assert [(note.subject, note.detail) for note in digest.incidents] == [
        ("stop_denied (high)", "mitigated: sold by hand"),
        ("stranger (high)", ""),
    ]


def test_incidents_and_changes_are_told_with_their_reason() -> None:
    digest = digest_of(
        row(1, "incident:opened", type="stop_denied", severity="high", symbol="BTCUSDT", empty=""),
        row(2, "state:changed", holder="operator_latch", ceiling="HALTED", reason="by hand"),
    )
    assert [(note.subject, note.detail) for note in digest.incidents] == [("stop_denied (high)", "symbol BTCUSDT")]
    assert [(note.subject, note.detail) for note in digest.changes] == [("operator_latch: HALTED", "by hand")]


@pytest.mark.parametrize(
    "other",
    [
        {},
        row(1, "order:outcome", code="x"),
        {**row(1, "order:denied"), "fields": []},
        {**row(1, "order:denied"), "seq": "1"},
        {**row(1, "order:denied"), "seq": True},
        {**row(1, "order:denied"), "at_ns": "-1"},
        {**row(1, "order:denied"), "at_ns": None},
        {**row(1, "order:denied"), "kind": 5},
    ],
)
def test_what_is_no_row_or_another_one_is_passed_over(other: dict[str, Any]) -> None:
    digest = digest_of(other)
    assert (digest.denials, digest.incidents, digest.changes, digest.lessons_owed) == ((), (), (), ())


def test_rows_are_read_a_line_each_and_others_left_out() -> None:
    assert rows_of(b'{"seq":1}\n\nnot json\n[]\n{"seq":2}\n' + b"[" * 10_000) == [{"seq": 1}, {"seq": 2}]
