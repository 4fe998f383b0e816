"""The policy file: complete, typed, bounded, and named by one hash."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.limits import (
    MAX_POLICY_BYTES,
    MAX_SYMBOLS,
    Policy,
    PolicyError,
    parse_policy,
    policy_hash,
)
from trade_gateway.wire.intents import Category

LINES = {
    "max_order_notional_usdt": 'max_order_notional_usdt = "500"',
    "min_order_notional_usdt": 'min_order_notional_usdt = "10.50"',
    "max_open_orders": "max_open_orders = 6",
    "leverage": "leverage = 3",
}
SYMBOLS = """
[[symbols]]
category = "spot"
symbol = "BTCUSDT"
[[symbols]]
category = "linear"
symbol = "BTCUSDT"
"""
POLICY = Policy(
    symbols=frozenset({(Category.SPOT, "BTCUSDT"), (Category.LINEAR, "BTCUSDT")}),
    max_order_notional_usdt=Decimal(500),
    min_order_notional_usdt=Decimal("10.50"),
    max_open_orders=6,
    leverage=3,
)


def text(*, symbols: str = SYMBOLS, extra: str = "", **changes: str | None) -> bytes:
    lines = {**LINES, **{key: None if value is None else f"{key} = {value}" for key, value in changes.items()}}
    return ("\n".join([extra, *(line for line in lines.values() if line is not None)]) + symbols).encode()


def fault(raw: bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(raw)
    return str(caught.value)


def test_policy_of_a_complete_file_is_parsed() -> None:
    assert parse_policy(text()) == POLICY


def test_policy_permits_its_symbols_in_their_category_only() -> None:
    policy = parse_policy(text(symbols='\n[[symbols]]\ncategory = "spot"\nsymbol = "BTCUSDT"\n'))
    assert policy.permits(Category.SPOT, "BTCUSDT")
    assert not policy.permits(Category.LINEAR, "BTCUSDT")
    assert not policy.permits(Category.SPOT, "ETHUSDT")


@pytest.mark.parametrize("key", sorted(LINES))
def test_policy_without_a_key_is_refused_by_name(key: str) -> None:
    absent: dict[str, Any] = {key: None}
    assert f"{key}: must be" in fault(text(**absent))
    assert "nothing (the key is missing)" in fault(text(**absent))


def test_policy_without_symbols_is_refused() -> None:
    assert "symbols: must be 1 to 50 tables, found None" in fault(text(symbols=""))
    assert "symbols: " in fault(text(symbols="", extra="symbols = []"))
    assert "symbols: " in fault(text(symbols="", extra='symbols = "BTCUSDT"'))


def test_policy_with_an_unknown_key_is_refused_by_name_and_value() -> None:
    assert "max_oder_notional_usdt: unknown key (value '1')" in fault(text(extra='max_oder_notional_usdt = "1"'))


def test_policy_with_several_faults_names_them_all() -> None:
    message = fault(text(leverage="0", max_open_orders="-1", extra="x = 1"))
    assert all(f"{name}: " in message for name in ("leverage", "max_open_orders", "x"))


@pytest.mark.parametrize("key", ["max_order_notional_usdt", "min_order_notional_usdt"])
@pytest.mark.parametrize(
    "value",
    ["500", "500.0", '"0"', '"0.99"', '"100000.01"', '"-5"', '"1e3"', '"NaN"', '"inf"', "inf", "nan", '""', '" 5"',
     "true", '["500"]', '"1_000"', '"9999999999999999"'],
)  # fmt: skip
def test_policy_with_absurd_money_is_refused_by_name(key: str, value: str) -> None:
    assert f"{key}: must be an amount in quotes" in fault(text(**{key: value}))


@pytest.mark.parametrize(
    ("edge", "is_valid"), [("1", True), ("100000", True), ("0.999999", False), ("100000.000001", False)]
)
def test_policy_bounds_money(edge: str, *, is_valid: bool) -> None:
    raw = text(max_order_notional_usdt=f'"{edge}"', min_order_notional_usdt=f'"{edge}"')
    if is_valid:
        assert parse_policy(raw).max_order_notional_usdt == Decimal(edge)
    else:
        assert edge in fault(raw)


@pytest.mark.parametrize(
    ("key", "value", "is_valid"),
    [
        ("leverage", "1", True), ("leverage", "10", True), ("leverage", "0", False), ("leverage", "11", False),
        ("leverage", "100", False), ("leverage", "-1", False), ("leverage", "3.0", False), ("leverage", '"3"', False),
        ("leverage", "true", False), ("leverage", "inf", False),
        ("max_open_orders", "1", True), ("max_open_orders", "100", True), ("max_open_orders", "0", False),
        ("max_open_orders", "101", False), ("max_open_orders", "500", False), ("max_open_orders", "true", False),
    ],
)  # fmt: skip
def test_policy_bounds_counts(key: str, value: str, *, is_valid: bool) -> None:
    if is_valid:
        assert getattr(parse_policy(text(**{key: value})), key) == int(value)
    else:
        assert f"{key}: must be a whole number from 1 to" in fault(text(**{key: value}))


def test_policy_with_a_minimum_above_the_maximum_is_refused() -> None:
    assert "min_order_notional_usdt: 501 is above" in fault(text(min_order_notional_usdt='"501"'))
    assert parse_policy(text(min_order_notional_usdt='"500"')).min_order_notional_usdt == 500


@pytest.mark.parametrize(
    "table",
    [
        'category = "spot"',
        'symbol = "BTCUSDT"',
        'category = "inverse"\nsymbol = "BTCUSDT"',
        'category = "Spot"\nsymbol = "BTCUSDT"',
        'category = 1\nsymbol = "BTCUSDT"',
        'category = "spot"\nsymbol = "btcusdt"',
        'category = "spot"\nsymbol = "BTCUSDC"',
        'category = "spot"\nsymbol = "USDT"',
        'category = "spot"\nsymbol = ""',
        'category = "spot"\nsymbol = "BTC/USDT"',
        'category = "spot"\nsymbol = 7',
        'category = "spot"\nsymbol = "*"',
        'category = "spot"\nsymbol = "BTCUSDT"\nmax = 1',
    ],
)
def test_policy_with_a_bad_symbol_is_refused(table: str) -> None:
    assert "symbols[0]: must have exactly category" in fault(text(symbols="\n[[symbols]]\n" + table))


def test_policy_with_a_list_of_plain_symbols_is_refused() -> None:
    assert "symbols[0]: " in fault(text(symbols="", extra='symbols = ["BTCUSDT"]'))


def test_policy_with_a_symbol_twice_is_refused() -> None:
    assert "symbols[2]: stands there twice" in fault(text(symbols=SYMBOLS + SYMBOLS))


@pytest.mark.parametrize(("count", "is_valid"), [(MAX_SYMBOLS, True), (MAX_SYMBOLS + 1, False)])
def test_policy_bounds_the_number_of_symbols(count: int, *, is_valid: bool) -> None:
    tables = "".join(f'\n[[symbols]]\ncategory = "spot"\nsymbol = "C{index}USDT"' for index in range(count))
    if is_valid:
        assert len(parse_policy(text(symbols=tables)).symbols) == count
    else:
        assert "symbols: must be 1 to 50" in fault(text(symbols=tables))


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xfe", b"leverage = ", b"leverage = 3\nleverage = 4", b"a = " + b"[" * 20_000, b"[[symbols]\n", b"{}"],
)
def test_policy_that_is_no_toml_is_refused(raw: bytes) -> None:
    assert fault(raw).startswith("policy: not TOML: ")


def test_policy_bounds_its_file() -> None:
    padding = MAX_POLICY_BYTES - len(text())
    assert parse_policy(text() + b"\n" * padding) == POLICY
    assert "is more than" in fault(text() + b"\n" * (padding + 1))


def test_policy_hash_of_one_meaning_is_one_hash() -> None:
    reordered = "\n".join(reversed(LINES.values())).replace('"10.50"', '"10.5"')
    tables = '\n# a comment\n[[symbols]]\nsymbol = "BTCUSDT"\ncategory = "linear"\n' + SYMBOLS.split("[[symbols]]")[
        1
    ].join(["[[symbols]]", ""])
    assert policy_hash(parse_policy((reordered + tables).encode())) == policy_hash(POLICY)


def test_policy_hash_is_the_one_that_rows_carry() -> None:
    # Fixed: a change of the canonical form would orphan every hash in every journal.
    assert policy_hash(POLICY) == "06ed674c2afd46ff1c49dd1b3b64f2ad82aa7ea861473a94b67f8814ae5089ce"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_order_notional_usdt": '"500.01"'},
        {"min_order_notional_usdt": '"10"'},
        {"max_open_orders": "7"},
        {"leverage": "2"},
        {"symbols": '\n[[symbols]]\ncategory = "spot"\nsymbol = "BTCUSDT"'},
        {"symbols": SYMBOLS.replace("linear", "spot").replace("BTC", "ETH", 1)},
    ],
)
def test_policy_hash_of_another_meaning_differs(changes: dict[str, str]) -> None:
    symbols = changes.pop("symbols", SYMBOLS)
    assert policy_hash(parse_policy(text(symbols=symbols, **changes))) != policy_hash(POLICY)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_policy_of_any_bytes_is_refused_cleanly(raw: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(raw)
