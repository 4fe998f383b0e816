"""The invented past: long enough, without gaps, and the same in whatever order it is asked for."""

import itertools

import pytest

from trade_simulator.market.candles import Bar, aggregate, bar_end_ms, bar_start_ms
from trade_simulator.market.history import KEPT_BARS_MAX, History
from trade_simulator.market.series import Interval

START_MS = 1_790_000_123_456
START_TICKS = 600_000


def history(seed: str = "7") -> History:
    return History(seed=seed, start_ms=START_MS, start_ticks=START_TICKS, lots_scale=10)


def fields(bar: Bar) -> tuple[int, ...]:
    return bar.start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover


@pytest.mark.parametrize("interval", Interval)
def test_history_of_every_interval_is_long_gapless_and_plausible(interval: Interval) -> None:
    bars = history().bars(interval)
    longest = {Interval.WEEK: 1_042, Interval.MONTH: 239}.get(interval, KEPT_BARS_MAX)
    assert longest <= len(bars) <= KEPT_BARS_MAX
    assert bars[-1].start_ms == bar_start_ms(interval, START_MS - 60_000)
    assert bars[-1].close == START_TICKS
    for before, after in itertools.pairwise(bars):
        assert bar_end_ms(interval, before.start_ms) == after.start_ms
        assert before.close == after.open
    for bar in bars:
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume > 0


@pytest.mark.parametrize(
    ("short", "long"), [(Interval.M1, Interval.M15), (Interval.M30, Interval.H1), (Interval.H12, Interval.DAY)]
)
def test_history_of_a_longer_interval_is_joined_from_the_shorter(short: Interval, long: Interval) -> None:
    made = history()
    whole = aggregate(made.bars(short), long)[1:]  # the first may have begun before the bars that are kept
    assert len(whole) > 100
    assert [fields(bar) for bar in whole] == [fields(bar) for bar in made.bars(long)[-len(whole) :]]


def test_history_does_not_depend_on_the_order_of_the_questions() -> None:
    forwards, backwards = history(), history()
    first = {interval: [fields(bar) for bar in forwards.bars(interval)] for interval in Interval}
    second = {interval: [fields(bar) for bar in backwards.bars(interval)] for interval in reversed(Interval)}
    assert first == second


def test_history_of_another_seed_is_another() -> None:
    assert [fields(bar) for bar in history("8").bars(Interval.M1)] != [
        fields(bar) for bar in history("7").bars(Interval.M1)
    ]


def test_history_is_known_interval_by_interval() -> None:
    made = history()
    made.bars(Interval.M15)
    assert made.knows(Interval.M15)
    assert not made.knows(Interval.M1)


def test_history_that_would_begin_before_the_epoch_begins_with_it() -> None:
    young = History(seed="7", start_ms=400 * 86_400_000, start_ticks=START_TICKS, lots_scale=1)
    assert young.bars(Interval.DAY)[0].start_ms == 0
