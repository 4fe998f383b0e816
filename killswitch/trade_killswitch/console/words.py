"""Words for people: times, ages, amounts, and the one sentence that says how things stand and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, unique
from typing import Final

from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_killswitch.console.facts import ExecutorFacts, GatewayFacts, Hold
from trade_killswitch.console.sources import Reading

STATES: Final = ("ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED", "KILLED")
_HOLDERS: Final = {
    "operator_latch": "latched",
    "watchdog_ceiling": "the watchdog",
    "lease": "the lease",
    "own_faults": "a fault of the gateway's own",
}


@unique
class Tone(Enum):
    """How a thing stands, for its colour; the words beside it say the same."""

    GOOD = "good"
    WARNING = "warning"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


_TONES: Final = {
    "ACTIVE": Tone.GOOD,
    "TRIMMED": Tone.WARNING,
    "REDUCE_ONLY": Tone.WARNING,
    "HALTED": Tone.STOPPED,
    "KILLED": Tone.STOPPED,
}
_SENTENCES: Final = {
    "ACTIVE": "The bot may trade within its limits, and nothing holds it back",
    "TRIMMED": "The bot trades at a reduced size",
    "REDUCE_ONLY": "Only orders that reduce risk pass",
    "HALTED": "Only exits and cancels pass until a security key is touched",
    "KILLED": "Everything is stopped for good until two security keys are touched",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The state in a word, the sentence that says why, its tone, and since when that is so."""

    state: str
    sentence: str
    tone: Tone
    since: str = ""


def headline(gateway: Reading, facts: GatewayFacts | None, executor: ExecutorFacts | None, *, now_ns: int) -> Headline:
    """Say how things stand, in one sentence, from what could be read."""
    kill = executor.kill if executor is not None else None
    if kill is not None and kill.is_running:
        return Headline(
            state="DRILL" if kill.is_drill else "KILL",
            sentence=f"{kill.words[:1].upper()}{kill.words[1:]}.",
            tone=Tone.STOPPED,
            since=moment(kill.began_at_ns, now_ns=now_ns),
        )
    if facts is None or gateway.failure:
        return _unread(gateway, facts, executor, now_ns=now_ns)
    state = facts.trading_state
    if state not in STATES:
        return Headline(
            state="unknown", sentence="The gateway names no trading state that is known.", tone=Tone.UNKNOWN
        )
    binding = _binding(facts.holds, state)
    why = "; ".join(_because(hold) for hold in binding)
    since_ns = min((hold.since_ns for hold in binding if hold.since_ns), default=None)
    return Headline(
        state=state,
        sentence=f"{_SENTENCES[state]}{f', because {why}' if why else ''}.",
        tone=_TONES[state],
        since=moment(since_ns, now_ns=now_ns) if since_ns else "",
    )


def _unread(gateway: Reading, facts: GatewayFacts | None, executor: ExecutorFacts | None, *, now_ns: int) -> Headline:
    known = f" It was {facts.trading_state} then." if facts is not None else ""
    swept = f" At the exchange, {executor.sweep}." if executor is not None and executor.sweep else ""
    kill = executor.kill if executor is not None else None
    killed = f" {kill.words[:1].upper()}{kill.words[1:]}." if kill is not None and kill.words else ""
    return Headline(
        state="unknown",
        sentence=f"Nobody can say how the gateway stands: {gateway.failure}.{known}{killed or swept}",
        tone=Tone.UNKNOWN,
        since=moment(gateway.failing_since_ns, now_ns=now_ns),
    )


def _binding(holds: Sequence[Hold], state: str) -> list[Hold]:
    return [hold for hold in holds if hold.ceiling == state and state != "ACTIVE"]


def _because(hold: Hold) -> str:
    holder = _HOLDERS.get(hold.holder, hold.holder)
    return f"{holder}: {hold.reason}" if hold.reason else holder


def moment(at_ns: int | None, *, now_ns: int) -> str:
    """Write a time (UTC): of today the time alone, else with its date."""
    if at_ns is None:
        return "at an unknown time"
    try:
        at, now = (datetime.fromtimestamp(ns // NS_PER_S, tz=UTC) for ns in (at_ns, now_ns))
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"
    return f"{at:%H:%M:%S} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def moment_ms(at_ms: int | None, *, now_ns: int) -> str:
    """Write a time that is given in milliseconds."""
    return moment(None if at_ms is None else at_ms * NS_PER_MS, now_ns=now_ns)


def since_text(text: str, *, now_ns: int) -> str:
    """Say how long ago a time was that an exchange wrote (ISO 8601, UTC); empty for one that cannot be read."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return ""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return f"{duration(now_ns / NS_PER_S - at.timestamp())} ago"


def duration(seconds: float | None) -> str:
    """Write how long: seconds, minutes, hours or days, whatever reads best."""
    if seconds is None:
        return "unknown"
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h" if whole < 172_800 else f"{whole // 86_400} days"


def usdt(amount: Decimal | None) -> str:
    """Write an amount of money."""
    return "unknown" if amount is None else f"{amount:,.2f} USDT"


def percent(fraction: Decimal | None) -> str:
    """Write a fraction as a percentage."""
    return "unknown" if fraction is None else f"{fraction * 100:.2f} %"


def whole(number: int | None) -> str:
    """Write a whole number, its thousands apart."""
    return "unknown" if number is None else f"{number:,}"
