"""The ladder: each rung fires where the table says and nowhere else, and only a person's word lifts what latches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_core.clock import NS_PER_S
from trade_watchdog.ceiling import Ceiling
from trade_watchdog.ladder import (
    EFFECTS,
    HOUR_MS,
    PRICE_QUANTUM,
    RELEASABLE,
    STEP_MAX_MS,
    WINDOW_MS,
    Change,
    Effect,
    Ladder,
    LadderMemory,
    Move,
    Rung,
    Stage,
    Thresholds,
    drawdown,
    is_down,
)
from trade_watchdog.peaks import BUCKETS

FRACTIONS = {
    Rung.DAILY: Decimal("0.05"),
    Rung.WEEKLY: Decimal("0.08"),
    Rung.MONTHLY: Decimal("0.15"),
    Rung.HIGH_WATER: Decimal("0.18"),
}
THRESHOLDS = Thresholds(fractions=FRACTIONS, trim_scale=Decimal("0.5"))
START_MS = 1_700_000_000_000


@dataclass
class Walk:
    """A ladder and the clock that it is walked with."""

    ladder: Ladder = field(default_factory=lambda: Ladder(THRESHOLDS))
    now_ms: int = START_MS
    changes: list[tuple[str, str]] = field(default_factory=list)

    def take(self, price: str | Decimal, *, after_ms: int = 1000) -> tuple[Change, ...]:
        self.now_ms += after_ms
        made = self.ladder.take(price=Decimal(price), at_ms=self.now_ms, monotonic_ns=self.now_ms * 1_000_000)
        self.changes += [(change.rung.value, change.move.value) for change in made]
        return made

    def stand(self, price: str, *, samples: int = 3, after_ms: int = 1000) -> Walk:
        for _ in range(samples):
            self.take(price, after_ms=after_ms)
        return self

    @property
    def ceiling(self) -> Ceiling:
        return self.ladder.demand().ceiling

    @property
    def reason(self) -> str:
        return self.ladder.demand().reason

    def stage(self, rung: Rung) -> Stage:
        return self.ladder.memory().stages[rung]

    def pass_time(self, ms: int, price: str) -> Walk:
        """Let observed time pass at a price, in the longest steps that count whole."""
        while ms > 0:
            self.take(price, after_ms=min(ms, STEP_MAX_MS))
            ms -= STEP_MAX_MS
        return self


def begun() -> Walk:
    return Walk().stand("1")


def test_table_of_windows_and_effects() -> None:
    assert WINDOW_MS == {
        Rung.DAILY: 86_400_000,
        Rung.WEEKLY: 604_800_000,
        Rung.MONTHLY: 2_592_000_000,
        Rung.HIGH_WATER: None,
    }
    assert EFFECTS == {
        Rung.DAILY: Effect.REVIEW,
        Rung.WEEKLY: Effect.TRIM,
        Rung.MONTHLY: Effect.HALT,
        Rung.HIGH_WATER: Effect.KILL,
    }
    assert RELEASABLE == (Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY)
    assert HOUR_MS == 3_600_000
    assert STEP_MAX_MS == 600_000


def test_new_ladder_permits_nothing_until_three_samples_stand() -> None:
    walk = Walk()
    assert walk.ceiling is Ceiling.REDUCE_ONLY
    walk.stand("1", samples=2)
    assert (walk.ceiling, walk.reason) == (Ceiling.REDUCE_ONLY, "3 samples are needed to begin")
    walk.take("1")
    assert (walk.ceiling, walk.reason) == (Ceiling.ACTIVE, "")
    assert walk.ladder.demand().scale == 1
    assert walk.ladder.peaks() == dict.fromkeys(Rung, Decimal(1))
    assert walk.changes == []


def test_new_ladder_has_observed_nothing() -> None:
    memory = Ladder(THRESHOLDS).memory()
    assert (memory.observed_ms, memory.at_ms, memory.high_water) == (0, 0, None)
    assert memory.since_ms == dict.fromkeys(Rung, 0)
    assert begun().ladder.observed_ms == STEP_MAX_MS + 2000


def test_rung_without_a_peak_of_its_own_still_needs_three_samples() -> None:
    ladder = Ladder(THRESHOLDS)
    ladder.raise_peaks({Rung.DAILY: Decimal(1)})
    assert ladder.demand().ceiling is Ceiling.REDUCE_ONLY


def test_breach_that_comes_back_at_once_freezes_at_once() -> None:
    walk = begun()
    walk.take("0.95", after_ms=1000)
    walk.take("1", after_ms=100)
    assert walk.ceiling is Ceiling.ACTIVE
    walk.take("0.95", after_ms=100)
    assert walk.reason == "the daily rung is reached, 1 of 3 samples"


def test_samples_less_than_a_second_apart_count_as_one() -> None:
    walk = Walk().stand("1", samples=20, after_ms=99)
    assert walk.ladder.confirmed_high is None
    walk.take("1", after_ms=20)
    assert walk.ladder.confirmed_high is None  # 1.0 s after the first, and 0.99 s would not do
    assert Walk().stand("1", samples=3, after_ms=1000).ladder.confirmed_high == 1
    assert Walk().stand("1", samples=3, after_ms=999).ladder.confirmed_high is None


RUNGS = [
    ("0.95", [("daily", "fired")], Ceiling.ACTIVE),
    ("0.92", [("daily", "fired"), ("weekly", "fired")], Ceiling.TRIMMED),
    ("0.85", [("daily", "fired"), ("weekly", "fired"), ("monthly", "fired")], Ceiling.HALTED),
    ("0.82", [(rung.value, "fired") for rung in Rung], Ceiling.HALTED),
]


@pytest.mark.parametrize(("price", "fired", "ceiling"), RUNGS)
def test_third_sample_exactly_at_a_rung_fires_it_and_those_above(
    price: str, fired: list[tuple[str, str]], ceiling: Ceiling
) -> None:
    walk = begun()
    walk.take(price)
    assert (walk.ceiling, walk.changes) == (Ceiling.REDUCE_ONLY, [])
    walk.take(price)
    assert (walk.ceiling, walk.changes) == (Ceiling.REDUCE_ONLY, [])
    walk.take(price)
    assert walk.changes == fired
    assert walk.ceiling is ceiling
    walk.stand(price)
    assert walk.changes == fired


@pytest.mark.parametrize(("price", "fired", "_ceiling"), RUNGS)
def test_sample_a_quantum_of_rounding_above_a_rung_does_not_trip_it(
    price: str, fired: list[tuple[str, str]], _ceiling: Ceiling
) -> None:
    walk = begun().stand(str(Decimal(price) + PRICE_QUANTUM))
    assert walk.changes == fired[:-1]


def test_freeze_names_the_rung_and_counts_the_samples() -> None:
    walk = begun()
    walk.take("0.9501")
    assert walk.ceiling is Ceiling.ACTIVE
    walk.take("0.95")
    assert walk.reason == "the daily rung is reached, 1 of 3 samples"
    assert [reading.breaching_samples for reading in walk.ladder.readings()] == [1, 0, 0, 0]
    walk.take("0.95")
    assert walk.reason == "the daily rung is reached, 2 of 3 samples"
    walk.take("0.9501")
    assert (walk.ceiling, walk.changes) == (Ceiling.ACTIVE, [])
    walk.stand("0.95", samples=2)
    assert walk.changes == []
    walk.take("0.95")
    assert walk.changes == [("daily", "fired")]
    assert [reading.breaching_samples for reading in walk.ladder.readings()] == [0, 0, 0, 0]


def test_breaching_samples_count_only_a_second_apart_and_freeze_at_once() -> None:
    walk = begun()
    walk.take("0.95", after_ms=10)
    assert walk.ceiling is Ceiling.REDUCE_ONLY
    walk.take("0.95", after_ms=999)
    walk.take("0.95", after_ms=0)
    assert walk.reason == "the daily rung is reached, 1 of 3 samples"
    walk.take("0.95", after_ms=1)
    assert walk.reason == "the daily rung is reached, 2 of 3 samples"
    walk.take("0.95", after_ms=999)
    assert walk.changes == []
    walk.take("0.95", after_ms=1)
    assert walk.changes == [("daily", "fired")]


@pytest.mark.parametrize("wild", ["0.0001", "0.5", "1.06", "10000"])
@pytest.mark.parametrize("samples", [1, 2])
def test_wild_samples_freeze_and_change_nothing(wild: str, samples: int) -> None:
    walk = begun()
    walk.stand(wild, samples=samples)
    assert walk.ceiling is Ceiling.REDUCE_ONLY
    walk.stand("1")
    assert walk.ceiling is Ceiling.ACTIVE
    assert walk.changes == []
    assert walk.ladder.peaks() == dict.fromkeys(Rung, Decimal(1))


def test_samples_that_differ_too_much_say_so() -> None:
    walk = begun()
    walk.take("1.05")
    assert walk.ceiling is Ceiling.ACTIVE
    walk = begun()
    walk.take("1.053", after_ms=10)
    assert walk.reason == "samples differ by more than 5 %; three in a row must agree"
    assert walk.ladder.demand().scale == 1


def test_samples_that_differ_by_just_the_bound_agree() -> None:
    walk = Walk().stand("0.95")
    walk.take("1")
    assert walk.ceiling is Ceiling.ACTIVE
    walk.take("1.000001")
    assert walk.ceiling is Ceiling.REDUCE_ONLY


def test_wild_first_sample_becomes_no_peak() -> None:
    walk = Walk().stand("10", samples=1).stand("1", samples=2)
    assert walk.ladder.peaks() == dict.fromkeys(Rung, Decimal(1))
    walk.stand("1")
    assert (walk.ceiling, walk.changes) == (Ceiling.ACTIVE, [])


def test_high_that_stands_for_three_samples_is_a_peak() -> None:
    walk = begun().stand("1.04", samples=2)
    assert walk.ladder.peaks()[Rung.HIGH_WATER] == 1
    walk.take("1.03")
    assert walk.ladder.peaks() == dict.fromkeys(Rung, Decimal("1.03"))
    assert walk.ladder.confirmed_high == Decimal("1.03")


def test_fired_figures_are_those_of_the_decision() -> None:
    walk = begun().stand("0.9", samples=2)
    fired = walk.take("0.9")
    assert fired[0] == Change(
        rung=Rung.DAILY, move=Move.FIRED, price=Decimal("0.9"), peak=Decimal(1), drawdown=Decimal("0.1")
    )
    reading = walk.ladder.readings()[1]
    assert (reading.rung, reading.stage, reading.fraction) == (Rung.WEEKLY, Stage.FIRED, Decimal("0.08"))
    assert (reading.peak, reading.drawdown, reading.since_ms) == (Decimal(1), Decimal("0.1"), walk.now_ms)
    assert (walk.ladder.demand().scale, walk.reason) == (Decimal("0.5"), "the weekly rung has fired")


def test_daily_rung_waits_for_the_acknowledgement_and_arms_again_once_recovered() -> None:
    walk = begun().stand("0.95").stand("1")
    assert walk.stage(Rung.DAILY) is Stage.FIRED
    done = walk.ladder.acknowledge(Rung.DAILY)
    assert done is not None
    assert (done.rung, done.move, done.price) == (Rung.DAILY, Move.ACKNOWLEDGED, Decimal(1))
    assert walk.stage(Rung.DAILY) is Stage.ACKNOWLEDGED
    assert walk.ladder.acknowledge(Rung.DAILY) is None
    walk.stand("1", samples=2)
    assert walk.changes == [("daily", "fired")]
    walk.take("1")
    assert walk.changes == [("daily", "fired"), ("daily", "cleared")]
    walk.stand("0.95")
    assert walk.changes[2:] == [("daily", "fired")]


def test_acknowledged_rung_neither_fires_nor_clears_while_down() -> None:
    walk = begun().stand("0.95")
    walk.ladder.acknowledge(Rung.DAILY)
    walk.stand("0.94", samples=5).stand("0.9625", samples=5)
    assert walk.changes == [("daily", "fired")]
    assert walk.ceiling is Ceiling.ACTIVE
    walk.stand("0.96251")
    assert walk.changes[1:] == [("daily", "cleared")]


@pytest.mark.parametrize("rung", [Rung.WEEKLY, Rung.MONTHLY, Rung.HIGH_WATER])
def test_only_the_daily_rung_can_be_acknowledged(rung: Rung) -> None:
    walk = begun().stand("0.5")
    assert walk.ladder.acknowledge(rung) is None
    assert walk.stage(rung) is Stage.FIRED
    assert begun().ladder.acknowledge(Rung.DAILY) is None


def test_trimmed_clears_by_itself_with_hysteresis() -> None:
    walk = begun().stand("0.92").stand("0.94", samples=10)
    assert walk.ceiling is Ceiling.TRIMMED
    walk.stand("0.94000001", samples=2)
    assert [reading.breaching_samples for reading in walk.ladder.readings()] == [0, 0, 0, 0]
    walk.take("0.94")
    walk.stand("0.94000001", samples=2)
    assert walk.ceiling is Ceiling.TRIMMED
    walk.take("0.94000001")
    assert walk.ceiling is Ceiling.ACTIVE
    assert walk.changes[2:] == [("weekly", "cleared")]


@pytest.mark.parametrize(("price", "rung"), [("0.85", Rung.MONTHLY), ("0.82", Rung.HIGH_WATER)])
def test_halt_and_kill_stay_through_any_recovery(price: str, rung: Rung) -> None:
    walk = begun().stand(price).stand("2", samples=20).pass_time(31 * 24 * HOUR_MS, "2")
    assert walk.ceiling is Ceiling.HALTED
    assert walk.reason.endswith("rung has fired")
    assert walk.stage(rung) is Stage.FIRED


def test_release_rebases_the_named_windows_and_never_the_mark() -> None:
    walk = begun().stand("0.85")
    for rung in RELEASABLE:
        change = walk.ladder.rebase(rung)
        assert change is not None
        assert (change.rung, change.move, change.price) == (rung, Move.REBASED, Decimal("0.85"))
        assert (change.peak, change.drawdown) == (Decimal("0.85"), Decimal(0))
    assert walk.ceiling is Ceiling.ACTIVE
    assert walk.ladder.peaks() == {**dict.fromkeys(RELEASABLE, Decimal("0.85")), Rung.HIGH_WATER: Decimal(1)}
    walk.stand("0.82", samples=3)
    assert walk.changes[3:] == [("high_water", "fired")]
    assert walk.ceiling is Ceiling.HALTED


def test_release_after_a_kill_rebases_the_mark() -> None:
    walk = begun().stand("0.82")
    for rung in Rung:
        change = walk.ladder.rebase(rung)
        assert change is not None
        assert (change.move, change.peak, change.drawdown) == (Move.REBASED, Decimal("0.82"), Decimal(0))
    assert walk.ceiling is Ceiling.ACTIVE
    assert set(walk.ladder.peaks().values()) == {Decimal("0.82")}
    again = Ladder(THRESHOLDS)
    again.recall_peak(Decimal(1), observed_ms=0)
    for rung in Rung:
        again.recall_rebase(rung, Decimal("0.82"), observed_ms=1)
    again.restore(walk.ladder.memory())
    assert again.peaks() == walk.ladder.peaks()


def test_rung_that_the_release_does_not_name_stays_fired() -> None:
    walk = begun().stand("0.85")
    walk.ladder.rebase(Rung.DAILY)
    assert [walk.stage(rung) for rung in Rung] == [Stage.ARMED, Stage.FIRED, Stage.FIRED, Stage.ARMED]
    assert walk.ceiling is Ceiling.HALTED


def test_release_before_any_sample_rebases_nothing() -> None:
    for rung in Rung:
        assert Ladder(THRESHOLDS).rebase(rung) is None


@pytest.mark.parametrize("rung", RELEASABLE)
def test_peak_counts_for_its_window_and_a_bucket_at_most(rung: Rung) -> None:
    window_ms = WINDOW_MS[rung]
    assert window_ms is not None
    walk = begun().stand("0.97")
    walk.pass_time(window_ms - 60_000, "0.97")
    assert walk.ladder.peaks()[rung] == 1
    walk.pass_time(window_ms // BUCKETS + 60_000 + STEP_MAX_MS, "0.97")
    assert walk.ladder.peaks()[rung] == Decimal("0.97")
    assert walk.ladder.peaks()[Rung.HIGH_WATER] == 1


@pytest.mark.parametrize("leap_ms", [-30 * 24 * HOUR_MS, STEP_MAX_MS + 1, 40 * 24 * HOUR_MS])
def test_leap_of_the_clock_ages_no_window_by_more_than_a_step(leap_ms: int) -> None:
    walk = begun()
    before_ms = walk.ladder.observed_ms
    walk.take("0.96", after_ms=leap_ms)
    assert walk.ladder.observed_ms == before_ms + (STEP_MAX_MS if leap_ms > 0 else 0)
    assert walk.ladder.peaks()[Rung.DAILY] == 1


def test_time_between_samples_is_observed() -> None:
    walk = begun()
    before_ms = walk.ladder.observed_ms
    walk.take("1", after_ms=STEP_MAX_MS)
    walk.take("1", after_ms=1)
    assert walk.ladder.observed_ms == before_ms + STEP_MAX_MS + 1


def restored(walk: Walk, peaks: Iterable[tuple[str, int]]) -> Walk:
    """Make another ladder from what is kept of one: its memory and the peaks noted along the way."""
    ladder = Ladder(THRESHOLDS)
    for price, observed_ms in peaks:
        ladder.recall_peak(Decimal(price), observed_ms=observed_ms)
    ladder.restore(walk.ladder.memory())
    return Walk(ladder=ladder, now_ms=walk.now_ms)


def test_restart_forgets_neither_peaks_nor_what_has_fired() -> None:
    walk = begun().stand("0.85")
    again = restored(walk, [("1", walk.ladder.observed_ms)])
    assert again.ladder.memory() == walk.ladder.memory()
    assert again.ceiling is Ceiling.HALTED
    assert again.ladder.peaks() == dict.fromkeys(Rung, Decimal(1))
    assert [reading.drawdown for reading in again.ladder.readings()] == [None] * 4
    again.stand("0.82")
    assert again.changes == [("high_water", "fired")]


def test_restart_between_breaching_samples_counts_anew_and_freezes_at_once() -> None:
    walk = begun().stand("0.95", samples=2)
    again = restored(walk, [("1", walk.ladder.observed_ms)])
    again.take("0.95")
    assert again.ceiling is Ceiling.REDUCE_ONLY
    assert again.changes == []
    again.stand("0.95", samples=2)
    assert again.changes == [("daily", "fired")]


def test_mark_of_the_memory_is_never_below_the_peaks_and_lowers_nothing() -> None:
    memory = LadderMemory(
        observed_ms=1000,
        at_ms=START_MS,
        high_water=Decimal("1.5"),
        stages=dict.fromkeys(Rung, Stage.ARMED),
        since_ms=dict.fromkeys(Rung, 7),
    )
    ladder = Ladder(THRESHOLDS)
    ladder.recall_peak(Decimal("1.2"), observed_ms=1000)
    ladder.restore(memory)
    assert ladder.peaks()[Rung.HIGH_WATER] == Decimal("1.5")
    ladder.recall_peak(Decimal("1.7"), observed_ms=1000)
    ladder.restore(memory)
    assert ladder.peaks()[Rung.HIGH_WATER] == Decimal("1.7")
    assert {reading.since_ms for reading in ladder.readings()} == {7}
    ladder.restore(
        LadderMemory(observed_ms=0, at_ms=0, high_water=None, stages=memory.stages, since_ms=memory.since_ms)
    )
    assert ladder.peaks()[Rung.HIGH_WATER] == Decimal("1.7")
    empty = Ladder(THRESHOLDS)
    empty.restore(LadderMemory(observed_ms=0, at_ms=0, high_water=None, stages=memory.stages, since_ms=memory.since_ms))
    assert empty.peaks() == {}


def test_remembered_release_rebases_the_remembered_window() -> None:
    ladder = Ladder(THRESHOLDS)
    ladder.recall_peak(Decimal("1.2"), observed_ms=1000)
    ladder.recall_rebase(Rung.MONTHLY, Decimal("0.9"), observed_ms=2000)
    assert ladder.peaks() == {**dict.fromkeys(Rung, Decimal("1.2")), Rung.MONTHLY: Decimal("0.9")}


def test_peaks_that_somebody_else_remembers_only_raise() -> None:
    walk = begun()
    walk.ladder.raise_peaks({Rung.DAILY: Decimal("1.1"), Rung.WEEKLY: Decimal("0.9")})
    assert walk.ladder.peaks() == {**dict.fromkeys(Rung, Decimal(1)), Rung.DAILY: Decimal("1.1")}
    walk.ladder.raise_peaks({Rung.HIGH_WATER: Decimal("1.3")})
    assert walk.ladder.peaks()[Rung.HIGH_WATER] == Decimal("1.3")
    walk.ladder.raise_peaks({Rung.HIGH_WATER: Decimal("1.2")})
    assert walk.ladder.peaks()[Rung.HIGH_WATER] == Decimal("1.3")


def test_raised_peak_that_the_last_sample_breaches_freezes_at_once() -> None:
    walk = begun()
    walk.ladder.raise_peaks({Rung.WEEKLY: Decimal("1.2"), Rung.DAILY: Decimal("1.05")})
    assert walk.reason == "the weekly rung is reached, 1 of 3 samples"
    walk.ladder.raise_peaks({Rung.WEEKLY: Decimal("1.2")})
    assert walk.reason == "the weekly rung is reached, 1 of 3 samples"
    walk.take("1")
    assert walk.reason == "the weekly rung is reached, 2 of 3 samples"
    walk.ladder.raise_peaks({Rung.WEEKLY: Decimal("1.2")})
    assert walk.reason == "the weekly rung is reached, 2 of 3 samples"
    walk.take("1")
    assert walk.changes == [("weekly", "fired")]
    walk.ladder.raise_peaks({Rung.WEEKLY: Decimal("1.3")})
    assert walk.ceiling is Ceiling.TRIMMED
    walk.stand("1.3", samples=2)
    assert walk.stage(Rung.WEEKLY) is Stage.FIRED
    walk.take("1.3")
    assert walk.stage(Rung.WEEKLY) is Stage.ARMED


def test_peak_raised_after_the_first_sample_leaves_the_others_without_one() -> None:
    walk = Walk().stand("1", samples=1)
    walk.ladder.raise_peaks({Rung.DAILY: Decimal(2)})
    assert walk.ladder.peaks() == {Rung.DAILY: Decimal(2)}
    assert [reading.breaching_samples for reading in walk.ladder.readings()] == [1, 0, 0, 0]


def test_peaks_raised_before_any_sample_freeze_nothing() -> None:
    ladder = Ladder(THRESHOLDS)
    ladder.raise_peaks(dict.fromkeys(Rung, Decimal(2)))
    assert [reading.breaching_samples for reading in ladder.readings()] == [0, 0, 0, 0]
    assert begun().ladder.demand().ceiling is Ceiling.ACTIVE


def test_acknowledgement_before_the_first_sample_after_a_restart_has_no_price() -> None:
    again = restored(begun().stand("0.95"), [])
    change = again.ladder.acknowledge(Rung.DAILY)
    assert change is not None
    assert (change.price, change.drawdown) == (None, None)


@pytest.mark.parametrize(
    ("price", "peak", "shown"),
    [
        (None, "1", None),
        ("1", None, None),
        ("1", "1", "0"),
        ("1.5", "1", "0"),
        ("0.95", "1", "0.05"),
        ("2", "3", "0.333334"),
    ],
)
def test_drawdown_for_people_is_rounded_up(price: str | None, peak: str | None, shown: str | None) -> None:
    given_price, given_peak = (None if text is None else Decimal(text) for text in (price, peak))
    assert drawdown(given_price, given_peak) == (None if shown is None else Decimal(shown))


def test_rounding_of_a_peak_hides_no_breach() -> None:
    # A third of 2 rounds down, and so does 0.95 of it: the breach is exact in the true numbers.
    peak = Decimal("0.666666666666666666")
    assert is_down(Decimal("0.633333333333333333"), peak, Decimal("0.05"))
    assert not is_down(Decimal("0.633333333333333335"), peak, Decimal("0.05"))
    assert is_down(Decimal("0.95000000000000000095"), Decimal(1), Decimal("0.05"))
    assert not is_down(Decimal("0.95000000000000000096"), Decimal(1), Decimal("0.05"))


class Oracle:
    """The same rules, from the whole history and in fractions: slow, and nothing kept but what was seen."""

    def __init__(self) -> None:
        self.highs: list[tuple[int, Fraction]] = []
        self.samples: list[tuple[int, Fraction]] = []
        self.fired: dict[Rung, bool] = dict.fromkeys(Rung, False)
        self.rows: dict[Rung, int] = dict.fromkeys(Rung, 0)
        self.observed_ms = 0

    def take(self, price: Fraction, *, passed_ms: int) -> list[str]:
        self.observed_ms += min(passed_ms, STEP_MAX_MS)
        self.samples.append((self.observed_ms, price))
        if len(self.samples) >= 3:
            self.highs.append((self.observed_ms, min(seen for _, seen in self.samples[-3:])))
        return [rung.value for rung in Rung if self._fires(rung, price)]

    def _fires(self, rung: Rung, price: Fraction) -> bool:
        window_ms = WINDOW_MS[rung]
        bucket_ms = window_ms // BUCKETS if window_ms else 1
        oldest = (self.observed_ms - window_ms) // bucket_ms if window_ms else 0
        highs = [high for at_ms, high in self.highs if at_ms // bucket_ms >= oldest]
        if not highs or self.fired[rung]:
            return False
        is_breach = price <= max(highs) * (1 - Fraction(FRACTIONS[rung]))
        self.rows[rung] = self.rows[rung] + 1 if is_breach else 0
        self.fired[rung] = self.rows[rung] >= 3
        return self.fired[rung]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(70, 110),
            st.integers(1, 5),
            st.sampled_from([1000, 60_000, 300_000, 599_999, 600_000, 3_600_000]),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_latching_rungs_fire_when_and_only_when_the_oracle_says(steps: list[tuple[int, int, int]]) -> None:
    walk, oracle = Walk(), Oracle()
    for hundredths, samples, passed_ms in steps:
        for _ in range(samples):
            price = Decimal(hundredths) / 100
            made = walk.take(price, after_ms=passed_ms)
            fired = {change.rung.value for change in made if change.move is Move.FIRED}
            said = set(oracle.take(Fraction(price), passed_ms=passed_ms))
            assert {"monthly", "high_water"} & fired == {"monthly", "high_water"} & said
            if walk.stage(Rung.DAILY) is Stage.FIRED:
                walk.ladder.acknowledge(Rung.DAILY)
            oracle_ceiling = Ceiling.HALTED if oracle.fired[Rung.MONTHLY] or oracle.fired[Rung.HIGH_WATER] else None
            assert (walk.ceiling is Ceiling.HALTED) == (oracle_ceiling is Ceiling.HALTED)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(80, 120), st.integers(1, 5)), min_size=1, max_size=40), st.integers(0, 40))
def test_restart_at_any_moment_changes_nothing_but_the_samples_counted(
    steps: list[tuple[int, int]], restart_at: int
) -> None:
    """What is kept at each sample is enough: the ladder that lived and the one restored agree three samples later."""
    walk, kept = Walk(), []
    for index, (hundredths, samples) in enumerate(steps):
        for _ in range(samples):
            walk.take(Decimal(hundredths) / 100)
            if walk.ladder.confirmed_high is not None:
                kept.append((str(walk.ladder.confirmed_high), walk.ladder.observed_ms))
        if index == restart_at:
            break
    again = restored(walk, kept)
    assert again.ladder.peaks() == walk.ladder.peaks()
    last = steps[min(restart_at, len(steps) - 1)][0]
    for one in (walk, again):
        one.stand(str(Decimal(last) / 100))
    assert again.ladder.memory().stages == walk.ladder.memory().stages
    assert again.ladder.peaks() == walk.ladder.peaks()
    assert again.ceiling is walk.ceiling


def test_memory_of_a_long_fall_stays_bounded() -> None:
    walk = begun()
    for step in range(12_000):
        walk.take(Decimal(1) - Decimal(step) / 1_000_000, after_ms=STEP_MAX_MS)
    assert all(len(window) <= BUCKETS + 1 for window in walk.ladder._windows.values())


def test_monotonic_second_is_what_lies_between_samples() -> None:
    ladder = Ladder(THRESHOLDS)
    for tick in range(3):
        ladder.take(price=Decimal(1), at_ms=START_MS, monotonic_ns=tick * NS_PER_S)
    assert ladder.confirmed_high == 1
