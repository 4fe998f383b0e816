"""The policy file: every limit is required, typed and bounded, and one hash names the whole.

Guarantees: a Policy exists only when each key was present, of its type and inside the bounds below; there is no
default, no way to switch a limit off, and no key that is silently ignored. Two files that say the same have one hash.

The bounds on the limits are constants: a typing mistake by a factor of ten should meet one of them.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from trade_core.canonical import canonical_json
from trade_core.errors import ConfigurationError, InvalidNumber
from trade_core.money import format_decimal, parse_decimal
from trade_gateway.wire.fields import SYMBOL
from trade_gateway.wire.intents import Category

QUOTE_COIN = "USDT"
"""One quote coin a gateway: the limits are amounts of it."""
MAX_POLICY_BYTES = 64 * 1024
MAX_SYMBOLS = 50
"""Each symbol is one more instrument, position and reference to watch; a swing bot trades a handful."""
LOWEST_ORDER_NOTIONAL_USDT = Decimal(1)
"""Below this an order is dust that only burns the exchange's request limits."""
HIGHEST_ORDER_NOTIONAL_USDT = Decimal(100_000)
"""An order above this belongs to no account that this product is for."""
HIGHEST_OPEN_ORDERS = 100
"""Far below the 500 up to which the exchange cancels everything at once."""
HIGHEST_LEVERAGE = 10
_SHOWN_CHARACTERS = 60
_HASH_VERSION = 1
_SYMBOL_KEYS = frozenset({"category", "symbol"})


class PolicyError(ConfigurationError):
    """A policy that the gateway refuses to trade with; the message names each key and the value found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of one gateway. Money is in USDT; leverage is the one pinned for linear symbols."""

    symbols: frozenset[tuple[Category, str]]
    max_order_notional_usdt: Decimal
    min_order_notional_usdt: Decimal
    max_open_orders: int
    leverage: int

    def permits(self, category: Category, symbol: str) -> bool:
        """Tell whether a symbol may be traded in a category."""
        return (category, symbol) in self.symbols


def parse_policy(raw: bytes) -> Policy:
    """Parse a policy file's bytes. Raises PolicyError that names every fault at once."""
    content = _read_toml(raw)
    faults: list[str] = []
    known = frozenset({"symbols", *_MONEY_BOUNDS, *_COUNT_BOUNDS})
    faults += [f"{key}: unknown key (value {_shown(content[key])})" for key in sorted(content.keys() - known)]
    symbols = _symbols(content, faults)
    money = {key: _money(content, key, faults) for key in _MONEY_BOUNDS}
    counts = {key: _count(content, key, faults) for key in _COUNT_BOUNDS}
    lowest, highest = money["min_order_notional_usdt"], money["max_order_notional_usdt"]
    if not faults and lowest > highest:
        faults.append(f"min_order_notional_usdt: {lowest} is above max_order_notional_usdt, {highest}")
    if faults:
        raise PolicyError("policy: " + "; ".join(faults))
    return Policy(
        symbols=symbols,
        max_order_notional_usdt=highest,
        min_order_notional_usdt=lowest,
        max_open_orders=counts["max_open_orders"],
        leverage=counts["leverage"],
    )


def policy_hash(policy: Policy) -> str:
    """Return the SHA-256 (hex) of the policy's canonical form (RFC 8785, symbols sorted, money as plain text)."""
    content = {
        "version": _HASH_VERSION,
        "symbols": sorted([category.value, symbol] for category, symbol in policy.symbols),
        "max_order_notional_usdt": format_decimal(policy.max_order_notional_usdt),
        "min_order_notional_usdt": format_decimal(policy.min_order_notional_usdt),
        "max_open_orders": policy.max_open_orders,
        "leverage": policy.leverage,
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


_MONEY_BOUNDS: Mapping[str, tuple[Decimal, Decimal]] = {
    "max_order_notional_usdt": (LOWEST_ORDER_NOTIONAL_USDT, HIGHEST_ORDER_NOTIONAL_USDT),
    "min_order_notional_usdt": (LOWEST_ORDER_NOTIONAL_USDT, HIGHEST_ORDER_NOTIONAL_USDT),
}
_COUNT_BOUNDS: Mapping[str, tuple[int, int]] = {
    "max_open_orders": (1, HIGHEST_OPEN_ORDERS),
    "leverage": (1, HIGHEST_LEVERAGE),
}


def _read_toml(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_POLICY_BYTES:
        raise PolicyError(f"policy: {len(raw)} bytes is more than {MAX_POLICY_BYTES}")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"policy: not TOML: {_shown(error)}") from error


def _symbols(content: Mapping[str, object], faults: list[str]) -> frozenset[tuple[Category, str]]:
    tables = content.get("symbols")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_SYMBOLS:
        faults.append(f"symbols: must be 1 to {MAX_SYMBOLS} tables, found {_shown(tables)}")
        return frozenset()
    permitted: set[tuple[Category, str]] = set()
    for index, table in enumerate(tables):
        symbol = _symbol(table)
        if symbol is None:
            faults.append(
                f"symbols[{index}]: must have exactly category (spot or linear) and symbol (of {QUOTE_COIN}), "
                f"found {_shown(table)}"
            )
        elif symbol in permitted:
            faults.append(f"symbols[{index}]: stands there twice, found {_shown(table)}")
        else:
            permitted.add(symbol)
    return frozenset(permitted)


def _symbol(table: object) -> tuple[Category, str] | None:
    if not isinstance(table, dict) or table.keys() != _SYMBOL_KEYS:
        return None
    category, symbol = table["category"], table["symbol"]
    known = {member.value: member for member in Category}
    if not isinstance(category, str) or category not in known or not isinstance(symbol, str):
        return None
    is_tradable = SYMBOL.fullmatch(symbol) is not None and symbol.endswith(QUOTE_COIN) and symbol != QUOTE_COIN
    return (known[category], symbol) if is_tradable else None


def _money(content: Mapping[str, object], key: str, faults: list[str]) -> Decimal:
    lowest, highest = _MONEY_BOUNDS[key]
    value = content.get(key)
    try:
        amount = parse_decimal(value) if isinstance(value, str) else None
    except InvalidNumber:
        amount = None
    if amount is None or not lowest <= amount <= highest:
        faults.append(
            f'{key}: must be an amount in quotes from "{lowest}" to "{highest}", found {_found(content, key)}'
        )
        return lowest
    return amount


def _count(content: Mapping[str, object], key: str, faults: list[str]) -> int:
    lowest, highest = _COUNT_BOUNDS[key]
    value = content.get(key)
    if type(value) is not int or not lowest <= value <= highest:
        faults.append(f"{key}: must be a whole number from {lowest} to {highest}, found {_found(content, key)}")
        return lowest
    return value


def _found(content: Mapping[str, object], key: str) -> str:
    return _shown(content[key]) if key in content else "nothing (the key is missing)"


def _shown(value: object) -> str:
    return ascii(value)[:_SHOWN_CHARACTERS]
