"""Decides on an order: facts in, Allow or Deny out. Pure.

Rules
- An order either provably reduces risk or counts as adding it. A spot sell reduces within the coin held less working
  sells, and is denied beyond. A linear order reduces when it is sent with reduceOnly, which the exchange enforces; it
  must meet an opposite position at least as large, unless the account view is not trusted: then the exchange's
  enforcement alone counts, because an exit must not be trapped by our own blindness.
- An order that adds risk needs a permitted symbol, ACTIVE or TRIMMED, a trusted account view, no unresolved order on
  the symbol, the pinned leverage, known instrument facts, and sizes inside all limits.
- An order that reduces risk needs a permitted symbol (the bot may not sell coins that it does not trade) and numbers
  on the instrument's grid. It may exceed the open-order limit by as many orders again, so that exits are not trapped
  by entries and the number of working orders is bounded all the same.
- Cancels are not decided here: they pass in every state.

Does not yet know prices: collar, exposure and turnover are the full policy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal

from trade_core.money import is_multiple
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.wire.intents import Category, OrderIntent, Side
from trade_gateway.wire.refusal import Detail, detail_of

DEFAULT_TRIMMED_SCALE = Decimal("0.5")
REDUCING_ORDERS_FACTOR = 2
"""Reducing orders may bring the working orders up to this multiple of max_open_orders."""
_EXACT = Context(prec=64)  # quantity and price have 24 digits each, so that their product is exact

_STATE_CODES = {
    TradingState.REDUCE_ONLY: DenyCode.STATE_REDUCE_ONLY,
    TradingState.HALTED: DenyCode.STATE_HALTED,
    TradingState.KILLED: DenyCode.STATE_KILLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """What the gateway knows of the account, worst case. Positions are signed: above zero is long."""

    working_orders: int
    unresolved_symbols: frozenset[tuple[Category, str]]
    sellable_base: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]
    leverage_unpinned_symbols: frozenset[str]
    is_trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The order may be journaled and sent."""

    adds_risk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The order must not leave."""

    code: DenyCode
    detail: Detail = ()


def decide(
    intent: OrderIntent,
    *,
    policy: Policy,
    instrument: Instrument | None,
    account: AccountFacts,
    trading_state: TradingState,
    trimmed_scale: Decimal = DEFAULT_TRIMMED_SCALE,
) -> Allow | Deny:
    """Decide on one order. `trimmed_scale` counts only while TRIMMED and lies above 0 and at most at 1."""
    if trading_state >= TradingState.KILLED:
        return Deny(code=DenyCode.STATE_KILLED)
    if not policy.permits(intent.category, intent.symbol):
        return _deny(DenyCode.SYMBOL_NOT_PERMITTED, category=intent.category.value, symbol=intent.symbol)
    if _claims_reduction(intent):
        denied = (
            _deny_false_reduction(intent, instrument, account)
            or _deny_off_grid(intent, instrument)
            or _deny_open_orders(account, policy.max_open_orders * REDUCING_ORDERS_FACTOR)
        )
        return denied or Allow(adds_risk=False)
    scale = trimmed_scale if trading_state is TradingState.TRIMMED else Decimal(1)
    denied = (
        _deny_added_risk(intent, account, trading_state)
        or _deny_off_grid(intent, instrument)
        or _deny_sizes(intent, instrument, policy, scale)
        or _deny_open_orders(account, policy.max_open_orders)
    )
    return denied or Allow(adds_risk=True)


def _claims_reduction(intent: OrderIntent) -> bool:
    if intent.category is Category.SPOT:
        return intent.side is Side.SELL  # whatever the bot calls it: the exchange knows no reduce-only on spot
    return intent.reduce_only


def _deny_false_reduction(intent: OrderIntent, instrument: Instrument | None, account: AccountFacts) -> Deny | None:
    if intent.category is Category.SPOT:
        return _deny_oversold(intent, instrument, account)
    if not account.is_trusted:
        return None
    position = account.positions.get(intent.symbol, Decimal(0))
    opposite = position if intent.side is Side.SELL else -position
    if opposite <= 0:
        return _deny(DenyCode.ORDER_REDUCES_NOTHING, side=intent.side.value, position=position)
    if intent.quantity > opposite:
        return _deny(DenyCode.ORDER_REDUCES_TOO_MUCH, quantity=intent.quantity, position=position)
    return None


def _deny_oversold(intent: OrderIntent, instrument: Instrument | None, account: AccountFacts) -> Deny | None:
    if instrument is None:
        return _deny(DenyCode.SYMBOL_INSTRUMENT_UNKNOWN, symbol=intent.symbol)
    sellable = account.sellable_base.get(instrument.base_coin, Decimal(0))
    if intent.quantity > sellable:
        return _deny(DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS, quantity=intent.quantity, sellable=sellable)
    return None


def _deny_added_risk(intent: OrderIntent, account: AccountFacts, trading_state: TradingState) -> Deny | None:
    if trading_state > TradingState.TRIMMED:
        return Deny(code=_STATE_CODES[trading_state])
    if (intent.category, intent.symbol) in account.unresolved_symbols:
        return _deny(DenyCode.SYMBOL_OUTCOME_UNRESOLVED, symbol=intent.symbol)
    if not account.is_trusted:
        return Deny(code=DenyCode.ACCOUNT_VIEW_UNTRUSTED)
    if intent.category is Category.LINEAR and intent.symbol in account.leverage_unpinned_symbols:
        return _deny(DenyCode.SYMBOL_LEVERAGE_UNPINNED, symbol=intent.symbol)
    return None


def _deny_off_grid(intent: OrderIntent, instrument: Instrument | None) -> Deny | None:
    if instrument is None:
        # A linear reduce-only order needs none: the exchange checks grid and position by itself.
        is_exit = intent.reduce_only and intent.category is Category.LINEAR
        return None if is_exit else _deny(DenyCode.SYMBOL_INSTRUMENT_UNKNOWN, symbol=intent.symbol)
    if not is_multiple(intent.price, instrument.tick_size):
        return _deny(DenyCode.ORDER_PRICE_OFF_TICK, price=intent.price, tick_size=instrument.tick_size)
    if not is_multiple(intent.quantity, instrument.quantity_step):
        return _deny(DenyCode.ORDER_QUANTITY_OFF_STEP, quantity=intent.quantity, step=instrument.quantity_step)
    if intent.quantity > instrument.max_quantity:
        return _deny(DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM, quantity=intent.quantity, maximum=instrument.max_quantity)
    return None


def _deny_sizes(intent: OrderIntent, instrument: Instrument | None, policy: Policy, scale: Decimal) -> Deny | None:
    if instrument is None or not 0 < scale <= 1:
        return _deny(DenyCode.GATEWAY_FAULT, scale=scale)
    if intent.quantity < instrument.min_quantity:
        return _deny(DenyCode.ORDER_QUANTITY_BELOW_MINIMUM, quantity=intent.quantity, minimum=instrument.min_quantity)
    notional = _EXACT.multiply(intent.quantity, intent.price)
    minimum = max(policy.min_order_notional_usdt, instrument.min_notional)
    if notional < minimum:
        return _deny(DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM, notional=notional, minimum=minimum)
    maximum = _EXACT.multiply(policy.max_order_notional_usdt, scale)
    if notional > maximum:
        return _deny(DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM, notional=notional, maximum=maximum)
    return None


def _deny_open_orders(account: AccountFacts, limit: int) -> Deny | None:
    if account.working_orders >= limit:
        return _deny(DenyCode.LIMIT_OPEN_ORDERS, working_orders=account.working_orders, limit=limit)
    return None


def _deny(code: DenyCode, **values: object) -> Deny:
    return Deny(code=code, detail=detail_of(**values))
