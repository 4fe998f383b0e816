"""The ceiling: ACTIVE only on an equity that can be believed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_watchdog.ceiling import (
    CLOCK_DIFFERENCE_MAX_S,
    SAMPLE_AGE_MAX_S,
    Ceiling,
    EquitySample,
    Finding,
    examine,
    judge,
)

NS_PER_S = 1_000_000_000
SAMPLE = EquitySample(
    equity_usdt=Decimal(4000),
    exchange_time_ms=1_700_000_000_000,
    received_wall_ns=1_700_000_000_000 * 1_000_000,
    received_monotonic_ns=100 * NS_PER_S,
)


def judged(finding: Finding, *, age_ns: int = 0) -> Ceiling:
    return judge(last_good=SAMPLE, finding=finding, now_monotonic_ns=SAMPLE.received_monotonic_ns + age_ns).ceiling


def test_good_fresh_sample_is_active() -> None:
    assert judged(Finding.GOOD) is Ceiling.ACTIVE


def test_no_sample_is_reduce_only() -> None:
    for finding in Finding:
        assert judge(last_good=None, finding=finding, now_monotonic_ns=1).ceiling is Ceiling.REDUCE_ONLY


@pytest.mark.parametrize(
    ("age_ns", "ceiling"),
    [
        (SAMPLE_AGE_MAX_S * NS_PER_S - 1, Ceiling.ACTIVE),
        (SAMPLE_AGE_MAX_S * NS_PER_S, Ceiling.ACTIVE),
        (SAMPLE_AGE_MAX_S * NS_PER_S + 1, Ceiling.REDUCE_ONLY),
        (3600 * NS_PER_S, Ceiling.REDUCE_ONLY),
    ],
)
def test_silence_is_bridged_until_the_sample_is_too_old(age_ns: int, ceiling: Ceiling) -> None:
    assert judged(Finding.UNAVAILABLE, age_ns=age_ns) is ceiling
    assert judged(Finding.GOOD, age_ns=age_ns) is ceiling


@pytest.mark.parametrize("finding", sorted(set(Finding) - {Finding.GOOD, Finding.UNAVAILABLE}, key=str))
def test_answer_not_to_be_believed_is_reduce_only_at_once(finding: Finding) -> None:
    assert judged(finding) is Ceiling.REDUCE_ONLY


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_differ_are_found_just_past_the_bound(sign: int) -> None:
    bound_ns = CLOCK_DIFFERENCE_MAX_S * NS_PER_S
    for offset_ns, finding in ((bound_ns, Finding.GOOD), (bound_ns + 1, Finding.CLOCKS_DISAGREE)):
        sample = replace(SAMPLE, received_wall_ns=SAMPLE.received_wall_ns + sign * offset_ns)
        assert examine(sample, previous=None) is finding


@pytest.mark.parametrize(
    ("step_ms", "finding"), [(1, Finding.GOOD), (0, Finding.TIME_STANDS_STILL), (-1, Finding.TIME_STANDS_STILL)]
)
def test_answer_that_repeats_an_old_time_is_found(step_ms: int, finding: Finding) -> None:
    later = replace(SAMPLE, exchange_time_ms=SAMPLE.exchange_time_ms + step_ms)
    assert examine(later, previous=SAMPLE) is finding


@pytest.mark.parametrize(
    ("equity", "finding"),
    [
        ("0.01", Finding.GOOD),
        ("0", Finding.NOT_POSITIVE),
        ("-0.01", Finding.NOT_POSITIVE),
        ("-500", Finding.NOT_POSITIVE),
    ],
)
def test_equity_must_be_above_zero(equity: str, finding: Finding) -> None:
    assert examine(replace(SAMPLE, equity_usdt=Decimal(equity)), previous=None) is finding
