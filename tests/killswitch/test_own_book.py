"""What the executor's own samples make of equity and flows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trade_killswitch.own_book import (
    APART_MS,
    KEPT_MS,
    KEPT_SAMPLES_MAX,
    OwnBook,
    OwnFlow,
    Sample,
    book_of,
    rebased,
    sampled,
)

T0 = 1_700_000_000_000


def flow(at_ms: int, worth: str) -> OwnFlow:
    return OwnFlow(at_ms=T0 + at_ms, worth=Decimal(worth))


def then(book: OwnBook | None, at_ms: int, equity: str, *flows: OwnFlow) -> OwnBook:
    made = sampled(book, equity=Decimal(equity), at_ms=T0 + at_ms, flows=flows)
    assert made is not None
    return made


def watched(*equities: str, every_ms: int = 60_000) -> OwnBook:
    book: OwnBook | None = None
    for number, equity in enumerate(equities):
        book = then(book, number * every_ms, equity)
    assert book is not None
    return book


def test_results_move_the_price_and_flows_do_not() -> None:
    book = watched("1000", "1000", "1000")
    assert (book.last.price, book.peak, book.drawdown) == (1, 1, 0)
    assert then(book, 200_000, "1500", flow(190_000, "500")).last.price == 1
    assert then(book, 200_000, "500", flow(190_000, "-500")).drawdown == 0
    assert then(book, 200_000, "820").drawdown == Decimal("0.18")
    fallen = then(book, 200_000, "500")
    # A deposit does not hide a loss, and what comes in after one counts at the price that it came at.
    assert then(fallen, 300_000, "1000", flow(290_000, "500")).drawdown == Decimal("0.5")
    both = then(book, 200_000, "1000", flow(195_000, "-250"), flow(190_000, "250"))
    assert (both.last.units, both.drawdown) == (1000, 0)


def test_highest_point_is_what_three_samples_in_a_row_saw() -> None:
    for equities, peak in (
        (("1000",), None),
        (("1000", "1000"), None),
        (("8000", "1000", "1000"), 1),
        (("1000", "8000", "1000", "1000"), 1),
        (("1000", "1200", "1300", "1250"), Decimal("1.2")),
        (("1000", "1200", "1300", "1250", "900", "800"), Decimal("1.2")),
    ):
        first = Decimal(equities[0])
        book = watched(*equities)
        assert (None if book.peak is None else book.peak * first / 1000) == peak
        assert (book.drawdown is None) is (peak is None)
    # A wild first sample makes the units, not the highest point: what follows is measured from itself.
    assert watched("8000", "1000", "1000", "900").drawdown == Decimal("0.1")
    assert watched("1000", "1000", "1000", "2000").drawdown == 0


def test_samples_that_are_not_apart_do_not_count() -> None:
    assert watched("1000", "1000", "1000", every_ms=APART_MS).peak == 1
    hasty = watched("1000", "1000", "1000", every_ms=APART_MS - 1)
    assert hasty.peak is None
    book = then(watched("1000", "1000", "1000"), 180_000, "2000")
    for number in range(500):
        book = then(book, 180_000 + number, "2000")
    assert (book.peak, len(book.samples)) == (1, 5)
    for number in range(5):  # nor does their number keep it from ever rising
        book = then(book, 190_000 + number * 600, "2000")
    assert book.peak == 2
    assert APART_MS == 1000


def test_clock_that_went_back_makes_no_highest_point() -> None:
    book = then(then(watched("1000"), -5_000, "1000"), -10_000, "1000")
    assert book.peak is None
    assert then(then(then(book, 0, "1000"), 2_000, "1000"), 4_000, "1000").peak == 1


def test_flow_that_is_shown_late_leaves_no_false_highest_point() -> None:
    book = watched("1000", "1000", "1000")
    # 1000 came in after 130 s; the log does not show it yet.
    for at_ms in (180_000, 240_000, 300_000, 360_000):
        book = then(book, at_ms, "2000")
    assert book.peak == 2
    book = then(book, 420_000, "2000", flow(130_000, "1000"))
    assert (book.peak, book.last.price, book.drawdown) == (1, 1, 0)
    assert [one.units for one in book.samples] == [1000, 1000, 1000] + [2000] * 5
    # So does one that went out: it was taken for a loss, and is none.
    book = then(then(watched("1000", "1000", "1000"), 180_000, "500"), 240_000, "500", flow(150_000, "-500"))
    assert (book.peak, book.drawdown, book.last.units) == (1, 0, 500)


def test_flow_counts_at_the_moment_of_a_sample_and_at_the_price_before_it() -> None:
    book = then(watched("1000", "1000", "1000"), 180_000, "500")
    assert then(book, 240_000, "750", flow(180_001, "250")).last.units == 1500
    assert then(book, 240_000, "750", flow(180_000, "250")).last.units == 1250
    assert then(book, 240_000, "750", flow(180_000, "250")).samples[3].units == 1250


def test_what_came_before_the_first_sample_was_in_it() -> None:
    book = then(watched("1000", "1000", "1000"), 180_000, "1000", flow(0, "500"), flow(-60_000, "500"))
    assert book.last.units == 1000
    assert then(watched("1000", "1000", "1000"), 180_000, "1500", flow(1, "500")).last.units == 1500


def test_book_begins_with_equity_and_anew_when_all_was_taken_out() -> None:
    for equity in ("0", "-1"):
        assert sampled(None, equity=Decimal(equity), at_ms=T0, flows=[]) is None
    book = watched("1000", "1000", "1000")
    for out in ("-1000", "-1001"):
        assert sampled(book, equity=Decimal(0), at_ms=T0 + 180_000, flows=[flow(170_000, out)]) is None
    assert sampled(book, equity=Decimal(1), at_ms=T0 + 180_000, flows=[flow(170_000, "-999")]) is not None
    # Late, and more than there was at the time: the samples since are no ground to stand on.
    flows = [flow(100_000, "-1000"), flow(170_000, "500")]
    assert sampled(book, equity=Decimal(500), at_ms=T0 + 180_000, flows=flows) is None


def test_price_of_nothing_takes_no_flow_at_it() -> None:
    broke = then(watched("1000", "1000", "1000"), 180_000, "0")
    assert broke.drawdown == 1
    book = then(broke, 240_000, "500", flow(200_000, "500"))
    assert (book.last.units, book.last.price, book.drawdown) == (1000, Decimal("0.5"), Decimal("0.5"))
    owing = then(watched("1000", "1000", "1000"), 180_000, "-500")
    assert owing.drawdown == Decimal("1.5")
    assert then(owing, 240_000, "0", flow(200_000, "500")).last.units == 1000


def test_account_that_only_owes_has_no_highest_point() -> None:
    book = watched("1000")
    for at_ms in (60_000, 120_000, 180_000):
        book = then(book, at_ms, "-10")
    assert (book.peak, book.drawdown) == (None, None)
    assert rebased(book).peak is None


def test_old_samples_go_and_what_they_showed_stays() -> None:
    book = watched("1000", "1500", "1500", "1500")
    for minute in range(4, 40):
        book = then(book, minute * 60_000, "1200")
        assert book.peak == Decimal("1.5")
        assert book.drawdown == Decimal("0.2")
    assert [one.at_ms - T0 for one in book.samples] == [minute * 60_000 for minute in range(29, 40)]
    assert KEPT_MS == 600_000
    after_a_week = then(book, 7 * 86_400_000, "1200")
    assert len(after_a_week.samples) == 3
    assert after_a_week.peak == Decimal("1.5")


def test_no_more_samples_are_kept_than_the_most() -> None:
    book = watched(*(["1000"] * 20 + ["1500"] * 3 + ["1200"] * 200), every_ms=1000)
    assert len(book.samples) == KEPT_SAMPLES_MAX == 64
    assert (book.peak, book.past_peak) == (Decimal("1.5"), Decimal("1.5"))


def test_rebased_book_is_measured_from_now() -> None:
    book = rebased(then(watched("1000", "1000", "1000"), 180_000, "800"))
    assert (book.peak, book.drawdown, book.last.price) == (Decimal("0.8"), 0, Decimal("0.8"))
    assert then(book, 240_000, "400").drawdown == Decimal("0.5")
    assert then(then(book, 240_000, "1000"), 300_000, "1000").peak == Decimal("0.8")
    assert then(then(then(book, 240_000, "1000"), 300_000, "1000"), 360_000, "1000").peak == 1


def test_book_is_read_back_as_it_was_kept() -> None:
    for book in (watched("1000"), watched("1000", "1000", "820.5"), rebased(watched("0.5", "0.25"))):
        assert book_of(book.content()) == book
    assert watched("0.5").content() == {"began_ms": T0, "past_peak": None, "samples": [[T0, "0.5", "0.5"]]}
    assert rebased(watched("0.5")).content()["past_peak"] == "1"


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": []},
        {"samples": 7},
        {"samples": [[1, "1"]]},
        {"samples": [["1", "1", "1"]]},
        {"samples": [[True, "1", "1"]]},
        {"samples": [[1, "x", "1"]]},
        {"samples": [[1, "NaN", "1"]]},
        {"samples": [[1, "1", "Infinity"]]},
        {"samples": [[1, "1", "0"]]},
        {"samples": [[1, "1", "-1"]]},
        {"samples": [[1, "1", "1"]] * 65},
        {"began_ms": "1"},
        {"began_ms": 1.5},
        {"past_peak": "x"},
        {"past_peak": "NaN"},
        {"past_peak": "Infinity"},
        {"past_peak": "0"},
        {"past_peak": "-1"},
    ],
)
def test_damaged_book_is_none(changed: dict[str, Any]) -> None:
    kept = {"began_ms": 1, "past_peak": "1", "samples": [[1, "10", "10"]]}
    assert book_of(kept) is not None
    assert book_of({**kept, "samples": [[1, "10", "10"]] * 64}) is not None
    assert book_of({**kept, "past_peak": None}) is not None
    assert book_of({**kept, **changed}) is None
    assert book_of({name: value for name, value in kept.items() if name not in changed}) is None


def test_sample_says_what_a_unit_is_worth() -> None:
    assert Sample(at_ms=1, equity=Decimal(5), units=Decimal(2)).price == Decimal("2.5")


def test_samples_too_soon_after_each_other_make_no_highest_point() -> None:
    soon = then(then(watched("1000"), 60_000, "1000"), 60_500, "1000")
    assert (len(soon.samples), soon.peak) == (3, None)
    early = then(then(watched("1000"), 500, "1000"), 60_000, "1000")
    assert [one.at_ms - T0 for one in early.samples] == [0, 60_000]
    kept = {**watched("1000", "1000", "1000").content()}
    kept["samples"][1][0] = T0 + 500  # as no run of this version keeps them
    read = book_of(kept)
    assert read is not None
    assert read.peak is None


def test_price_of_nothing_is_no_highest_point() -> None:
    assert watched("1000", "0", "0").peak is None
    gone = rebased(then(watched("1000"), 60_000, "0"))
    assert (gone.past_peak, gone.peak, gone.drawdown) == (None, None, None)


def test_account_that_is_nearly_empty_is_still_one() -> None:
    left = then(watched("1000", "1000", "1000"), 180_000, "0.5", flow(170_000, "-999.5"))
    assert (left.last.units, left.drawdown) == (Decimal("0.5"), 0)


def test_account_that_was_nearly_emptied_a_while_ago_is_still_one() -> None:
    left = then(watched("1000", "1000", "1000"), 180_000, "0.5", flow(100_000, "-999.5"))
    assert [one.units for one in left.samples] == [1000, 1000, Decimal("0.5"), Decimal("0.5")]


def test_kept_book_with_one_sample_of_no_units_is_none() -> None:
    kept = watched("1000", "1000", "1000").content()
    kept["samples"][1][2] = "0"
    assert book_of(kept) is None


def test_late_deposit_leaves_no_false_highest_point_where_samples_are_about_to_go() -> None:
    book: OwnBook | None = None
    for number in range(19):
        book = then(book, number * 60_000, "1000" if number < 9 else "1500")
    assert book is not None
    book = then(book, 1_140_000, "1500", flow(531_000, "500"))
    assert (book.peak, book.drawdown) == (1, 0)


def test_late_deposit_leaves_no_false_highest_point_where_samples_have_just_gone() -> None:
    book: OwnBook | None = None
    for number in range(20):  # the oldest that is left is the first one at 1500
        book = then(book, number * 60_000, "1000" if number < 9 else "1500")
    assert book is not None
    assert (book.samples[0].equity, book.past_peak) == (1500, 1)
    book = then(book, 1_200_000, "1500", flow(531_000, "500"))
    assert (book.peak, book.drawdown) == (book.last.price, 0)


def test_flow_from_before_every_kept_sample_counts_at_the_price_of_the_oldest() -> None:
    book = watched(*(str(1000 - 10 * number) for number in range(20)))
    oldest = book.samples[0]
    assert oldest.price != book.samples[1].price != book.last.price
    after = then(book, 1_200_000, "900", flow(30_000, "100"))
    assert after.last.units == book.last.units + Decimal(100) / oldest.price
