"""The documents of gateway, watchdog and executor as facts: parsed once, here. Pure.

What is missing or of another form is None or empty, and is shown as unknown: these facts are for people to see, and
decide nothing. Texts are foreign; whoever prints them neutralises them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

Document: TypeAlias = Mapping[str, Any]
ITEMS_MAX: Final = 200
_EMPTY: Final[Document] = {}
READY: Final = "ready"
_PROVED: Final = "prove"  # the step of a kill whose evidence names the keys that the exchange refuses
_SECONDS_MAX: Final = 1e12
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,40})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One holder of the trading state: the ceiling that it sets, why and since when (UTC nanoseconds)."""

    holder: str
    ceiling: str
    reason: str
    since_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """One limit, its value and how much of it is used; None where the gateway cannot tell."""

    name: str
    value: Decimal | None
    use: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRelease:
    """A loosening that the gateway has announced, in words, and in how many seconds it takes effect."""

    words: str
    in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """What the gateway says of itself."""

    environment: str
    account: str
    deployment: str
    trading_state: str
    holds: tuple[Hold, ...]
    latch_subject: str
    order_key: str
    killed_keys: frozenset[str]
    pending: tuple[PendingRelease, ...]
    lease_age_s: float | None
    lease_expires_in_s: float | None
    limits: tuple[LimitUse, ...]
    hostile_loss: str
    stress_loss: str
    is_account_trusted: bool | None
    account_reason: str
    working_orders: int | None
    unknown_outcomes: int
    journal_size: int | None
    journal_root: str
    journal_root_size: int | None
    witnessed_size: int | None
    is_journal_writable: bool | None
    policy_hash: str
    ring_hash: str
    waiting_ring: str
    waiting_ring_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFacts:
    """One rung of the ladder. `threshold` and `drawdown` are fractions; `since_ms` is when it fired (UTC)."""

    name: str
    stage: str
    effect: str
    window_s: int | None
    threshold: Decimal | None
    drawdown: Decimal | None
    peak: Decimal | None
    since_ms: int | None

    @property
    def fires_at(self) -> Decimal | None:
        """Return the unit price at which it fires."""
        if self.peak is None or self.threshold is None:
            return None
        return self.peak * (1 - self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeKey:
    """A key of the account, as the watchdog has it from the exchange's list."""

    key: str
    role: str
    is_read_only: bool
    created_at: str
    days_left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """An incident of the watchdog's journal that nobody has dealt with, by the number of its row."""

    row: int
    at_ns: int | None
    kind: str
    severity: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogFacts:
    """What the watchdog sees and does."""

    ceiling: str
    reason: str
    exchange: str
    equity_usdt: Decimal | None
    equity_age_s: float | None
    unit_price: Decimal | None
    rungs: tuple[RungFacts, ...]
    alarms: tuple[str, ...]
    keys: tuple[ExchangeKey, ...]
    failures: tuple[str, ...]
    lease_result: str
    lease_detail: str
    incidents: tuple[OpenIncident, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillStep:
    """One step of a kill, in words; `ended_s` counts from the kill's beginning, `status` is the executor's own name."""

    words: str
    status: str
    status_words: str
    ended_s: float | None
    why: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillFacts:
    """A kill that goes on, or the last one. `refused_keys` are those of which the exchange was seen to refuse them."""

    kill_id: str
    is_running: bool
    is_drill: bool
    words: str
    verdict: str
    began_at_ns: int | None
    reason: str
    steps: tuple[KillStep, ...]
    refused_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorFacts:
    """What the kill executor is ready for, and what it does."""

    exit_key: str
    exit_key_id: str
    is_ready: bool | None
    not_ready: tuple[str, ...]
    is_armed: bool | None
    armed_reason: str
    armed_until_ms: int | None
    sweep: str
    kill: KillFacts | None
    unacknowledged: tuple[str, ...]
    journal_size: int | None
    is_journal_writable: bool | None


def gateway_facts(document: Document) -> GatewayFacts:
    """Read GET /state of the gateway."""
    waiting = _part(_part(document, "ring"), "waiting")
    lease, journal, view = _part(document, "lease"), _part(document, "journal"), _part(document, "account_view")
    return GatewayFacts(
        environment=_text(document, "environment"),
        account=_text(document, "account"),
        deployment=_text(document, "deployment"),
        trading_state=_text(document, "trading_state"),
        holds=tuple(
            Hold(
                holder=name,
                ceiling=_text(hold, "ceiling"),
                reason=_text(hold, "reason"),
                since_ns=_whole(hold, "since_ns"),
            )
            for name, hold in _parts(document, "holders")
        ),
        latch_subject=_text(document, "latch_subject"),
        order_key=_text(document, "order_key"),
        killed_keys=frozenset(key for key in _list(document, "killed_keys")[:ITEMS_MAX] if isinstance(key, str)),
        pending=tuple(
            PendingRelease(words=_text(found, "words"), in_s=_seconds(found, "in_s"))
            for found in (_part(document, "release_pending"), _part(_part(document, "policy"), "release_pending"))
            if found
        ),
        lease_age_s=_seconds(lease, "age_s"),
        lease_expires_in_s=_seconds(lease, "expires_in_s"),
        limits=tuple(
            LimitUse(name=name, value=_number(limit, "value"), use=_number(limit, "use"))
            for name, limit in _parts(document, "limits")
        ),
        hostile_loss=_loss(document, "max_hostile_loss"),
        stress_loss=_loss(document, "stress_loss"),
        is_account_trusted=_flag(view, "is_trusted"),
        account_reason=_text(view, "reason"),
        working_orders=_whole(document, "working_orders"),
        unknown_outcomes=len(_list(document, "unknown_outcomes")),
        journal_size=_whole(journal, "size"),
        journal_root=_text(journal, "root"),
        journal_root_size=_whole(journal, "root_size"),
        witnessed_size=_whole(journal, "witnessed_size"),
        is_journal_writable=_flag(journal, "is_writable"),
        policy_hash=_text(document, "policy_hash"),
        ring_hash=_text(document, "ring_hash"),
        waiting_ring=_text(waiting, "change"),
        waiting_ring_in_s=_seconds(waiting, "in_s"),
    )


def watchdog_facts(document: Document) -> WatchdogFacts:
    """Read GET /state of the watchdog."""
    equity, audit, lease = _part(document, "equity"), _part(document, "audit"), _part(document, "lease")
    return WatchdogFacts(
        ceiling=_text(document, "ceiling"),
        reason=_text(document, "reason"),
        exchange=_text(_part(document, "exchange"), "detail"),
        equity_usdt=_number(equity, "equity_usdt"),
        equity_age_s=_seconds(equity, "age_s"),
        unit_price=_number(equity, "unit_price"),
        rungs=tuple(
            RungFacts(
                name=name,
                stage=_text(rung, "stage"),
                effect=_text(rung, "effect"),
                window_s=_whole(rung, "window_s"),
                threshold=_number(rung, "threshold"),
                drawdown=_number(rung, "drawdown"),
                peak=_number(rung, "peak"),
                since_ms=_whole(rung, "since_ms"),
            )
            for name, rung in _parts(document, "rungs")
        ),
        alarms=tuple(_alarms(audit)),
        keys=tuple(
            ExchangeKey(
                key=_text(key, "key"),
                role=_text(key, "role"),
                is_read_only=_flag(key, "is_read_only") is True,
                created_at=_text(key, "created_at"),
                days_left=_whole(key, "days_left"),
            )
            for key in _list(audit, "keys")[:ITEMS_MAX]
            if isinstance(key, Mapping)
        ),
        failures=tuple(
            f"{name}: {_text(action, 'failure')}"
            for name, action in _parts(document, "actions")
            if _text(action, "failure")
        ),
        lease_result=_text(lease, "result"),
        lease_detail=_text(lease, "detail"),
        incidents=tuple(_open_incidents(_part(document, "incidents"))),
    )


def _open_incidents(document: Document) -> Iterator[OpenIncident]:
    for incident in _list(document, "newest")[:ITEMS_MAX]:
        if isinstance(incident, Mapping) and (row := _whole(incident, "row")) is not None:
            yield OpenIncident(
                row=row,
                at_ns=_whole(incident, "at_ns"),
                kind=_text(incident, "kind"),
                severity=_text(incident, "severity"),
                detail=_text(incident, "detail"),
            )


def _alarms(audit: Document) -> Iterator[str]:
    for kind in ("key_alarms", "posture_alarms", "limit_alarms"):
        for alarm in _list(audit, kind)[:ITEMS_MAX]:
            found = alarm if isinstance(alarm, Mapping) else _EMPTY
            named = _text(found, "key") or _text(found, "name")
            yield f"{_text(found, 'alarm')} {named}: {_text(found, 'detail')}"
    for name, words in (("rogue_orders", "rogue orders"), ("other_orders", "orders of unknown origin")):
        count = _whole(audit, name)
        if count:
            yield f"{count} {words} at the exchange"


def executor_facts(document: Document) -> ExecutorFacts:
    """Read GET /status of the executor."""
    armed, journal, ready = _part(document, "armed"), _part(document, "journal"), _part(document, "ready")
    return ExecutorFacts(
        exit_key=_text(document, "exit_key"),
        exit_key_id=_text(document, "exit_key_id"),
        is_ready=_flag(ready, "is_ready"),
        not_ready=tuple(
            f"{name.replace('_', ' ')}: {words}"
            for name, words in list(_part(ready, "parts").items())[:ITEMS_MAX]
            if words != READY
        ),
        is_armed=_flag(armed, "is_armed"),
        armed_reason=_text(armed, "reason"),
        armed_until_ms=_whole(armed, "expires_at_ms"),
        sweep=_sweep_words(_part(document, "sweep")),
        kill=_kill(_part(document, "kill")),
        unacknowledged=tuple(subject for subject in _list(document, "unacknowledged") if isinstance(subject, str)),
        journal_size=_whole(journal, "size"),
        is_journal_writable=_flag(journal, "is_writable"),
    )


def _kill(document: Document) -> KillFacts | None:
    running, last = _part(document, "running"), _part(document, "last")
    found = running or last
    if not found:
        return None
    return KillFacts(
        kill_id=_text(found, "kill_id"),
        is_running=bool(running),
        is_drill=_flag(found, "is_drill") is True,
        words=_text(found, "in_words"),
        verdict=_text(found, "verdict"),
        began_at_ns=_whole(found, "began_at_ns"),
        reason=_text(found, "reason"),
        steps=tuple(
            KillStep(
                words=_text(step, "words"),
                status=_text(step, "status"),
                status_words=_text(step, "status_words"),
                ended_s=_seconds(step, "ended_s"),
                why=_text(step, "why"),
                evidence=", ".join(f"{name} {value}" for name, value in list(_part(step, "evidence").items())[:12]),
            )
            for step in _list(found, "steps")[:ITEMS_MAX]
            if isinstance(step, Mapping)
        ),
        refused_keys=frozenset(
            str(key)
            for step in _list(found, "steps")[:ITEMS_MAX]
            if isinstance(step, Mapping) and step.get("step") == _PROVED
            for key in _part(step, "evidence")
        ),
    )


def _sweep_words(sweep: Document) -> str:
    running, last = _part(sweep, "running"), _part(sweep, "last")
    if running:
        return "a sweep goes on; it has no proof yet" if _flag(running, "is_pending") else "a sweep goes on"
    return "the last sweep is proved" if last else ""


def _part(document: Document, name: str) -> Document:
    value = document.get(name)
    return value if isinstance(value, Mapping) else _EMPTY


def _parts(document: Document, name: str) -> list[tuple[str, Document]]:
    found = [(str(key), part) for key, part in _part(document, name).items() if isinstance(part, Mapping)]
    return found[:ITEMS_MAX]


def _list(document: Document, name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _text(document: Document, name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _flag(document: Document, name: str) -> bool | None:
    value = document.get(name)
    return value if isinstance(value, bool) else None


def _whole(document: Document, name: str) -> int | None:
    value = document.get(name)
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def _seconds(document: Document, name: str) -> float | None:
    value = document.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _SECONDS_MAX:
        return float(value)
    return None


def _number(document: Document, name: str) -> Decimal | None:
    value = document.get(name)
    # Wider than money's own grammar: fractions are quotients, and may have every digit that a Decimal has.
    return Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _loss(document: Document, name: str) -> str:
    loss = _part(document, name)
    usdt, fraction = _number(loss, "usdt"), _number(loss, "fraction")
    if usdt is None:
        return ""
    return f"{usdt:,.2f} USDT" + ("" if fraction is None else f" ({fraction * 100:.1f} %)")
