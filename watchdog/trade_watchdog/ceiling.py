"""How much risk the watchdog vouches for, from what it saw of the account. Pure.

Guarantees: ACTIVE only on an equity that was read, is a positive plain number, carries a time of the exchange that
agrees with our clock and has moved on, and is at most SAMPLE_AGE_MAX_S old. Anything else is REDUCE_ONLY.
It never halts or kills: a number that cannot be read proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, unique
from typing import Final

from trade_core.clock import NS_PER_MS, NS_PER_S

SAMPLE_AGE_MAX_S: Final = 15  # three missed readings: one slow answer must not stop trading, a dead exchange must
SUM_DIFFERENCE_MAX: Final = Decimal("0.005")
"""The exchange rounds each coin's value; more than this part of the equity is no rounding."""
UNEXPLAINED_BRIDGED_S: Final = 5
"""The log may lag behind the balance by moments. Each fill would else cancel what works."""
CLOCK_DIFFERENCE_MAX_S: Final = 10  # beyond it either clock is wrong, and nothing with a time in it can be believed


@unique
class Ceiling(Enum):
    """The ceilings that a lease may carry, from the widest to the tightest."""

    ACTIVE = "ACTIVE"
    TRIMMED = "TRIMMED"
    REDUCE_ONLY = "REDUCE_ONLY"
    HALTED = "HALTED"

    @property
    def rank(self) -> int:
        """How tight it is; ACTIVE is 0."""
        return list(Ceiling).index(self)


@unique
class Finding(Enum):
    """What the last attempt to read the equity found."""

    NEVER_READ = "never_read"
    GOOD = "good"
    UNAVAILABLE = "unavailable"
    UNREADABLE = "unreadable"
    NOT_POSITIVE = "not_positive"
    UNPRICED = "unpriced"
    CONTRADICTORY = "contradictory"
    UNEXPLAINED = "unexplained"
    TIME_STANDS_STILL = "time_stands_still"
    CLOCKS_DISAGREE = "clocks_disagree"
    NOT_SIMULATED = "not_simulated"
    DISPUTED = "disputed"


_WORDS: Final = {
    Finding.NEVER_READ: "the equity was not read yet",
    Finding.GOOD: "the equity is read and fresh",
    Finding.UNAVAILABLE: "the exchange does not answer",
    Finding.UNREADABLE: "the exchange's answer holds no readable equity",
    Finding.NOT_POSITIVE: "the equity is not above zero",
    Finding.UNPRICED: "a coin of the account has no price",
    Finding.CONTRADICTORY: "the coins' values do not add up to the equity",
    Finding.UNEXPLAINED: "a balance changed and no entry of the exchange's log says why",
    Finding.TIME_STANDS_STILL: "the exchange repeats an old answer",
    Finding.CLOCKS_DISAGREE: "the exchange's clock and ours disagree",
    Finding.NOT_SIMULATED: "the exchange does not say that it is simulated",
    Finding.DISPUTED: "two venues do not agree on what a coin is worth",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinBalance:
    """One coin of the account: its wallet balance, its equity with unrealised results, and what that is worth."""

    coin: str
    wallet_balance: Decimal
    equity: Decimal
    value_usdt: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EquitySample:
    """One reading: equity in USDT, the coins it is made of, the exchange's own time, and when it reached us."""

    equity_usdt: Decimal
    coins: tuple[CoinBalance, ...]
    exchange_time_ms: int
    received_wall_ns: int
    received_monotonic_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The ceiling and why; `scale` is the size factor that counts while TRIMMED.

    `figure` is what was found of what is allowed, empty where nothing is counted or the ladder knows it.
    """

    ceiling: Ceiling
    reason: str
    scale: Decimal = Decimal(1)
    figure: str = ""


def tightest(*verdicts: Verdict) -> Verdict:
    """Return the tightest of some verdicts, the first of equal ones. There must be one."""
    return max(verdicts, key=lambda verdict: verdict.ceiling.rank)


def examine(sample: EquitySample, *, previous: EquitySample | None) -> Finding:
    """Say whether a new sample can be believed. `previous` is the last one that was."""
    difference_ns = abs(sample.exchange_time_ms * NS_PER_MS - sample.received_wall_ns)
    if difference_ns > CLOCK_DIFFERENCE_MAX_S * NS_PER_S:
        return Finding.CLOCKS_DISAGREE
    if previous is not None and sample.exchange_time_ms <= previous.exchange_time_ms:
        return Finding.TIME_STANDS_STILL
    if sample.equity_usdt <= 0:
        return Finding.NOT_POSITIVE
    if any(coin.equity != 0 and coin.value_usdt == 0 for coin in sample.coins):
        return Finding.UNPRICED
    if any(coin.equity * coin.value_usdt < 0 for coin in sample.coins):
        return Finding.CONTRADICTORY  # a price below zero: what differs could add up to nothing
    total = sum((coin.value_usdt for coin in sample.coins), Decimal(0))
    if abs(total - sample.equity_usdt) > sample.equity_usdt * SUM_DIFFERENCE_MAX:
        return Finding.CONTRADICTORY
    return Finding.GOOD


def judge(*, last_good: EquitySample | None, finding: Finding, now_monotonic_ns: int) -> Verdict:
    """Decide the ceiling from the last believed sample and what the newest attempt found."""
    if last_good is None:
        found = Finding.NEVER_READ if finding is Finding.GOOD else finding
        return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=_WORDS[found])
    # A silence is bridged by the last sample for a while; an answer that cannot be believed is not.
    if finding not in {Finding.GOOD, Finding.UNAVAILABLE, Finding.UNEXPLAINED}:
        return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=_WORDS[finding])
    age_ns = now_monotonic_ns - last_good.received_monotonic_ns
    if finding is Finding.UNEXPLAINED and age_ns > UNEXPLAINED_BRIDGED_S * NS_PER_S:
        return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=_WORDS[finding])
    if age_ns > SAMPLE_AGE_MAX_S * NS_PER_S:
        return Verdict(
            ceiling=Ceiling.REDUCE_ONLY, reason=f"the equity was last read more than {SAMPLE_AGE_MAX_S} s ago"
        )
    return Verdict(ceiling=Ceiling.ACTIVE, reason=_WORDS[finding])
