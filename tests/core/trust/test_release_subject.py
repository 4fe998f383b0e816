"""The subject of a release: one form, closed words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.trust.keys import NotTrusted
from trade_core.trust.release_subject import (
    HIGH_WATER,
    RELEASABLE_RUNGS,
    ReleaseSubject,
    parse_release_subject,
    release_subject,
)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (ReleaseSubject(sequence=0), "latch:0"),
        (ReleaseSubject(sequence=41), "latch:41"),
        (ReleaseSubject(sequence=9_999_999_999_999_999), "latch:9999999999999999"),
        (ReleaseSubject(sequence=7, rungs=("weekly",)), "latch:7+weekly"),
        (ReleaseSubject(sequence=7, rungs=("daily", "weekly", "monthly")), "latch:7+daily+weekly+monthly"),
    ],
)
def test_subject_is_written_and_read_alike(subject: ReleaseSubject, text: str) -> None:
    assert release_subject(subject.sequence, rungs=subject.rungs) == text
    assert parse_release_subject(text) == subject


def test_rungs_are_written_in_one_order() -> None:
    assert release_subject(1, rungs=("monthly", "daily", "monthly")) == "latch:1+daily+monthly"
    assert release_subject(1, rungs=("high_water", "daily")) == "latch:1+daily+high_water"
    assert (RELEASABLE_RUNGS, HIGH_WATER) == (("daily", "weekly", "monthly"), "high_water")


@pytest.mark.parametrize("rung", ["highwater", "yearly", ""])
def test_rung_that_no_release_can_name_is_refused(rung: str) -> None:
    with pytest.raises(ValueError, match="not a rung that a release can re-base"):
        release_subject(1, rungs=("daily", rung))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not name a latch"),
        ("latch:", "does not name a latch"),
        ("latch:-1", "does not name a latch"),
        ("latch:01", "does not name a latch"),
        ("latch:1 ", "does not name a latch"),
        ("latch:1\n", "does not name a latch"),
        ("latch:\u0661", "does not name a latch"),
        ("latch:99999999999999999", "does not name a latch"),
        ("latch:1+", "does not name a latch"),
        ("latch:1+high_water+daily", "twice or out of order"),
        ("latch:1+high-water", "does not name a latch"),
        ("policy:1", "does not name a latch"),
        ("latch:1+yearly", "yearly: not a rung"),
        ("latch:1+monthly+daily", "twice or out of order"),
        ("latch:1+daily+daily", "twice or out of order"),
    ],
)
def test_text_of_another_form_is_not_trusted(text: str, words: str) -> None:
    with pytest.raises(NotTrusted, match=words):
        parse_release_subject(text)


@given(st.integers(0, 10**16 - 1), st.sets(st.sampled_from(RELEASABLE_RUNGS)))
def test_every_subject_that_is_written_is_read(sequence: int, rungs: set[str]) -> None:
    read = parse_release_subject(release_subject(sequence, rungs=rungs))
    assert (read.sequence, set(read.rungs)) == (sequence, rungs)
