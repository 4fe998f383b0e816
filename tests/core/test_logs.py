from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.logs import MAX_LINE_CHARACTERS, RefusalLog, configure_logging, neutralise


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb", "a\\nb"),
        ("a\rb", "a\\rb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202etxt", "\\u202etxt"),
        ("\u2028", "\\u2028"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\ud800", "\\ud800"),
        ("gr\u00fc\u00df", "gr\u00fc\u00df"),
    ],
)
def test_neutralise_escapes_what_is_not_printable(text: str, shown: str) -> None:
    assert neutralise(text, limit=100) == shown


@given(st.text(st.characters()))
def test_neutralise_of_any_text_is_one_printable_line(text: str) -> None:
    assert neutralise(text, limit=50).isprintable()


def test_neutralise_at_the_limit_keeps_all() -> None:
    assert neutralise("x" * 10, limit=10) == "x" * 10


def test_neutralise_past_the_limit_cuts_and_says_so() -> None:
    assert neutralise("x" * 11, limit=10) == "x" * 10 + "..."


def test_log_record_is_one_line_of_our_format(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("trade-x")
    logging.getLogger("any").info("order %s", "a\nFAKE")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO trade-x order a\\nFAKE\n", line)


def test_log_record_with_traceback_is_one_line(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("trade-x")
    try:
        raise ValueError("forged\n2026-01-01T00:00:00.000Z INFO trade-x all is well")
    except ValueError:
        logging.getLogger("any").exception("failed")
    assert capsys.readouterr().err.count("\n") == 1


def test_log_record_is_bounded(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("trade-x")
    logging.getLogger("any").error("x" * 100_000)
    assert len(capsys.readouterr().err) <= MAX_LINE_CHARACTERS + 4


@pytest.mark.parametrize("name", ["httpx", "httpcore", "websockets", "uvicorn.access"])
def test_log_of_a_library_that_writes_urls_is_quiet(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure_logging("trade-x", level="DEBUG")
    logging.getLogger(name).info("GET http://host/?token=secret")
    assert capsys.readouterr().err == ""


def test_configure_logging_twice_writes_each_record_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("trade-x")
    configure_logging("trade-x", level="WARNING")
    logging.getLogger("any").info("unseen")
    logging.getLogger("any").warning("seen")
    assert capsys.readouterr().err.count("\n") == 1


def test_refusals_are_told_in_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    refusals = RefusalLog("admin listener", clock=clock)
    for _ in range(3):
        for code in ("A", "B", "A"):
            refusals.note(code)
        clock.advance(NS_PER_S)
    assert [record.getMessage() for record in caplog.records] == [
        "admin listener refused requests: A x 1",
        "admin listener refused requests: A x 2, B x 1",
        "admin listener refused requests: A x 2, B x 1",
    ]


def test_library_that_warns_of_each_bad_request_is_silenced(root: logging.Logger) -> None:
    configure_logging("trade-test")
    assert not logging.getLogger("uvicorn.error").isEnabledFor(logging.WARNING)
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.ERROR)
