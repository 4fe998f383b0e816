"""What the executor's socket serves. Whoever reaches it is a user that was named; see `peer_protocol` of the core.
What he may call follows from whom he speaks for; see `socket_roles`.

Everything here tightens or reads, but for `/kill`, which destroys: it takes a warrant, a JSON object with `warrant` in
it, which the executor verifies itself. Without one it takes a request with evidence, and does what needs no warrant.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trade_core.peer_protocol import PEER_UID_KEY
from trade_core.reasons import Reason
from trade_core.trust.keys import NotTrusted
from trade_journal.errors import JournalError
from trade_journal.log.rows import INTEGER_MAX
from trade_killswitch.halt_closing import FlattenRefused
from trade_killswitch.kill_order import KillRefused
from trade_killswitch.socket_roles import MAY_BRING_EVIDENCE, Roles, permits

BODY_BYTES_MAX: Final = 16 * 1024
ROWS_MAX: Final = 512
EVIDENCE_MAX: Final = 32
ROLE_REFUSED: Final = "ROLE_REFUSED"
_SHORT = Annotated[str, Field(min_length=1, max_length=200)]
_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class SweepRequest(BaseModel):
    """Why somebody wants a sweep."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Reason


class KillRequest(BaseModel):
    """Why somebody wants a kill, and what he has seen. The same `request_id` is the same request.

    `account` and `at_ms`, when it was signed, are what a signature must cover to count.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,128}$")]
    condition: Annotated[str, Field(pattern=r"^(drawdown|rogue_order|rogue_key|forked_journal)$")]
    reason: _SHORT
    evidence: Annotated[
        dict[_NAME, Annotated[str, Field(max_length=200)]], Field(default_factory=dict, max_length=EVIDENCE_MAX)
    ]
    account: Annotated[str, Field(max_length=64)] | None = None
    at_ms: Annotated[int, Field(ge=0, le=INTEGER_MAX)] | None = None


class FlattenRequest(BaseModel):
    """That a halt has come which closes what the settings say; signed, so every part of it is there."""

    model_config = ConfigDict(extra="forbid", strict=True)
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,128}$")]
    reason: _SHORT
    account: Annotated[str, Field(max_length=64)]
    at_ms: Annotated[int, Field(ge=0, le=INTEGER_MAX)]


class AckRequest(BaseModel):
    """Which matter somebody has taken note of."""

    model_config = ConfigDict(extra="forbid", strict=True)
    subject: _NAME


class Controlled(Protocol):
    """What the socket needs of the executor."""

    def status(self) -> dict[str, Any]:
        """Everything that a person, the watchdog or the console wants to know."""
        ...

    async def sweep(self, reason: str, *, by: str) -> dict[str, Any]:
        """Begin a sweep or join one."""
        ...

    async def kill(self, raw: bytes, *, by: str) -> dict[str, Any]:
        """Begin or join the kill that a warrant orders. Raises NotTrusted, KillRefused."""
        ...

    def signed_request(self, raw: bytes) -> KillRequest:
        """Read a request that the watchdog signed. Raises NotTrusted, ValidationError."""
        ...

    def arm_draft(self, *, is_disarm: bool) -> dict[str, Any]:
        """Say what a warrant to arm or disarm must name. Raises NotTrusted."""
        ...

    async def arm(self, raw: bytes) -> dict[str, Any]:
        """Take a standing warrant. Raises NotTrusted."""
        ...

    async def disarm(self, raw: bytes) -> dict[str, Any]:
        """Give the standing warrant up. Raises NotTrusted."""
        ...

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Re-base the executor's own highest point by a release that names it. Raises NotTrusted."""
        ...

    async def ask_for_kill(self, request: KillRequest, *, by: str, is_signed: bool) -> dict[str, Any]:
        """Take a request to kill without a touch."""
        ...

    async def flatten(self, raw: bytes, *, by: str) -> dict[str, Any]:
        """Close what a halt closes. Raises NotTrusted, FlattenRefused, ValidationError."""
        ...

    def take_up_again(self) -> dict[str, Any]:
        """Try again at once what of the last kill has not succeeded. Raises KillRefused without one."""
        ...

    def report_text(self) -> str:
        """Write the report of the last kill for a person."""
        ...

    def kill_draft(self, *, is_drill: bool) -> dict[str, Any]:
        """Say what a warrant for a kill must name. Raises KillRefused for a drill where none is allowed."""
        ...

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Take the next key ring, or the warrant that cancels one that waits. Raises NotTrusted."""
        ...

    def acknowledge(self, subject: str) -> None:
        """Stop repeating the alerts of a subject."""
        ...

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows in order. Raises JournalError."""
        ...

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """The bytes of durable rows, a line each. Raises JournalError."""
        ...

    async def checkpoint(self) -> bytes:
        """A signed checkpoint over all rows. Raises JournalError."""
        ...


