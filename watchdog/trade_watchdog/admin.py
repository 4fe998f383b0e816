"""The watchdog's admin listener: health for anyone on this machine, the rest for a bearer of the token.

Nothing here permits an order: `POST /halt` halts the gateway, by the lease too until it says that it is halted;
`POST /ack` says that a person has reviewed, `POST /mitigated` what a person did about an incident, which releases
nothing, `POST /announce` that money will leave. The last makes an outflow one that was meant, so it takes a token of
its own, which whoever only reads does not hold.
Requests with a Host that is not this machine's, or with an Origin, are refused, so that no web page reads or does
anything.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Final, Protocol

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import InvalidNumber, TradeError
from trade_core.guarded_protocol import RECOGNISE_KEY
from trade_core.money import format_decimal, parse_decimal
from trade_core.reasons import Reason
from trade_core.ring_keeper import RingKeeper
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import ring_hash
from trade_core.trust.succession import MAX_OFFER_BYTES
from trade_journal.log.rows import INTEGER_MAX
from trade_journal.trades.remark import RemarkRefused
from trade_watchdog.auditor import Auditor
from trade_watchdog.ceiling import CLOCK_DIFFERENCE_MAX_S, Ceiling
from trade_watchdog.journal_routes import add_journal
from trade_watchdog.ladder import EFFECTS, WINDOW_MS, RungReading
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.lease_sender import LIFETIME_S
from trade_watchdog.own_incidents import NoIncident, NotSettled, OwnIncidents
from trade_watchdog.status import LeaseResult, Phase, Status, StreamState

ALLOWED_HOSTS: Final = ("127.0.0.1", "localhost")
BODY_BYTES_MAX: Final = 1024
MITIGATION_BYTES_MAX: Final = 8192
"""A remark of the longest, each character of it escaped."""
INCIDENTS_SHOWN: Final = 12
_BODY_BYTES_MAX: Final = {"/ring": MAX_OFFER_BYTES, "/mitigated": MITIGATION_BYTES_MAX}


class HaltRequest(BaseModel):
    """Why the gateway is to be halted."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Reason


class Halting(Protocol):
    """What halts the gateway."""

    async def halt(self, reason: str) -> tuple[str, ...]:
        """Halt; answers the tags of what was on its way. Raises TradeError."""
        ...


class Acknowledgement(BaseModel):
    """Which alert a person has seen to, by its subject, and who."""

    model_config = ConfigDict(extra="forbid")
    subject: Annotated[str, Field(pattern=r"^[a-z0-9_:.@-]{1,80}$")]
    by: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "operator"


class Mitigation(BaseModel):
    """What a person did about the incident that a row of the watchdog's journal opened, and who."""

    model_config = ConfigDict(extra="forbid")
    incident: Annotated[int, Field(strict=True, ge=0, le=INTEGER_MAX)]
    mitigation: str
    by: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "operator"


class Outflow(BaseModel):
    """What a person announces to leave the account, and who says so."""

    model_config = ConfigDict(extra="forbid")
    coin: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
    amount: Annotated[str, Field(max_length=40)]
    by: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "operator"


