"""Price histories as strangers bring them: read as they are meant, or refused with the line and what was found."""

from decimal import Decimal

import pytest

from trade_simulator.instruments import DEFAULT_INSTRUMENTS, symbol_tick_size
from trade_simulator.market import price_file
from trade_simulator.market.price_file import PriceFileError, RecordedBar, parse_bars, read_bars

TICK = Decimal("0.1")
HEADER = "timestamp,open,high,low,close,volume\n"
ROW = "1700000000000,100,120,90,110,5\n"
BAR = RecordedBar(start_ms=1_700_000_000_000, open=1000, high=1200, low=900, close=1100)
LATER = "1700000060000,110,115,80,85,5\n"


def written(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "time_text",
    [
        "1700000000000",
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "2023-11-14 22:13:20+00:00",
        "2023-11-14T23:13:20+01:00",
        "2023-11-14T17:13:20.000-05:00",
    ],
)
def test_times_may_be_epoch_milliseconds_or_iso_in_any_zone(time_text):
    assert parse_bars([HEADER, f"{time_text},100,120,90,110,5\n"], tick_size=TICK) == (BAR,)


@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROW,
        "\ufeff" + HEADER + ROW,
        (HEADER + ROW).replace("\n", "\r\n"),
        HEADER + "\n" + ROW + "\n\n",
        HEADER + ROW.rstrip(),
        "Timestamp, OPEN ,High,low,Close,VOLUME\n" + ROW,
        "close,volume,timestamp,open,high,low\n110,5,1700000000000,100,120,90\n",
        "symbol,timestamp,open,high,low,close,volume,trades\nBTC,1700000000000,100,120,90,110,5,x\n",
        '"timestamp","open","high","low","close","volume"\n"1700000000000","100","120","90","110","5"\n',
        HEADER + "1700000000000,1e2,1.2E+2,90.,110.00000001,0\n",
    ],
    ids=["plain", "mark", "crlf", "blank", "no end", "case", "order", "extra", "quoted", "exponents"],
)
def test_file_of_another_form_holds_the_same_bars(tmp_path, content):
    assert read_bars(written(tmp_path, content), tick_size=TICK) == (BAR,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1: the header must name each of timestamp,.*,volume once \(found nothing\)"),
        (ROW, r"line 1: the header .*\(found '1700000000000,100,120,90,110,5'\)"),
        ("time,open\n", r"line 1: the header .*\(found 'time,open'\)"),
        ((HEADER + ROW).replace(",", ";"), r"line 1: the header .*\(found 'timestamp;open;high;low;close;volume'\)"),
        (HEADER.replace("volume", "close,volume"), "line 1: the header"),
        (HEADER, "line 2: no bars"),
        (HEADER + "\n\n", "line 2: no bars"),
        (HEADER + "1700000000000,1,2,1,2\n", r"line 2: 6 columns wanted, as in the header \(found 5\)"),
        (HEADER + "1700000000000,1,2,1,2,0,0\n", r"line 2: 6 columns .*\(found 7\)"),
        (HEADER + "1700000000000,x,2,1,2,0\n", r"line 2: open must be a number \(found 'x'\)"),
        (HEADER + "1700000000000,1,2,NaN,2,0\n", r"line 2: low must be a number \(found 'NaN'\)"),
        (HEADER + "1700000000000,1,inf,1,2,0\n", r"line 2: high must be a number \(found 'inf'\)"),
        (HEADER + "1700000000000,1,2,1,,0\n", r"line 2: close must be a number \(found ''\)"),
        (HEADER + '1700000000000,1,2,1,"1,5",0\n', r"line 2: close must be a number \(found '1,5'\)"),
        (HEADER + "1700000000000,1,1e999999,1,2,0\n", r"line 2: high must be a number \(found '1e999999'\)"),
        (HEADER + "1700000000000,1_0,2,1,2,0\n", "line 2: open must be a number"),
        (HEADER + "1700000000000,٣,2,1,2,0\n", "line 2: open must be a number"),
        (HEADER + "1700000000000,1,2,0,2,0\n", r"line 2: prices must be positive .*\(found open 1, high 2, low 0"),
        (HEADER + "1700000000000,1,2,-1,2,0\n", "line 2: prices must be positive"),
        (HEADER + "1700000000000,3,2,1,2,0\n", "line 2: prices .* low <= open, close <= high"),
        (HEADER + "1700000000000,1,2,1,2,-1\n", r"line 2: the volume is negative \(found -1\)"),
        (HEADER + "1700000000000,1,1,1e-12,1,0\n", r"line 2: prices must lie between one step, 0.1, and 1999999 "),
        (HEADER + "1700000000000,1,1e12,1,1,0\n", r"line 2: prices must lie between .*found low 1, high 1E\+12"),
        (HEADER + "yesterday,1,2,1,2,0\n", r"line 2: timestamp must be ISO 8601 or epoch .*found 'yesterday'"),
        (HEADER + "1700000000000.0,1,2,1,2,0\n", "line 2: timestamp must be ISO 8601 or epoch"),
        (HEADER + "1700000000,1,2,1,2,0\n", r"line 2: timestamp must .*'1700000000'\): are these seconds\?"),
        (HEADER + "1700000000000000,1,2,1,2,0\n", r"line 2: timestamp must .*\): are these microseconds\?"),
        (HEADER + "9" * 3000 + ",1,2,1,2,0\n", r"line 2: timestamp must .*\): are these microseconds\?"),
        (HEADER + "0001-01-01T00:00:00+14:00,1,2,1,2,0\n", "line 2: timestamp must"),
        (HEADER + "1969-12-31,1,2,1,2,0\n", r"line 2: timestamp must lie between 1973 and 2100 .*'\)$"),
        (HEADER + ROW + ROW, r"line 3: the time does not advance \(found 2023-11-14T22:13:20.000\+00:00 after 2023-"),
        (HEADER + LATER + "\n" + ROW, r"line 4: the time does not advance \(found 2023-11-14T22:13:20"),
        (HEADER + ROW + '"1700000060000,1,1,1,1,1\n' + ROW * 3, "line 3: unexpected end of data"),
        (HEADER + ROW + '"17\n00",1,2,1,2,0\n', r"line 3: timestamp must be ISO 8601 .*found '17\\n00'"),
        (HEADER + ROW + "x" * 5000, r"line 3: longer than 4096 bytes \(found 'xxxx"),
        ((HEADER + ROW).encode("utf-16"), r"line 1: not UTF-8 text \(found byte 0xff\)"),
        ((HEADER + ROW).encode() + b"17\xe9\n", r"line 3: not UTF-8 text \(found byte 0xe9\)"),
        ((HEADER + ROW).replace("\n", "\r"), "line 1: new-line character seen in unquoted field"),
    ],
)
def test_file_that_cannot_be_replayed_is_refused_with_its_line_and_what_was_found(tmp_path, content, message):
    with pytest.raises(PriceFileError, match=message):
        read_bars(written(tmp_path, content), tick_size=TICK)


