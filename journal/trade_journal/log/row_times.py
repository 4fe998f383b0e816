"""Whether the times of rows fall: a clock that went back, or rows that waited for their journal. Pure.

A row bears the time at which what it tells of happened, and takes its place when it is written; so times fall a little
in every journal. What falls by more than CLOCK_BACK_S against any row before is worth a look, and contradicts nothing:
who signed the rows signed their times too. The first such row is remembered, and no other.

The times are read from the rows' bytes without reading the rows, since every row of a journal is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

CLOCK_BACK_S: Final = 60
_BACK_NS: Final = CLOCK_BACK_S * 10**9
_NAME: Final = b'"at_ns":"'
_DIGITS: Final = 19  # of any time from 2001 to 2286, and the most that a row may have
_FAR_NS: Final = 2**63 - 1


class Span(NamedTuple):
    """The earliest and latest time of some rows, and whether one falls within; of no times, the later is earlier."""

    earliest_ns: int
    latest_ns: int
    has_fall: bool


def span_of(bodies: Sequence[bytes]) -> Span:
    """Find the span of the times of some rows, given by their bytes in order."""
    quick = _quick_span(bodies)
    if quick is not None and quick.latest_ns - quick.earliest_ns <= _BACK_NS:
        return quick._replace(has_fall=False)
    return quick if quick is not None and not quick.has_fall else _slow_span(bodies)


class RowTimes:
    """Follows the times of a journal's rows. `back` is the first row that is older, and by how many seconds."""

    def __init__(self) -> None:
        """Begin before row 0."""
        self.back: tuple[int, int] | None = None
        self._latest_ns = -_FAR_NS

    def is_worth_a_look(self, span: Span) -> bool:
        """Tell whether rows with this span must be taken one by one, to find which of them is older."""
        return self.back is None and (span.has_fall or self._latest_ns - span.earliest_ns > _BACK_NS)

    def take_span(self, span: Span) -> None:
        """Take the next rows, none of which is worth a look."""
        self._latest_ns = max(self._latest_ns, span.latest_ns)

    def take(self, bodies: Sequence[bytes], *, first: int) -> None:
        """Take the next rows, the first of which has this number."""
        if self.back is not None:
            return
        span = span_of(bodies)
        if not self.is_worth_a_look(span):
            self.take_span(span)
            return
        for seq, body in enumerate(bodies, start=first):
            at_ns = _time_of(body)
            if at_ns is not None and self._latest_ns - at_ns > _BACK_NS:
                self.back = seq, (self._latest_ns - at_ns) // 10**9
                return
            if at_ns is not None:
                self._latest_ns = max(self._latest_ns, at_ns)


def _quick_span(bodies: Sequence[bytes]) -> Span | None:
    """Compare the beginnings of rows as bytes, which are in the order of their times where one actor wrote all of them.

    What lies between two beginnings with one actor in the order of bytes has that actor too. None when there is
    anything else than times of so many digits; a fall is any fall here, however small.
    """
    if not bodies:
        return None
    start = bodies[0].find(_NAME) + len(_NAME)
    end = start + _DIGITS
    heads = [body[:end] for body in bodies]
    earliest, latest = min(heads), max(heads)
    digits = b"".join([head[start:] for head in heads])
    if earliest[:start] != latest[:start] or len(digits) != _DIGITS * len(heads) or not digits.isdigit():
        return None
    if int(latest[start:]) > _FAR_NS:
        return None
    return Span(int(earliest[start:]), int(latest[start:]), sorted(heads) != heads)


def _slow_span(bodies: Sequence[bytes]) -> Span:
    earliest, latest, has_fall = _FAR_NS, -_FAR_NS, False
    for at_ns in map(_time_of, bodies):
        if at_ns is not None:
            has_fall = has_fall or latest - at_ns > _BACK_NS
            earliest, latest = min(earliest, at_ns), max(latest, at_ns)
    return Span(earliest, latest, has_fall)


def _time_of(body: bytes) -> int | None:
    """Read a row's time; None where its bytes say none, which is for `verify` to judge."""
    start = body.find(_NAME) + len(_NAME)
    text = body[start : body.find(b'"', start)]
    is_time = text.removeprefix(b"-").isdigit() and len(text) <= _DIGITS + 1
    return int(text) if is_time and -_FAR_NS <= int(text) <= _FAR_NS else None
