"""The figures of the policy guide are those that the gateway computes."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trade_demo.policy import demo_policy
from trade_gateway.policy.hostile_loss import check_start, hostile_loss, stress_loss
from trade_gateway.policy.limits import parse_policy
from trade_gateway.policy.model import Policy, ProtectiveStops

GUIDE = Path(__file__).resolve().parents[2] / "docs/policy-guide.md"
EQUITY = Decimal(4000)
POLICY = parse_policy(demo_policy().encode())
CHOICES: dict[str, dict[str, Any]] = {
    "the demo's": {},
    "calm": {"turnover_budget_24h": "0.5", "max_gross_exposure": "0.5"},
    "half exposure": {"max_gross_exposure": "0.5"},
    "liquid coins only": {"collar": "0.001", "exit_collar": "0.002", "stop_slippage": "0.002"},
    "busy": {"turnover_budget_24h": "4", "max_gross_exposure": "0.8"},
    "too busy": {"turnover_budget_24h": "6"},
    "wide collar": {"collar": "0.01", "exit_collar": "0.01"},
    "without stops": {"protective_stops": ProtectiveStops.DENY},
    "wider stops": {"stop_slippage": "0.01", "max_gross_exposure": "0.9"},
    "wider stops, too much": {"stop_slippage": "0.01"},
    "wide stops": {
        "stop_slippage": "0.02",
        "turnover_budget_24h": "1",
        "max_gross_exposure": "0.7",
    },
    "double exposure": {"max_gross_exposure": "2", "leverage": 2},
}


def policy_of(changes: dict[str, Any]) -> Policy:
    typed: dict[str, Any] = {k: Decimal(v) if isinstance(v, str) else v for k, v in changes.items()}
    return replace(POLICY, **typed)


def shown(key: str, value: Any) -> str:
    return (
        f'`{key} = "{value.value}"`' if isinstance(value, ProtectiveStops) else f"`{key} = {value!r}`".replace("'", '"')
    )


def row(name: str) -> str:
    policy = policy_of(CHOICES[name])
    hostile = hostile_loss(policy, equity_usdt=EQUITY)
    stress = stress_loss(policy, equity_usdt=EQUITY)
    both = hostile.fraction + stress.fraction
    keys = ", ".join(shown(key, value) for key, value in CHOICES[name].items()) or "none"
    starts = "yes" if check_start(policy, equity_usdt=EQUITY) is None else "no"
    return (
        f"| {name} | {keys} | {hostile.usdt:.2f} ({hostile.fraction:.2%}) | {stress.usdt:.2f} ({stress.fraction:.2%}) "
        f"| {both:.2%} | {starts} |"
    )


def test_guide_lists_exactly_the_choices_that_are_computed() -> None:
    rows = re.findall(r"^\| .* \| (?:yes|no) \|$", GUIDE.read_text(), re.M)
    assert rows == [row(name) for name in CHOICES]


def test_guide_shows_choices_that_start_and_choices_that_do_not() -> None:
    refused = {name for name in CHOICES if check_start(policy_of(CHOICES[name]), equity_usdt=EQUITY) is not None}
    assert refused == {"too busy", "wide collar", "wider stops, too much", "double exposure"}


def test_demo_policy_keeps_the_published_figures() -> None:
    hostile, stress = hostile_loss(POLICY, equity_usdt=EQUITY), stress_loss(POLICY, equity_usdt=EQUITY)
    assert hostile.fraction <= Decimal("0.02")
    assert hostile.fraction + stress.fraction <= Decimal("0.18")
    assert POLICY.exit_collar <= Decimal("0.004")


@pytest.mark.parametrize(
    ("key", "step", "more"), [("turnover_budget_24h", "1", "0.009004"), ("max_gross_exposure", "0.1", "0.0005004")]
)
def test_guide_says_what_a_step_of_a_limit_costs(key: str, step: str, more: str) -> None:
    changes: dict[str, Any] = {key: getattr(POLICY, key) + Decimal(step)}
    grown = hostile_loss(replace(POLICY, **changes), equity_usdt=EQUITY)
    assert grown.fraction - hostile_loss(POLICY, equity_usdt=EQUITY).fraction == Decimal(more)
    if key == "max_gross_exposure":
        gap = stress_loss(replace(POLICY, **changes), equity_usdt=EQUITY).fraction
        assert gap - stress_loss(POLICY, equity_usdt=EQUITY).fraction == Decimal("0.016")
