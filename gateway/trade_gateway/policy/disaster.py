"""Plans the gateway's own disaster stops: what stands and what should, in; what to place and withdraw, out. Pure.

Rules
- Every linear position has one stop of the whole position at `fraction` beyond its entry price. None is placed for a
  symbol without a position, and what stands there is withdrawn.
- A stop that no longer fits, by more than SIZE_TOLERANCE of the position or a part of the fraction in price, is
  replaced: the new one first, and only once it stands the old one goes. In between two stand, and both only reduce.
- Nothing is withdrawn while the account view is not trusted: a position that seems gone may be there.
- A stop whose outcome at the exchange is unknown is waited for; it may be the one that is wanted.
- What cannot be protected is named with its reason, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.stops import disaster_stop
from trade_gateway.wire.intents import StopIntent

SIZE_TOLERANCE = Decimal("0.02")
"""Part of a position by which its stop may be too large or too small: an entry that fills in crumbs moves no stop."""
PRICE_TOLERANCE = Decimal("0.05")
"""The same for the trigger, as a part of its distance from the entry."""
STOPS_A_SYMBOL = 2
"""The one that protects and the one that replaces it; the bot's own stops leave room for exactly these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionHeld:
    """One linear position, signed. The entry price is None when the exchange has not told it."""

    symbol: str
    size: Decimal
    entry_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopHeld:
    """One disaster stop that counts as open. `is_standing` says that the exchange has acknowledged it."""

    tag: str
    stop: StopIntent
    is_standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Send this stop."""

    stop: StopIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Cancel the stop of this tag."""

    tag: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotPlace:
    """A position without the stop that it should have, and why none can be made."""

    symbol: str
    reason: str


Action = Place | Withdraw | CannotPlace


def plan(
    positions: Iterable[PositionHeld],
    stops: Iterable[StopHeld],
    *,
    fraction: Decimal | None,
    tick_sizes: Mapping[str, Decimal],
    is_trusted: bool,
) -> list[Action]:
    """Compare what stands with what should. `stops` come oldest first; without a fraction none should."""
    by_symbol: dict[str, list[StopHeld]] = {}
    for held in stops:
        by_symbol.setdefault(held.stop.symbol, []).append(held)
    actions: list[Action] = []
    for position in positions:
        if fraction is not None and position.size != 0:
            standing = by_symbol.pop(position.symbol, [])
            actions += _protect(
                position,
                standing,
                fraction=fraction,
                tick_size=tick_sizes.get(position.symbol),
                is_trusted=is_trusted,
            )
    reason = "its position is gone" if fraction is not None else "the policy wants no disaster stop"
    for orphans in by_symbol.values():
        actions += _withdraw(orphans, reason=reason, is_trusted=is_trusted)
    return actions


def fits(stop: StopIntent, wanted: StopIntent, *, entry_price: Decimal, fraction: Decimal) -> bool:
    """Tell whether a stop is close enough to the one that is wanted."""
    if stop.side is not wanted.side:
        return False
    is_size_close = abs(stop.quantity - wanted.quantity) <= EXACT.multiply(wanted.quantity, SIZE_TOLERANCE)
    distance = EXACT.multiply(EXACT.multiply(entry_price, fraction), PRICE_TOLERANCE)
    return is_size_close and abs(stop.trigger_price - wanted.trigger_price) <= distance


def _protect(
    position: PositionHeld,
    stops: list[StopHeld],
    *,
    fraction: Decimal,
    tick_size: Decimal | None,
    is_trusted: bool,
) -> Iterator[Action]:
    if tick_size is None:
        yield CannotPlace(symbol=position.symbol, reason="no instrument facts: it is no linear symbol of the policy")
        return
    entry_price = position.entry_price
    if entry_price is None or entry_price <= ZERO:
        yield CannotPlace(symbol=position.symbol, reason="the exchange names no entry price")
        return
    wanted = disaster_stop(
        symbol=position.symbol,
        position=position.size,
        entry_price=entry_price,
        fraction=fraction,
        tick_size=tick_size,
    )
    good = [
        held
        for held in stops
        if held.is_standing and fits(held.stop, wanted, entry_price=entry_price, fraction=fraction)
    ]
    if good:
        others = [held for held in stops if held is not good[-1]]
        yield from _withdraw(others, reason="a newer one fits the position", is_trusted=is_trusted)
    elif not all(held.is_standing for held in stops):
        return  # one of them may be the one that is wanted
    elif len(stops) >= STOPS_A_SYMBOL:
        yield from _withdraw(stops[:-1], reason="neither fits the position", is_trusted=is_trusted)
        yield CannotPlace(symbol=position.symbol, reason="two stops stand already, and neither fits the position")
    else:
        yield Place(stop=wanted)


def _withdraw(stops: Iterable[StopHeld], *, reason: str, is_trusted: bool) -> Iterator[Withdraw]:
    for held in stops:
        if held.is_standing and is_trusted:
            yield Withdraw(tag=held.tag, reason=reason)
