"""Adds up worst case exposure in USDT, per symbol and gross. Pure.

Rules
- Spot: (all of the base coin that is held + working buys) x price. Working sells may never fill, so they take nothing
  off.
- Linear: the greater of |position + working buys| and |position - working sells|, x price.
- Unresolved orders count as working. The order in question counts as if it worked already.
- Symbols never net: a short in one place does not make room for a long in another.
- The price is the greatest of reference (or the last good one) and mark; for the order in question its own price too.
- A held coin that no symbol of the policy trades counts when it has a price. Without one it is left out: anybody can
  send dust of a worthless coin, and it must not stop all trading. A position or a working order is never left out:
  without a price it is unpriced, and unpriced denies.
- Protective stops count nowhere.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from decimal import Decimal

from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.facts import QUOTE_COIN, AccountFacts, MarketFacts, base_coin_of
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.references import Usable
from trade_gateway.wire.intents import Category, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The order in question, as something that may fill whole."""

    key: SymbolKey
    side: Side
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposures:
    """Worst case exposure. `unpriced` names the coins that have one which cannot be valued."""

    by_symbol: dict[SymbolKey, Decimal]
    gross: Decimal
    unpriced: tuple[str, ...]


def exposures(
    account: AccountFacts, market: MarketFacts, *, known: Set[SymbolKey], candidate: Candidate | None = None
) -> Exposures:
    """Add up all exposure, with a candidate order when there is one. `known` are the policy's symbols."""
    by_symbol: dict[SymbolKey, Decimal] = {}
    unpriced: list[str] = []
    gross = ZERO
    for key, quantity in _worst_quantities(account, candidate).items():
        if quantity == 0:
            continue
        coin = base_coin_of(key[1])
        price = coin_price(market, coin)
        if price is None:
            if not _may_leave_out(key, account, known):
                unpriced.append(coin)
            continue
        if candidate is not None and key == candidate.key and candidate.price > price:
            price = candidate.price
        value = EXACT.multiply(quantity, price)
        by_symbol[key] = value
        gross = EXACT.add(gross, value)
    return Exposures(by_symbol=by_symbol, gross=gross, unpriced=tuple(unpriced))


def coin_price(market: MarketFacts, coin: str) -> Decimal | None:
    """Return the price that a coin's exposure is valued at: the greatest that is known, or None."""
    seen = market.coins.get(coin)
    if seen is None:
        return None
    reference = seen.reference.price if isinstance(seen.reference, Usable) else seen.last_good
    if reference is None or seen.mark is None:
        return seen.mark if reference is None else reference
    return max(reference, seen.mark)


def _worst_quantities(account: AccountFacts, candidate: Candidate | None) -> dict[SymbolKey, Decimal]:
    buys, sells = account.working_buys, account.working_sells
    if candidate is not None:
        side = buys if candidate.side is Side.BUY else sells
        changed = {**side, candidate.key: EXACT.add(side.get(candidate.key, ZERO), candidate.quantity)}
        buys, sells = (changed, sells) if candidate.side is Side.BUY else (buys, changed)
    worst: dict[SymbolKey, Decimal] = {}
    for coin, held in account.held_base.items():
        if coin != QUOTE_COIN:
            worst[(Category.SPOT, coin + QUOTE_COIN)] = held
    for key, quantity in buys.items():
        if key[0] is Category.SPOT:
            worst[key] = EXACT.add(worst.get(key, ZERO), quantity)
    linear = [(Category.LINEAR, symbol) for symbol in account.positions]
    for key in {*linear, *(k for k in buys if k[0] is Category.LINEAR), *(k for k in sells if k[0] is Category.LINEAR)}:
        position = account.positions.get(key[1], ZERO)
        longest = EXACT.add(position, buys.get(key, ZERO)).copy_abs()
        shortest = EXACT.subtract(position, sells.get(key, ZERO)).copy_abs()
        worst[key] = max(longest, shortest)
    return worst


def _may_leave_out(key: SymbolKey, account: AccountFacts, known: Set[SymbolKey]) -> bool:
    return key[0] is Category.SPOT and key not in known and not account.working_buys.get(key, ZERO)
