"""What a decision needs to know, gathered by the shell before it asks. Every figure is the worst case.

An order counts from before it is sent until its end is known: "working" below always includes unresolved orders.
Protective stops count nowhere: they use up neither exposure, sellable coin, turnover nor the open-order limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from trade_core.records import record
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.references import KeptReference, Reference, Usable
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent

QUOTE_COIN = "USDT"
"""One quote coin a gateway: the limits are amounts of it."""

OrderKey = tuple[Category, str, Side, Decimal, Decimal]
"""What makes two orders duplicates: category, symbol, side, quantity, price."""


def order_key(intent: OrderIntent | StopIntent) -> OrderKey:
    """Return what makes two orders duplicates of one another."""
    return (intent.category, intent.symbol, intent.side, intent.quantity, intent.price)


def base_coin_of(symbol: str) -> str:
    """Return the coin of a symbol that is quoted in USDT."""
    return symbol.removesuffix(QUOTE_COIN)


@record(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """What the gateway knows of the account.

    Positions are signed: above zero is long. `held_base` is all of a coin that the account has, locked or not;
    `sellable_base` is that less what working spot sells still claim. `working_buys` and `working_sells` are remaining
    base quantities; reduce-only linear orders belong to them, since one that fills first makes room for the others
    to turn the position. `turnover_used_usdt` is the adding fills of the window plus the remaining notional of
    working adding orders. `working_keys` are those of orders that are working or unresolved: one that was acknowledged
    works until its end is known, which covers duplicate_window_s; `unresolved_keys` are those of orders whose effect is
    not known, also while they are being sent. `working_stops` counts protective stops by symbol, which `working_orders`
    does not.
    """

    is_trusted: bool
    equity_usdt: Decimal | None
    working_orders: int
    working_stops: Mapping[str, int]
    unresolved_symbols: frozenset[SymbolKey]
    held_base: Mapping[str, Decimal]
    sellable_base: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]
    working_buys: Mapping[SymbolKey, Decimal]
    working_sells: Mapping[SymbolKey, Decimal]
    turnover_used_usdt: Decimal
    working_keys: frozenset[OrderKey]
    unresolved_keys: Collection[OrderKey]
    leverage_unpinned_symbols: frozenset[str]
    message_level: MessageLevel
    is_terminated: bool
    repeated_execution_symbols: frozenset[SymbolKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinMarket:
    """One base coin's prices in USDT: the judged reference, the last one that was usable, and the mark price.

    `kept` stands beside `last_good` while that is known from before a restart alone. `exit_reference` is what an exit
    is measured against: the usable reference, else the last good one. `highest` is the greatest price that is known,
    at which exposure is valued. Both are None when there is none.
    """

    reference: Reference
    last_good: Decimal | None
    mark: Decimal | None
    kept: KeptReference | None = None
    exit_reference: Decimal | None = field(init=False)
    highest: Decimal | None = field(init=False)

    def __post_init__(self) -> None:
        """Find out once what every decision asks."""
        reference = self.reference.price if isinstance(self.reference, Usable) else self.last_good
        known = [price for price in (reference, self.mark) if price is not None]
        object.__setattr__(self, "exit_reference", reference)
        object.__setattr__(self, "highest", max(known, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFacts:
    """Prices by base coin. A coin that is absent has no price of any kind.

    `highest` has each coin's greatest price by the symbol that is quoted in USDT: at it exposure is valued.
    """

    coins: Mapping[str, CoinMarket]
    highest: Mapping[str, Decimal | None] = field(init=False)

    def __post_init__(self) -> None:
        """Find out once what every decision asks of every symbol."""
        object.__setattr__(self, "highest", {coin + QUOTE_COIN: seen.highest for coin, seen in self.coins.items()})
