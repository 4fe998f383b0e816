"""Reading a price history: a CSV file of bars, checked line by line, in ticks of the symbol that it is replayed for.

The header names the columns, in any order and case: timestamp, open, high, low, close and volume; others are left
alone. A timestamp is ISO 8601 (UTC where no zone is said) or epoch milliseconds, and each is later than the one before.
A file that cannot be replayed as it stands is refused, with the line and what was found there: nothing is sorted,
filled in, skipped or guessed.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from trade_simulator.instruments import PRICE_MAX

COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
# Four years of minutes; a file beyond that is a mistake and would fill the memory.
BARS_MAX: Final = 2_200_000
FILE_BYTES_MAX: Final = 250_000_000
# A line of an endless device, or a file without line ends, would be read whole before anybody looked at it.
LINE_BYTES_MAX: Final = 4_096
# Times in seconds or microseconds would make a replay a thousand times too fast or too slow, without a word.
_EARLIEST_MS: Final = 100_000_000_000
_LATEST_MS: Final = 4_102_444_800_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_SHOWN: Final = 60


class PriceFileError(ValueError):
    """A price history that cannot be used; the message names the line and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBar:
    """One bar of a price history: its start (UTC ms), and prices in ticks, each at least one."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int


def read_bars(path: Path, *, tick_size: Decimal) -> tuple[RecordedBar, ...]:
    """Read a file of bars. Raises PriceFileError and OSError."""
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        raise PriceFileError(f"the file holds {size} bytes; at most {FILE_BYTES_MAX} are read")
    with path.open("rb") as file:
        return parse_bars(_lines_of(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b"")), tick_size=tick_size)


def parse_bars(lines: Iterable[str], *, tick_size: Decimal) -> tuple[RecordedBar, ...]:
    """Read bars from the lines of a CSV file. Raises PriceFileError."""
    rows = _numbered_rows(lines)
    columns = _columns_of(next(rows, (1, []))[1])
    bars: list[RecordedBar] = []
    for number, row in rows:
        if not row:
            continue
        try:
            bar = _bar_of(row, columns, tick_size)
        except PriceFileError as error:
            raise PriceFileError(f"line {number}: {error}") from error
        if bars and bar.start_ms <= bars[-1].start_ms:
            times = f"found {_told(bar.start_ms)} after {_told(bars[-1].start_ms)}"
            raise PriceFileError(f"line {number}: the time does not advance ({times})")
        if len(bars) == BARS_MAX:
            raise PriceFileError(f"line {number}: more than {BARS_MAX} bars")
        bars.append(bar)
    if not bars:
        raise PriceFileError("line 2: no bars")
    return tuple(bars)


def _lines_of(raw_lines: Iterable[bytes]) -> Iterator[str]:
    for number, raw in enumerate(raw_lines, start=1):
        if len(raw) > LINE_BYTES_MAX:
            raise PriceFileError(
                f"line {number}: longer than {LINE_BYTES_MAX} bytes (found {_shown(raw[:20].decode(errors='replace'))})"
            )
        try:
            # Spreadsheets write a byte order mark before the first line.
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise PriceFileError(f"line {number}: not UTF-8 text (found byte {raw[error.start]:#04x})") from error


def _numbered_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Give each row with the number of the line that it begins in: a quote that nobody closes swallows many."""
    reader = csv.reader(lines, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PriceFileError(f"line {number}: {error}") from error
        yield number, row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where a row's cells stand: those of COLUMNS, in that order, and how many there are in all."""

    places: tuple[int, ...]
    count: int


def _columns_of(header: Sequence[str]) -> _Columns:
    names = [name.strip().lower() for name in header]
    if any(names.count(wanted) != 1 for wanted in COLUMNS):
        found = _shown(",".join(header)) if header else "nothing"
        raise PriceFileError(f"line 1: the header must name each of {','.join(COLUMNS)} once (found {found})")
    return _Columns(places=tuple(names.index(wanted) for wanted in COLUMNS), count=len(names))


def _bar_of(row: Sequence[str], columns: _Columns, tick_size: Decimal) -> RecordedBar:
    if len(row) != columns.count:
        raise PriceFileError(f"{columns.count} columns wanted, as in the header (found {len(row)})")
    time, *cells = (row[place].strip() for place in columns.places)
    start_ms = _time_of(time)
    opened, high, low, close, volume = (_number_of(name, cell) for name, cell in zip(COLUMNS[1:], cells, strict=True))
    if volume < 0:
        raise PriceFileError(f"the volume is negative (found {volume})")
    if low <= 0 or not low <= min(opened, close) <= max(opened, close) <= high:
        found = f"found open {opened}, high {high}, low {low}, close {close}"
        raise PriceFileError(f"prices must be positive with low <= open, close <= high ({found})")
    if low < tick_size or high > PRICE_MAX:
        found = f"found low {low}, high {high}"
        raise PriceFileError(f"prices must lie between one step, {tick_size}, and {PRICE_MAX} ({found})")
    ticks_open, ticks_high, ticks_low, ticks_close = (round(price / tick_size) for price in (opened, high, low, close))
    return RecordedBar(start_ms=start_ms, open=ticks_open, high=ticks_high, low=ticks_low, close=ticks_close)


def _number_of(name: str, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise PriceFileError(f"{name} must be a number (found {_shown(text)})")
    return Decimal(text)


def _time_of(text: str) -> int:
    is_epoch = text.isascii() and text.isdigit()
    try:
        at_ms = int(text) if is_epoch else _iso_ms(text)
    except (ValueError, OverflowError) as error:
        raise PriceFileError(f"timestamp must be ISO 8601 or epoch milliseconds (found {_shown(text)})") from error
    if _EARLIEST_MS <= at_ms <= _LATEST_MS:
        return at_ms
    hint = (": are these seconds?" if at_ms < _EARLIEST_MS else ": are these microseconds?") if is_epoch else ""
    raise PriceFileError(f"timestamp must lie between 1973 and 2100 (found {_shown(text)}){hint}")


def _iso_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _told(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
