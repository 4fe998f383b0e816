"""Numbers, times and texts of the bot as they go into rows."""

from __future__ import annotations

import math

import pytest

from trade_journal.log.rows import STRING_CHARACTERS_MAX
from trade_journal.trades.bot_trades import (
    TradeRefused,
    foreign_text,
    number_text,
    optional_number_text,
    sum_text,
    time_ns,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (1e-8, "0.00000001"), (1e21, "1000000000000000000000"), (-0.0, "0"), (3, "3"), (64019.4, "64019.4")],
)
def test_number_is_the_same_double_without_an_exponent(value: float, text: str) -> None:
    assert number_text("x", value) == text
    assert float(text) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, True, b"1"])
def test_number_that_is_none_is_refused_by_name(value: object) -> None:
    with pytest.raises(TradeRefused, match="open_rate"):
        number_text("open_rate", value)


def test_number_that_may_be_missing_is_none() -> None:
    assert optional_number_text("close_rate", None) is None
    assert optional_number_text("close_rate", 1.5) == "1.5"


def test_sum_has_no_noise_of_adding() -> None:
    assert sum_text("filled", 0.1 + 0.2) == "0.3"
    assert sum_text("filled", None) == "0"
    with pytest.raises(TradeRefused):
        sum_text("filled", math.inf)


@pytest.mark.parametrize("text", ["a" * 10_000, "\x1b" * 10_000, "\U000e0001" * 10_000, "\ufffd\n\x1b[31m"])
def test_text_of_others_is_escaped_and_fits_a_row(text: str) -> None:
    shown = foreign_text("enter_tag", text)
    assert shown.isprintable()
    assert len(shown) <= STRING_CHARACTERS_MAX


def test_text_that_is_none_is_refused() -> None:
    assert foreign_text("enter_tag", None) == ""
    with pytest.raises(TradeRefused, match="enter_tag is a int"):
        foreign_text("enter_tag", 5)


def test_time_is_utc_to_the_microsecond() -> None:
    assert time_ns("open_date", "1970-01-01 00:00:01.000002") == 1_000_002_000


@pytest.mark.parametrize("value", ["yesterday", "", None, 5, "2026-13-01 00:00:00"])
def test_time_that_is_none_is_refused_by_name(value: object) -> None:
    with pytest.raises(TradeRefused, match="open_date is no time"):
        time_ns("open_date", value)
