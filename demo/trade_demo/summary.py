"""What a run amounts to, gathered at its end: as a record, as lines for people and as JSON for machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from trade_core.logs import neutralise
from trade_demo.process import RunningProcess, resident_bytes
from trade_demo.verdict import Verdict
from trade_demo.view import View

BYTES_PER_MB = 1_000_000
MAX_LOG_BYTES = 64 * 1024 * 1024
MAX_ERROR_LINES = 20
MAX_LINE_CHARACTERS = 300
# Our services write `<time> LEVEL ...`, freqtrade `<date> <time> - module - LEVEL - ...`; a traceback has no level.
_ERROR_LINE = re.compile(
    r"^\S+ (?:ERROR|CRITICAL) | - (?:ERROR|CRITICAL) - |^(?:ERROR|CRITICAL)[ :]|^Traceback \(most recent"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory of one process, in bytes."""

    now: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a run. Money in USDT; times in seconds from the start of the demo."""

    verdict: Verdict
    seconds: int
    orders_intended: int
    orders_acknowledged: int
    cancels: int
    entry_fills: int
    exit_fills: int
    taker_fills: int
    turnover_usdt: Decimal
    denials: Mapping[str, int]
    equity_start_usdt: Decimal | None
    equity_end_usdt: Decimal | None
    journal_rows: int
    first_ack_s: Decimal | None
    tick_lag_p99_ms: Decimal | None
    memory: Mapping[str, Memory]
    error_lines: Sequence[str]
    logs: Path


def measure_memory(running: Sequence[RunningProcess]) -> dict[str, Memory]:
    """Read the memory of the processes that still live."""
    found = {item.spec.name: resident_bytes(item.pid) for item in running if item.exit_code is None}
    return {name: Memory(now=value[0], highest=value[1]) for name, value in found.items() if value is not None}


def find_error_lines(folder: Path) -> list[str]:
    """Return the lines at ERROR or above in any log of the folder, at most MAX_ERROR_LINES and a remark."""
    found: list[str] = []
    for file in sorted(folder.glob("*.log")):
        with file.open("rb") as log:
            text = log.read(MAX_LOG_BYTES).decode("utf-8", "replace")
        found.extend(f"{file.name}: {line}" for line in text.splitlines() if _ERROR_LINE.search(line))
    shown = [neutralise(line, limit=MAX_LINE_CHARACTERS) for line in found[:MAX_ERROR_LINES]]
    return [*shown, f"... and {len(found) - len(shown)} more"] if len(found) > len(shown) else shown


def summarise(
    view: View, *, verdict: Verdict, memory: Mapping[str, Memory], error_lines: Sequence[str], logs: Path
) -> Summary:
    """Put the figures together."""
    counts = view.counts
    return Summary(
        verdict=verdict,
        seconds=view.elapsed_s(),
        orders_intended=counts.orders_intended,
        orders_acknowledged=counts.orders_acknowledged,
        cancels=counts.cancels,
        entry_fills=counts.entry_fills,
        exit_fills=counts.exit_fills,
        taker_fills=counts.taker_fills,
        turnover_usdt=counts.turnover_usdt,
        denials=dict(counts.denials),
        equity_start_usdt=view.first_equity_usdt,
        equity_end_usdt=view.equity_usdt,
        journal_rows=view.journal_rows,
        first_ack_s=view.first_ack_s,
        tick_lag_p99_ms=view.tick_lag_p99_ms,
        memory=memory,
        error_lines=error_lines,
        logs=logs,
    )


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary for people."""
    denials = ", ".join(f"{code} {count}" for code, count in sorted(summary.denials.items())) or "none"
    memory = ", ".join(f"{name} {_megabytes(item)}" for name, item in summary.memory.items()) or "not measured"
    errors = summary.error_lines or ["none"]
    first_ack = "none" if summary.first_ack_s is None else f"acknowledged {summary.first_ack_s} s after the start"
    return [
        f"ran           {summary.seconds} s",
        f"orders        {summary.orders_intended} intended, {summary.orders_acknowledged} acknowledged, "
        f"{summary.cancels} cancels",
        f"fills         {summary.entry_fills} entry, {summary.exit_fills} exit, "
        f"{summary.taker_fills} of them as taker; turnover {summary.turnover_usdt:.2f} USDT",
        f"denials       {denials}",
        f"equity        {_shown(summary.equity_start_usdt)} -> {_shown(summary.equity_end_usdt)} USDT",
        f"journal       {summary.journal_rows} rows",
        f"first order   {first_ack}",
        f"tick lag p99  {_shown(summary.tick_lag_p99_ms)} ms",
        f"memory (MB, highest)  {memory}",
        *(f"log errors    {line}" for line in errors),
        f"logs          {summary.logs}",
        f"{'good' if summary.verdict.exit_code == 0 else 'FAILED'}: {summary.verdict.sentence}",
    ]


def summary_json(summary: Summary) -> dict[str, object]:
    """Return the summary for machines; numbers that must stay exact are texts."""
    return {
        "exit_code": summary.verdict.exit_code,
        "verdict": summary.verdict.sentence,
        "seconds": summary.seconds,
        "orders_intended": summary.orders_intended,
        "orders_acknowledged": summary.orders_acknowledged,
        "cancels": summary.cancels,
        "entry_fills": summary.entry_fills,
        "exit_fills": summary.exit_fills,
        "taker_fills": summary.taker_fills,
        "turnover_usdt": f"{summary.turnover_usdt:.2f}",
        "denials": dict(summary.denials),
        "equity_start_usdt": _text(summary.equity_start_usdt),
        "equity_end_usdt": _text(summary.equity_end_usdt),
        "journal_rows": summary.journal_rows,
        "first_ack_s": _text(summary.first_ack_s),
        "tick_lag_p99_ms": _text(summary.tick_lag_p99_ms),
        "memory_bytes": {name: {"now": item.now, "highest": item.highest} for name, item in summary.memory.items()},
        "error_lines": list(summary.error_lines),
        "logs": str(summary.logs),
    }


def _megabytes(memory: Memory) -> str:
    return f"{memory.now // BYTES_PER_MB} ({memory.highest // BYTES_PER_MB})"


def _shown(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:f}"


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
