"""Tells what the policy would say to an order, check by check, and why. Pure; `trade-gateway explain` prints it.

`explain` runs every check on given facts, not only up to the first that fails. `explain_request` takes a JSON document
that a person writes: the body of an order/create, and what to assume of account and market. It assumes nothing that
would make an order pass by itself, but for an empty account, equity equal to the allocated capital, and the finest
possible grid when no instrument is given; all three are said in the result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Literal, assert_never

from pydantic import Field, ValidationError

from trade_core.errors import ConfigurationError, InvalidNumber
from trade_core.money import parse_decimal, parse_exchange_decimal
from trade_core.settings import Settings
from trade_gateway.policy.decision import (
    ADDING,
    DEFAULT_TRIMMED_SCALE,
    REDUCING,
    ask,
    claims_reduction,
)
from trade_gateway.policy.exact import EXACT, ZERO
from trade_gateway.policy.exposure import ValuedAccount
from trade_gateway.policy.facts import QUOTE_COIN, AccountFacts, CoinMarket, MarketFacts, base_coin_of
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import Policy, SymbolKey
from trade_gateway.policy.references import Usable
from trade_gateway.policy.stops import STOP, StopQuestion
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Deny
from trade_gateway.wire.intents import Category, OrderIntent, StopIntent
from trade_gateway.wire.parse import parse_order_or_stop
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.request import MAX_BODY_BYTES

MAX_DOCUMENT_BYTES = 64 * 1024
_FINEST = Decimal("0.000000000001")
_LARGEST = Decimal(100_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check: its name, whether the order passes it, and the deny code with its details when it does not."""

    name: str
    has_passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What kind of order was understood, the result of every check, and what was assumed."""

    kind: Literal["not understood", "adds risk", "reduces risk", "protective stop"]
    checks: tuple[CheckResult, ...]
    assumed: tuple[str, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether every check passes."""
        return all(check.has_passed for check in self.checks)


def explain(
    body: bytes,
    *,
    policy: Policy,
    instruments: Mapping[SymbolKey, Instrument],
    account: AccountFacts,
    market: MarketFacts,
    trading_state: TradingState,
    scale: Decimal = DEFAULT_TRIMMED_SCALE,
) -> Explanation:
    """Run every check on the body of an order/create."""
    intent = parse_order_or_stop(body)
    facts: dict[str, Any] = {"policy": policy, "trading_state": trading_state}
    match intent:
        case Refusal():
            denied = Deny(code=intent.code, detail=intent.detail)
            return Explanation(kind="not understood", checks=tuple(_results([("request understood", denied)])))
        case StopIntent():
            instrument = instruments.get((Category.LINEAR, intent.symbol))
            stop = StopQuestion(intent=intent, instrument=instrument, account=account, market=market, **facts)
            results = [(name, check(stop)) for name, check in STOP.items()]
            return Explanation(kind="protective stop", checks=tuple(_results(results)))
        case OrderIntent():
            facts["valued"] = ValuedAccount(account=account, market=market)
            return _explain_order(intent, instruments=instruments, scale=scale, facts=facts)
        case _:
            assert_never(intent)


def explain_request(document: bytes, *, policy: Policy) -> Explanation:
    """Explain a JSON document {"body": {...}, "assume": {...}}. Raises ConfigurationError naming what is wrong."""
    request = _read(document)
    body = json.dumps(request.body).encode()
    if len(body) > MAX_BODY_BYTES:
        raise ConfigurationError(f"body: {len(body)} bytes are more than {MAX_BODY_BYTES}")
    assume = request.assume
    equity = policy.allocated_capital_usdt if assume.equity_usdt is None else _number("equity_usdt", assume.equity_usdt)
    instruments = _assumed_instruments(policy, assume.instruments)
    said = [f"equity {equity} {QUOTE_COIN}", f"positions and holdings: {_shown(assume)}"]
    if not assume.instruments:
        said.append("an instrument without grid, minimum or maximum")
    explanation = explain(
        body,
        policy=policy,
        instruments=instruments,
        account=_assumed_account(assume, equity),
        market=_assumed_market(assume),
        trading_state=TradingState[assume.trading_state],
        scale=_number("scale", assume.scale),
    )
    return Explanation(kind=explanation.kind, checks=explanation.checks, assumed=tuple(said))


class Assumptions(Settings):
    """What to take for granted. Numbers are text; positions are signed; prices are the references by base coin."""

    trading_state: Literal["ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED", "KILLED"] = "ACTIVE"
    scale: str = "0.5"
    equity_usdt: str | None = None
    turnover_used_usdt: str = "0"
    working_orders: int = Field(default=0, ge=0, le=10_000)
    prices: dict[str, str] = Field(default_factory=dict, max_length=100)
    held: dict[str, str] = Field(default_factory=dict, max_length=100)
    positions: dict[str, str] = Field(default_factory=dict, max_length=100)
    instruments: dict[str, AssumedInstrument] = Field(default_factory=dict, max_length=100)


