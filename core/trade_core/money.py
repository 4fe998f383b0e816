"""Decimal numbers of money, price and quantity: from text of one strict grammar, never from float."""

from __future__ import annotations

import re
from decimal import Context, Decimal

from trade_core.errors import InvalidNumber

_GRAMMAR = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})?", re.ASCII)
_SIGNED_GRAMMAR = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_SHOWN_CHARACTERS = 40
# 18 digits before and after the point on both sides, divided without rounding. Looking the method up costs most of it.
_remainder = Context(prec=64).remainder


def parse_decimal(text: str) -> Decimal:
    """Parse a non-negative decimal: at most 12 digits before and 12 after the point, nothing else.

    Signs, exponents, NaN, infinities, spaces, underscores, leading zeros and digits outside ASCII are refused.
    Raises InvalidNumber, whose message shows at most 40 characters of the text.
    """
    if not isinstance(text, str) or _GRAMMAR.fullmatch(text) is None:
        raise InvalidNumber(f"not a plain decimal number: {ascii(text)[:_SHOWN_CHARACTERS]}")
    return Decimal(text)


def parse_exchange_decimal(text: object) -> Decimal:
    """Parse a number that the exchange sent: may be negative and longer, still finite and plain.

    Raises InvalidNumber for anything else, the empty string included.
    """
    if not isinstance(text, str) or _SIGNED_GRAMMAR.fullmatch(text) is None:
        raise InvalidNumber(f"the exchange sent no plain decimal number: {ascii(text)[:_SHOWN_CHARACTERS]}")
    return Decimal(text)


def format_decimal(value: Decimal) -> str:
    """Write a finite decimal without exponent and without trailing zeros. Raises InvalidNumber otherwise."""
    if not value.is_finite():
        raise InvalidNumber(f"not a finite number: {value}")
    text = str(value)  # as format(value, "f"), in a fraction of the time, unless there is an exponent
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Tell whether value is a whole number of steps. A step of zero or less divides nothing."""
    return step > 0 and _remainder(value, step) == 0
