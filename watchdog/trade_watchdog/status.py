"""What the watchdog knows at this moment, for the admin listener. Written by the monitor and its second prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique

from trade_core.trust.lease import NO_VENUE, Lease
from trade_watchdog.ceiling import Ceiling, EquitySample, Finding, Verdict
from trade_watchdog.quotes import QuoteFinding, SeenPrice


@unique
class Phase(Enum):
    """How far the watchdog has come. No lease is sent before WATCHING."""

    WAITING_FOR_EXCHANGE = "waiting_for_exchange"
    WATCHING = "watching"


@unique
class LeaseResult(Enum):
    """How the last attempt to send a lease ended."""

    NEVER_SENT = "never_sent"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    INVALID = "invalid"
    FOREIGN = "foreign"
    UNNUMBERED = "unnumbered"
    UNWITNESSED = "unwitnessed"
    FORKED = "forked"
    STANDING_BY = "standing_by"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCoin:
    """What is known of a coin at the second venue: the last finding, and the price that still counts."""

    finding: QuoteFinding = QuoteFinding.NEVER_ASKED
    seen: SeenPrice | None = None


@dataclass(slots=True, kw_only=True)
class StreamState:
    """What is known of one stream; why it ended last."""

    frames: int = 0
    last_frame_ns: int | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class ExecutorJournalState:
    """How far the executor's journal was witnessed, when last (monotonic), and why not now; "" when it was."""

    rows: int = 0
    cosigned_at_ns: int | None = None
    detail: str = "not witnessed yet"


def _first_verdict() -> Verdict:
    return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason="the key is not verified yet")


@dataclass(slots=True, kw_only=True)
class Status:
    """A mutable record; times are on the monotonic clock."""

    phase: Phase = Phase.WAITING_FOR_EXCHANGE
    finding: Finding = Finding.NEVER_READ
    exchange_detail: str = ""
    last_good: EquitySample | None = None
    clock_offset_ms: int | None = None
    verdict: Verdict = field(default_factory=_first_verdict)
    lease: Lease | None = None
    lease_accepted_at_ns: int | None = None
    lease_result: LeaseResult = LeaseResult.NEVER_SENT
    lease_detail: str = ""
    witnessed_rows: int = 0
    second_venue: str = NO_VENUE
    second_coins: dict[str, SecondCoin] = field(default_factory=dict)
    executor_journal: ExecutorJournalState = field(default_factory=ExecutorJournalState)
    account_stream: StreamState = field(default_factory=StreamState)
    price_stream: StreamState = field(default_factory=StreamState)
