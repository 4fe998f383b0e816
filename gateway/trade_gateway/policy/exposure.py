"""Adds up worst case exposure in USDT, per symbol and gross, and says what one more order would make of it. Pure.

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

What an account has at stake before an order depends on no order, so that it is added up with the facts, once, and an
order changes one symbol of it: its old value leaves the sum and its new value enters. Nothing is remembered from one
decision to the next: a ValuedAccount holds the very facts that it was added up from, and both are frozen. Every sum is
exact with up to 72 digits. Beyond those it is rounded up, and the sum that an order makes may then differ from one that
is added up afresh in its last digit, but is never less than the truth.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from decimal import Decimal, getcontext, setcontext

from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.facts import QUOTE_COIN, AccountFacts, MarketFacts, base_coin_of
from trade_gateway.policy.model import SymbolKey
from trade_gateway.wire.intents import Category, OrderIntent, Side

_SPOT, _LINEAR, _BUY = Category.SPOT, Category.LINEAR, Side.BUY  # looked up dozens of times a decision


_NOTHING = (ZERO, ZERO)

Reach = tuple[Decimal, Decimal]
"""How much of a symbol's base coin an account may come to hold at most, long and short, when everything fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuedAccount:
    """An account at the prices of a market, with its worst case exposure in USDT.

    `reaches` has every symbol that is held or worked on. `by_symbol` has what can be valued and is not zero, and
    `gross` is its sum. `unpriced` have an exposure and no price; `unpriced_coins` tells which of them deny.
    """

    account: AccountFacts
    market: MarketFacts
    reaches: dict[SymbolKey, Reach] = field(init=False)
    by_symbol: dict[SymbolKey, Decimal] = field(init=False)
    gross: Decimal = field(init=False)
    unpriced: tuple[SymbolKey, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Add up what no order changes."""
        outer = getcontext()
        setcontext(EXACT)  # operators within it cost a fraction of its methods, and a copy of it as much as a symbol
        try:
            reaches = _reaches(self.account)
            by_symbol, unpriced = _valued(reaches, self.market)
            gross = sum(by_symbol.values(), ZERO)
        finally:
            setcontext(outer)
        object.__setattr__(self, "reaches", reaches)
        object.__setattr__(self, "by_symbol", by_symbol)
        object.__setattr__(self, "gross", gross)
        object.__setattr__(self, "unpriced", unpriced)


def exposure_with(valued: ValuedAccount, key: SymbolKey, intent: OrderIntent) -> tuple[Decimal, Decimal] | None:
    """Return exposure of an adding order's symbol and gross exposure in USDT, with the order as if it worked already.

    The price is the greatest known of the symbol, or the order's own when that is greater; None when none is known.
    Computed in the caller's decimal context, which must be EXACT.
    """
    price = valued.market.highest.get(intent.symbol)
    if price is None:
        return None
    long, short = valued.reaches.get(key, _NOTHING)
    if intent.side is _BUY:
        long += intent.quantity
    else:
        short += intent.quantity
    value = (long if long >= short else short) * (price if price >= intent.price else intent.price)
    return value, valued.gross - valued.by_symbol.get(key, ZERO) + value


def unpriced_coins(valued: ValuedAccount, *, known: Set[SymbolKey]) -> tuple[str, ...]:
    """Return the coins whose exposure cannot be valued and may not be left out. `known` are the policy's symbols."""
    buys = valued.account.working_buys
    return tuple(
        base_coin_of(key[1]) for key in valued.unpriced if key[0] is _LINEAR or key in known or buys.get(key, ZERO)
    )


def _valued(
    reaches: dict[SymbolKey, Reach], market: MarketFacts
) -> tuple[dict[SymbolKey, Decimal], tuple[SymbolKey, ...]]:
    by_symbol: dict[SymbolKey, Decimal] = {}
    unpriced: list[SymbolKey] = []
    highest = market.highest
    for key, (long, short) in reaches.items():
        quantity = long if long >= short else short
        if not quantity:
            continue
        price = highest.get(key[1])
        if price is not None:
            by_symbol[key] = quantity * price
        else:
            unpriced.append(key)
    return by_symbol, tuple(unpriced)


def _reaches(account: AccountFacts) -> dict[SymbolKey, Reach]:
    """Return what may be held, in base coin; computed in the caller's decimal context.

    The greater of both is never below zero but for nonsense. Spot is never short: its sells take nothing off.
    """
    buys, sells = account.working_buys, account.working_sells
    reaches: dict[SymbolKey, Reach] = {
        (_SPOT, coin + QUOTE_COIN): (held, ZERO) for coin, held in account.held_base.items() if coin != QUOTE_COIN
    }
    for symbol, position in account.positions.items():
        key = (_LINEAR, symbol)
        reaches[key] = (position + buys.get(key, ZERO), sells.get(key, ZERO) - position)
    for key, quantity in buys.items():
        if key[0] is _SPOT:
            reaches[key] = (reaches.get(key, _NOTHING)[0] + quantity, ZERO)
        elif key not in reaches:
            reaches[key] = (quantity, sells.get(key, ZERO))
    for key, quantity in sells.items():
        if key[0] is _LINEAR and key not in reaches:
            reaches[key] = (ZERO, quantity)
    return reaches
