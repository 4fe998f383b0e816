"""The summary: every figure stands in the lines and in the JSON, and errors in logs are found."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from trade_core.clock import ManualClock
from trade_demo.summary import (
    MAX_ERROR_LINES,
    Memory,
    Summary,
    find_error_lines,
    summarise,
    summary_json,
    summary_lines,
)
from trade_demo.verdict import Verdict
from trade_demo.view import View


def sample() -> Summary:
    view = View(clock=ManualClock())
    view.counts.orders_intended, view.counts.orders_acknowledged, view.counts.cancels = 12, 11, 3
    view.counts.entry_fills, view.counts.exit_fills, view.counts.taker_fills = 5, 4, 1
    view.counts.turnover_usdt = Decimal("360.125")
    view.counts.denials["NOT_POST_ONLY"] = 2
    view.note_equity(Decimal(4000))
    view.note_equity(Decimal("3999.5"))
    view.journal_rows, view.first_ack_s, view.tick_lag_p99_ms = 321, Decimal("22.4"), Decimal("7.5")
    return summarise(
        view,
        verdict=Verdict(exit_code=0, sentence="all well"),
        memory={"gateway": Memory(now=90_000_000, highest=95_000_000)},
        error_lines=[],
        logs=Path("/logs"),
    )


def test_summary_lines_hold_every_figure() -> None:
    text = "\n".join(summary_lines(sample()))
    for part in (
        "12 intended, 11 acknowledged, 3 cancels",
        "5 entry, 4 exit, 1 of them as taker; turnover 360.12 USDT",
        "NOT_POST_ONLY 2",
        "4000 -> 3999.5 USDT",
        "321 rows",
        "acknowledged 22.4 s after the start",
        "7.5 ms",
        "gateway 90 (95)",
        "log errors    none",
        "good: all well",
    ):
        assert part in text


def test_summary_json_is_plain_json_with_exact_money() -> None:
    content = json.loads(json.dumps(summary_json(sample())))
    assert content["exit_code"] == 0
    assert (content["equity_start_usdt"], content["equity_end_usdt"]) == ("4000", "3999.5")
    assert content["denials"] == {"NOT_POST_ONLY": 2}
    assert content["memory_bytes"] == {"gateway": {"now": 90_000_000, "highest": 95_000_000}}


def test_summary_nothing_known_says_unknown() -> None:
    view = View(clock=ManualClock())
    verdict = Verdict(exit_code=1, sentence="no entry was filled")
    lines = summary_lines(summarise(view, verdict=verdict, memory={}, error_lines=["a"], logs=Path("/logs")))
    assert "equity        unknown -> unknown USDT" in lines
    assert "first order   none" in lines
    assert "log errors    a" in lines
    assert lines[-1] == "FAILED: no entry was filled"


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T04:00:00.123Z ERROR trade-gateway something",
        "2026-11-23T04:00:00.123Z CRITICAL trade-gateway something",
        "2026-11-23 04:00:00,123 - freqtrade.freqtradebot - ERROR - something",
        "Traceback (most recent call last):",
    ],
)
def test_find_error_lines_error_of_any_format_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "service.log").write_text(f"before\n{line}\nafter\n")
    assert find_error_lines(tmp_path) == [f"service.log: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T04:00:00.123Z INFO trade-gateway no ERROR here",
        "2026-11-23T04:00:00.123Z WARNING trade-gateway something",
        "2026-11-23 04:00:00,123 - freqtrade.worker - INFO - api_server verbosity error",
    ],
)
def test_find_error_lines_lesser_line_is_left_out(line: str, tmp_path: Path) -> None:
    (tmp_path / "service.log").write_text(f"{line}\n")
    assert find_error_lines(tmp_path) == []


@pytest.mark.parametrize("extra", [0, 1, 1000])
def test_find_error_lines_many_are_bounded_and_counted(extra: int, tmp_path: Path) -> None:
    (tmp_path / "service.log").write_text("now ERROR service x\n" * (MAX_ERROR_LINES + extra))
    found = find_error_lines(tmp_path)
    assert len(found) == MAX_ERROR_LINES + (1 if extra else 0)
    assert not extra or found[-1] == f"... and {extra} more"


def test_find_error_lines_control_characters_are_neutralised(tmp_path: Path) -> None:
    (tmp_path / "service.log").write_text("now ERROR service \x1b[2Jx\n")
    assert find_error_lines(tmp_path) == ["service.log: now ERROR service \\x1b[2Jx"]
