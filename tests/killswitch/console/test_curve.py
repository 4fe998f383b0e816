from __future__ import annotations

from decimal import Decimal

from trade_core.clock import NS_PER_S
from trade_killswitch.console.curve import (
    BOTTOM,
    COLUMNS,
    HEIGHT,
    SAMPLE_EVERY_S,
    SAMPLES_MAX,
    TOP,
    WINDOW_S,
    Curve,
    RungLine,
    Sample,
    draw,
    parse_samples,
    sample_line,
)

T0 = 1_700_000_000 * NS_PER_S


def sample(at_s: float, price: str = "1") -> Sample:
    return Sample(at_ns=T0 + int(at_s * NS_PER_S), price=Decimal(price))


def test_samples_are_taken_when_due() -> None:
    curve = Curve()
    assert curve.take(sample(0))
    assert not curve.take(sample(SAMPLE_EVERY_S - 0.001))
    assert curve.take(sample(SAMPLE_EVERY_S))
    assert len(curve.samples) == 2


def test_a_day_is_kept_and_no_more() -> None:
    curve = Curve(sample(number * SAMPLE_EVERY_S) for number in range(SAMPLES_MAX + 5))
    assert len(curve.samples) == SAMPLES_MAX
    curve.take(sample(WINDOW_S * 3))
    assert curve.samples == (sample(WINDOW_S * 3),)


def test_clock_that_was_put_back_begins_the_curve_anew() -> None:
    curve = Curve([sample(0), sample(10), sample(20)])
    assert curve.take(sample(5))
    assert curve.samples == (sample(5),)


def test_samples_are_read_back_from_their_lines_and_torn_ones_left_out() -> None:
    kept = [sample(0, "1.5"), sample(10, "0.123456789123456789")]
    text = "".join(sample_line(one) for one in kept)
    assert parse_samples(text + "17000000") == [sample(0, "1.5"), sample(10, "0.12345679")]
    assert parse_samples("x 1\n-1 1\n1 nan\n1 -5\n99999999999999999999 1\n\x00\n") == []


def test_nothing_to_draw_is_no_drawing() -> None:
    assert draw([], [], now_ns=T0) is None


def test_fall_between_two_points_is_drawn() -> None:
    samples = [sample(number * 10) for number in range(SAMPLES_MAX)]
    samples[4001] = sample(40_010, "0.5")
    drawing = draw(samples, [], now_ns=T0 + WINDOW_S * NS_PER_S)
    assert drawing is not None
    (path,) = drawing.paths
    points = [point.split() for point in path.removeprefix("M").split(" L")]
    assert len(points) <= COLUMNS + 1
    assert max(float(y) for _, y in points) > HEIGHT - BOTTOM - 20
    assert all(TOP <= float(y) <= HEIGHT - BOTTOM for _, y in points)


def test_gap_breaks_the_line() -> None:
    drawing = draw([sample(0), sample(10), sample(5000), sample(5010)], [], now_ns=T0 + 5010 * NS_PER_S)
    assert drawing is not None
    assert len(drawing.paths) == len(drawing.areas) == 2


def test_rungs_lie_at_their_prices_and_their_labels_apart() -> None:
    rungs = [
        RungLine(label="kill", price=Decimal("0.82"), is_fired=True),
        RungLine(label="review", price=Decimal("0.95"), is_fired=False),
        RungLine(label="trim", price=Decimal("0.949"), is_fired=False),
    ]
    drawing = draw([sample(0)], rungs, now_ns=T0)
    assert drawing is not None
    assert [(rung.label, rung.is_fired) for rung in drawing.rungs] == [
        ("review", False),
        ("trim", False),
        ("kill", True),
    ]
    review, trim, kill = drawing.rungs
    assert float(drawing.last_y) < float(review.y) < float(trim.y) < float(kill.y)
    assert float(trim.label_y) - float(review.label_y) >= 13


def test_flat_and_worthless_curves_are_drawn() -> None:
    for price in ("1", "0"):
        drawing = draw([sample(0, price), sample(10, price)], [], now_ns=T0)
        assert drawing is not None
        assert drawing.to_ns - drawing.from_ns == 60 * NS_PER_S
