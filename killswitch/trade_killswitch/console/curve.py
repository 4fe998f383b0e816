"""The curve of the unit price over the last day, against the rungs: what is kept, and where its lines lie. Pure.

The unit price is what drawdown is measured in: money that comes in or goes out does not move it. Coordinates are those
of a drawing of WIDTH x HEIGHT with the origin at the upper left. Where many samples share a column the lowest is drawn:
a fall must not hide between two points.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from trade_core.clock import NS_PER_S
from trade_core.errors import InvalidNumber
from trade_core.money import format_decimal, parse_decimal

SAMPLE_EVERY_S: Final = 10
WINDOW_S: Final = 24 * 3600
SAMPLES_MAX: Final = WINDOW_S // SAMPLE_EVERY_S
GAP_S: Final = 90
"""Longer without a sample, and the line is broken: nobody knows what it did meanwhile."""
WIDTH: Final = 720
HEIGHT: Final = 260
COLUMNS: Final = 360
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 22
_KEPT_PLACES: Final = 8
_MARGIN: Final = Decimal("0.04")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The unit price at a time (UTC)."""

    at_ns: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class RungLine:
    """A rung: its name, and the unit price at which it fires."""

    label: str
    price: Decimal
    is_fired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLine:
    """A horizontal line at `y`, its label at `label_y`, which keeps off its neighbours'."""

    label: str
    y: str
    label_y: str
    is_fired: bool


class PathText(str):
    """The commands of an SVG path: letters and numbers that were made here, of any length."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Paths of the curve, one a stretch without a gap; rung lines; the last point; from when to when."""

    paths: tuple[PathText, ...]
    areas: tuple[PathText, ...]
    rungs: tuple[DrawnLine, ...]
    last_x: str
    last_y: str
    from_ns: int
    to_ns: int


class Curve:
    """Samples of the last day, at most SAMPLES_MAX, in order of time."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        for sample in samples:
            self.take(sample)

    def take(self, sample: Sample) -> bool:
        """Take a sample if it is due; one from before the last, after a clock was put back, begins the curve anew."""
        last = self._samples[-1] if self._samples else None
        if last is not None and sample.at_ns < last.at_ns:
            self._samples.clear()
        elif last is not None and sample.at_ns - last.at_ns < SAMPLE_EVERY_S * NS_PER_S:
            return False
        self._samples.append(sample)
        while sample.at_ns - self._samples[0].at_ns > WINDOW_S * NS_PER_S:
            self._samples.popleft()
        return True

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Return what is kept."""
        return tuple(self._samples)


def sample_line(sample: Sample) -> str:
    """Write a sample as a line of a file."""
    return f"{sample.at_ns} {format_decimal(round(sample.price, _KEPT_PLACES))}\n"


def parse_samples(text: str) -> list[Sample]:
    """Read lines of a file; those of another form, as a crash leaves them, are left out."""
    samples = []
    for line in text.splitlines():
        at, _, price = line.partition(" ")
        try:
            if at.isascii() and at.isdigit() and len(at) < 20:
                samples.append(Sample(at_ns=int(at), price=parse_decimal(price)))
        except InvalidNumber:
            continue
    return sorted(samples, key=lambda sample: sample.at_ns)[-SAMPLES_MAX:]


def draw(samples: Sequence[Sample], rungs: Sequence[RungLine], *, now_ns: int) -> Drawing | None:
    """Lay the curve out; None while there is nothing to draw."""
    if not samples:
        return None
    from_ns = samples[0].at_ns
    to_ns = max(now_ns, samples[-1].at_ns, from_ns + 60 * NS_PER_S)
    prices = [sample.price for sample in samples] + [rung.price for rung in rungs]
    lowest, highest = min(prices), max(prices)
    spread = (highest - lowest) or highest or Decimal(1)
    lowest, highest = lowest - spread * _MARGIN, highest + spread * _MARGIN

    def x_of(at_ns: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at_ns - from_ns) / (to_ns - from_ns)

    def y_of(price: Decimal) -> float:
        return float(TOP + (HEIGHT - TOP - BOTTOM) * (highest - price) / (highest - lowest))

    stretches = [
        [(x_of(sample.at_ns), y_of(sample.price)) for sample in stretch]
        for stretch in _stretches(_thinned(samples, from_ns=from_ns, to_ns=to_ns))
    ]
    last_x, last_y = stretches[-1][-1]
    floor = HEIGHT - BOTTOM
    return Drawing(
        paths=tuple(_path(points) for points in stretches),
        areas=tuple(
            PathText(f"{_path(points)} L{points[-1][0]:.1f} {floor} L{points[0][0]:.1f} {floor} Z")
            for points in stretches
        ),
        rungs=_drawn_rungs([(rung, y_of(rung.price)) for rung in rungs]),
        last_x=f"{last_x:.1f}",
        last_y=f"{last_y:.1f}",
        from_ns=from_ns,
        to_ns=to_ns,
    )


def _thinned(samples: Sequence[Sample], *, from_ns: int, to_ns: int) -> list[Sample]:
    """Keep the lowest sample of each column, and the last of all."""
    lowest: dict[int, Sample] = {}
    for sample in samples:
        column = COLUMNS * (sample.at_ns - from_ns) // (to_ns - from_ns)
        kept = lowest.get(column)
        if kept is None or sample.price < kept.price:
            lowest[column] = sample
    thinned = list(lowest.values())
    return thinned if thinned[-1] is samples[-1] else [*thinned, samples[-1]]


def _stretches(samples: Sequence[Sample]) -> list[list[Sample]]:
    stretches = [[samples[0]]]
    columns_apart_ns = (samples[-1].at_ns - samples[0].at_ns) // COLUMNS
    for before, after in pairwise(samples):
        if after.at_ns - before.at_ns > max(GAP_S * NS_PER_S, 3 * columns_apart_ns):
            stretches.append([])
        stretches[-1].append(after)
    return stretches


def _path(points: Sequence[tuple[float, float]]) -> PathText:
    # A stretch of one sample is drawn as a point: a line to itself, with round ends.
    whole = points if len(points) > 1 else [*points, *points]
    return PathText("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in whole))


def _drawn_rungs(rungs: Sequence[tuple[RungLine, float]]) -> tuple[DrawnLine, ...]:
    drawn: list[DrawnLine] = []
    free_y = float(TOP)
    for rung, y in sorted(rungs, key=lambda placed: placed[1]):
        label_y = max(y - 4, free_y)
        free_y = label_y + 13
        drawn.append(DrawnLine(label=rung.label, y=f"{y:.1f}", label_y=f"{label_y:.1f}", is_fired=rung.is_fired))
    return tuple(drawn)
