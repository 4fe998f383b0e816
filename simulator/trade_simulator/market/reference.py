"""Funding rates and open interest: functions of the seed and the time, so that their past needs no storage."""

import random
from decimal import Decimal
from typing import Final

from trade_simulator.instruments import Instrument
from trade_simulator.market.series import FundingPoint, OpenInterestPoint

_OPEN_INTEREST_STEP_MS: Final = 300_000
_BASE_RATE: Final = 100
_RATE_QUANTUM: Final = Decimal("0.000001")


def funding_interval_ms(instrument: Instrument) -> int:
    """Return the time between settlements."""
    return instrument.funding_interval_min * 60_000


def next_funding_ms(instrument: Instrument, now_ms: int) -> int:
    """Return the first settlement after a time."""
    interval_ms = funding_interval_ms(instrument)
    return (now_ms // interval_ms + 1) * interval_ms


def funding_rate(seed: int, instrument: Instrument, at_ms: int) -> Decimal:
    """Return the rate that is settled at a time: 0.01 % a period, give or take."""
    draw = random.Random(f"{seed}/funding/{instrument.symbol}/{at_ms}")  # noqa: S311 - repeats with the seed
    rate = (_BASE_RATE + draw.randint(-150, 150)) * _RATE_QUANTUM
    return max(-instrument.max_funding_rate, min(instrument.max_funding_rate, rate))


def funding_points(
    seed: int, instrument: Instrument, *, start_ms: int | None, end_ms: int, limit: int
) -> list[FundingPoint]:
    """Return settled rates, newest first."""
    interval_ms = funding_interval_ms(instrument)
    earliest_ms = max(instrument.launched_at_ms, start_ms or 0)
    newest_ms = end_ms // interval_ms * interval_ms
    times = range(newest_ms, earliest_ms - 1, -interval_ms)[:limit]
    return [
        FundingPoint(symbol=instrument.symbol, funding_rate=funding_rate(seed, instrument, at_ms), at_ms=at_ms)
        for at_ms in times
    ]


def open_interest(seed: int, instrument: Instrument, at_ms: int) -> Decimal:
    """Return the open interest, in base coin, of the five minutes that a time lies in."""
    slot = at_ms // _OPEN_INTEREST_STEP_MS
    draw = random.Random(f"{seed}/interest/{instrument.symbol}/{slot}")  # noqa: S311 - repeats with the seed
    lots = int(instrument.max_limit_quantity / instrument.quantity_step) * 40
    return instrument.quantity_step * (lots + draw.randint(-lots // 100, lots // 100))


def open_interest_points(
    seed: int, instrument: Instrument, *, interval_ms: int, start_ms: int | None, end_ms: int, limit: int
) -> list[OpenInterestPoint]:
    """Return open interest at the start of intervals, newest first."""
    earliest_ms = max(instrument.launched_at_ms, start_ms or 0)
    times = range(end_ms // interval_ms * interval_ms, earliest_ms - 1, -interval_ms)[:limit]
    return [OpenInterestPoint(open_interest=open_interest(seed, instrument, at_ms), at_ms=at_ms) for at_ms in times]
