"""The policy file: every limit is required, typed and bounded, and one hash names the whole.

Guarantees
- A Policy exists only when each key was present, of its type, inside the bounds of `bounds`, and in agreement with the
  others. There is no default, no way to switch a limit off, and no key that is silently ignored.
- All faults of a file are named at once, each with the value found.
- Two files that say the same have one hash.

The one optional table, [disaster_stop], is not a limit: it makes the gateway itself place a stop for each linear
position. Without it nothing that a bot sends is permitted that would be denied with it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, cast

from trade_core.canonical import canonical_json
from trade_core.errors import ConfigurationError, InvalidNumber
from trade_core.money import format_decimal, parse_decimal
from trade_gateway.policy import bounds
from trade_gateway.policy.bounds import MAX_POLICY_BYTES, MAX_SYMBOLS
from trade_gateway.policy.facts import QUOTE_COIN
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolKey, SymbolLimits
from trade_gateway.wire.fields import SYMBOL
from trade_gateway.wire.intents import Category

__all__ = [
    "MAX_POLICY_BYTES",
    "MAX_SYMBOLS",
    "QUOTE_COIN",
    "Counts",
    "Policy",
    "PolicyError",
    "check_policy",
    "parse_policy",
    "policy_content",
    "policy_hash",
]

Counts = Mapping[str, tuple[int, int]]
_SHOWN_CHARACTERS = 60
_NUMBERS: Mapping[str, tuple[Decimal, Decimal]] = {**bounds.MONEY, **bounds.MULTIPLES, **bounds.FRACTIONS}
_SYMBOL_KEYS = frozenset({"category", "symbol", *bounds.SYMBOL_AMOUNTS})
_DISASTER_STOP_KEYS = frozenset({"fraction"})
FORM_VERSION = 2
"""Of the canonical form that is hashed."""
KEYS = frozenset({"symbols", "protective_stops", "disaster_stop", *_NUMBERS, *bounds.COUNTS})
"""Every key that a policy file may have."""


class PolicyError(ConfigurationError):
    """A policy that the gateway refuses to trade with; the message names each key and the value found."""


def parse_policy(raw: bytes, *, counts: Counts = bounds.COUNTS) -> Policy:
    """Parse a policy file's bytes. Raises PolicyError that names every fault at once.

    `counts` are the bounds of counts and rates: wider ones are for load tests, see `bounds.counts_at`.
    """
    return check_policy(_read_toml(raw), counts=counts)


def check_policy(content: Mapping[str, object], *, counts: Counts = bounds.COUNTS) -> Policy:
    """Make a policy of the keys and values of a policy file. Raises PolicyError that names every fault at once."""
    faults = [f"{key}: unknown key (value {_shown(content[key])})" for key in sorted(content.keys() - KEYS)]
    symbols = _symbols(content, faults)
    values: dict[str, Any] = {key: _number(content, key, limits, faults) for key, limits in _NUMBERS.items()}
    values |= {key: _count(content, key, limits, faults) for key, limits in counts.items()}
    policy = Policy(
        symbols=MappingProxyType(symbols),
        protective_stops=_protective_stops(content, faults),
        disaster_stop_fraction=_disaster_stop(content, faults),
        **values,
    )
    if not faults:
        faults += _contradictions(policy)
    if faults:
        raise PolicyError("policy: " + "; ".join(faults))
    return policy


def policy_hash(policy: Policy) -> str:
    """Return the SHA-256 (hex) of the policy's canonical form."""
    return hashlib.sha256(canonical_json(policy_content(policy))).hexdigest()


def policy_content(policy: Policy) -> dict[str, Any]:
    """Return the canonical form's content: symbols sorted, numbers as plain text, a version of the form."""
    return {
        "version": FORM_VERSION,
        "symbols": sorted(
            [
                category.value,
                symbol,
                *(format_decimal(getattr(limits, name)) for name in sorted(bounds.SYMBOL_AMOUNTS)),
            ]
            for (category, symbol), limits in policy.symbols.items()
        ),
        "protective_stops": policy.protective_stops.value,
        "disaster_stop_fraction": (
            None if policy.disaster_stop_fraction is None else format_decimal(policy.disaster_stop_fraction)
        ),
        **{key: format_decimal(getattr(policy, key)) for key in _NUMBERS},
        **{key: getattr(policy, key) for key in bounds.COUNTS},
    }


def _contradictions(policy: Policy) -> Iterator[str]:
    """Yield each pair of limits of which one could never be reached, or would undo the other."""
    gross = policy.max_gross_exposure * policy.allocated_capital_usdt
    turnover = policy.turnover_budget_24h * policy.allocated_capital_usdt
    lowest, highest = policy.min_order_notional_usdt, policy.max_order_notional_usdt
    if lowest > highest:
        yield f"min_order_notional_usdt: {lowest} is above max_order_notional_usdt, {highest}"
    if highest > turnover:
        yield f"max_order_notional_usdt: {highest} is above the whole turnover budget, {format_decimal(turnover)}"
    for (category, symbol), limits in policy.symbols.items():
        name = f"symbols {category.value} {symbol}: max_notional_usdt: {limits.max_notional_usdt}"
        if limits.max_notional_usdt < highest:
            yield f"{name} is below max_order_notional_usdt, {highest}"
        if limits.max_notional_usdt > gross:
            yield f"{name} is above the gross exposure limit, {format_decimal(gross)}"
    if policy.max_gross_exposure > policy.leverage:
        yield f"max_gross_exposure: {policy.max_gross_exposure} cannot be reached with leverage {policy.leverage}"
    if policy.exit_collar < policy.collar:
        yield f"exit_collar: {policy.exit_collar} is below collar, {policy.collar}: exits would be harder than entries"
    if policy.fat_finger <= policy.exit_collar:
        yield f"fat_finger: {policy.fat_finger} is not above exit_collar, {policy.exit_collar}"
    if policy.stop_slippage > policy.stress_gap:
        yield f"stop_slippage: {policy.stop_slippage} is above stress_gap, {policy.stress_gap}"
    if policy.messages_per_s_terminate <= policy.messages_per_s_deny:
        yield (
            f"messages_per_s_terminate: {policy.messages_per_s_terminate} is not above messages_per_s_deny, "
            f"{policy.messages_per_s_deny}"
        )
    if policy.duplicate_window_s > policy.order_time_to_live_s:
        yield (
            f"duplicate_window_s: {policy.duplicate_window_s} is above order_time_to_live_s, "
            f"{policy.order_time_to_live_s}: the order would be gone before its window"
        )
    yield from _disaster_contradictions(policy)


