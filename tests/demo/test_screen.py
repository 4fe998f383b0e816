"""Screens: a terminal is redrawn, everything else gets lines, and foreign text is never markup."""

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from trade_core.clock import NS_PER_S, ManualClock
from trade_demo.screen import STATUS_EVERY_S, JsonScreen, LiveScreen, PlainScreen, Screen, choose_screen
from trade_demo.summary import summarise
from trade_demo.verdict import Verdict
from trade_demo.view import MAX_UNSHOWN, HappeningKind, View


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def view(clock: ManualClock) -> View:
    view = View(clock=clock)
    view.prices = {"BTCUSDT": Decimal("64000.5")}
    view.counts.denials["NOT_POST_ONLY"] = 2
    view.processes = {"gateway": "died (-9)", "simulator": "running"}
    view.note_state("ACTIVE", ())
    view.happened(HappeningKind.DENIED, "[bold]NOT_POST_ONLY[/bold] symbol=BTCUSDT")
    return view


def end(screen: Screen, view: View) -> None:
    verdict = Verdict(exit_code=1, sentence="no entry was filled")
    screen.end(summarise(view, verdict=verdict, memory={}, error_lines=[], logs=Path("/logs")))


@pytest.mark.parametrize(
    ("output", "is_json", "kind"),
    [
        (io.StringIO(), False, PlainScreen),
        (io.StringIO(), True, JsonScreen),
        (Terminal(), False, LiveScreen),
        (Terminal(), True, JsonScreen),
    ],
)
def test_choose_screen_fits_the_output(output: io.StringIO, *, is_json: bool, kind: type) -> None:
    screen = choose_screen(is_json=is_json, output=output)
    assert type(screen) is kind
    end(screen, View(clock=ManualClock()))


def test_plain_screen_prints_each_happening_once(view: View) -> None:
    output = io.StringIO()
    screen = PlainScreen(output)
    screen.show(view)
    screen.show(view)
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("state    trading state not started -> ACTIVE")
    assert lines[1].endswith("denied   [bold]NOT_POST_ONLY[/bold] symbol=BTCUSDT")


def test_plain_screen_prints_a_status_line_when_due(view: View, clock: ManualClock) -> None:
    output = io.StringIO()
    screen = PlainScreen(output)
    view.take_happenings()
    clock.advance(STATUS_EVERY_S * NS_PER_S - 1)
    screen.show(view)
    assert output.getvalue() == ""
    clock.advance(1)
    screen.show(view)
    screen.show(view)
    assert output.getvalue().splitlines() == [
        "-- 15 s ACTIVE | BTCUSDT 64000.5 | equity unknown | 0 orders 0 working 0 cancels | 0+0 fills | 2 denials | "
        "0 rows"
    ]


def test_plain_screen_ends_with_the_verdict(view: View) -> None:
    output = io.StringIO()
    end(PlainScreen(output), view)
    assert output.getvalue().splitlines()[-1] == "FAILED: no entry was filled"


def test_json_screen_every_line_is_an_object(view: View, clock: ManualClock) -> None:
    output = io.StringIO()
    screen = JsonScreen(output)
    clock.advance(STATUS_EVERY_S * NS_PER_S)
    screen.show(view)
    end(screen, view)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line["kind"] for line in lines] == ["state", "denied", "status", "summary"]
    assert lines[2]["prices"] == {"BTCUSDT": "64000.5"}
    assert lines[3]["exit_code"] == 1


def test_live_screen_shows_state_denials_and_deaths_as_text(view: View) -> None:
    output = io.StringIO()
    screen = LiveScreen(Console(file=output, force_terminal=True, width=120, height=50, color_system=None))
    screen.show(view)
    end(screen, view)
    text = output.getvalue()
    for part in ("ACTIVE", "BTCUSDT 64000.5", "NOT_POST_ONLY 2", "gateway died (-9)", "[bold]NOT_POST_ONLY[/bold]"):
        assert part in text
    assert "FAILED: no entry was filled" in text


def test_view_happenings_are_taken_in_the_order_in_which_they_happened(view: View) -> None:
    view.take_happenings()
    view.happened(HappeningKind.FILL, "second", at_ns=2)
    view.happened(HappeningKind.ORDER, "first", at_ns=1)
    assert [item.text for item in view.take_happenings()] == ["first", "second"]


def test_view_happenings_nobody_takes_are_bounded(view: View) -> None:
    for number in range(MAX_UNSHOWN + 10):
        view.happened(HappeningKind.STEP, str(number))
    taken = view.take_happenings()
    assert len(taken) == MAX_UNSHOWN
    assert taken[-1].text == str(MAX_UNSHOWN + 9)
