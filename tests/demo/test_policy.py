"""The demo's policy is one that the gateway takes, with room for the demo's stakes."""

from trade_demo.options import Mode
from trade_demo.policy import LEVERAGE, MAX_ORDER_NOTIONAL_USDT, STAKE_USDT, demo_policy
from trade_gateway.policy.limits import parse_policy


def test_policy_is_what_the_gateway_reads_and_leaves_room_for_the_stake() -> None:
    policy = parse_policy(demo_policy().encode())
    assert {category.value for category, _ in policy.symbols} == {"spot", "linear"}
    assert len(policy.symbols) == 6
    assert policy.leverage == LEVERAGE
    for mode in Mode:
        assert STAKE_USDT[mode] * LEVERAGE <= policy.max_order_notional_usdt / 2 == MAX_ORDER_NOTIONAL_USDT / 2