def socket_app(
    executor: Controlled,
    *,
    registry: CollectorRegistry,
    roles: Mapping[int, Roles],
    on_refusal: Callable[[str], None],
) -> FastAPI:
    """Build the application; `roles` are those of each user, `on_refusal` is called with a code for each refused."""
    app = FastAPI(title="trade-kill-executor", docs_url=None, redoc_url=None, openapi_url=None)

    def roles_of(request: Request) -> Roles:
        return roles.get(request.scope.get(PEER_UID_KEY, -1), frozenset())

    @app.middleware("http")
    async def check_caller(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if not permits(roles_of(request), method=request.method, path=request.url.path):
            on_refusal(ROLE_REFUSED)
            return JSONResponse({"detail": "not for this user"}, status_code=403)
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return Response(f"a body needs its length, at most {BODY_BYTES_MAX} bytes\n", status_code=413)
        return await call_next(request)

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return executor.status()

    @app.post("/sweep", status_code=202)
    async def sweep(asked: SweepRequest, request: Request) -> dict[str, Any]:
        return await executor.sweep(asked.reason, by=_caller(request))

    @app.post("/kill", status_code=202)
    async def kill(request: Request) -> dict[str, Any]:
        raw = await request.body()
        try:
            kind = _kind_of(raw)
            if kind != "warrant" and roles_of(request).isdisjoint(MAY_BRING_EVIDENCE):
                on_refusal(ROLE_REFUSED)
                raise HTTPException(403, "no kill: this user brings a warrant or nothing; evidence is the watchdog's")
            match kind:
                case "warrant":
                    return await executor.kill(raw, by=_caller(request))
                case "payload":
                    asked, is_signed = executor.signed_request(raw), True
                case _:
                    asked, is_signed = KillRequest.model_validate_json(raw), False
            return await executor.ask_for_kill(asked, by=_caller(request), is_signed=is_signed)
        except (NotTrusted, KillRefused) as error:
            raise HTTPException(403, f"no kill: {error}") from None
        except ValidationError as error:
            raise HTTPException(422, f"neither a warrant nor a request to kill: {_found(error)}"[:500]) from None

    @app.post("/flatten", status_code=202)
    async def flatten(request: Request) -> dict[str, Any]:
        try:
            return await executor.flatten(await request.body(), by=_caller(request))
        except NotTrusted as error:
            raise HTTPException(403, f"nothing is closed: {error}") from None
        except FlattenRefused as error:
            raise HTTPException(409, f"nothing is closed: {error}") from None
        except ValidationError as error:
            raise HTTPException(422, f"not a request to close: {_found(error)}"[:500]) from None

    @app.post("/resume", status_code=202)
    async def resume() -> dict[str, Any]:
        try:
            return executor.take_up_again()
        except KillRefused as error:
            raise HTTPException(409, str(error)) from None

    @app.get("/report")
    async def report() -> Response:
        return Response(executor.report_text(), media_type="text/plain; charset=utf-8")

    @app.post("/ack")
    async def ack(asked: AckRequest) -> dict[str, Any]:
        executor.acknowledge(asked.subject)
        return {"unacknowledged": executor.status()["unacknowledged"]}

    @app.get("/metrics")
    async def metrics() -> Response:
        executor.status()  # brings the gauges up to date
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    _add_warrants(app, executor)
    _add_journal(app, executor)
    return app


def _add_warrants(app: FastAPI, executor: Controlled) -> None:
    @app.get("/draft")
    async def draft(purpose: Literal["kill", "drill", "arm", "disarm"]) -> dict[str, Any]:
        if purpose in ("kill", "drill"):
            return _trusted(lambda: executor.kill_draft(is_drill=purpose == "drill"))
        return _trusted(lambda: executor.arm_draft(is_disarm=purpose == "disarm"))

    @app.post("/arm")
    async def arm(request: Request) -> dict[str, Any]:
        try:
            return await executor.arm(await request.body())
        except NotTrusted as error:
            raise HTTPException(403, f"not armed: {error}") from None

    @app.post("/disarm")
    async def disarm(request: Request) -> dict[str, Any]:
        try:
            return await executor.disarm(await request.body())
        except NotTrusted as error:
            raise HTTPException(403, f"not disarmed: {error}") from None

    @app.post("/release", status_code=202)
    async def release(request: Request) -> dict[str, Any]:
        try:
            return await executor.accept_release(await request.body())
        except NotTrusted as error:
            raise HTTPException(409, str(error)) from None

    @app.post("/ring")
    async def ring(request: Request) -> dict[str, Any]:
        try:
            return await executor.accept_ring(await request.body())
        except NotTrusted as error:
            raise HTTPException(409, str(error)) from error


def _add_journal(app: FastAPI, executor: Controlled) -> None:
    @app.get("/journal/rows")
    async def rows(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    ) -> dict[str, Any]:
        return {"rows": await _given(executor.rows(start, limit))}

    @app.get("/journal/entries")
    async def entries(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    ) -> Response:
        return Response(await _given(executor.entries(start, limit)), media_type="application/jsonl")

    @app.get("/journal/checkpoint")
    async def checkpoint() -> Response:
        return Response(await _given(executor.checkpoint()), media_type="text/plain")


def _trusted(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return answer()
    except (NotTrusted, KillRefused) as error:
        raise HTTPException(409, str(error)) from None


def _kind_of(raw: bytes) -> str:
    """Tell what a body means to be: a "warrant", a signed "payload", or something else; the executor judges it."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    names = ("warrant", "payload")
    return next((name for name in names if isinstance(content, dict) and name in content), "")


def _found(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


async def _given(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except JournalError:
        raise HTTPException(503, "the journal cannot be read now") from None


def _caller(request: Request) -> str:
    return f"uid {request.scope.get(PEER_UID_KEY, 'unknown')}"
