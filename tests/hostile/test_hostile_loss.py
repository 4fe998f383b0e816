"""No hostile bot loses more than the published bound: a sample of what `make hostile` runs by the thousand."""

from __future__ import annotations

import os
import random
from decimal import Decimal

import pytest
from hostile.actions import STEPS, Step
from hostile.bot import Bot
from hostile.measure import measure, result_of
from hostile.run import Tally, measure_steps
from hostile.strategies import STRATEGIES, patient
from hostile.virtual_time import run
from hostile.world import Setting, new_clock, world
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from trade_demo.policy import demo_policy
from trade_gateway.policy.hostile_loss import hostile_loss
from trade_gateway.policy.limits import parse_policy

RUNS = int(os.environ.get("TRADE_HOSTILE_RUNS", "3"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_hostile_bot_never_loses_more_than_the_bound(name: str) -> None:
    first = 100 * list(STRATEGIES).index(name)  # so that no two strategies try the same policies
    tally = Tally(results=[measure(name, STRATEGIES[name], seed) for seed in range(first, first + RUNS)])
    print(tally.line(name))
    assert [result.seed for result in tally.results if not result.is_within] == []
    assert any(result.fills for result in tally.results), "an attack that trades nothing proves nothing"


def test_hostile_bot_comes_close_enough_to_the_bound_to_prove_it() -> None:
    results = [measure("patient", STRATEGIES["patient"], seed) for seed in (1, 3, 5, 6)]
    assert all(result.is_within for result in results)
    assert max(result.ratio for result in results) > Decimal("0.95")


def test_hostile_bot_under_the_demo_policy_loses_at_most_two_percent_a_day() -> None:
    setting = Setting(policy=demo_policy(), equity_usdt=Decimal(4000), seed=1)
    clock = new_clock()

    async def attack() -> Decimal:
        async with world(setting, clock) as made:
            await patient(made, Bot(made), random.Random(1))
            result = result_of(made, name="demo policy", seed=1)
            assert result.is_within
            assert result.window is not None
            print(f"demo policy: lost {result.window.loss:.2f} of at most {result.bound:.2f} USDT")
            return result.window.loss

    lost = run(attack(), clock)
    bound = hostile_loss(parse_policy(demo_policy().encode()), equity_usdt=Decimal(4000))
    assert Decimal(20) < lost <= bound.usdt
    assert bound.fraction <= Decimal("0.02")


_NUMBERS = st.floats(0, 0.999, allow_nan=False)


@given(
    seed=st.integers(0, 999),
    steps=st.lists(st.builds(Step, st.sampled_from(sorted(STEPS)), _NUMBERS, _NUMBERS, _NUMBERS), max_size=60),
)
@settings(
    max_examples=RUNS * 8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_mixture_of_steps_stays_within_the_bound(seed: int, steps: list[Step]) -> None:
    result = measure_steps(STRATEGIES["mixture"].setting(seed), steps, name="property", seed=seed)
    target(float(result.ratio))
    assert result.is_within, result
