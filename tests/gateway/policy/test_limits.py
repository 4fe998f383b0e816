"""The policy file: complete, typed, bounded, free of contradictions, and named by one hash."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import LINEAR_BTC, LINEAR_ETH, POLICY, POLICY_TOML, SPOT_BTC, SYMBOLS_TOML
from hypothesis import given
from hypothesis import strategies as st

from trade_core.money import format_decimal
from trade_gateway.policy import bounds
from trade_gateway.policy.limits import KEYS, MAX_POLICY_BYTES, MAX_SYMBOLS, PolicyError, parse_policy, policy_hash
from trade_gateway.policy.model import NOTHING_PERMITTED, Policy, ProtectiveStops
from trade_gateway.wire.intents import Category

LINES = {line.partition(" = ")[0]: line for line in POLICY_TOML.strip().splitlines()}
NUMBERS = {**bounds.MONEY, **bounds.MULTIPLES, **bounds.FRACTIONS}
DISASTER = '\n[disaster_stop]\nfraction = "0.1"\n'


def text(*, symbols: str = SYMBOLS_TOML, extra: str = "", tables: str = "", **changes: str | None) -> bytes:
    lines = {**LINES, **{key: None if value is None else f"{key} = {value}" for key, value in changes.items()}}
    return ("\n".join([extra, *(line for line in lines.values() if line is not None)]) + symbols + tables).encode()


def one_symbol(**changes: str) -> str:
    fields = {
        "category": '"spot"',
        "symbol": '"BTCUSDT"',
        "max_order_quantity": '"2"',
        "max_notional_usdt": '"2000"',
        **changes,
    }
    return "\n[[symbols]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value)


def fault(raw: bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(raw)
    return str(caught.value)


def complaint(raw: bytes) -> str:
    """Return what is said of a policy that may contradict itself; nothing when it does not."""
    try:
        parse_policy(raw)
    except PolicyError as error:
        return str(error)
    return ""


def test_policy_of_a_complete_file_is_parsed() -> None:
    assert parse_policy(text()) == POLICY
    with_stop = replace(POLICY, disaster_stop_fraction=Decimal("0.1"))
    assert parse_policy(text(tables=DISASTER)) == with_stop
    permitting = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
    assert parse_policy(text(protective_stops='"reduce_only"')) == permitting


def test_policy_permits_its_symbols_in_their_category_only() -> None:
    policy = parse_policy(text(symbols=one_symbol()))
    assert policy.permits(Category.SPOT, "BTCUSDT")
    assert not policy.permits(Category.LINEAR, "BTCUSDT")
    assert not policy.permits(Category.SPOT, "ETHUSDT")
    assert list(policy.symbols) == [SPOT_BTC]


def test_policy_cannot_be_changed_once_it_is_parsed() -> None:
    symbols: Any = parse_policy(text()).symbols
    with pytest.raises(TypeError):
        symbols[LINEAR_ETH] = symbols[LINEAR_BTC]


def test_every_number_of_the_policy_has_bounds() -> None:
    assert KEYS - {"symbols", "disaster_stop"} == LINES.keys()
    assert NUMBERS.keys() | bounds.COUNTS.keys() | {"protective_stops"} == LINES.keys()
    for lowest, highest in [*NUMBERS.values(), *bounds.SYMBOL_AMOUNTS.values(), bounds.DISASTER_STOP]:
        assert 0 < lowest < highest
    for low, high in bounds.COUNTS.values():
        assert 0 < low < high


def test_bounds_of_the_policy_are_those_that_were_decided() -> None:
    numbers = {**NUMBERS, **bounds.SYMBOL_AMOUNTS, "disaster_stop.fraction": bounds.DISASTER_STOP}
    assert {key: (format_decimal(lowest), format_decimal(highest)) for key, (lowest, highest) in numbers.items()} == {
        "allocated_capital_usdt": ("10", "1000000"),
        "max_order_notional_usdt": ("1", "100000"),
        "min_order_notional_usdt": ("1", "100000"),
        "max_gross_exposure": ("0.01", "3"),
        "turnover_budget_24h": ("0.01", "20"),
        "collar": ("0.0001", "0.02"),
        "fat_finger": ("0.01", "0.5"),
        "exit_collar": ("0.001", "0.05"),
        "reference_max_divergence": ("0.0005", "0.05"),
        "stop_slippage": ("0.001", "0.1"),
        "stress_gap": ("0.05", "0.9"),
        "funding_cap": ("0.001", "0.1"),
        "highest_fee": ("0.0001", "0.01"),
        "max_order_quantity": ("0.000000000001", "100000000000"),
        "max_notional_usdt": ("1", "3000000"),
        "disaster_stop.fraction": ("0.02", "0.5"),
    }
    assert bounds.COUNTS == {
        "reference_max_age_s": (1, 30),
        "messages_per_s_deny": (1, 50),
        "messages_per_s_terminate": (2, 50),
        "repeated_execution_limit": (2, 1000),
        "repeated_execution_window_s": (1, 86_400),
        "duplicate_window_s": (1, 600),
        "max_open_orders": (1, 100),
        "leverage": (1, 10),
        "order_time_to_live_s": (60, 604_800),
    }
    assert (MAX_POLICY_BYTES, MAX_SYMBOLS) == (65_536, 50)


@pytest.mark.parametrize("orders_per_s", [1, 10, 50])
def test_bounds_of_counts_are_the_decided_ones_at_an_ordinary_pace(orders_per_s: int) -> None:
    assert bounds.counts_at(orders_per_s) is bounds.COUNTS


def test_bounds_of_counts_leave_room_for_a_load_test_in_messages_and_open_orders_only() -> None:
    wider = {"messages_per_s_deny": (1, 51), "messages_per_s_terminate": (2, 51), "max_open_orders": (1, 500)}
    assert bounds.counts_at(51) == {**bounds.COUNTS, **wider}


def test_policy_of_a_load_test_is_none_without_its_bounds() -> None:
    raw = text(max_open_orders="500")
    assert parse_policy(raw, counts=bounds.counts_at(51)).max_open_orders == 500
    assert "max_open_orders: must be a whole number from 1 to 100, found 500" in fault(raw)


@pytest.mark.parametrize("key", sorted(LINES))
def test_policy_without_a_key_is_refused_by_name(key: str) -> None:
    absent: dict[str, Any] = {key: None}
    assert re.search(rf"(^|[ ;]){key}: must be", fault(text(**absent)))
    assert "nothing (the key is missing)" in fault(text(**absent))


def test_policy_without_symbols_is_refused() -> None:
    assert "symbols: must be 1 to 50 tables, found None" in fault(text(symbols=""))
    assert "symbols: " in fault(text(symbols="", extra="symbols = []"))
    assert "symbols: " in fault(text(symbols="", extra='symbols = "BTCUSDT"'))


def test_policy_with_an_unknown_key_is_refused_by_name_and_value() -> None:
    assert "max_oder_notional_usdt: unknown key (value '1')" in fault(text(extra='max_oder_notional_usdt = "1"'))


def test_policy_with_several_faults_names_them_all() -> None:
    message = fault(text(leverage="0", max_open_orders="-1", collar='"0"', extra="x = 1"))
    assert all(f"{name}: " in message for name in ("leverage", "max_open_orders", "collar", "x"))


@pytest.mark.parametrize("key", sorted(NUMBERS))
@pytest.mark.parametrize(
    "value",
    ["1", "0.5", '"0"', '"0.0"', '"-5"', '"1e-3"', '"NaN"', '"inf"', "inf", "nan", '""', '" 0.1"', "true", '["0.1"]',
     '"0_1"', '"99999999999"', '"9999999999999999"', '".5"', '"+1"'],
)  # fmt: skip
def test_policy_with_an_absurd_number_is_refused_by_name(key: str, value: str) -> None:
    assert f"{key}: must be a number in quotes" in fault(text(**{key: value}))


@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_policy_bounds_every_number_exactly(key: str) -> None:
    lowest, highest = NUMBERS[key]
    step = Decimal("0.000000000001")
    for inside in (lowest, highest):
        changed: dict[str, Any] = {key: f'"{format_decimal(inside)}"'}
        assert f"{key}: must be" not in complaint(text(**changed))
    for outside in (lowest - step, highest + step):
        changed = {key: f'"{format_decimal(outside)}"'}
        assert f"{key}: must be a number in quotes" in fault(text(**changed))


@pytest.mark.parametrize("key", sorted(bounds.COUNTS))
def test_policy_bounds_every_count_exactly(key: str) -> None:
    lowest, highest = bounds.COUNTS[key]
    for inside in (lowest, highest):
        changed: dict[str, Any] = {key: str(inside)}
        assert f"{key}: must be" not in complaint(text(**changed))
    for outside in (str(lowest - 1), str(highest + 1), "-1", "0", f'"{lowest}"', f"{lowest}.0", "true", "inf", "nan"):
        changed = {key: outside}
        assert f"{key}: must be a whole number from {lowest} to {highest}" in fault(text(**changed))


@pytest.mark.parametrize("value", ['"off"', '"DENY"', '""', "false", "0", '["deny"]'])
def test_policy_with_another_choice_of_stops_is_refused(value: str) -> None:
    assert 'protective_stops: must be "deny" or "reduce_only"' in fault(text(protective_stops=value))


@pytest.mark.parametrize(
    "table",
    [
        '\n[disaster_stop]\nfraction = "0"\n', '\n[disaster_stop]\nfraction = "0.019999"\n',
        '\n[disaster_stop]\nfraction = "0.500001"\n', "\n[disaster_stop]\nfraction = 0.1\n",
    ],
)  # fmt: skip
def test_policy_with_an_absurd_disaster_stop_is_refused(table: str) -> None:
    assert 'disaster_stop.fraction: must be a number in quotes from "0.02" to "0.5"' in fault(text(tables=table))


@pytest.mark.parametrize(
    "table", ["\n[disaster_stop]\n", '\n[disaster_stop]\nfraction = "0.1"\nx = 1\n', '\n[disaster_stop]\noff = "1"\n']
)
def test_policy_with_a_malformed_disaster_stop_is_refused(table: str) -> None:
    assert "disaster_stop: must be a table with exactly fraction" in fault(text(tables=table))
    assert "disaster_stop: must be a table with exactly fraction" in fault(text(extra='disaster_stop = "off"'))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"min_order_notional_usdt": '"500.01"'}, "min_order_notional_usdt: 500.01 is above max_order_notional_usdt"),
        ({"max_order_notional_usdt": '"2000.01"'}, "2000 is below max_order_notional_usdt, 2000.01"),
        ({"max_gross_exposure": '"0.499999"'}, "2000 is above the gross exposure limit, 1999.996"),
        ({"turnover_budget_24h": '"0.1249"'}, "max_order_notional_usdt: 500 is above the whole turnover budget, 499.6"),
        ({"leverage": "1", "max_gross_exposure": '"1.01"'}, "max_gross_exposure: 1.01 cannot be reached"),
        ({"exit_collar": '"0.0029"'}, "exit_collar: 0.0029 is below collar, 0.003"),
        ({"fat_finger": '"0.01"', "exit_collar": '"0.01"'}, "fat_finger: 0.01 is not above exit_collar, 0.01"),
        ({"stop_slippage": '"0.06"', "stress_gap": '"0.05"'}, "stop_slippage: 0.06 is above stress_gap, 0.05"),
        ({"messages_per_s_terminate": "5"}, "messages_per_s_terminate: 5 is not above messages_per_s_deny, 5"),
        ({"duplicate_window_s": "301"}, "duplicate_window_s: 301 is above order_time_to_live_s, 300"),
        ({"leverage": "10", "tables": DISASTER}, "disaster_stop: fraction 0.1 is beyond liquidation with leverage 10"),
        ({"symbols": one_symbol(), "tables": DISASTER}, "disaster_stop: there is no linear symbol"),
    ],
)
def test_policy_that_contradicts_itself_is_refused(changes: dict[str, str], sentence: str) -> None:
    assert sentence in fault(text(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"min_order_notional_usdt": '"500"'},
        {"max_order_notional_usdt": '"2000"'},
        {"max_gross_exposure": '"0.5"'},
        {"turnover_budget_24h": '"0.125"'},
        {"leverage": "1"},
        {"exit_collar": '"0.003"'},
        {"fat_finger": '"0.01"', "exit_collar": '"0.009999"'},
        {"stop_slippage": '"0.05"', "stress_gap": '"0.05"'},
        {"messages_per_s_terminate": "6"},
        {"duplicate_window_s": "300"},
        {"leverage": "9", "tables": DISASTER},
    ],
)
def test_policy_just_short_of_a_contradiction_is_permitted(changes: dict[str, str]) -> None:
    parse_policy(text(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"category": ""},
        {"symbol": ""},
        {"max_order_quantity": ""},
        {"max_notional_usdt": ""},
        {"category": '"inverse"'},
        {"category": '"Spot"'},
        {"category": "1"},
        {"symbol": '"btcusdt"'},
        {"symbol": '"BTCUSDC"'},
        {"symbol": '"USDT"'},
        {"symbol": '"BTC/USDT"'},
        {"symbol": "7"},
        {"symbol": '"*"'},
        {"max": "1"},
    ],
)
def test_policy_with_a_bad_symbol_is_refused(changes: dict[str, str]) -> None:
    assert "symbols[0]: must have exactly category, max_notional_usdt" in fault(text(symbols=one_symbol(**changes)))


@pytest.mark.parametrize("key", ["max_order_quantity", "max_notional_usdt"])
@pytest.mark.parametrize("value", ['"0"', "5", '"-1"', '"NaN"', '"999999999999"', '"all"'])
def test_policy_with_an_absurd_limit_of_a_symbol_is_refused(key: str, value: str) -> None:
    assert f"symbols[0].{key}: must be a number in quotes" in fault(text(symbols=one_symbol(**{key: value})))


def test_policy_with_a_list_of_plain_symbols_is_refused() -> None:
    assert "symbols[0]: " in fault(text(symbols="", extra='symbols = ["BTCUSDT"]'))


def test_policy_with_a_symbol_twice_is_refused() -> None:
    assert "symbols[3]: stands there twice" in fault(text(symbols=SYMBOLS_TOML + SYMBOLS_TOML))


@pytest.mark.parametrize(("count", "is_valid"), [(MAX_SYMBOLS, True), (MAX_SYMBOLS + 1, False)])
def test_policy_bounds_the_number_of_symbols(count: int, *, is_valid: bool) -> None:
    tables = "".join(one_symbol(symbol=f'"C{index}USDT"') for index in range(count))
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


@pytest.mark.parametrize("length", range(0, 700, 23))
def test_policy_that_is_half_written_is_refused(length: int) -> None:
    raw = text()
    assert len(raw) > 800
    assert fault(raw[:length])


def test_policy_bounds_its_file() -> None:
    padding = MAX_POLICY_BYTES - len(text())
    assert parse_policy(text() + b"\n" * padding) == POLICY
    assert "is more than" in fault(text() + b"\n" * (padding + 1))


def test_policy_hash_of_one_meaning_is_one_hash() -> None:
    reordered = "\n".join(reversed(LINES.values())).replace('"0.003"', '"0.0030"')
    tables = "".join("\n# a comment\n[[symbols]]" + part for part in reversed(SYMBOLS_TOML.split("[[symbols]]")[1:]))
    assert policy_hash(parse_policy((reordered + tables).encode())) == policy_hash(POLICY)


def test_policy_hash_is_the_one_that_rows_carry() -> None:
    # Fixed: a change of the canonical form would orphan every hash in every journal.
    assert policy_hash(POLICY) == "002657f38b0fea0c048b6349c0e270f66dd5891322c0c9f6058ecf4f0ffe9404"


@pytest.mark.parametrize("key", sorted(LINES.keys() - {"protective_stops"}))
def test_policy_hash_covers_every_number(key: str) -> None:
    changes: dict[str, Any] = {key: getattr(POLICY, key) + 1}
    assert policy_hash(replace(POLICY, **changes)) != policy_hash(POLICY)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": one_symbol()},
        {"symbols": SYMBOLS_TOML.replace("ETH", "XRP")},
        {"symbols": SYMBOLS_TOML.replace('"2000"', '"1999"', 1)},
        {"symbols": SYMBOLS_TOML.replace('"2"', '"3"', 1)},
        {"protective_stops": '"reduce_only"'},
        {"tables": DISASTER},
        {"tables": DISASTER.replace("0.1", "0.2")},
    ],
)
def test_policy_hash_of_another_meaning_differs(changes: dict[str, str]) -> None:
    hashes = {policy_hash(parse_policy(text(**changes))), policy_hash(POLICY), policy_hash(parse_policy(text()))}
    assert len(hashes) == 2


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_policy_of_any_bytes_is_refused_cleanly(raw: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(raw)


def test_policy_that_is_not_complete_is_not_searched_for_contradictions() -> None:
    assert fault(text(exit_collar=None)).count(";") == 0


def test_policy_with_a_list_for_a_category_is_refused() -> None:
    assert "category spot or linear" in fault(text(symbols=one_symbol(category='["spot"]')))


def test_fault_of_the_policy_shows_what_was_found() -> None:
    assert "found '-1'" in fault(text(collar='"-1"'))
    assert "found nothing (the key is missing)" in fault(text(collar=None))


@pytest.mark.parametrize(("equity", "base"), [("-5", "0"), ("0", "0"), ("3999", "3999"), ("4001", "4000")])
def test_multiples_apply_to_the_smaller_of_equity_and_capital_and_to_no_debt(equity: str, base: str) -> None:
    assert POLICY.base_usdt(Decimal(equity)) == Decimal(base)


def test_policy_before_any_is_read_permits_nothing() -> None:
    texts = {name: str(getattr(NOTHING_PERMITTED, name)) for name in Policy.__slots__}
    ones = {"messages_per_s_terminate", "repeated_execution_limit", "leverage"}
    numbers = NUMBERS.keys() | bounds.COUNTS.keys()
    assert {name: texts[name] for name in numbers} == {name: "1" if name in ones else "0" for name in numbers}
    assert not NOTHING_PERMITTED.symbols