class AssumedInstrument(Settings):
    """The grid and bounds of one symbol, keyed by `<category> <symbol>`."""

    tick_size: str
    quantity_step: str
    min_quantity: str
    max_quantity: str
    min_notional: str


class ExplainRequest(Settings):
    """The document."""

    body: dict[str, Any]
    assume: Assumptions = Field(default_factory=Assumptions)


Assumptions.model_rebuild()
ExplainRequest.model_rebuild()


def _read(document: bytes) -> ExplainRequest:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ConfigurationError(f"{len(document)} bytes are more than {MAX_DOCUMENT_BYTES}")
    try:
        return ExplainRequest.model_validate_json(document)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigurationError(faults) from None


def _explain_order(
    intent: OrderIntent, *, instruments: Mapping[SymbolKey, Instrument], scale: Decimal, facts: dict[str, Any]
) -> Explanation:
    is_exit = claims_reduction(intent)
    with localcontext(EXACT):
        question = ask(intent, instrument=instruments.get((intent.category, intent.symbol)), scale=scale, **facts)
        checks = REDUCING if is_exit else ADDING
        results = [(name, check(question)) for name, check in checks.items()]
    return Explanation(kind="reduces risk" if is_exit else "adds risk", checks=tuple(_results(results)))


def _results(results: Iterable[tuple[str, Deny | None]]) -> Iterable[CheckResult]:
    for name, denied in results:
        if denied is None:
            yield CheckResult(name=name, has_passed=True, reason="")
            continue
        values = ", ".join(f"{key}={value}" for key, value in denied.detail)
        reason = f"{denied.code.name}: {values}" if values else denied.code.name
        yield CheckResult(name=name, has_passed=False, reason=reason)


def _assumed_account(assume: Assumptions, equity: Decimal) -> AccountFacts:
    held = {coin: _number(f"held.{coin}", text) for coin, text in assume.held.items()}
    return AccountFacts(
        is_trusted=True,
        equity_usdt=equity,
        working_orders=assume.working_orders,
        working_stops={},
        unresolved_symbols=frozenset(),
        held_base=held,
        sellable_base=held,
        positions={symbol: _signed(f"positions.{symbol}", text) for symbol, text in assume.positions.items()},
        working_buys={},
        working_sells={},
        turnover_used_usdt=_number("turnover_used_usdt", assume.turnover_used_usdt),
        working_keys=frozenset(),
        unresolved_keys=(),
        leverage_unpinned_symbols=frozenset(),
        message_level=MessageLevel.FREE,
        is_terminated=False,
        repeated_execution_symbols=frozenset(),
    )


def _assumed_market(assume: Assumptions) -> MarketFacts:
    coins: dict[str, CoinMarket] = {}
    for coin, text in assume.prices.items():
        price = _positive(f"prices.{coin}", text)
        coins[coin] = CoinMarket(reference=Usable(price=price), last_good=price, mark=price)
    return MarketFacts(coins=coins)


def _assumed_instruments(policy: Policy, assumed: Mapping[str, AssumedInstrument]) -> dict[SymbolKey, Instrument]:
    instruments: dict[SymbolKey, Instrument] = {}
    for category, symbol in policy.symbols:
        name = f"{category.value} {symbol}"
        given = assumed.get(name)
        amounts = (
            dict.fromkeys(("tick_size", "quantity_step", "min_quantity", "min_notional"), _FINEST)
            | {"max_quantity": _LARGEST}
            if given is None
            else {key: _positive(f"instruments.{name}.{key}", text) for key, text in given.model_dump().items()}
        )
        instruments[(category, symbol)] = Instrument(
            category=category,
            symbol=symbol,
            base_coin=base_coin_of(symbol),
            quote_coin=QUOTE_COIN,
            **amounts,
        )
    return instruments


def _number(name: str, text: str) -> Decimal:
    try:
        return parse_decimal(text)
    except InvalidNumber as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _positive(name: str, text: str) -> Decimal:
    number = _number(name, text)
    if number <= ZERO:
        raise ConfigurationError(f"{name}: must be above zero (found {text})")
    return number


def _signed(name: str, text: str) -> Decimal:
    try:
        return parse_exchange_decimal(text)
    except InvalidNumber as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _shown(assume: Assumptions) -> str:
    named = {**assume.positions, **assume.held}
    return ", ".join(f"{name} {amount}" for name, amount in named.items()) or "none"
