from __future__ import annotations

from decimal import Decimal

import pytest
from killswitch.console.world import executor_status, gateway_state, held

from trade_killswitch.console.facts import executor_facts, gateway_facts
from trade_killswitch.console.sources import Reading
from trade_killswitch.console.words import Headline, Tone, duration, headline, moment, percent, since_text, usdt, whole

NOW = 1_700_000_100_000_000_000
READ = Reading(document={}, read_at_ns=NOW)


def said(document: dict[str, object]) -> Headline:
    return headline(READ, gateway_facts(document), None, now_ns=NOW)


def test_active_is_good() -> None:
    found = said(gateway_state())
    assert (found.state, found.tone, found.since) == ("ACTIVE", Tone.GOOD, "")
    assert found.sentence == "The bot may trade within its limits, and nothing holds it back."


@pytest.mark.parametrize(
    ("document", "sentence", "tone"),
    [
        (
            held("REDUCE_ONLY", "no fresh lease from the watchdog", holder="lease"),
            "Only orders that reduce risk pass, because the lease: no fresh lease from the watchdog.",
            Tone.WARNING,
        ),
        (
            held("TRIMMED", "the weekly rung fired", holder="watchdog_ceiling"),
            "The bot trades at a reduced size, because the watchdog: the weekly rung fired.",
            Tone.WARNING,
        ),
        (
            held("HALTED", "by hand"),
            "Only exits and cancels pass until a security key is touched, because latched: by hand.",
            Tone.STOPPED,
        ),
        (
            held("KILLED", "", holder="operator_latch"),
            "Everything is stopped for good until two security keys are touched, because latched.",
            Tone.STOPPED,
        ),
    ],
)
def test_state_is_said_with_its_reason_and_since_when(document: dict[str, object], sentence: str, tone: Tone) -> None:
    found = said(document)
    assert (found.sentence, found.tone, found.since) == (sentence, tone, "2023-11-14 22:13:20 UTC"[11:])


def test_all_holders_of_the_state_are_named_and_no_others() -> None:
    document = held("REDUCE_ONLY", "no fresh lease", holder="lease")
    document["holders"]["own_faults"] = {"ceiling": "REDUCE_ONLY", "reason": "clock leapt", "since_ns": "0"}
    document["holders"]["watchdog_ceiling"] = {"ceiling": "TRIMMED", "reason": "a rung", "since_ns": "0"}
    assert "because the lease: no fresh lease; a fault of the gateway's own: clock leapt." in said(document).sentence


@pytest.mark.parametrize("state", ["", "active", "ACTIVE ", "<b>"])
def test_state_that_is_not_known_is_unknown(state: str) -> None:
    found = said(gateway_state(trading_state=state))
    assert (found.state, found.tone) == ("unknown", Tone.UNKNOWN)


def test_gateway_that_cannot_be_read_is_unknown_whatever_it_was() -> None:
    failed = Reading(failure="the gateway does not answer", failing_since_ns=NOW)
    never = headline(failed, None, None, now_ns=NOW)
    assert never.sentence == "Nobody can say how the gateway stands: the gateway does not answer."
    executor = executor_facts(executor_status(sweep={"running": {"is_pending": False}}))
    known = headline(failed, gateway_facts(gateway_state()), executor, now_ns=NOW)
    assert (known.state, known.tone) == ("unknown", Tone.UNKNOWN)
    assert known.sentence.endswith("It was ACTIVE then. At the exchange, a sweep goes on.")


def test_kill_is_told_although_the_gateway_is_gone() -> None:
    failed = Reading(failure="the gateway does not answer", failing_since_ns=NOW)
    last = {"kill_id": "1", "in_words": "the kill is complete and proved after 5.2 s", "steps": []}
    found = headline(failed, None, executor_facts(executor_status(kill={"running": None, "last": last})), now_ns=NOW)
    assert found.sentence.endswith("does not answer. The kill is complete and proved after 5.2 s.")


def test_times_have_their_date_when_it_is_another_day() -> None:
    assert moment(NOW, now_ns=NOW) == "22:15:00 UTC"
    assert moment(NOW - 86_400 * 10**9, now_ns=NOW) == "2023-11-13 22:15:00 UTC"
    assert moment(None, now_ns=NOW) == "at an unknown time"
    assert moment(10**30, now_ns=NOW) == "at an impossible time"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"),
        (-5.0, "0 s"),
        (0.4, "0 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7200.0, "2 h"),
        (1e6, "11 days"),
    ],
)
def test_duration_reads_best(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2023-11-14T22:14:00Z", "60 s ago"),
        ("2023-11-14T22:14:00", "60 s ago"),
        ("2023-11-04T22:15:00.000Z", "10 days ago"),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_age_of_a_time_that_an_exchange_wrote(text: str, words: str) -> None:
    assert since_text(text, now_ns=NOW) == words


def test_numbers_are_written_for_people() -> None:
    assert (usdt(Decimal("1234.5")), usdt(None)) == ("1,234.50 USDT", "unknown")
    assert (percent(Decimal("0.01234")), percent(None)) == ("1.23 %", "unknown")
    assert (whole(1234567), whole(None)) == ("1,234,567", "unknown")
