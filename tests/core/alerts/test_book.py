"""Which alerts go out and when."""

from __future__ import annotations

from itertools import pairwise

from trade_core.alerts.book import QUIET_S, REPEAT_FIRST_S, REPEAT_LAST_S, SUBJECTS_MAX, AlertBook, Due
from trade_core.alerts.model import Alert, Severity
from trade_core.clock import NS_PER_S


def alert(subject: str = "s", severity: Severity = Severity.WARNING, *, needs: bool = False, text: str = "t") -> Alert:
    return Alert(subject=subject, severity=severity, text=text, needs_acknowledgement=needs)


def at(seconds: float) -> int:
    return round((1000 + seconds) * NS_PER_S)


def test_first_alert_of_a_subject_goes_out_at_once() -> None:
    assert AlertBook().take(alert(), now_ns=at(0)) == Due(alert=alert(), repeats=0)


def test_same_matter_again_is_quiet_until_the_time_is_over() -> None:
    book = AlertBook()
    book.take(alert(), now_ns=at(0))
    assert book.take(alert(text="again"), now_ns=at(1)) is None
    assert book.take(alert(text="again"), now_ns=at(QUIET_S) - 1) is None
    assert book.take(alert(text="last"), now_ns=at(QUIET_S)) == Due(alert=alert(text="last"), repeats=3)
    assert book.take(alert(), now_ns=at(QUIET_S + 1)) is None


def test_graver_alert_of_a_subject_goes_out_at_once_and_a_lesser_one_does_not() -> None:
    book = AlertBook()
    book.take(alert(severity=Severity.INFO), now_ns=at(0))
    graver = alert(severity=Severity.CRITICAL)
    assert book.take(graver, now_ns=at(1)) == Due(alert=graver, repeats=1)
    assert book.take(alert(severity=Severity.WARNING), now_ns=at(2)) is None
    assert book.take(graver, now_ns=at(3)) is None


def test_subjects_are_matters_of_their_own() -> None:
    book = AlertBook()
    assert book.take(alert("a"), now_ns=at(0)) is not None
    assert book.take(alert("b"), now_ns=at(0)) is not None


def test_alert_is_repeated_at_growing_intervals_until_it_is_acknowledged() -> None:
    book = AlertBook()
    book.take(alert(needs=True), now_ns=at(0))
    assert book.unacknowledged == ("s",)
    assert book.next_due_ns() == at(REPEAT_FIRST_S)
    assert book.due(at(REPEAT_FIRST_S) - 1) == []
    assert book.due(at(REPEAT_FIRST_S)) == [Due(alert=alert(needs=True), repeats=1)]
    times = []
    for _ in range(6):
        now_ns = book.next_due_ns()
        assert now_ns is not None
        times.append(now_ns)
        assert len(book.due(now_ns)) == 1
    gaps = [(later - before) // NS_PER_S for before, later in pairwise(times)]
    assert gaps == [240, 480, 900, 900, 900]
    assert REPEAT_LAST_S == 900
    assert book.acknowledge("s") is True
    assert (book.unacknowledged, book.next_due_ns(), book.due(at(10**6))) == ((), None, [])


def test_alert_that_needs_no_acknowledgement_is_not_repeated() -> None:
    book = AlertBook()
    book.take(alert(), now_ns=at(0))
    assert (book.next_due_ns(), book.due(at(10**6)), book.unacknowledged) == (None, [], ())


def test_matter_that_comes_to_need_acknowledgement_is_repeated_from_then_on() -> None:
    book = AlertBook()
    book.take(alert(), now_ns=at(0))
    assert book.take(alert(needs=True), now_ns=at(10)) is None
    assert book.next_due_ns() == at(10 + REPEAT_FIRST_S)


def test_raising_it_again_puts_no_repetition_off() -> None:
    book = AlertBook()
    book.take(alert(needs=True), now_ns=at(0))
    book.take(alert(needs=True), now_ns=at(59))
    assert len(book.due(at(REPEAT_FIRST_S))) == 1


def test_repetition_counts_as_told() -> None:
    book = AlertBook()
    book.take(alert(needs=True), now_ns=at(0))
    book.due(at(REPEAT_FIRST_S))
    assert book.take(alert(needs=True), now_ns=at(QUIET_S + 1)) is None


def test_acknowledged_subject_begins_anew() -> None:
    book = AlertBook()
    book.take(alert(needs=True), now_ns=at(0))
    book.due(at(REPEAT_FIRST_S))
    book.acknowledge("s")
    assert book.take(alert(needs=True), now_ns=at(70)) == Due(alert=alert(needs=True), repeats=0)
    assert book.next_due_ns() == at(70 + REPEAT_FIRST_S)


def test_subject_that_is_not_open_cannot_be_acknowledged() -> None:
    assert AlertBook().acknowledge("s") is False


def test_several_are_due_at_once() -> None:
    book = AlertBook()
    for subject in "abc":
        book.take(alert(subject, needs=True), now_ns=at(0))
    assert [due.alert.subject for due in book.due(at(REPEAT_FIRST_S))] == ["a", "b", "c"]


def test_memory_is_bounded_and_what_waits_for_somebody_is_kept_longest() -> None:
    book = AlertBook()
    book.take(alert("waits", needs=True), now_ns=at(0))
    for number in range(SUBJECTS_MAX + 10):
        book.take(alert(f"n{number}"), now_ns=at(number))
    assert book.unacknowledged == ("waits",)
    assert book.take(alert(f"n{SUBJECTS_MAX + 9}"), now_ns=at(SUBJECTS_MAX + 9)) is None
    assert book.take(alert("n0"), now_ns=at(1)) is not None  # it was forgotten


def test_memory_is_bounded_when_all_wait_for_somebody() -> None:
    book = AlertBook()
    for number in range(SUBJECTS_MAX + 1):
        book.take(alert(f"n{number}", needs=True), now_ns=at(number))
    assert len(book.unacknowledged) == SUBJECTS_MAX
    assert "n0" not in book.unacknowledged
    assert f"n{SUBJECTS_MAX}" in book.unacknowledged


def test_quiet_matters_among_those_that_wait_change_nothing() -> None:
    book = AlertBook()
    book.take(alert("quiet"), now_ns=at(0))
    book.take(alert("later", needs=True), now_ns=at(30))
    book.take(alert("first", needs=True), now_ns=at(0))
    assert book.next_due_ns() == at(REPEAT_FIRST_S)
    assert [due.alert.subject for due in book.due(at(REPEAT_FIRST_S))] == ["first"]


def test_matter_that_is_told_again_is_not_the_next_to_be_forgotten() -> None:
    book = AlertBook()
    for number in range(SUBJECTS_MAX):
        book.take(alert(f"n{number}"), now_ns=at(0))
    assert book.take(alert("n0"), now_ns=at(QUIET_S)) is not None
    book.take(alert("new"), now_ns=at(QUIET_S))
    assert book.take(alert("n0"), now_ns=at(QUIET_S + 1)) is None
    assert book.take(alert("n1"), now_ns=at(QUIET_S + 1)) is not None


def test_bounds_are_those_of_the_page() -> None:
    assert (QUIET_S, REPEAT_FIRST_S, REPEAT_LAST_S, SUBJECTS_MAX) == (300, 60, 900, 256)