def _disaster_contradictions(policy: Policy) -> Iterator[str]:
    fraction = policy.disaster_stop_fraction
    if fraction is None:
        return
    if not any(category is Category.LINEAR for category, _ in policy.symbols):
        yield "disaster_stop: there is no linear symbol that it could protect"
    if fraction * policy.leverage >= 1:
        yield f"disaster_stop: fraction {fraction} is beyond liquidation with leverage {policy.leverage}"


def _read_toml(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_POLICY_BYTES:
        raise PolicyError(f"policy: {len(raw)} bytes is more than {MAX_POLICY_BYTES}")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"policy: not TOML: {_shown(error)}") from error


def _symbols(content: Mapping[str, object], faults: list[str]) -> dict[SymbolKey, SymbolLimits]:
    tables = content.get("symbols")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_SYMBOLS:
        faults.append(f"symbols: must be 1 to {MAX_SYMBOLS} tables, found {_shown(tables)}")
        return {}
    permitted: dict[SymbolKey, SymbolLimits] = {}
    for index, table in enumerate(tables):
        name = f"symbols[{index}]"
        symbol = _symbol(table)
        if symbol is None:
            faults.append(
                f"{name}: must have exactly {', '.join(sorted(_SYMBOL_KEYS))}, with category spot or linear and a "
                f"symbol of {QUOTE_COIN}, found {_shown(table)}"
            )
        elif symbol in permitted:
            faults.append(f"{name}: stands there twice, found {_shown(table)}")
        else:
            amounts = {
                key: _number(cast("Mapping[str, object]", table), key, limits, faults, prefix=f"{name}.")
                for key, limits in bounds.SYMBOL_AMOUNTS.items()
            }
            permitted[symbol] = SymbolLimits(**amounts)
    return permitted


def _symbol(table: object) -> SymbolKey | None:
    if not isinstance(table, dict) or table.keys() != _SYMBOL_KEYS:
        return None
    category, symbol = table["category"], table["symbol"]
    known = {member.value: member for member in Category}
    if not isinstance(category, str) or category not in known or not isinstance(symbol, str):
        return None
    is_tradable = SYMBOL.fullmatch(symbol) is not None and symbol.endswith(QUOTE_COIN) and symbol != QUOTE_COIN
    return (known[category], symbol) if is_tradable else None


def _protective_stops(content: Mapping[str, object], faults: list[str]) -> ProtectiveStops:
    value = content.get("protective_stops")
    for choice in ProtectiveStops:
        if isinstance(value, str) and value == choice.value:
            return choice
    words = " or ".join(f'"{choice.value}"' for choice in ProtectiveStops)
    faults.append(f"protective_stops: must be {words}, found {_found(content, 'protective_stops')}")
    return ProtectiveStops.DENY


def _disaster_stop(content: Mapping[str, object], faults: list[str]) -> Decimal | None:
    if "disaster_stop" not in content:
        return None
    table = content["disaster_stop"]
    if not isinstance(table, dict) or table.keys() != _DISASTER_STOP_KEYS:
        faults.append(f"disaster_stop: must be a table with exactly fraction, found {_shown(table)}")
        return None
    return _number(table, "fraction", bounds.DISASTER_STOP, faults, prefix="disaster_stop.")


def _number(
    content: Mapping[str, object],
    key: str,
    limits: tuple[Decimal, Decimal],
    faults: list[str],
    *,
    prefix: str = "",
) -> Decimal:
    lowest, highest = limits
    value = content.get(key)
    try:
        number = parse_decimal(value) if isinstance(value, str) else None
    except InvalidNumber:
        number = None
    if number is None or not lowest <= number <= highest:
        faults.append(
            f'{prefix}{key}: must be a number in quotes from "{format_decimal(lowest)}" to '
            f'"{format_decimal(highest)}", found {_found(content, key)}'
        )
        return lowest
    return number


def _count(content: Mapping[str, object], key: str, limits: tuple[int, int], faults: list[str]) -> int:
    lowest, highest = limits
    value = content.get(key)
    if type(value) is not int or not lowest <= value <= highest:
        faults.append(f"{key}: must be a whole number from {lowest} to {highest}, found {_found(content, key)}")
        return lowest
    return value


def _found(content: Mapping[str, object], key: str) -> str:
    return _shown(content[key]) if key in content else "nothing (the key is missing)"


def _shown(value: object) -> str:
    return ascii(value)[:_SHOWN_CHARACTERS]
