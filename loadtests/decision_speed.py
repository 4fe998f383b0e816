"""Measures one pure decision with 50 working orders, on this machine: `python loadtests/decision_speed.py`.

Prints the median of the quietest of 40 batches, and the median and p99 of all, for policies of several sizes. Before
each decision `sum(range(1000))` is timed: the ratio of the two medians compares between machines, the figures do not.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from decimal import Decimal

from trade_demo.policy import demo_policy
from trade_gateway.policy.decision import ask, decide
from trade_gateway.policy.exposure import ValuedAccount
from trade_gateway.policy.facts import AccountFacts, CoinMarket, MarketFacts, order_key
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.limits import parse_policy
from trade_gateway.policy.model import SymbolKey, SymbolLimits
from trade_gateway.policy.references import Usable
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy.verdicts import Allow
from trade_gateway.wire.intents import Category, OrderIntent, Side

WORKING_ORDERS = 50
DECISIONS = 20_000
BATCH = 500
PRICE = Decimal("100.5")
LIMITS = SymbolLimits(max_order_quantity=Decimal(10), max_notional_usdt=Decimal(100_000))


def order(symbol: str, *, side: Side, quantity: Decimal) -> OrderIntent:
    """Make one linear order at the market's price."""
    return OrderIntent(
        category=Category.LINEAR,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=PRICE,
        reduce_only=False,
        client_link_id=None,
    )


def account_with(orders: list[OrderIntent], symbols: list[str]) -> AccountFacts:
    """Make an account with these orders working and a position in every symbol."""
    working: dict[Side, dict[SymbolKey, Decimal]] = {side: {} for side in Side}
    for intent in orders:
        sums, key = working[intent.side], (intent.category, intent.symbol)
        sums[key] = sums.get(key, Decimal(0)) + intent.quantity
    return AccountFacts(
        is_trusted=True,
        equity_usdt=Decimal("90000.123456"),
        working_orders=len(orders),
        working_stops={},
        unresolved_symbols=frozenset(),
        held_base={},
        sellable_base={},
        positions=dict.fromkeys(symbols, Decimal("0.125")),
        working_buys=working[Side.BUY],
        working_sells=working[Side.SELL],
        turnover_used_usdt=Decimal("123.456789"),
        working_keys=frozenset(map(order_key, orders)),
        unresolved_keys=(),
        leverage_unpinned_symbols=frozenset(),
        message_level=MessageLevel.FREE,
        is_terminated=False,
        repeated_execution_symbols=frozenset(),
    )


def measure(size: int) -> str:
    """Decide many times under a policy of `size` symbols; return a line of figures in microseconds."""
    symbols = [f"C{index}USDT" for index in range(size)]
    policy = replace(
        parse_policy(demo_policy().encode()),
        allocated_capital_usdt=Decimal(100_000),
        symbols={(Category.LINEAR, symbol): LIMITS for symbol in symbols},
        max_open_orders=100,
        leverage=3,
    )
    orders = [
        order(symbols[step % size], side=list(Side)[step // size % 2], quantity=Decimal("0.1") + Decimal(step) / 1000)
        for step in range(WORKING_ORDERS)
    ]
    coin = CoinMarket(reference=Usable(price=PRICE), last_good=PRICE, mark=PRICE + Decimal("0.01"))
    market = MarketFacts(coins={symbol.removesuffix("USDT"): coin for symbol in symbols})
    instrument = Instrument(
        category=Category.LINEAR,
        symbol=symbols[0],
        base_coin="C0",
        quote_coin="USDT",
        tick_size=Decimal("0.01"),
        quantity_step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal(1000),
        min_notional=Decimal(5),
    )
    account = account_with(orders, symbols)
    intent = order(symbols[0], side=Side.BUY, quantity=Decimal(1))
    took_us: list[float] = []
    measure_us: list[float] = []
    valued = ValuedAccount(account=account, market=market)
    for _ in range(DECISIONS):
        began_ns = time.perf_counter_ns()
        sum(range(1000))
        measure_us.append((time.perf_counter_ns() - began_ns) / 1000)
        began_ns = time.perf_counter_ns()
        question = ask(
            intent,
            policy=policy,
            instrument=instrument,
            valued=valued,
            trading_state=TradingState.ACTIVE,
            scale=Decimal(1),
        )
        result = decide(question)
        took_us.append((time.perf_counter_ns() - began_ns) / 1000)
    if not isinstance(result, Allow):
        raise SystemExit(f"the measured order must pass: {result}")
    quietest = min(statistics.median(took_us[start : start + BATCH]) for start in range(0, DECISIONS, BATCH))
    p99 = statistics.quantiles(took_us, n=100)[98]
    median, measure = statistics.median(took_us), statistics.median(measure_us)
    return (
        f"{size:3} symbols: quietest {quietest:.1f} us, median {median:.1f} us, p99 {p99:.1f} us; "
        f"{median / measure:.2f} x sum(range(1000)), which took {measure:.1f} us"
    )


if __name__ == "__main__":
    for symbols_in_policy in (3, 6, 10, 50):
        print(measure(symbols_in_policy))
