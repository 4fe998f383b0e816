"""Decides on an order: facts in, Allow or Deny out. Pure.

Rules
- An order either provably reduces risk or counts as adding it. A spot sell reduces within the coin held less working
  sells, and is denied beyond. A linear order reduces when it is sent with reduceOnly, which the exchange enforces; it
  must meet an opposite position at least as large, unless the account view is not trusted: then the exchange's
  enforcement alone counts, because an exit must not be trapped by our own blindness.
- An order that adds risk passes every check of ADDING; the first that fails names the denial. Limits that are
  multiples apply to min(equity, allocated capital); the per-order, per-symbol and gross limits are multiplied by the
  scale while TRIMMED.
- An order that reduces risk passes every check of REDUCING. It needs a permitted symbol (the bot may not sell coins
  that it does not trade), numbers on the instrument's grid and a price within the exit collar. It must not be the copy
  of one whose outcome is open, which would sell twice; at another price or quantity it is none. It is never held to
  turnover, exposure, equity, other duplicates or latches. It may exceed the open-order limit by as many orders again,
  so that exits are not trapped by entries and the number of working orders is bounded all the same.
- Cancels are not decided here: they pass in every state. Protective stops are decided in `stops`.

Each check is a named function of one Question, so that `explain` can tell the result of all of them; `decide` asks them
in the same order. They compute with
plain operators: `decide` and `explain` run them within the EXACT context, without which long figures would be rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from decimal import Decimal, getcontext, setcontext

from trade_core.records import record
from trade_gateway.policy.collar import check_adding_price, check_reducing_price
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.exact import EXACT, ONE, ZERO
from trade_gateway.policy.exposure import ValuedAccount, exposure_with, unpriced_coins
from trade_gateway.policy.facts import AccountFacts, CoinMarket, base_coin_of, order_key
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import Policy, SymbolKey, SymbolLimits
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.turnover import turnover_notional
from trade_gateway.policy.verdicts import Allow, Deny, deny
from trade_gateway.wire.intents import Category, OrderIntent, Side

DEFAULT_TRIMMED_SCALE = Decimal("0.5")
REDUCING_ORDERS_FACTOR = 2
"""Reducing orders may bring the working orders up to this multiple of max_open_orders."""

# Looking a member up on its enum calls into Python, and a decision would do it a dozen times.
_SPOT, _LINEAR, _SELL = Category.SPOT, Category.LINEAR, Side.SELL
_TRIMMED, _KILLED = TradingState.TRIMMED, TradingState.KILLED
_FREE, _TERMINATE = MessageLevel.FREE, MessageLevel.TERMINATE
_STATE_CODES = {
    TradingState.REDUCE_ONLY: DenyCode.STATE_REDUCE_ONLY,
    TradingState.HALTED: DenyCode.STATE_HALTED,
    TradingState.KILLED: DenyCode.STATE_KILLED,
}


@record(frozen=True, slots=True, kw_only=False)
class Question:
    """One order with everything that a check may look at, as `ask` puts it together.

    `scale` is 1 unless TRIMMED; `limits` are the symbol's, None when it is not permitted; `coin` has the prices of the
    coin in question, `reference` what an exit is measured against; `notional` is quantity x the greater of price and
    reference; `base_usdt` is what the multiples apply to, 0 without a known equity; `former_symbols` were traded under
    an earlier policy, and what is held may be reduced.
    """

    intent: OrderIntent
    policy: Policy
    instrument: Instrument | None
    valued: ValuedAccount
    account: AccountFacts
    trading_state: TradingState
    scale: Decimal
    key: SymbolKey
    limits: SymbolLimits | None
    base_coin: str
    coin: CoinMarket | None
    reference: Decimal | None
    notional: Decimal
    base_usdt: Decimal
    former_symbols: Set[SymbolKey]


def ask(
    intent: OrderIntent,
    *,
    policy: Policy,
    instrument: Instrument | None,
    valued: ValuedAccount,
    trading_state: TradingState,
    scale: Decimal,
    former_symbols: Set[SymbolKey] = frozenset(),
) -> Question:
    """Put a question together; what several checks need is computed once.

    `scale` counts only while TRIMMED and must lie above 0 and at most at 1.
    """
    account, key, base_coin = valued.account, (intent.category, intent.symbol), base_coin_of(intent.symbol)
    coin, equity = valued.market.coins.get(base_coin), account.equity_usdt
    reference = None if coin is None else coin.exit_reference
    return Question(
        intent,
        policy,
        instrument,
        valued,
        account,
        trading_state,
        scale if trading_state is _TRIMMED else ONE,
        key,
        policy.symbols.get(key),
        base_coin,
        coin,
        reference,
        turnover_notional(quantity=intent.quantity, price=intent.price, reference_price=reference),
        ZERO if equity is None or not equity.is_finite() else policy.base_usdt(equity),
        former_symbols,
    )


Check = Callable[[Question], Deny | None]


def decide(question: Question) -> Allow | Deny:
    """Decide on one order."""
    adds_risk = not claims_reduction(question.intent)
    outer = getcontext()
    setcontext(EXACT)  # once for all checks: its methods cost three times as much as operators within it
    try:
        denied = _deny_adding(question) if adds_risk else _deny_reducing(question)
    finally:
        setcontext(outer)
    return denied or Allow(adds_risk, question.reference, question.notional)


def claims_reduction(intent: OrderIntent) -> bool:
    """Tell which checks an order has to pass: those of an exit, or those of an entry."""
    if intent.category is _SPOT:
        return intent.side is _SELL  # whatever the bot calls it: the exchange knows no reduce-only on spot
    return intent.reduce_only


def _killed(question: Question) -> Deny | None:
    return deny(DenyCode.STATE_KILLED) if question.trading_state >= _KILLED else None


def _symbol(question: Question) -> Deny | None:
    if question.limits is not None:
        return None
    category, symbol = question.key
    return deny(DenyCode.SYMBOL_NOT_PERMITTED, category=category.value, symbol=symbol)


def _exit_symbol(question: Question) -> Deny | None:
    # A symbol that was taken off the list may still be held: who forbids its exit traps it.
    return None if question.key in question.former_symbols else _symbol(question)


def _state(question: Question) -> Deny | None:
    state = question.trading_state
    return deny(_STATE_CODES[state]) if state > _TRIMMED else None


def _terminated(question: Question) -> Deny | None:
    account = question.account
    if account.is_terminated or account.message_level >= _TERMINATE:
        return deny(DenyCode.LIMIT_MESSAGES_TERMINATED, limit=question.policy.messages_per_s_terminate)
    return None


def _messages(question: Question) -> Deny | None:
    if question.account.message_level is _FREE:
        return None
    return deny(DenyCode.LIMIT_MESSAGES, limit=question.policy.messages_per_s_deny)


def _trusted(question: Question) -> Deny | None:
    return None if question.account.is_trusted else deny(DenyCode.ACCOUNT_VIEW_UNTRUSTED)


def _equity(question: Question) -> Deny | None:
    if question.base_usdt > ZERO:
        return None
    equity = question.account.equity_usdt
    return deny(DenyCode.EQUITY_UNKNOWN, equity="unknown" if equity is None else equity)


def _unresolved(question: Question) -> Deny | None:
    if question.key in question.account.unresolved_symbols:
        return deny(DenyCode.SYMBOL_OUTCOME_UNRESOLVED, symbol=question.intent.symbol)
    return None


def _repeated_execution(question: Question) -> Deny | None:
    if question.key in question.account.repeated_execution_symbols:
        return deny(DenyCode.LIMIT_REPEATED_EXECUTION, symbol=question.intent.symbol)
    return None


def _leverage(question: Question) -> Deny | None:
    is_unpinned = question.intent.symbol in question.account.leverage_unpinned_symbols
    if question.intent.category is _LINEAR and is_unpinned:
        return deny(DenyCode.SYMBOL_LEVERAGE_UNPINNED, symbol=question.intent.symbol)
    return None


def _duplicate(question: Question) -> Deny | None:
    if order_key(question.intent) in question.account.working_keys:
        return deny(DenyCode.ORDER_DUPLICATE, symbol=question.intent.symbol, price=question.intent.price)
    return None


def _doubled_exit(question: Question) -> Deny | None:
    account = question.account
    if account.unresolved_keys and order_key(question.intent) in account.unresolved_keys:
        return deny(DenyCode.ORDER_DUPLICATE, symbol=question.intent.symbol, price=question.intent.price)
    return None


def _instrument(question: Question) -> Deny | None:
    """Deny without instrument facts, and when they are of another coin than the one whose prices would be used."""
    instrument = question.instrument
    if instrument is None or instrument.base_coin != question.base_coin:
        return deny(DenyCode.SYMBOL_INSTRUMENT_UNKNOWN, symbol=question.intent.symbol)
    return None


def _exit_instrument(question: Question) -> Deny | None:
    # A linear reduce-only order needs none: the exchange checks grid and position by itself.
    return None if question.intent.category is _LINEAR else _instrument(question)


def _tick(question: Question) -> Deny | None:
    instrument, price = question.instrument, question.intent.price
    if instrument is None or (instrument.tick_size > ZERO and not price % instrument.tick_size):
        return None
    return deny(DenyCode.ORDER_PRICE_OFF_TICK, price=price, tick_size=instrument.tick_size)


def _step(question: Question) -> Deny | None:
    instrument, quantity = question.instrument, question.intent.quantity
    if instrument is None or (instrument.quantity_step > ZERO and not quantity % instrument.quantity_step):
        return None
    return deny(DenyCode.ORDER_QUANTITY_OFF_STEP, quantity=quantity, step=instrument.quantity_step)


def _largest_quantity(question: Question) -> Deny | None:
    instrument, quantity = question.instrument, question.intent.quantity
    if instrument is None or quantity <= instrument.max_quantity:
        return None
    return deny(DenyCode.ORDER_QUANTITY_ABOVE_MAXIMUM, quantity=quantity, maximum=instrument.max_quantity)


def _smallest_quantity(question: Question) -> Deny | None:
    instrument, quantity = question.instrument, question.intent.quantity
    if instrument is None or quantity >= instrument.min_quantity:
        return None
    return deny(DenyCode.ORDER_QUANTITY_BELOW_MINIMUM, quantity=quantity, minimum=instrument.min_quantity)


def _smallest_notional(question: Question) -> Deny | None:
    """Compare quantity x price, as the exchange does."""
    instrument, minimum = question.instrument, question.policy.min_order_notional_usdt
    if instrument is not None and instrument.min_notional > minimum:
        minimum = instrument.min_notional
    notional = question.intent.quantity * question.intent.price
    if notional >= minimum:
        return None
    return deny(DenyCode.ORDER_NOTIONAL_BELOW_MINIMUM, notional=notional, minimum=minimum)


def _scale(question: Question) -> Deny | None:
    if ZERO < question.scale <= ONE:
        return None
    return deny(DenyCode.GATEWAY_FAULT, scale=question.scale)


def _quantity(question: Question) -> Deny | None:
    limits = question.limits
    if limits is None:
        return _symbol(question)
    limit = limits.max_order_quantity * question.scale
    if question.intent.quantity <= limit:
        return None
    return deny(DenyCode.LIMIT_ORDER_QUANTITY, quantity=question.intent.quantity, limit=limit)


def _notional(question: Question) -> Deny | None:
    limit = question.policy.max_order_notional_usdt * question.scale
    if question.notional <= limit:
        return None
    return deny(DenyCode.ORDER_NOTIONAL_ABOVE_MAXIMUM, notional=question.notional, maximum=limit)


def _adding_price(question: Question) -> Deny | None:
    return check_adding_price(question.intent, question.coin, question.policy)


def _reducing_price(question: Question) -> Deny | None:
    return check_reducing_price(question.intent, question.coin, question.policy)


def _turnover(question: Question) -> Deny | None:
    used = question.account.turnover_used_usdt + question.notional
    limit = question.policy.turnover_budget_24h * question.base_usdt
    if used <= limit:
        return None
    return deny(DenyCode.LIMIT_TURNOVER, would_be=used, limit=limit)


def _exposure(question: Question) -> Deny | None:
    limits = question.limits
    if limits is None:
        return _symbol(question)
    worst = exposure_with(question.valued, question.key, question.intent)
    unpriced = unpriced_coins(question.valued, known=question.policy.symbols.keys()) if question.valued.unpriced else ()
    if worst is None or unpriced:
        return deny(DenyCode.REFERENCE_MISSING, coins=" ".join(unpriced or (question.base_coin,)))
    of_symbol, gross = worst
    limit = limits.max_notional_usdt * question.scale
    if of_symbol > limit:
        return deny(DenyCode.LIMIT_SYMBOL_EXPOSURE, would_be=of_symbol, limit=limit)
    limit = question.policy.max_gross_exposure * question.scale * question.base_usdt
    if gross > limit:
        return deny(DenyCode.LIMIT_GROSS_EXPOSURE, would_be=gross, limit=limit)
    return None


def _open_orders(question: Question) -> Deny | None:
    working, limit = question.account.working_orders, question.policy.max_open_orders
    return None if working < limit else deny(DenyCode.LIMIT_OPEN_ORDERS, working_orders=working, limit=limit)


def _open_exits(question: Question) -> Deny | None:
    working, limit = question.account.working_orders, question.policy.max_open_orders * REDUCING_ORDERS_FACTOR
    return None if working < limit else deny(DenyCode.LIMIT_OPEN_ORDERS, working_orders=working, limit=limit)


def _reduction(question: Question) -> Deny | None:
    if question.intent.category is _SPOT:
        return _oversold(question)
    return deny_unmatched(
        question.intent.side, question.intent.quantity, symbol=question.intent.symbol, account=question.account
    )


def deny_unmatched(side: Side, quantity: Decimal, *, symbol: str, account: AccountFacts) -> Deny | None:
    """Deny a linear reduction that meets no opposite position as large; an untrusted view leaves it to the exchange."""
    if not account.is_trusted:
        return None
    position = account.positions.get(symbol, ZERO)
    opposite = position if side is _SELL else -position
    if opposite <= 0:
        return deny(DenyCode.ORDER_REDUCES_NOTHING, side=side.value, position=position)
    if quantity > opposite:
        return deny(DenyCode.ORDER_REDUCES_TOO_MUCH, quantity=quantity, position=position)
    return None


def _oversold(question: Question) -> Deny | None:
    sellable = question.account.sellable_base.get(question.base_coin, ZERO)
    if question.intent.quantity <= sellable:
        return None
    return deny(DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS, quantity=question.intent.quantity, sellable=sellable)


ADDING: dict[str, Check] = {
    "not killed": _killed,
    "symbol permitted": _symbol,
    "state permits new risk": _state,
    "messages not terminated": _terminated,
    "message rate": _messages,
    "symbol resolved": _unresolved,
    "account view trusted": _trusted,
    "equity known": _equity,
    "no repeated execution": _repeated_execution,
    "leverage pinned": _leverage,
    "no duplicate": _duplicate,
    "instrument known": _instrument,
    "price on tick": _tick,
    "quantity on step": _step,
    "quantity at most the instrument's": _largest_quantity,
    "price in collar": _adding_price,
    "scale valid": _scale,
    "quantity at least the minimum": _smallest_quantity,
    "notional at least the minimum": _smallest_notional,
    "quantity at most the policy's": _quantity,
    "notional at most the policy's": _notional,
    "turnover budget": _turnover,
    "exposure limits": _exposure,
    "open orders": _open_orders,
}
"""What an order that adds risk must pass, cheap and general checks first."""
REDUCING: dict[str, Check] = {
    "not killed": _killed,
    "symbol permitted": _exit_symbol,
    "message rate": _messages,
    "no copy of an open outcome": _doubled_exit,
    "instrument known": _exit_instrument,
    "within holdings or position": _reduction,
    "price on tick": _tick,
    "quantity on step": _step,
    "quantity at most the instrument's": _largest_quantity,
    "price in exit collar": _reducing_price,
    "open orders": _open_exits,
}
"""What an order that reduces risk must pass."""


# Each check is called from a line of its own: a loop over a table costs the interpreter twice as much a call.
def _deny_adding(question: Question) -> Deny | None:
    """Ask the checks of ADDING until one denies."""
    return (
        _killed(question)
        or _symbol(question)
        or _state(question)
        or _terminated(question)
        or _messages(question)
        or _unresolved(question)
        or _trusted(question)
        or _equity(question)
        or _repeated_execution(question)
        or _leverage(question)
        or _duplicate(question)
        or _instrument(question)
        or _tick(question)
        or _step(question)
        or _largest_quantity(question)
        or _adding_price(question)
        or _scale(question)
        or _smallest_quantity(question)
        or _smallest_notional(question)
        or _quantity(question)
        or _notional(question)
        or _turnover(question)
        or _exposure(question)
        or _open_orders(question)
    )


def _deny_reducing(question: Question) -> Deny | None:
    """Ask the checks of REDUCING until one denies."""
    return (
        _killed(question)
        or _exit_symbol(question)
        or _messages(question)
        or _doubled_exit(question)
        or _exit_instrument(question)
        or _reduction(question)
        or _tick(question)
        or _step(question)
        or _largest_quantity(question)
        or _reducing_price(question)
        or _open_exits(question)
    )