def test_prices_at_their_bounds_are_read():
    row = "1700000000000,0.1,1999999,0.1,1999999,0\n"
    assert parse_bars([HEADER, row], tick_size=TICK)[0].high == 19_999_990


def test_file_of_too_many_bars_is_refused(monkeypatch):
    monkeypatch.setattr(price_file, "BARS_MAX", 1)
    assert len(parse_bars([HEADER, ROW], tick_size=TICK)) == 1
    with pytest.raises(PriceFileError, match="line 3: more than 1 bars"):
        parse_bars([HEADER, ROW, LATER], tick_size=TICK)


def test_file_of_500_megabytes_is_refused_unread(tmp_path):
    path = written(tmp_path, HEADER + ROW)
    with path.open("r+b") as file:
        file.truncate(500_000_000)
    with pytest.raises(PriceFileError, match="holds 500000000 bytes; at most 250000000 are read"):
        read_bars(path, tick_size=TICK)


def test_file_of_the_largest_size_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(price_file, "FILE_BYTES_MAX", len(HEADER + ROW))
    assert read_bars(written(tmp_path, HEADER + ROW), tick_size=TICK) == (BAR,)
    with pytest.raises(PriceFileError, match="at most"):
        read_bars(written(tmp_path, HEADER + ROW + "\n"), tick_size=TICK)


@pytest.mark.parametrize(("symbol", "tick"), [("BTCUSDT", "0.1"), ("ETHUSDT", "0.01"), ("XRPUSDT", "0.0001")])
def test_tick_of_a_symbol_is_its_finest(symbol, tick):
    assert symbol_tick_size(DEFAULT_INSTRUMENTS, symbol) == Decimal(tick)
