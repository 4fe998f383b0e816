"""Compares two policies key by key: what a change tightens may take effect at once, what it loosens takes a touch.

A change of a key is *tightening* only when every order that passes with the new value would have passed with the old
one, or when it makes the start check of P8 stricter. Everything else is *loosening*, the disaster stop in either
direction too: it makes the gateway send orders that take.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from trade_gateway.policy import bounds
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolLimits


class Tighter(Enum):
    """Which direction of a number is the tighter one."""

    LESS = auto()
    MORE = auto()


DIRECTIONS: dict[str, Tighter] = {
    "allocated_capital_usdt": Tighter.LESS,
    "max_order_notional_usdt": Tighter.LESS,
    "min_order_notional_usdt": Tighter.MORE,
    "max_gross_exposure": Tighter.LESS,
    "turnover_budget_24h": Tighter.LESS,
    "collar": Tighter.LESS,
    "fat_finger": Tighter.LESS,
    "exit_collar": Tighter.LESS,
    "reference_max_age_s": Tighter.LESS,
    "reference_max_divergence": Tighter.LESS,
    "messages_per_s_deny": Tighter.LESS,
    "messages_per_s_terminate": Tighter.LESS,
    "repeated_execution_limit": Tighter.LESS,
    "repeated_execution_window_s": Tighter.MORE,
    "duplicate_window_s": Tighter.MORE,
    "max_open_orders": Tighter.LESS,
    "leverage": Tighter.LESS,
    "order_time_to_live_s": Tighter.LESS,
    "stop_slippage": Tighter.LESS,
    "stress_gap": Tighter.MORE,
    "funding_cap": Tighter.MORE,
    "highest_fee": Tighter.MORE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """The keys that a change tightens and those that it loosens; of a symbol `symbols.<category>.<symbol>...`."""

    tightened: tuple[str, ...]
    loosened: tuple[str, ...]


def compare(old: Policy, new: Policy) -> PolicyChange:
    """Compare two policies."""
    verdicts = [*_numbers(old, new), *_symbols(old, new), *_choices(old, new)]
    return PolicyChange(
        tightened=tuple(sorted(key for key, is_tighter in verdicts if is_tighter)),
        loosened=tuple(sorted(key for key, is_tighter in verdicts if not is_tighter)),
    )


def _numbers(old: Policy, new: Policy) -> Iterator[tuple[str, bool]]:
    for key, tighter in DIRECTIONS.items():
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield key, (after < before) is (tighter is Tighter.LESS)


def _symbols(old: Policy, new: Policy) -> Iterator[tuple[str, bool]]:
    for key in old.symbols.keys() | new.symbols.keys():
        name = f"symbols.{key[0].value}.{key[1]}"
        before, after = old.symbols.get(key), new.symbols.get(key)
        if before is None or after is None:
            yield name, after is None
        else:
            yield from _symbol_limits(name, before, after)


def _symbol_limits(name: str, before: SymbolLimits, after: SymbolLimits) -> Iterator[tuple[str, bool]]:
    for key in bounds.SYMBOL_AMOUNTS:
        was, becomes = getattr(before, key), getattr(after, key)
        if was != becomes:
            yield f"{name}.{key}", becomes < was


def _choices(old: Policy, new: Policy) -> Iterator[tuple[str, bool]]:
    if old.protective_stops is not new.protective_stops:
        yield "protective_stops", new.protective_stops is ProtectiveStops.DENY
    if old.disaster_stop_fraction != new.disaster_stop_fraction:
        yield "disaster_stop", False
