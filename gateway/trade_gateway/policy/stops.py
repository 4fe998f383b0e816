"""Decides on protective stops: linear, reduce-only, triggered by mark or index price. Pure.

Rules
- Denied unless the policy says protective_stops = "reduce_only": once triggered, a stop takes.
- It needs a permitted linear symbol, numbers on the grid, and a position on the other side at least as large. It
  passes when HALTED, as a reducing order does, and in every state but KILLED.
- It must not trigger at once: a sell lies below every price that is known of the coin, a buy above. A stop that
  triggers at once is a taker order in disguise.
- What it gives away is bounded. A limit price lies within stop_slippage of the trigger. A market stop is sent as a
  limit stop with its price at exactly that distance, rounded to the tick on the side that gives away less. Without
  this bound a hostile bot could have its stops taken at any price in a thin book, and no hostile loss could be stated.
  The cost: a market that jumps over the whole distance leaves the stop resting; choose stop_slippage with that in mind.
- Stops count in none of the limits of ordinary orders. There are at most max_open_orders of them, and fewer on a
  symbol than the exchange takes, so that there is always room for the gateway's own.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from trade_core.money import is_multiple
from trade_gateway.policy.collar import exit_reference
from trade_gateway.policy.decision import deny_unmatched
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.exact import EXACT, ONE
from trade_gateway.policy.facts import AccountFacts, MarketFacts, base_coin_of
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolKey
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Deny, deny
from trade_gateway.wire.intents import Category, Side, StopIntent, TriggerBy

MAX_STOPS_A_SYMBOL = 8
"""The exchange takes ten conditional orders a symbol; two are for the disaster stop and the one that replaces it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowStop:
    """The stop may be journaled and sent as it stands here: its limit price is always set."""

    stop: StopIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class StopQuestion:
    """One stop with everything that a check may look at."""

    intent: StopIntent
    policy: Policy
    instrument: Instrument | None
    account: AccountFacts
    market: MarketFacts
    trading_state: TradingState
    former_symbols: Set[SymbolKey] = frozenset()  # traded under an earlier policy: what is held may be protected


StopCheck = Callable[[StopQuestion], Deny | None]


def decide_stop(
    intent: StopIntent,
    *,
    policy: Policy,
    instrument: Instrument | None,
    account: AccountFacts,
    market: MarketFacts,
    trading_state: TradingState,
    former_symbols: Set[SymbolKey] = frozenset(),
) -> AllowStop | Deny:
    """Decide on one protective stop of the bot."""
    question = StopQuestion(
        intent=intent,
        policy=policy,
        instrument=instrument,
        account=account,
        market=market,
        trading_state=trading_state,
        former_symbols=former_symbols,
    )
    for check in STOP.values():
        denied = check(question)
        if denied is not None:
            return denied
    assert instrument is not None  # a check of STOP
    return AllowStop(stop=bounded_stop(intent, slippage=policy.stop_slippage, tick_size=instrument.tick_size))


def bounded_stop(intent: StopIntent, *, slippage: Decimal, tick_size: Decimal) -> StopIntent:
    """Return the stop with a limit price: its own, or the one at `slippage` from its trigger."""
    if intent.limit_price is not None:
        return intent
    bound = worst_limit(intent, slippage)
    rounding = ROUND_CEILING if intent.side is Side.SELL else ROUND_FLOOR
    ticks = EXACT.divide(bound, tick_size).to_integral_value(rounding=rounding)
    return replace(intent, limit_price=EXACT.multiply(ticks, tick_size))


def worst_limit(intent: StopIntent, slippage: Decimal) -> Decimal:
    """Return the price beyond which a stop gives away more than `slippage` of its trigger price."""
    factor = EXACT.subtract(ONE, slippage) if intent.side is Side.SELL else EXACT.add(ONE, slippage)
    return EXACT.multiply(intent.trigger_price, factor)


def disaster_stop(
    *, symbol: str, position: Decimal, entry_price: Decimal, fraction: Decimal, tick_size: Decimal
) -> StopIntent:
    """Return the gateway's own stop of a position: a market order, triggered by the mark price.

    It lies `fraction` beyond the entry price on the losing side, rounded to the tick nearer to the entry. Raises
    ValueError for no position.
    """
    if position == 0:
        raise ValueError("a stop protects a position")
    is_long = position > 0
    factor = EXACT.subtract(ONE, fraction) if is_long else EXACT.add(ONE, fraction)
    ticks = EXACT.divide(EXACT.multiply(entry_price, factor), tick_size).to_integral_value(
        rounding=ROUND_CEILING if is_long else ROUND_FLOOR
    )
    return StopIntent(
        symbol=symbol,
        side=Side.SELL if is_long else Side.BUY,
        quantity=abs(position),
        trigger_price=EXACT.multiply(ticks, tick_size),
        trigger_by=TriggerBy.MARK,
        limit_price=None,
        client_link_id=None,
    )


