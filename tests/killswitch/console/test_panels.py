from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from killswitch.console.world import executor_status, gateway_state, watchdog_state

from trade_core.clock import NS_PER_S
from trade_killswitch.console.digest import Digest
from trade_killswitch.console.panels import ARMED_WARNING_S, Readings, Vital, page_of
from trade_killswitch.console.sources import Reading
from trade_killswitch.console.words import Tone

NOW = 1_700_000_100 * NS_PER_S
DOWN = Reading(failure="it does not answer", failing_since_ns=NOW)


def read(document: Mapping[str, Any], *, ago_s: int = 0) -> Reading:
    return Reading(document=document, read_at_ns=NOW - ago_s * NS_PER_S)


def readings(**changed: Any) -> Readings:
    whole: dict[str, Any] = {
        "gateway": read(gateway_state()),
        "watchdog": read(watchdog_state()),
        "executor": read(executor_status()),
        "digest": Digest(),
        "digest_from": 0,
        "deny_words": {},
        "samples": (),
        "ring": None,
        "now_ns": NOW,
    }
    return Readings(**{**whole, **changed})


def vital(name: str, **changed: Any) -> Vital:
    (found,) = [one for one in page_of(readings(**changed)).vitals if one.name == name]
    return found


@pytest.mark.parametrize(
    ("age_s", "words", "tone"),
    [
        (0.0, "0 s old", Tone.GOOD),
        (14.9, "15 s old", Tone.GOOD),
        (15.0, "15 s old", Tone.WARNING),
        (None, "none", Tone.WARNING),
    ],
)
def test_lease_is_good_while_it_is_young(age_s: float | None, words: str, tone: Tone) -> None:
    lease = {**gateway_state()["lease"], "age_s": age_s}
    found = vital("Lease", gateway=read(gateway_state(lease=lease)))
    assert (found.words, found.tone) == (words, tone)


@pytest.mark.parametrize(
    ("is_armed", "left_s", "words", "tone"),
    [
        (True, None, "armed", Tone.GOOD),
        (True, 30 * 86_400, "armed, 30 days left", Tone.GOOD),
        (True, ARMED_WARNING_S, "armed, 7 days left", Tone.GOOD),
        (True, ARMED_WARNING_S - 1, "armed, 6 days left", Tone.WARNING),
        (False, None, "not armed", Tone.WARNING),
    ],
)
def test_automatic_kill_warns_before_it_lapses(is_armed: bool, left_s: int | None, words: str, tone: Tone) -> None:
    until = {} if left_s is None else {"expires_at_ms": (NOW // NS_PER_S + left_s) * 1000}
    found = vital("Automatic kill", executor=read(executor_status(armed={"is_armed": is_armed, "reason": "", **until})))
    assert (found.words, found.tone) == (words, tone)


def test_what_cannot_be_read_now_is_unknown_whatever_it_was() -> None:
    failed = {
        name: Reading(document={}, failure="x", failing_since_ns=NOW, read_at_ns=NOW)
        for name in ("gateway", "watchdog", "executor")
    }
    assert {(one.words, one.tone) for one in page_of(readings(**failed)).vitals} == {("unknown", Tone.UNKNOWN)}


def test_panel_of_a_service_that_is_down_says_since_when_and_what_was_known() -> None:
    page = page_of(readings(gateway=DOWN))
    assert page.exposure.notice == "Cannot be read since 22:15:00 UTC: it does not answer."
    known = Reading(document=gateway_state(), read_at_ns=NOW - 60 * NS_PER_S, failure="it hangs", failing_since_ns=NOW)
    assert page_of(readings(gateway=known)).exposure.notice.endswith("it hangs. What follows was so at 22:14:00 UTC.")


@pytest.mark.parametrize(("ago_s", "notice"), [(15, ""), (16, "Was last read at 22:14:44 UTC.")])
def test_reading_that_has_grown_old_is_said(ago_s: int, notice: str) -> None:
    assert page_of(readings(watchdog=read(watchdog_state(), ago_s=ago_s))).equity.notice == notice


@pytest.mark.parametrize(
    ("use", "words", "share", "tone"),
    [
        ("0", "0 of 2,000", 0, Tone.GOOD),
        ("1499.99", "1,499.99 of 2,000", 74, Tone.GOOD),
        ("1500", "1,500 of 2,000", 75, Tone.WARNING),
        ("2000", "2,000 of 2,000", 100, Tone.STOPPED),
        ("9999", "9,999 of 2,000", 100, Tone.STOPPED),
        (None, "at most 2,000", 0, Tone.UNKNOWN),
    ],
)
def test_limit_is_drawn_by_how_full_it_is(use: str | None, words: str, share: int, tone: Tone) -> None:
    limits = {"max_gross_exposure_usdt": {"value": "2000.00", "use": use}}
    (bar,) = page_of(readings(gateway=read(gateway_state(limits=limits)))).bars
    assert (bar.words, bar.share, bar.tone) == (words, share, tone)
