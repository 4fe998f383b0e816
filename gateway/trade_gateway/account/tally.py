"""Adds up in one pass what the gateway's own orders may still do. Pure.

It is asked before every decision, with every order that is open or whose fills are in no reading yet, so that it
looks at each of them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, getcontext, setcontext
from typing import NamedTuple

from trade_gateway.ledger import Phase, TrackedOrder
from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.facts import OrderKey
from trade_gateway.policy.model import SymbolKey

_FINISHED, _UNRESOLVED = Phase.FINISHED, Phase.UNRESOLVED  # looked up for every order otherwise


class Tally(NamedTuple):
    """What orders may still do, worst case.

    `buys` and `sells` are base coin that may still change hands, or did and is in no reading yet. `pending_usdt` may
    still be added to the turnover. `working` is the number of open orders; stops are counted apart, in `stops` those
    that the bot placed. `unresolved` are the symbols on which an unknown outcome blocks new risk. `unresolved_keys` are
    those of orders whose effect is not known, also while they are being sent; stops have none. They stand in a tuple:
    hashing the numbers of all of them costs each decision more than the rest, and only an exit looks for one.
    """

    buys: dict[SymbolKey, Decimal]
    sells: dict[SymbolKey, Decimal]
    pending_usdt: Decimal
    working: int
    stops: dict[str, int]
    unresolved: frozenset[SymbolKey]
    unresolved_keys: tuple[OrderKey, ...]


def tally(orders: Iterable[TrackedOrder]) -> Tally:
    """Add up orders, open and finished ones."""
    buys: dict[SymbolKey, Decimal] = {}
    sells: dict[SymbolKey, Decimal] = {}
    pending = ZERO
    working = 0
    stops: dict[str, int] = {}
    unresolved: set[SymbolKey] = set()
    keys: list[OrderKey] = []
    outer = getcontext()
    setcontext(EXACT)  # operators within it cost a fraction of its methods
    try:
        for order in orders:
            claim, pending_of_order = order.weight()
            symbol = order.symbol
            sums = buys if order.is_buy else sells
            sums[symbol] = sums[symbol] + claim if symbol in sums else claim
            pending += pending_of_order
            if order.phase is _FINISHED:
                continue
            if order.phase is _UNRESOLVED:
                if order.is_outcome_unknown or not order.is_in_flow:  # as `is_unresolved` asks, without a call
                    unresolved.add(symbol)
                if not order.is_stop:
                    keys.append(order.key)
            if not order.is_stop:
                working += 1
            elif not order.is_gateways:
                stops[symbol[1]] = stops.get(symbol[1], 0) + 1
    finally:
        setcontext(outer)
    return Tally(buys, sells, pending, working, stops, frozenset(unresolved), tuple(keys))