def _killed(question: StopQuestion) -> Deny | None:
    return deny(DenyCode.STATE_KILLED) if question.trading_state >= TradingState.KILLED else None


def _permitted(question: StopQuestion) -> Deny | None:
    if question.policy.protective_stops is ProtectiveStops.REDUCE_ONLY:
        return None
    return deny(DenyCode.ORDER_STOP_NOT_PERMITTED, symbol=question.intent.symbol)


def _symbol(question: StopQuestion) -> Deny | None:
    key = (Category.LINEAR, question.intent.symbol)
    if key in question.policy.symbols or key in question.former_symbols:
        return None
    return deny(DenyCode.SYMBOL_NOT_PERMITTED, category=Category.LINEAR.value, symbol=question.intent.symbol)


def _messages(question: StopQuestion) -> Deny | None:
    if question.account.message_level is MessageLevel.FREE:
        return None
    return deny(DenyCode.LIMIT_MESSAGES, limit=question.policy.messages_per_s_deny)


def _instrument(question: StopQuestion) -> Deny | None:
    if question.instrument is None:
        return deny(DenyCode.SYMBOL_INSTRUMENT_UNKNOWN, symbol=question.intent.symbol)
    return None


def _position(question: StopQuestion) -> Deny | None:
    intent = question.intent
    return deny_unmatched(intent.side, intent.quantity, symbol=intent.symbol, account=question.account)


def _ticks(question: StopQuestion) -> Deny | None:
    instrument = question.instrument
    for price in (question.intent.trigger_price, question.intent.limit_price):
        if instrument is not None and price is not None and not is_multiple(price, instrument.tick_size):
            return deny(DenyCode.ORDER_PRICE_OFF_TICK, price=price, tick_size=instrument.tick_size)
    return None


def _step(question: StopQuestion) -> Deny | None:
    instrument, quantity = question.instrument, question.intent.quantity
    if instrument is None or is_multiple(quantity, instrument.quantity_step):
        return None
    return deny(DenyCode.ORDER_QUANTITY_OFF_STEP, quantity=quantity, step=instrument.quantity_step)


def _largest_quantity(question: StopQuestion) -> Deny | None:
    instrument, quantity = question.instrument, question.intent.quantity
    if instrument is None or quantity <= instrument.max_quantity:
        return None
    return deny(DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM, quantity=quantity, maximum=instrument.max_quantity)


def _trigger(question: StopQuestion) -> Deny | None:
    """Compare with both prices that may trigger. Without any, the exchange's own check of the side is all there is."""
    coin = question.market.coins.get(base_coin_of(question.intent.symbol))
    mark = None if coin is None else coin.mark
    for price in (exit_reference(coin), mark):
        if price is None:
            continue
        trigger = question.intent.trigger_price
        is_at_once = trigger >= price if question.intent.side is Side.SELL else trigger <= price
        if is_at_once:
            return deny(DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE, trigger_price=trigger, market=price)
    return None


def _slippage(question: StopQuestion) -> Deny | None:
    intent = question.intent
    if intent.limit_price is None:
        return None
    bound = worst_limit(intent, question.policy.stop_slippage)
    is_outside = intent.limit_price < bound if intent.side is Side.SELL else intent.limit_price > bound
    if not is_outside:
        return None
    return deny(
        DenyCode.PRICE_OUTSIDE_COLLAR, price=intent.limit_price, trigger_price=intent.trigger_price, bound=bound
    )


def _working_stops(question: StopQuestion) -> Deny | None:
    stops, symbol = question.account.working_stops, question.intent.symbol
    working, limit = sum(stops.values()), question.policy.max_open_orders
    if working >= limit:
        return deny(DenyCode.LIMIT_STOPS, working_stops=working, limit=limit)
    if stops.get(symbol, 0) >= MAX_STOPS_A_SYMBOL:
        return deny(DenyCode.LIMIT_STOPS, symbol=symbol, working_stops=stops[symbol], limit=MAX_STOPS_A_SYMBOL)
    return None


STOP: dict[str, StopCheck] = {
    "not killed": _killed,
    "protective stops permitted": _permitted,
    "symbol permitted": _symbol,
    "message rate": _messages,
    "instrument known": _instrument,
    "within position": _position,
    "prices on tick": _ticks,
    "quantity on step": _step,
    "quantity at most the instrument's": _largest_quantity,
    "does not trigger at once": _trigger,
    "limit within slippage": _slippage,
    "number of stops": _working_stops,
}
"""What a protective stop must pass."""
