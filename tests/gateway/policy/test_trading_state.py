"""The order of the trading states is what `max` of several holders relies on."""

from __future__ import annotations

from trade_gateway.policy.trading_state import TradingState


def test_states_are_ordered_from_free_to_stopped() -> None:
    names = [state.name for state in sorted(TradingState)]
    assert names == ["ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED", "KILLED"]
    assert max(TradingState.TRIMMED, TradingState.HALTED, TradingState.ACTIVE) is TradingState.HALTED


def test_states_have_the_numbers_that_rows_and_metrics_carry() -> None:
    assert [(state.name, state.value) for state in TradingState] == [
        ("ACTIVE", 0),
        ("TRIMMED", 1),
        ("REDUCE_ONLY", 2),
        ("HALTED", 3),
        ("KILLED", 4),
    ]
