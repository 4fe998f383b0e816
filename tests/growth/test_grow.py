"""A small part of `make grow`, and that it notices what grows."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from growth.grow import HEADER, Sized, complaints, grown, line_of, sizes_to
from growth.measures import MEASURES

SIZE = Sized(
    rows=10_000,
    figures={
        "append": {"rows": 2000, "wall_s": 0.1, "cpu_s": 0.1, "peak_mib": 60},
        "size": {"bytes_a_row": 450, "bytes_an_order_row": 600, "peak_mib": 60},
        **{name: {"wall_s": 0.5, "cpu_s": 0.5, "peak_mib": 60} for name in ("opening", "replay", "verify")},
    },
)


def ten_times(**changes: dict[str, float]) -> Sized:
    """A journal of ten times the rows, in which replay and verify take ten times as long."""
    figures = deepcopy(SIZE.figures)
    for name in ("replay", "verify"):
        figures[name]["cpu_s"] *= 10
    for name, change in changes.items():
        figures[name] |= change
    return Sized(rows=100_000, figures=figures)


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_journal_of_ten_times_the_rows_costs_no_more_for_each(tmp_path: Path) -> None:
    first, last = grown(tmp_path, [1_500, 15_000])
    # What others do on the processor makes one of two short runs dearer; what grows with the rows does so by ten.
    assert complaints(first, last, slack=4) == []
    assert set(last.figures) == set(MEASURES)
    assert len(line_of(last)) == len(HEADER)


def test_what_grows_with_the_rows_is_in_order() -> None:
    assert complaints(SIZE, ten_times()) == []


@pytest.mark.parametrize(
    ("measure", "change", "what"),
    [
        ("opening", {"cpu_s": 1.3}, "opening, s of the processor"),
        ("opening", {"peak_mib": 160}, "opening, MiB"),
        ("append", {"cpu_s": 0.3}, "append, us of the processor a row"),
        ("replay", {"cpu_s": 11.0}, "replay, us of the processor a row"),
        ("replay", {"peak_mib": 160}, "replay, MiB"),
        ("verify", {"cpu_s": 11.0}, "verify, us of the processor a row"),
        ("verify", {"peak_mib": 160}, "verify, MiB"),
        ("size", {"bytes_an_order_row": 1025}, "bytes of an order's row"),
    ],
)
def test_what_grows_faster_is_named(measure: str, change: dict[str, float], what: str) -> None:
    (complaint,) = complaints(SIZE, ten_times(**{measure: change}))
    assert complaint.startswith(what)


def test_sizes_go_up_by_ten_to_the_last() -> None:
    assert sizes_to(10_000) == [10_000]
    assert sizes_to(1_000_000) == [10_000, 100_000, 1_000_000]
    assert sizes_to(250_000) == [10_000, 100_000, 250_000]
