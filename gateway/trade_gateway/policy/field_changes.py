"""What a change of policy does to each key, for people: key, old value, new value, and which way it goes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from trade_core.money import format_decimal
from trade_gateway.policy import bounds
from trade_gateway.policy.comparison import compare
from trade_gateway.policy.model import Policy, SymbolKey

ABSENT = "none"
_SEPARATOR_CHARACTERS = 2
_SYMBOL_PREFIX = "symbols."


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One key that differs; values as plain text, `none` where there is none."""

    field: str
    old: str
    new: str
    is_loosened: bool

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{'loosens' if self.is_loosened else 'tightens'} {self.field}: {self.old} -> {self.new}"


def field_changes(old: Policy, new: Policy) -> tuple[FieldChange, ...]:
    """List every key that differs, those that loosen first."""
    change = compare(old, new)
    return tuple(
        FieldChange(field=key, old=_value(old, key), new=_value(new, key), is_loosened=is_loosened)
        for keys, is_loosened in ((change.loosened, True), (change.tightened, False))
        for key in keys
    )


def changes_within(changes: Iterable[FieldChange], *, characters: int) -> list[str]:
    """Say the changes in lines of at most so many characters together; what is left out is counted in one more.

    Each line counts two characters more, for whatever separates it from the next.
    """
    lines = [str(change) for change in changes]
    shown: list[str] = []
    left = characters
    for line in lines:
        left -= len(line) + _SEPARATOR_CHARACTERS
        if left < 0:
            break
        shown.append(line)
    left_out = len(lines) - len(shown)
    return [*shown, f"and {left_out} more"] if left_out else shown


def _value(policy: Policy, key: str) -> str:
    if key.startswith(_SYMBOL_PREFIX):
        return _symbol_value(policy, key.removeprefix(_SYMBOL_PREFIX).split("."))
    value = policy.disaster_stop_fraction if key == "disaster_stop" else getattr(policy, key)
    return _shown(value)


def _symbol_value(policy: Policy, path: list[str]) -> str:
    limits = next((limits for symbol, limits in policy.symbols.items() if _path(symbol) == path[:2]), None)
    if limits is None:
        return ABSENT
    amounts = path[2:] or sorted(bounds.SYMBOL_AMOUNTS)
    return " ".join(_shown(getattr(limits, name)) for name in amounts)


def _path(symbol: SymbolKey) -> list[str]:
    return [symbol[0].value, symbol[1]]


def _shown(value: Decimal | int | Enum | None) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Enum):
        return str(value.value)
    return format_decimal(value) if isinstance(value, Decimal) else str(value)
