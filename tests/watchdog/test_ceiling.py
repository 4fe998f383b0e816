"""The ceiling: ACTIVE only on an equity that can be believed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_watchdog.ceiling import (
    CLOCK_DIFFERENCE_MAX_S,
    SAMPLE_AGE_MAX_S,
    UNEXPLAINED_BRIDGED_S,
    Ceiling,
    CoinBalance,
    EquitySample,
    Finding,
    Verdict,
    examine,
    judge,
    tightest,
)

NS_PER_S = 1_000_000_000
SAMPLE = EquitySample(
    equity_usdt=Decimal(4000),
    coins=(
        CoinBalance(coin="USDT", wallet_balance=Decimal(3000), equity=Decimal(3000), value_usdt=Decimal(3000)),
        CoinBalance(coin="BTC", wallet_balance=Decimal(1), equity=Decimal(1), value_usdt=Decimal(1000)),
    ),
    exchange_time_ms=1_700_000_000_000,
    received_wall_ns=1_700_000_000_000 * 1_000_000,
    received_monotonic_ns=100 * NS_PER_S,
)


def judged(finding: Finding, *, age_ns: int = 0) -> Ceiling:
    return judge(last_good=SAMPLE, finding=finding, now_monotonic_ns=SAMPLE.received_monotonic_ns + age_ns).ceiling


def test_good_fresh_sample_is_active() -> None:
    assert judged(Finding.GOOD) is Ceiling.ACTIVE


def test_bounds_are_those_of_the_docs() -> None:
    assert (SAMPLE_AGE_MAX_S, CLOCK_DIFFERENCE_MAX_S) == (15, 10)


def test_without_a_sample_the_finding_is_the_reason() -> None:
    def reason(finding: Finding) -> str:
        return judge(last_good=None, finding=finding, now_monotonic_ns=1).reason

    assert reason(Finding.GOOD) == reason(Finding.NEVER_READ) == "the equity was not read yet"
    assert reason(Finding.UNAVAILABLE) == "the exchange does not answer"


def test_tightest_verdict_wins_and_the_first_of_equal_ones() -> None:
    verdicts = [
        Verdict(ceiling=ceiling, reason=reason)
        for ceiling, reason in (
            (Ceiling.ACTIVE, "a"),
            (Ceiling.REDUCE_ONLY, "b"),
            (Ceiling.REDUCE_ONLY, "c"),
            (Ceiling.TRIMMED, "d"),
        )
    ]
    assert tightest(*verdicts).reason == "b"
    assert tightest(verdicts[3], verdicts[0]).reason == "d"
    assert verdicts[0].scale == 1


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


def test_unexplained_step_is_bridged_for_moments_only() -> None:
    assert UNEXPLAINED_BRIDGED_S == 5
    assert judged(Finding.UNEXPLAINED, age_ns=5 * NS_PER_S) is Ceiling.ACTIVE
    assert judged(Finding.UNEXPLAINED, age_ns=5 * NS_PER_S + 1) is Ceiling.REDUCE_ONLY


BRIDGED = {Finding.GOOD, Finding.UNAVAILABLE, Finding.UNEXPLAINED}


@pytest.mark.parametrize("finding", sorted(set(Finding) - BRIDGED, key=str))
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
    coin = CoinBalance(coin="USDT", wallet_balance=Decimal(9), equity=Decimal(equity), value_usdt=Decimal(equity))
    assert examine(replace(SAMPLE, equity_usdt=Decimal(equity), coins=(coin,)), previous=None) is finding


@pytest.mark.parametrize(
    ("equity", "value", "finding"),
    [
        ("1", "0", Finding.UNPRICED),
        ("-1", "0", Finding.UNPRICED),
        ("1", "-0.001", Finding.CONTRADICTORY),
        ("-1", "0.001", Finding.CONTRADICTORY),
        ("-1", "-0.001", Finding.GOOD),
        ("0", "0", Finding.GOOD),
        ("0.000001", "0.001", Finding.GOOD),
    ],
)
def test_coin_that_is_held_must_be_worth_something(equity: str, value: str, finding: Finding) -> None:
    odd = CoinBalance(coin="ODD", wallet_balance=Decimal(1), equity=Decimal(equity), value_usdt=Decimal(value))
    assert examine(replace(SAMPLE, coins=(*SAMPLE.coins, odd)), previous=None) is finding


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ("1005", Finding.GOOD),
        ("1005.0001", Finding.CONTRADICTORY),
        ("995", Finding.GOOD),
        ("994.9999", Finding.CONTRADICTORY),
    ],
)
def test_coins_must_add_up_to_the_equity(value: str, finding: Finding) -> None:
    coin = CoinBalance(coin="USDT", wallet_balance=Decimal(1), equity=Decimal(1), value_usdt=Decimal(value))
    assert examine(replace(SAMPLE, equity_usdt=Decimal(1000), coins=(coin,)), previous=None) is finding


def test_ceilings_are_ranked_from_wide_to_tight() -> None:
    assert [ceiling.rank for ceiling in Ceiling] == [0, 1, 2, 3]
    assert [ceiling.value for ceiling in Ceiling] == ["ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED"]
