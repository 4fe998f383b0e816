"""A policy, an account and a market that the tests of the policy share, all easy to compute with by head."""

from __future__ import annotations

from decimal import Decimal

from trade_gateway.policy.facts import AccountFacts, CoinMarket, MarketFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolKey, SymbolLimits
from trade_gateway.policy.references import Flaw, Source, Unusable, Usable
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.wire.intents import Category

SPOT_BTC: SymbolKey = (Category.SPOT, "BTCUSDT")
LINEAR_BTC: SymbolKey = (Category.LINEAR, "BTCUSDT")
LINEAR_ETH: SymbolKey = (Category.LINEAR, "ETHUSDT")
SYMBOL_LIMITS = SymbolLimits(max_order_quantity=Decimal(2), max_notional_usdt=Decimal(2000))
POLICY = Policy(
    allocated_capital_usdt=Decimal(4000),
    symbols=dict.fromkeys((SPOT_BTC, LINEAR_BTC, LINEAR_ETH), SYMBOL_LIMITS),
    max_order_notional_usdt=Decimal(500),
    min_order_notional_usdt=Decimal(10),
    max_gross_exposure=Decimal(1),
    turnover_budget_24h=Decimal("1.5"),
    collar=Decimal("0.003"),
    fat_finger=Decimal("0.2"),
    exit_collar=Decimal("0.004"),
    reference_max_age_s=5,
    reference_max_divergence=Decimal("0.005"),
    messages_per_s_deny=5,
    messages_per_s_terminate=20,
    repeated_execution_limit=10,
    repeated_execution_window_s=60,
    duplicate_window_s=10,
    max_open_orders=4,
    leverage=3,
    order_time_to_live_s=300,
    protective_stops=ProtectiveStops.DENY,
    stop_slippage=Decimal("0.01"),
    disaster_stop_fraction=None,
    stress_gap=Decimal("0.15"),
    funding_cap=Decimal("0.01"),
    highest_fee=Decimal("0.001"),
)
POLICY_TOML = """
allocated_capital_usdt = "4000"
max_order_notional_usdt = "500"
min_order_notional_usdt = "10"
max_gross_exposure = "1"
turnover_budget_24h = "1.5"
collar = "0.003"
fat_finger = "0.2"
exit_collar = "0.004"
reference_max_age_s = 5
reference_max_divergence = "0.005"
messages_per_s_deny = 5
messages_per_s_terminate = 20
repeated_execution_limit = 10
repeated_execution_window_s = 60
duplicate_window_s = 10
max_open_orders = 4
leverage = 3
order_time_to_live_s = 300
protective_stops = "deny"
stop_slippage = "0.01"
stress_gap = "0.15"
funding_cap = "0.01"
highest_fee = "0.001"
"""
SYMBOLS_TOML = "".join(
    f'\n[[symbols]]\ncategory = "{category.value}"\nsymbol = "{symbol}"\n'
    'max_order_quantity = "2"\nmax_notional_usdt = "2000"\n'
    for category, symbol in (SPOT_BTC, LINEAR_BTC, LINEAR_ETH)
)
"""The same policy as its file."""

SPOT = Instrument(
    category=Category.SPOT,
    symbol="BTCUSDT",
    base_coin="BTC",
    quote_coin="USDT",
    tick_size=Decimal("0.5"),
    quantity_step=Decimal("0.0001"),
    min_quantity=Decimal("0.0002"),
    max_quantity=Decimal(2),
    min_notional=Decimal(5),
)
LINEAR = Instrument(
    category=Category.LINEAR,
    symbol="BTCUSDT",
    base_coin="BTC",
    quote_coin="USDT",
    tick_size=Decimal("0.5"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(2),
    min_notional=Decimal(5),
)
ACCOUNT = AccountFacts(
    is_trusted=True,
    equity_usdt=Decimal(4000),
    working_orders=0,
    working_stops={},
    unresolved_symbols=frozenset(),
    held_base={"BTC": Decimal("0.01")},
    sellable_base={"BTC": Decimal("0.01")},
    positions={},
    working_buys={},
    working_sells={},
    turnover_used_usdt=Decimal(0),
    working_keys=frozenset(),
    unresolved_keys=(),
    leverage_unpinned_symbols=frozenset(),
    message_level=MessageLevel.FREE,
    is_terminated=False,
    repeated_execution_symbols=frozenset(),
)


def coin(reference: str | None, *, last_good: str | None = None, mark: str | None = None) -> CoinMarket:
    """Make prices of a coin; without a reference it is stale."""
    return CoinMarket(
        reference=(
            Unusable(flaw=Flaw.STALE, source=Source.INDEX) if reference is None else Usable(price=Decimal(reference))
        ),
        last_good=None if last_good is None else Decimal(last_good),
        mark=None if mark is None else Decimal(mark),
    )


def market(**coins: CoinMarket) -> MarketFacts:
    """Make a market of coins by name."""
    return MarketFacts(coins=coins)


MARKET = market(BTC=coin("50000", last_good="50000", mark="50000"), ETH=coin("2000", last_good="2000", mark="2000"))
NO_PRICES = MarketFacts(coins={})
STALE = market(BTC=coin(None, last_good="50000", mark="50000"), ETH=coin("2000", last_good="2000", mark="2000"))
