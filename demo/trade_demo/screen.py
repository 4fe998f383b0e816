"""What a spectator sees: a live screen on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trade_core.clock import NS_PER_S
from trade_demo.summary import Summary, summary_json, summary_lines
from trade_demo.view import Happening, HappeningKind, View

STATUS_EVERY_S = 15
RECENT_LINES = 14

_STYLES = {
    HappeningKind.STEP: "dim",
    HappeningKind.PROCESS: "bold red",
    HappeningKind.STATE: "yellow",
    HappeningKind.ORDER: "cyan",
    HappeningKind.CANCEL: "blue",
    HappeningKind.DENIED: "magenta",
    HappeningKind.FILL: "green",
    HappeningKind.PROBLEM: "bold red",
    HappeningKind.SCENARIO: "bold white",
}


class Screen(Protocol):
    """Shows the view again and again, and the summary once."""

    def show(self, view: View) -> None:
        """Show what is new."""
        ...

    def end(self, summary: Summary) -> None:
        """Show the summary; nothing is shown after it."""
        ...


def choose_screen(*, is_json: bool, output: TextIO) -> Screen:
    """Return the screen that fits the output."""
    if is_json:
        return JsonScreen(output)
    return LiveScreen(Console(file=output)) if output.isatty() else PlainScreen(output)


class PlainScreen:
    """A line for each happening, and a status line every STATUS_EVERY_S."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._next_status_s = STATUS_EVERY_S

    def show(self, view: View) -> None:
        """Print what is new."""
        lines = [f"{clock_time(item.at_ns)} {item.kind.value:<8} {item.text}" for item in view.take_happenings()]
        if view.elapsed_s() >= self._next_status_s:
            self._next_status_s = view.elapsed_s() + STATUS_EVERY_S
            lines.append(status_line(view))
        if lines:
            print("\n".join(lines), file=self._output, flush=True)

    def end(self, summary: Summary) -> None:
        """Print the summary."""
        print("\n".join(["", *summary_lines(summary)]), file=self._output, flush=True)


class JsonScreen:
    """One JSON object a line: happenings, a status every STATUS_EVERY_S, and the summary."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._next_status_s = STATUS_EVERY_S

    def show(self, view: View) -> None:
        """Print what is new."""
        for item in view.take_happenings():
            self._print({"kind": item.kind.value, "at_ns": item.at_ns, "text": item.text})
        if view.elapsed_s() >= self._next_status_s:
            self._next_status_s = view.elapsed_s() + STATUS_EVERY_S
            self._print({"kind": "status", **status(view)})

    def end(self, summary: Summary) -> None:
        """Print the summary."""
        self._print({"kind": "summary", **summary_json(summary)})

    def _print(self, content: dict[str, object]) -> None:
        print(json.dumps(content), file=self._output, flush=True)


class LiveScreen:
    """A screen that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._recent: list[Happening] = []
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, view: View) -> None:
        """Redraw."""
        self._recent = [*self._recent, *view.take_happenings()][-RECENT_LINES:]
        self._live.update(self._drawing(view), refresh=True)

    def end(self, summary: Summary) -> None:
        """Leave the last happenings and the summary on the terminal."""
        self._live.stop()
        for item in self._recent:
            self._console.print(_happening_text(item))
        self._console.print(Panel(Text("\n".join(summary_lines(summary))), title="summary"))

    def _drawing(self, view: View) -> Group:
        top = Table.grid(expand=True, padding=(0, 2))
        for name, value in _cells(view):
            top.add_row(Text(name, style="dim"), value)
        lines = Group(*(_happening_text(item) for item in self._recent))
        title = f"Trade on a simulated exchange, {view.elapsed_s()} s: {view.headline}"
        return Group(Panel(top, title=title), Panel(lines, title="what happened", height=RECENT_LINES + 2))


def _cells(view: View) -> list[tuple[str, Text]]:
    is_active = view.trading_state == "ACTIVE"
    counts = view.counts
    state = Text(view.trading_state, style="bold green" if is_active else "bold yellow")
    state.append("".join(f"  {reason}" for reason in view.reasons), style="dim")
    denials = "  ".join(f"{code} {count}" for code, count in sorted(counts.denials.items())) or "none"
    processes = Text("  ").join(
        Text(f"{name} {condition}", style="bold red" if condition.startswith("died") else "")
        for name, condition in view.processes.items()
    )
    return [
        ("state", state),
        ("prices", Text("  ".join(f"{symbol} {price:f}" for symbol, price in sorted(view.prices.items())))),
        ("equity", Text(f"{_cents(view.equity_usdt)} USDT   start {_cents(view.first_equity_usdt)}")),
        ("at most lost", Text(f"{view.hostile_loss_usdt} USDT a day to a hostile bot   "
                              f"{view.stress_loss_usdt} USDT to one market gap")),
        ("orders", Text(f"{counts.orders_acknowledged} placed   {view.working_orders} working   "
                        f"{counts.cancels} cancels")),
        ("fills", Text(f"{counts.entry_fills} entry   {counts.exit_fills} exit", style="green")),
        ("denials", Text(denials, style="magenta" if counts.denials else "")),
        ("journal", Text(f"{view.journal_rows} rows   lease {_tenths(view.lease_age_s)} s old")),
        ("console", Text(view.console)),
        ("freqtrade", Text(view.freqtrade_state)),
        ("processes", processes),
    ]  # fmt: skip


def _happening_text(item: Happening) -> Text:
    # Text, not markup: what the services say is data.
    line = f"{clock_time(item.at_ns)} {item.kind.value:<8} {item.text}"
    return Text(line, style=_STYLES[item.kind], no_wrap=True, overflow="ellipsis")


def status(view: View) -> dict[str, object]:
    """Return the present figures."""
    counts = view.counts
    return {
        "seconds": view.elapsed_s(),
        "trading_state": view.trading_state,
        "prices": {symbol: f"{price:f}" for symbol, price in sorted(view.prices.items())},
        "equity_usdt": _shown(view.equity_usdt),
        "orders_acknowledged": counts.orders_acknowledged,
        "working_orders": view.working_orders,
        "cancels": counts.cancels,
        "entry_fills": counts.entry_fills,
        "exit_fills": counts.exit_fills,
        "denials": dict(counts.denials),
        "journal_rows": view.journal_rows,
        "freqtrade": view.freqtrade_state,
        "processes": dict(view.processes),
    }


def status_line(view: View) -> str:
    """Return the present figures on one line."""
    counts = view.counts
    prices = " ".join(f"{symbol} {price:f}" for symbol, price in sorted(view.prices.items()))
    return (
        f"-- {view.elapsed_s()} s {view.trading_state} | {prices} | equity {_shown(view.equity_usdt)} | "
        f"{counts.orders_acknowledged} orders {view.working_orders} working {counts.cancels} cancels | "
        f"{counts.entry_fills}+{counts.exit_fills} fills | {counts.denials.total()} denials | "
        f"{view.journal_rows} rows"
    )


def clock_time(at_ns: int) -> str:
    """Return the UTC time of day."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%H:%M:%S")


def _cents(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _tenths(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _shown(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:f}"
