"""Adds up all exposure from nothing, with an order in question among the working ones: the reference of `exposure`.

It knows nothing of sums that were made before an order and changed by it; whatever history led to an account, both must
say the same.
"""

from __future__ import annotations

from collections.abc import Set
from decimal import Decimal, getcontext, setcontext
from typing import NamedTuple

from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.facts import QUOTE_COIN, AccountFacts, MarketFacts, base_coin_of
from trade_gateway.policy.model import SymbolKey
from trade_gateway.wire.intents import Category, Side

_SPOT, _LINEAR, _BUY = Category.SPOT, Category.LINEAR, Side.BUY  # looked up dozens of times a decision


class Candidate(NamedTuple):
    """The order in question, as something that may fill whole."""

    key: SymbolKey
    side: Side
    quantity: Decimal
    price: Decimal


class Exposures(NamedTuple):
    """Worst case exposure. `unpriced` names the coins that have one which cannot be valued."""

    by_symbol: dict[SymbolKey, Decimal]
    gross: Decimal
    unpriced: tuple[str, ...]


def exposures(
    account: AccountFacts, market: MarketFacts, *, known: Set[SymbolKey], candidate: Candidate | None = None
) -> Exposures:
    """Add up all exposure, with a candidate order when there is one. `known` are the policy's symbols."""
    outer = getcontext()
    setcontext(
        EXACT
    )  # operators within it cost a fraction of its methods, and a context of its own as much as a symbol
    try:
        return _added_up(_worst_quantities(account, candidate), account, market, known, candidate)
    finally:
        setcontext(outer)


def _added_up(
    worst: dict[SymbolKey, Decimal],
    account: AccountFacts,
    market: MarketFacts,
    known: Set[SymbolKey],
    candidate: Candidate | None,
) -> Exposures:
    by_symbol: dict[SymbolKey, Decimal] = {}
    unpriced: list[str] = []
    highest = market.highest
    for key, quantity in worst.items():
        if not quantity:
            continue
        price = highest.get(key[1])
        if price is not None:
            by_symbol[key] = quantity * price
        elif not _may_leave_out(key, account, known):
            unpriced.append(base_coin_of(key[1]))
    if candidate is not None and candidate.key in by_symbol:
        by_symbol[candidate.key] = max(by_symbol[candidate.key], worst[candidate.key] * candidate.price)
    return Exposures(by_symbol, sum(by_symbol.values(), ZERO), tuple(unpriced))


def _worst_quantities(account: AccountFacts, candidate: Candidate | None) -> dict[SymbolKey, Decimal]:
    """Return base quantities, never below zero but for nonsense; computed in the caller's decimal context."""
    buys, sells = account.working_buys, account.working_sells
    if candidate is not None:
        is_buy = candidate.side is _BUY
        side = buys if is_buy else sells
        changed = {**side, candidate.key: side.get(candidate.key, ZERO) + candidate.quantity}
        buys, sells = (changed, sells) if is_buy else (buys, changed)
    worst: dict[SymbolKey, Decimal] = {}
    for coin, held in account.held_base.items():
        if coin != QUOTE_COIN:
            worst[(_SPOT, coin + QUOTE_COIN)] = held
    for symbol, position in account.positions.items():
        key = (_LINEAR, symbol)
        bought = position + buys.get(key, ZERO)
        sold = sells.get(key, ZERO) - position
        worst[key] = bought if bought >= sold else sold  # -sold never lies above bought, so no other sign matters
    for key, quantity in buys.items():
        if key[0] is _SPOT:
            worst[key] = worst.get(key, ZERO) + quantity
        elif key[1] not in account.positions:
            worst[key] = max(quantity, sells.get(key, ZERO))
    for key, quantity in sells.items():
        if key[0] is _LINEAR and key not in worst:
            worst[key] = quantity
    return worst


def _may_leave_out(key: SymbolKey, account: AccountFacts, known: Set[SymbolKey]) -> bool:
    return key[0] is _SPOT and key not in known and not account.working_buys.get(key, ZERO)
