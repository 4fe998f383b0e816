"""The page as data: what each panel says, made from what could be read. Pure; the templates only print it.

A panel whose service cannot be read says so, why and since when, and shows what was last known beneath.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_core.trust.credential import Credential
from trade_core.trust.release_subject import HIGH_WATER, RELEASABLE_RUNGS
from trade_core.trust.ring import KeyRing
from trade_killswitch.console.checklist import Condition, conditions
from trade_killswitch.console.curve import Drawing, RungLine, Sample, draw
from trade_killswitch.console.digest import Digest, Note
from trade_killswitch.console.facts import (
    ExchangeKey,
    ExecutorFacts,
    GatewayFacts,
    KillFacts,
    LimitUse,
    PendingRelease,
    RungFacts,
    WatchdogFacts,
    executor_facts,
    gateway_facts,
    watchdog_facts,
)
from trade_killswitch.console.sources import Reading
from trade_killswitch.console.words import (
    Headline,
    Tone,
    duration,
    headline,
    moment,
    moment_ms,
    percent,
    since_text,
    usdt,
    whole,
)

Line: TypeAlias = tuple[str, str]
"""A name and what is said of it."""
STALE_AFTER_S: Final = 15
LEASE_WARNING_S: Final = 15
ARMED_WARNING_S: Final = 7 * 86_400
"""An automatic kill that lapses within a week is armed anew while there is time."""
HASH_CHARACTERS: Final = 12
_RUNGS: Final = {
    "daily": "24 hours",
    "weekly": "7 days",
    "monthly": "30 days",
    "high_water": "since its highest point",
}
_EFFECTS: Final = {"review": "review", "trim": "half size", "halt": "halt", "kill": "kill"}
_LIMITS: Final = {
    "max_open_orders": "open orders",
    "max_stops": "protective stops",
    "max_gross_exposure_usdt": "gross exposure, USDT",
    "turnover_budget_24h_usdt": "turnover in 24 h, USDT",
    "max_order_notional_usdt": "one order, USDT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Everything that was read, and when it is now (UTC)."""

    gateway: Reading
    watchdog: Reading
    executor: Reading
    digest: Digest
    digest_from: int | None
    deny_words: Mapping[str, tuple[str, str]]
    samples: Sequence[Sample]
    ring: KeyRing | None
    now_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vital:
    """One of the things at the top of the page."""

    name: str
    words: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A limit with its use; `share` is a whole percentage for the drawing, at most 100."""

    name: str
    words: str
    share: int
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A rung in words."""

    name: str
    effect: str
    fall: str
    fires_at: str
    stage: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that happened or waits: when, what, and what that means. `ack` is the subject that ends it."""

    at: str
    title: str
    detail: str = ""
    meaning: str = ""
    remedy: str = ""
    ack: str = ""
    ack_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A part of the page with its notice, empty when its service was read just now."""

    notice: str
    lines: tuple[Line, ...] = ()
    items: tuple[Item, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole page."""

    headline: Headline
    environment: str
    account: str
    clock: str
    pending: tuple[str, ...]
    vitals: tuple[Vital, ...]
    equity: Panel
    drawing: Drawing | None
    drawing_from: str
    rungs: tuple[Rung, ...]
    exposure: Panel
    bars: tuple[Bar, ...]
    duties: Panel
    denials: Panel
    journal: Panel
    keys: Panel
    kill: KillFacts | None
    conditions: tuple[Condition, ...]
    credentials: tuple[Credential, ...]
    rungs_named: tuple[tuple[str, str], ...]
    waits_ring: str


def _pending_text(found: PendingRelease) -> str:
    if found.in_s is None:
        when = "takes effect a minute after a channel of alerts has taken it, which none has,"
    else:
        when = f"takes effect in {duration(found.in_s)}"
    return f"Announced, {when} unless something halts: {found.words}"


def page_of(readings: Readings) -> Page:
    """Say everything."""
    now_ns = readings.now_ns
    gateway = None if readings.gateway.document is None else gateway_facts(readings.gateway.document)
    watchdog = None if readings.watchdog.document is None else watchdog_facts(readings.watchdog.document)
    executor = None if readings.executor.document is None else executor_facts(readings.executor.document)
    drawing = draw(readings.samples, _rung_lines(watchdog), now_ns=now_ns)
    return Page(
        headline=headline(readings.gateway, gateway, executor, now_ns=now_ns),
        environment=gateway.environment if gateway else "",
        account=gateway.account if gateway else "",
        clock=moment(now_ns, now_ns=now_ns),
        pending=tuple(_pending_text(found) for found in (gateway.pending if gateway else ())),
        vitals=_vitals(readings, gateway, watchdog, executor),
        equity=Panel(notice=notice_of(readings.watchdog, now_ns=now_ns), lines=_equity_lines(watchdog)),
        drawing=drawing,
        drawing_from=moment(drawing.from_ns, now_ns=now_ns) if drawing else "",
        rungs=tuple(_rung(rung) for rung in (watchdog.rungs if watchdog else ())),
        exposure=Panel(notice=notice_of(readings.gateway, now_ns=now_ns), lines=_exposure_lines(gateway)),
        bars=tuple(_bar(limit) for limit in (gateway.limits if gateway else ()) if limit.value),
        duties=_duties(readings, watchdog, executor),
        denials=_denials(readings),
        journal=_journal(readings, gateway, executor),
        keys=_keys(readings, watchdog, executor),
        kill=executor.kill if executor else None,
        conditions=conditions(gateway, executor),
        credentials=readings.ring.credentials if readings.ring else (),
        rungs_named=tuple((name, _RUNGS[name]) for name in (*RELEASABLE_RUNGS, HIGH_WATER)),
        waits_ring=_waiting(gateway),
    )


def _waiting(gateway: GatewayFacts | None) -> str:
    if gateway is None or not gateway.waiting_ring:
        return ""
    return f"Another key ring counts in {duration(gateway.waiting_ring_in_s)} unless a security key cancels it."


def notice_of(reading: Reading, *, now_ns: int) -> str:
    """Say that a service cannot be read and since when; empty when it was read just now."""
    if reading.failure:
        known = (
            "" if reading.document is None else f" What follows was so at {moment(reading.read_at_ns, now_ns=now_ns)}."
        )
        return f"Cannot be read since {moment(reading.failing_since_ns, now_ns=now_ns)}: {reading.failure}.{known}"
    if reading.read_at_ns is not None and now_ns - reading.read_at_ns > STALE_AFTER_S * NS_PER_S:
        return f"Was last read at {moment(reading.read_at_ns, now_ns=now_ns)}."
    return ""


def _vitals(
    readings: Readings, gateway: GatewayFacts | None, watchdog: WatchdogFacts | None, executor: ExecutorFacts | None
) -> tuple[Vital, ...]:
    """Say the four things that a glance must catch; what cannot be read now is unknown, whatever it was before."""
    lease = Vital(name="Lease", words="unknown", tone=Tone.UNKNOWN)
    if gateway and not readings.gateway.failure:
        age_s = gateway.lease_age_s
        is_good = age_s is not None and age_s < LEASE_WARNING_S
        words = "none" if age_s is None else f"{duration(age_s)} old"
        lease = Vital(name="Lease", words=words, tone=Tone.GOOD if is_good else Tone.WARNING)
    equity = Vital(name="Equity", words="unknown", tone=Tone.UNKNOWN)
    fall = Vital(name="Deepest fall", words="unknown", tone=Tone.UNKNOWN)
    if watchdog and not readings.watchdog.failure:
        equity = Vital(name="Equity", words=usdt(watchdog.equity_usdt), tone=Tone.GOOD)
        deepest = max((rung.drawdown for rung in watchdog.rungs if rung.drawdown is not None), default=None)
        is_good = all(_is_armed(rung) for rung in watchdog.rungs)
        fall = Vital(name="Deepest fall", words=percent(deepest), tone=Tone.GOOD if is_good else Tone.STOPPED)
    kill = Vital(name="Automatic kill", words="unknown", tone=Tone.UNKNOWN)
    if executor and not readings.executor.failure:
        left_s = (
            None if executor.armed_until_ms is None else executor.armed_until_ms / 1000 - readings.now_ns / NS_PER_S
        )
        is_lapsing = left_s is not None and left_s < ARMED_WARNING_S
        armed = "armed" if left_s is None else f"armed, {duration(left_s)} left"
        is_good = executor.is_armed is True and not is_lapsing
        words = armed if executor.is_armed else "not armed"
        kill = Vital(name="Automatic kill", words=words, tone=Tone.GOOD if is_good else Tone.WARNING)
    return (lease, equity, fall, kill)


def _is_armed(rung: RungFacts) -> bool:
    return rung.stage == "armed"


def _equity_lines(watchdog: WatchdogFacts | None) -> tuple[Line, ...]:
    if watchdog is None:
        return ()
    lines = [
        ("Equity", f"{usdt(watchdog.equity_usdt)}, read {duration(watchdog.equity_age_s)} ago"),
        ("Unit price", "unknown" if watchdog.unit_price is None else f"{watchdog.unit_price:.4f}"),
        ("The watchdog allows", f"{watchdog.ceiling}: {watchdog.reason}"),
    ]
    if watchdog.lease_result != "accepted":
        lines.append(("Its last lease", f"{watchdog.lease_result} {watchdog.lease_detail}".strip()))
    return tuple(lines)


def _rung_lines(watchdog: WatchdogFacts | None) -> list[RungLine]:
    return [
        RungLine(
            label=f"{_EFFECTS.get(rung.effect, rung.effect)} (-{(rung.threshold or Decimal(0)) * 100:.0f} %, "
            f"{_RUNGS.get(rung.name, rung.name)})",
            price=rung.fires_at,
            is_fired=not _is_armed(rung),
        )
        for rung in (watchdog.rungs if watchdog else ())
        if rung.fires_at is not None
    ]


def _rung(rung: RungFacts) -> Rung:
    return Rung(
        name=_RUNGS.get(rung.name, rung.name),
        effect=_EFFECTS.get(rung.effect, rung.effect),
        fall=percent(rung.drawdown),
        fires_at=percent(rung.threshold),
        # "armed" would read as if the automatic kill were: the last rung's line says "kill".
        stage="not fired" if _is_armed(rung) else rung.stage,
        tone=Tone.GOOD if _is_armed(rung) else Tone.STOPPED,
    )


def _exposure_lines(gateway: GatewayFacts | None) -> tuple[Line, ...]:
    if gateway is None:
        return ()
    trust = "trusted" if gateway.is_account_trusted else f"not trusted: {gateway.account_reason or 'no reason given'}"
    return (
        ("A hostile bot loses at most, a day", gateway.hostile_loss or "unknown"),
        ("One market gap costs at most", gateway.stress_loss or "unknown"),
        ("Working orders", whole(gateway.working_orders)),
        ("Orders whose fate is unknown", whole(gateway.unknown_outcomes)),
        ("View of the account", trust),
    )


def _bar(limit: LimitUse) -> Bar:
    name = _LIMITS.get(limit.name, limit.name.removeprefix("max_notional_usdt.").replace(".", " "))
    value = limit.value or Decimal(0)
    shown = f"{value:,.2f}".removesuffix(".00")
    if limit.use is None:
        return Bar(name=name, words=f"at most {shown}", share=0, tone=Tone.UNKNOWN)
    share = min(100, int(limit.use * 100 / value)) if value > 0 else 100
    tone = Tone.GOOD if share < 75 else Tone.WARNING if share < 100 else Tone.STOPPED
    return Bar(name=name, words=f"{f'{limit.use:,.2f}'.removesuffix('.00')} of {shown}", share=share, tone=tone)


def _duties(readings: Readings, watchdog: WatchdogFacts | None, executor: ExecutorFacts | None) -> Panel:
    now_ns = readings.now_ns
    reviews = [
        Item(
            at=moment_ms(rung.since_ms, now_ns=now_ns),
            title=f"Review: the fall over {_RUNGS.get(rung.name, rung.name)} passed {percent(rung.threshold)}",
            meaning="Look at the positions and why they lose; then acknowledge.",
            ack=f"rung:{rung.name}",
            ack_at="watchdog",
        )
        for rung in (watchdog.rungs if watchdog else ())
        if rung.stage == "fired"
    ]
    calls = [
        Item(at="", title=f"The kill executor calls: {subject}", ack=subject, ack_at="executor")
        for subject in (executor.unacknowledged if executor else ())
    ]
    alarms = [Item(at="", title="The audit finds", detail=alarm) for alarm in (watchdog.alarms if watchdog else ())]
    failed = [Item(at="", title="Could not be done", detail=words) for words in (watchdog.failures if watchdog else ())]
    incidents = [
        Item(at=moment(note.at_ns, now_ns=now_ns), title=f"Incident: {note.subject}", detail=note.detail)
        for note in readings.digest.incidents
    ]
    of_watchdog = [
        Item(
            at="" if incident.at_ns is None else moment(incident.at_ns, now_ns=now_ns),
            title=f"Incident: {incident.kind} ({incident.severity})",
            detail=incident.detail,
            remedy=f'trade-watchdog mitigated {incident.row} "what was done" --config watchdog.toml',
        )
        for incident in (watchdog.incidents if watchdog else ())
    ]
    lessons = [
        Item(
            at=moment(note.at_ns, now_ns=now_ns),
            title=f"Lesson owed: {note.subject}",
            detail=note.detail,
            remedy=f'trade-journal lesson {note.subject.removeprefix("trade ")} "what it taught" --config shim.toml',
        )
        for note in readings.digest.lessons_owed
    ]
    notices = [notice_of(reading, now_ns=now_ns) for reading in (readings.watchdog, readings.executor)]
    return Panel(
        notice=" ".join(notice for notice in notices if notice),
        items=(*reviews, *calls, *alarms, *failed, *incidents, *of_watchdog, *lessons),
        remark=_extent(readings),
    )


def _extent(readings: Readings) -> str:
    if readings.digest_from is None:
        return "The gateway's journal was not read yet."
    return (
        "" if readings.digest_from == 0 else f"Read from row {whole(readings.digest_from)} of the gateway's journal on."
    )


def _denials(readings: Readings) -> Panel:
    return Panel(
        notice=notice_of(readings.gateway, now_ns=readings.now_ns),
        items=tuple(_denial(note, readings) for note in readings.digest.denials),
    )


def _denial(note: Note, readings: Readings) -> Item:
    meaning, remedy = readings.deny_words.get(note.subject, ("", ""))
    times = "" if note.count == 1 else f" ({whole(note.count)} times)"
    return Item(
        at=moment(note.at_ns, now_ns=readings.now_ns),
        title=f"{note.subject}{times}",
        detail=note.detail,
        meaning=meaning,
        remedy=remedy,
    )


def _journal(readings: Readings, gateway: GatewayFacts | None, executor: ExecutorFacts | None) -> Panel:
    if gateway is None:
        return Panel(notice=notice_of(readings.gateway, now_ns=readings.now_ns))
    behind = (
        None
        if gateway.journal_size is None or gateway.witnessed_size is None
        else gateway.journal_size - gateway.witnessed_size
    )
    lines = [
        ("Rows", whole(gateway.journal_size)),
        ("Head", f"{gateway.journal_root[:HASH_CHARACTERS] or 'none'} over {whole(gateway.journal_root_size)} rows"),
        ("Witnessed", f"{whole(gateway.witnessed_size)} rows, {whole(behind)} wait for the witness"),
        ("Can be written", {True: "yes", False: "NO", None: "unknown"}[gateway.is_journal_writable]),
        ("Policy", gateway.policy_hash[:HASH_CHARACTERS] or "unknown"),
    ]
    if executor is not None:
        lines.append(("The executor's own", f"{whole(executor.journal_size)} rows"))
    changes = tuple(
        Item(at=moment(note.at_ns, now_ns=readings.now_ns), title=note.subject, detail=note.detail)
        for note in readings.digest.changes
    )
    return Panel(notice=notice_of(readings.gateway, now_ns=readings.now_ns), lines=tuple(lines), items=changes)


def _exchange_key(key: ExchangeKey, *, now_ns: int) -> Line:
    """Say of a key what it is for, how old it is and when it ends; its id is cut, since a name is enough."""
    power = "reads" if key.is_read_only else "trades"
    made = since_text(key.created_at, now_ns=now_ns) if key.created_at else ""
    ends = "" if key.days_left is None else f", ends in {key.days_left} days"
    return (
        f"Exchange key, {key.role or 'unknown'}",
        f"{key.key[:6]}..., {power}, made {made or 'at an unknown time'}{ends}",
    )


def _keys(readings: Readings, watchdog: WatchdogFacts | None, executor: ExecutorFacts | None) -> Panel:
    lines: list[Line] = []
    now_ns = readings.now_ns
    if executor is not None:
        lines.append(("Exit key of the executor", executor.exit_key or "unknown"))
        ready = {True: "yes, looked at within five minutes", False: "NO", None: "unknown"}[executor.is_ready]
        lines.append(("Ready to kill", "; ".join((ready, *executor.not_ready))))
        until = "" if executor.armed_until_ms is None else f" until {moment_ms(executor.armed_until_ms, now_ns=now_ns)}"
        lines.append(
            ("Automatic kill", f"armed{until}" if executor.is_armed else f"not armed: {executor.armed_reason}")
        )
    lines += [_exchange_key(key, now_ns=now_ns) for key in (watchdog.keys if watchdog else ())]
    ring = readings.ring
    if ring is None:
        lines.append(("Key ring", "cannot be read"))
    else:
        lines.append(("Key ring", f"version {ring.version}, deployment {ring.deployment}"))
        age_s = (now_ns // NS_PER_MS - ring.baseline.taken_at_ms) / 1000
        lines.append(("Baseline of the account", f"taken {duration(age_s)} ago"))
    items = tuple(
        Item(
            at="",
            title=credential.label,
            detail=f"enrolled {duration((now_ns // NS_PER_MS - credential.added_at_ms) / 1000)} ago, "
            f"model {credential.aaguid}{', can be copied' if credential.is_backup_eligible else ''}",
        )
        for credential in (ring.credentials if ring else ())
    )
    remark = "" if items or ring is None else "No security key is enrolled: nothing can be released until two are."
    return Panel(notice=notice_of(readings.executor, now_ns=now_ns), lines=tuple(lines), items=items, remark=remark)
