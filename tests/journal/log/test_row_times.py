"""Times of rows that fall are found, quickly or not, and only where they fall by more than they do in any journal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trade_journal.log.row_times import CLOCK_BACK_S, RowTimes, Span, span_of

S = 10**9
NOW = 1_795_000_000 * S
NO_TIME = Span(2**63 - 1, -(2**63 - 1), False)


def row(at_ns: int, actor: str = "gateway") -> bytes:
    return b'{"actor":"%b","at_ns":"%d","fields":{},"kind":"k"}' % (actor.encode(), at_ns)


def after(*seconds: int) -> list[bytes]:
    return [row(NOW + one * S) for one in seconds]


def back(*bodies: bytes, parts: int = 1) -> tuple[int, int] | None:
    times = RowTimes()
    for first in range(0, len(bodies), parts):
        times.take(bodies[first : first + parts], first=first)
    return times.back


def test_times_that_rise_or_fall_a_little_are_no_news() -> None:
    assert back(*after(0, 1, 1, 0, 70, 10, 71), parts=3) is None
    assert back(*after(CLOCK_BACK_S, 0)) is None


def test_first_row_that_is_older_is_remembered_and_no_other() -> None:
    for parts in (1, 2, 3, 100):
        assert back(*after(0, 500, 501, 440, 10, 600, 0), parts=parts) == (3, 61)
        assert back(*after(CLOCK_BACK_S + 1, 0), parts=parts) == (1, 61)


def test_row_is_held_against_the_latest_of_all_before_it() -> None:
    assert back(*after(100, 90, 80, 70, 60, 50, 40, 39)) == (7, 61)


def test_seconds_are_whole_and_rounded_down() -> None:
    assert back(row(NOW + 61 * S + 5), row(NOW)) == (1, 61)
    assert back(row(NOW + 60 * S + 1), row(NOW)) == (1, 60)


def test_rows_of_several_actors_and_of_odd_times_are_compared_by_their_times() -> None:
    mixed = [row(NOW, "journal"), row(NOW + S), row(NOW + 2 * S, "shim"), row(NOW - 100 * S)]
    assert span_of(mixed) == Span(NOW - 100 * S, NOW + 2 * S, True)
    assert back(*mixed) == (3, 102)
    assert back(row(5), row(-5), row(NOW), row(18)) == (3, NOW // S - 1)
    assert span_of([row(NOW), row(18), row(NOW + S)]).has_fall


def test_bytes_without_a_time_are_passed_over() -> None:
    odd = [
        b"",
        b"{}",
        b'{"at_ns":"',
        b'{"at_ns":"x"}',
        b'{"at_ns":"%b"}' % (b"9" * 400),
        b'{"at_ns":"9999999999999999999"}',
    ]
    assert span_of(odd) == span_of([]) == NO_TIME
    assert back(*after(100), *odd, *after(99)) is None
    assert back(*after(100), *odd, *after(0)) == (7, 100)


def test_span_of_rows_that_rise_is_their_ends() -> None:
    assert span_of(after(0, 1, 1_000)) == Span(NOW, NOW + 1_000 * S, False)
    assert span_of(after(0, 1_000, 990)) == Span(NOW, NOW + 1_000 * S, False)
    assert span_of(after(0, 1_000, 900)) == Span(NOW, NOW + 1_000 * S, True)


def test_spans_are_taken_without_their_rows() -> None:
    times = RowTimes()
    for seconds, is_worth in ((0, False), (100, False), (40, False), (39, True)):
        span = span_of(after(seconds))
        assert times.is_worth_a_look(span) is is_worth
        if not is_worth:
            times.take_span(span)
    assert not times.is_worth_a_look(NO_TIME)
    assert times.is_worth_a_look(Span(NOW + 200 * S, NOW + 300 * S, True))
    times.take(after(39), first=9)
    assert times.back == (9, 61)
    assert not times.is_worth_a_look(span_of(after(0)))
    times.take(after(0), first=10)
    assert times.back == (9, 61)


@given(
    st.lists(st.tuples(st.integers(-3, 300), st.sampled_from(["gateway", "gateway", "shim"])), max_size=40),
    st.integers(1, 9),
)
def test_quick_and_slow_agree_with_the_plain_definition(found: list[tuple[int, str]], parts: int) -> None:
    bodies = [row(NOW + seconds * S, actor) for seconds, actor in found]
    expected = next(
        (
            (at, latest - seconds)
            for at, (seconds, _) in enumerate(found)
            if (latest := max(one for one, _ in found[: at + 1])) - seconds > CLOCK_BACK_S
        ),
        None,
    )
    assert back(*bodies, parts=parts) == expected
