"""The policy of a load test: counts and rates at the bounds that only a simulated gateway may have, money as usual."""

from __future__ import annotations

from trade_demo.policy import demo_policy
from trade_gateway.egress import LOAD_TEST_ORDERS_PER_S
from trade_gateway.policy.bounds import counts_at

CAPITAL_USDT = 100_000
ORDERS_PER_S = LOAD_TEST_ORDERS_PER_S
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def bench_policy() -> str:
    """Return the demo's policy, for a larger account and with its counts and rates at their bounds."""
    highest = {key: bounds[1] for key, bounds in counts_at(ORDERS_PER_S).items()}
    changes = {
        'allocated_capital_usdt = "4000"': f'allocated_capital_usdt = "{CAPITAL_USDT}"',
        'max_notional_usdt = "1000"': f'max_notional_usdt = "{CAPITAL_USDT // 4}"',
        "messages_per_s_deny = 10": f"messages_per_s_deny = {highest['messages_per_s_deny'] - 1}",
        "messages_per_s_terminate = 25": f"messages_per_s_terminate = {highest['messages_per_s_terminate']}",
        "repeated_execution_limit = 30": f"repeated_execution_limit = {highest['repeated_execution_limit']}",
        "max_open_orders = 20": f"max_open_orders = {highest['max_open_orders']}",
    }
    text = demo_policy()
    for before, after in changes.items():
        if before not in text:
            raise ValueError(f"the demo's policy no longer says {before}")
        text = text.replace(before, after)
    return text