def admin_app(
    *,
    status: Status,
    keeper: LadderKeeper,
    auditor: Auditor,
    rings: RingKeeper,
    gateway: Halting,
    token: Secret,
    announce_token: Secret | None,
    registry: CollectorRegistry,
    clock: Clock,
) -> FastAPI:
    """Build the application. Without `announce_token` nobody can announce."""
    app = FastAPI(title="trade-watchdog", docs_url=None, redoc_url=None, openapi_url=None)
    may_read = [Depends(_bearer_check(token))]
    may_announce = [Depends(_nobody if announce_token is None else _bearer_check(announce_token))]

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        why_not = _why_not_ready(status, clock)
        response.status_code = 503 if why_not else 200
        return {"ready": not why_not, "reason": why_not}

    @app.get("/state", dependencies=may_read)
    async def state() -> dict[str, Any]:
        document = state_document(status, keeper=keeper, auditor=auditor, rings=rings, clock=clock)
        return {**document, "incidents": _incidents_document(keeper.history.incidents)}

    @app.post("/ring", dependencies=may_read)
    async def ring(request: Request) -> dict[str, Any]:
        try:
            return await rings.accept(await request.body())
        except NotTrusted as error:
            raise HTTPException(409, str(error)) from error

    @app.post("/ack", dependencies=may_read)
    async def acknowledge(body: Acknowledgement) -> dict[str, Any]:
        if not keeper.acknowledge(body.subject, by=body.by):
            raise HTTPException(409, f"{body.subject} waits for no acknowledgement")
        return {"acknowledged": body.subject}

    @app.post("/mitigated", dependencies=may_read)
    async def mitigated(body: Mitigation) -> dict[str, Any]:
        try:
            settled = await keeper.history.incidents.settle(body.incident, text=body.mitigation, by=body.by)
        except RemarkRefused as error:
            raise HTTPException(422, str(error)) from error
        except NoIncident as error:
            raise HTTPException(404, str(error)) from error
        except NotSettled as error:
            raise HTTPException(503, str(error)) from error
        return asdict(settled)

    @app.get("/metrics", dependencies=may_read)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/announce", dependencies=may_announce)
    async def announce(body: Outflow) -> dict[str, Any]:
        try:
            amount = parse_decimal(body.amount)
        except InvalidNumber as error:
            raise HTTPException(422, f"amount: {error}") from error
        if amount == 0:
            raise HTTPException(422, "amount: must be above 0")
        movement_id = keeper.announce(coin=body.coin, amount=amount, by=body.by)
        if movement_id is None:
            raise HTTPException(409, "too many announcements wait for their outflow")
        return {"movement_id": movement_id}

    _add_halt(app, auditor, gateway, may_read)
    add_journal(app, keeper.history.journal, may_read)

    @app.middleware("http")
    async def refuse_browsers_and_long_bodies(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if "origin" in request.headers:
            return Response("this listener is not for browsers\n", status_code=403)
        length = request.headers.get("content-length", "0")
        most = _BODY_BYTES_MAX.get(request.url.path, BODY_BYTES_MAX)
        if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > most:
            return Response(f"a body needs its length, at most {most} bytes\n", status_code=413)
        return await call_next(request)

    Instrumentator(registry=registry).instrument(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(ALLOWED_HOSTS), www_redirect=False)
    return app


def _add_halt(app: FastAPI, auditor: Auditor, gateway: Halting, may_read: list[Any]) -> None:
    @app.post("/halt", dependencies=may_read)
    async def halt(body: HaltRequest) -> dict[str, Any]:
        reason = f"asked of the watchdog: {body.reason}"
        auditor.duties.halt_for(reason)
        try:
            in_flight = await gateway.halt(reason)
        except TradeError as error:
            words = f"the gateway is not halted yet, and it is tried again; no lease permits anything: {error}"
            raise HTTPException(503, words) from error
        return {"trading_state": Ceiling.HALTED.value, "in_flight": in_flight}


def state_document(
    status: Status, *, keeper: LadderKeeper, auditor: Auditor, rings: RingKeeper, clock: Clock
) -> dict[str, Any]:
    """Say what the watchdog sees and does, as plain values; ages in seconds, money as text."""
    ring = rings.ring
    return {
        "environment": ring.environment,
        "deployment": ring.deployment,
        "account": ring.account,
        "ring_hash": ring_hash(ring),
        "ring": rings.describe(),
        "policy_hash": status.lease.policy_hash if status.lease else ring.policy_hash,
        "phase": status.phase.value,
        "ceiling": status.verdict.ceiling.value,
        "reason": status.verdict.reason,
        "exchange": {
            "finding": status.finding.value,
            "detail": status.exchange_detail,
            "clock_offset_ms": status.clock_offset_ms,
            "clock_offset_max_ms": CLOCK_DIFFERENCE_MAX_S * 1000,
        },
        "scale": format_decimal(status.verdict.scale),
        "equity": {**_equity_document(status, clock), **_units_document(keeper)},
        "rungs": {reading.rung.value: _rung_document(reading) for reading in keeper.ladder.readings()},
        "actions": {
            pursuit.action: {
                "done_for": ", ".join(sorted(pursuit.done_for)) or None,
                "failure": pursuit.failure or None,
            }
            for pursuit in keeper.pursuits.values()
        },
        "audit": _audit_document(auditor, clock),
        "journal": {
            "rows": keeper.history.journal.size,
            "is_writable": keeper.history.is_writable,
            "failure": keeper.history.journal.last_failure or None,
        },
        "executor_journal": {
            "rows": status.executor_journal.rows,
            "age_s": None
            if status.executor_journal.cosigned_at_ns is None
            else _age_s(status.executor_journal.cosigned_at_ns, clock),
            "detail": status.executor_journal.detail,
        },
        "lease": _lease_document(status, clock),
        "second_venue": _second_document(status, clock),
        "streams": {
            name: _stream_document(state, clock)
            for name, state in (("account", status.account_stream), ("prices", status.price_stream))
        },
    }


def _incidents_document(incidents: OwnIncidents) -> dict[str, Any]:
    opened = incidents.open_ones()
    return {"open": len(opened), "newest": [asdict(incident) for incident in opened[:INCIDENTS_SHOWN]]}


def _stream_document(state: StreamState, clock: Clock) -> dict[str, Any]:
    return {
        "frames": state.frames,
        "age_s": None if state.last_frame_ns is None else _age_s(state.last_frame_ns, clock),
        "detail": state.detail,
    }


def _equity_document(status: Status, clock: Clock) -> dict[str, Any]:
    sample = status.last_good
    if sample is None:
        return {"equity_usdt": None, "age_s": None, "exchange_time_ms": None}
    return {
        "equity_usdt": format_decimal(sample.equity_usdt),
        "age_s": _age_s(sample.received_monotonic_ns, clock),
        "exchange_time_ms": sample.exchange_time_ms,
    }


def _audit_document(auditor: Auditor, clock: Clock) -> dict[str, Any]:
    state, verdict = auditor.state, auditor.verdict()
    roles = {known.key: known.role.value for known in auditor.expected_keys}
    return {
        "ceiling": verdict.ceiling.value,
        "reason": verdict.reason,
        "orders_age_s": None if state.looked_at_ns is None else _age_s(state.looked_at_ns, clock),
        "orders_detail": state.look_detail,
        "orders_behind_s": None if state.behind_ms is None else state.behind_ms // 1000,
        "rogue_orders": state.rogue_orders,
        "other_orders": state.other_orders,
        "unproven_orders": state.unproven,
        "pending_orders": state.pending,
        "keys_age_s": None if state.keys_read_at_ns is None else _age_s(state.keys_read_at_ns, clock),
        "keys_detail": state.keys_detail,
        "keys": [
            {
                "key": seen.listed.key,
                "role": roles.get(seen.listed.key, "unexpected"),
                "is_read_only": seen.listed.is_read_only,
                "created_at": seen.created_at or None,
                "days_left": seen.listed.days_left,
            }
            for seen in state.keys
        ],
        "key_alarms": [
            {"alarm": finding.alarm.value, "key": finding.key, "detail": finding.detail} for finding in state.key_alarms
        ],
        "posture_age_s": None if state.posture_read_at_ns is None else _age_s(state.posture_read_at_ns, clock),
        "posture_detail": state.posture_detail,
        "posture_alarms": [
            {"alarm": finding.alarm.value, "name": finding.name, "detail": finding.detail}
            for finding in state.posture_alarms
        ],
        "are_limits_known": state.are_limits_known,
        "limit_alarms": [
            {"alarm": finding.alarm.value, "name": finding.name, "detail": finding.detail}
            for finding in state.limit_alarms
        ],
        "turnover": {
            "used_usdt": None if auditor.turnover.used_usdt is None else format_decimal(auditor.turnover.used_usdt),
            "budget_usdt": None
            if auditor.turnover.budget_usdt is None
            else format_decimal(auditor.turnover.budget_usdt),
            "detail": auditor.turnover.detail,
        },
        "collars": {
            "waiting_orders": auditor.collars.waiting,
            "given_up_orders": auditor.collars.given_up,
            "detail": auditor.collars.detail,
        },
        "journal_rounds": state.journal_rounds,
        "journal_age_s": None if state.journal_reread_at_ns is None else _age_s(state.journal_reread_at_ns, clock),
        "journal_detail": state.journal_detail,
        "actions_owed": auditor.duties.owed,
    }


def _units_document(keeper: LadderKeeper) -> dict[str, Any]:
    book = keeper.book
    return {
        "unit_price": None if book is None else format_decimal(book.price),
        "units": None if book is None else format_decimal(book.units),
    }


def _rung_document(reading: RungReading) -> dict[str, Any]:
    return {
        "stage": reading.stage.value,
        "effect": EFFECTS[reading.rung].value,
        "window_s": None if (window_ms := WINDOW_MS[reading.rung]) is None else window_ms // 1000,
        "threshold": format_decimal(reading.fraction),
        "drawdown": _text(reading.drawdown),
        "peak": _text(reading.peak),
        "breaching_samples": reading.breaching_samples,
        "since_ms": reading.since_ms or None,
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value)


def _lease_document(status: Status, clock: Clock) -> dict[str, Any]:
    accepted_at_ns = status.lease_accepted_at_ns
    return {
        "generation": status.lease.generation if status.lease else 0,
        "ceiling": status.lease.ceiling if status.lease else None,
        "age_s": None if accepted_at_ns is None else _age_s(accepted_at_ns, clock),
        "result": status.lease_result.value,
        "detail": status.lease_detail,
    }


def _second_document(status: Status, clock: Clock) -> dict[str, Any]:
    return {
        "name": status.second_venue,
        "coins": {
            coin: {
                "finding": known.finding.value,
                "price": None if known.seen is None else format_decimal(known.seen.price),
                "age_s": None if known.seen is None else _age_s(known.seen.seen_monotonic_ns, clock),
            }
            for coin, known in status.second_coins.items()
        },
    }


def _age_s(at_ns: int, clock: Clock) -> float:
    return round((clock.monotonic_ns() - at_ns) / NS_PER_S, 3)


def _why_not_ready(status: Status, clock: Clock) -> str:
    """Give the reason for not being ready; empty when the gateway holds a living lease of ours."""
    if status.phase is not Phase.WATCHING:
        return "the exchange key is not verified yet"
    if status.lease_accepted_at_ns is None:
        return f"no lease was counted yet ({status.lease_result.value})"
    if _age_s(status.lease_accepted_at_ns, clock) >= LIFETIME_S:
        return f"the last lease has expired ({status.lease_result.value})"
    return "" if status.lease_result is not LeaseResult.FOREIGN else "the gateway is not the one the ring names"


async def _nobody() -> None:
    raise HTTPException(403, "this watchdog has no announcer's file, so nobody can announce")


def _bearer_check(token: Secret) -> Any:
    expected = f"Bearer {token.reveal()}".encode()

    async def check(request: Request, authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode("utf-8", "replace"), expected):
            raise HTTPException(401, "a bearer token is required", {"www-authenticate": "Bearer"})
        recognise = request.scope.get(RECOGNISE_KEY)  # absent behind another protocol, as in tests
        if recognise is not None:
            recognise()

    return check
