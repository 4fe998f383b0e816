from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.errors import InvalidNumber
from trade_core.money import format_decimal, is_multiple, parse_decimal, parse_exchange_decimal

PLAIN = st.from_regex(r"\A(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})?\Z")


@pytest.mark.parametrize(
    "text", ["0", "1", "0.1", "999999999999", "999999999999.999999999999", "0.000000000001", "1.0"]
)
def test_parse_decimal_inside_the_grammar_gives_the_exact_number(text: str) -> None:
    assert parse_decimal(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        " 1",
        "1\n",
        "+1",
        "-1",
        "-0",
        "00",
        "01",
        ".5",
        "1.",
        "1e3",
        "1E3",
        "1_000",
        "1,5",
        "0x1",
        "NaN",
        "nan",
        "Infinity",
        "inf",
        "1000000000000",
        "0.0000000000001",
        "\u0661",
        "\uff11",
        "1\u0660",
        "1.\u0665",
        "1\x00",
        "1" * 100_000,
    ],
)
def test_parse_decimal_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(InvalidNumber):
        parse_decimal(text)


@pytest.mark.parametrize("value", [1, 1.5, Decimal(1), None, b"1", True, ["1"]])
def test_parse_decimal_of_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidNumber):
        parse_decimal(value)  # type: ignore[arg-type]


def test_parse_decimal_refusal_shows_little_of_a_long_text() -> None:
    with pytest.raises(InvalidNumber) as caught:
        parse_decimal("x" * 1000)
    assert len(str(caught.value)) < 100


def test_parse_decimal_refusal_shows_no_control_character() -> None:
    with pytest.raises(InvalidNumber) as caught:
        parse_decimal("\x1b[31m\n\u202e")
    assert str(caught.value).isprintable()


@given(PLAIN)
def test_format_decimal_of_a_parsed_number_parses_to_the_same(text: str) -> None:
    assert parse_decimal(format_decimal(parse_decimal(text))) == Decimal(text)


@given(st.text(max_size=20))
def test_parse_decimal_of_any_text_gives_a_finite_number_or_refuses(text: str) -> None:
    try:
        number = parse_decimal(text)
    except InvalidNumber:
        return
    assert number.is_finite()
    assert number >= 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+5", "100000"),
        ("1.500", "1.5"),
        ("100", "100"),
        ("0E-12", "0"),
        ("-0.0", "0"),
        ("1E-12", "0.000000000001"),
        ("-1.50", "-1.5"),
    ],
)
def test_format_decimal_writes_plain_digits(value: str, text: str) -> None:
    assert format_decimal(Decimal(value)) == text


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_format_decimal_of_no_number_is_refused(value: str) -> None:
    with pytest.raises(InvalidNumber):
        format_decimal(Decimal(value))


@pytest.mark.parametrize("text", ["-1.5", "0", "000.10", "1" * 18 + "." + "9" * 18])
def test_parse_exchange_decimal_takes_signed_and_long_numbers(text: str) -> None:
    assert parse_exchange_decimal(text) == Decimal(text)


@pytest.mark.parametrize("text", ["", "+1", "1e3", "NaN", "Infinity", "1" * 19, "1." + "1" * 19, "--1", "1 ", "\u0661"])
def test_parse_exchange_decimal_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidNumber):
        parse_exchange_decimal(text)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_parse_exchange_decimal_of_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidNumber):
        parse_exchange_decimal(value)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [("0.3", "0.1", True), ("0.35", "0.1", False), ("0", "0.1", True), ("1", "0", False), ("1", "-1", False)],
)
def test_is_multiple_is_exact(value: str, step: str, expected: bool) -> None:
    assert is_multiple(Decimal(value), Decimal(step)) is expected


@given(
    PLAIN.map(Decimal),
    st.from_regex(r"\A0\.[0-9]{0,17}[1-9]\Z").map(Decimal),
)
def test_is_multiple_answers_for_every_number_and_step_of_the_grammar(value: Decimal, step: Decimal) -> None:
    scaled, scaled_step = int(value.scaleb(18)), int(step.scaleb(18))
    assert is_multiple(value, step) is (scaled % scaled_step == 0)
