"""The admin listener: health, readiness, state, metrics, journal rows, halt and lease. Never the bot's.

Guarantees: a listener and connection limit of its own, so that no bot traffic starves it; each role has its own
token; nothing here lifts a latch or widens a limit. Loopback TCP with bearer tokens is for the simulated environment.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, ConfigDict, Field

from trade_core.guarded_protocol import RECOGNISE_KEY
from trade_core.reasons import Reason
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import MAX_LEASE_BYTES
from trade_gateway.identity import Role
from trade_gateway.policy.deny_codes import DenyCode
from trade_journal.errors import JournalError
from trade_journal.log.rows import INTEGER_MAX

MAX_ROWS = 512
READERS = frozenset({Role.WATCHDOG, Role.OPERATOR})
"""Who may read, and halt."""
_Accept = Callable[[bytes], Awaitable[dict[str, Any]]]
_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


class HaltRequest(BaseModel):
    """Why somebody halts, and the figure that it is for where there is one: a drawdown, an amount."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Reason
    trigger_value: Annotated[str, Field(pattern=r"^[ -~]{1,64}$")] | None = None


class Controlled(Protocol):
    """What the admin listener needs of the gateway, which may live in another thread."""

    async def is_ready(self) -> bool:
        """Tell whether the gateway can take orders that add risk."""
        ...

    async def state(self) -> dict[str, Any]:
        """Everything a person or the watchdog wants to know."""
        ...

    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]:
        """Latch HALTED. `trigger_value` is the figure that it is for, None where there is none."""
        ...

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Verify and hold a lease. Raises NotTrusted."""
        ...

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Verify and announce a release warrant. Raises NotTrusted."""
        ...

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        """Latch KILLED by a kill warrant. Raises NotTrusted."""
        ...

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Take the next key ring, or the warrant that cancels one that waits. Raises NotTrusted."""
        ...

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows in order."""
        ...

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """The bytes of durable rows, a line each. Raises JournalError."""
        ...

    async def checkpoint(self) -> bytes:
        """A signed checkpoint over all rows. Raises JournalError."""
        ...

    async def cosigned(self) -> bytes:
        """The last cosigned checkpoint; empty before the first lease."""
        ...


def admin_app(gateway: Controlled, *, tokens: Mapping[Role, Secret], registry: CollectorRegistry) -> FastAPI:
    """Build the admin application."""
    app = FastAPI(title="trade-gateway admin", docs_url=None, redoc_url=None, openapi_url=None)
    Instrumentator(registry=registry, excluded_handlers=["/metrics"]).instrument(app)
    allow = _guard(tokens)
    readers = [Depends(allow(READERS))]

    @app.middleware("http")
    async def check_host(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return refusal_of(request.headers) or await call_next(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, bool]:
        is_ready = await gateway.is_ready()
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready}

    @app.get("/state", dependencies=readers)
    async def state() -> dict[str, Any]:
        return await gateway.state()

    @app.get("/metrics", dependencies=readers)
    async def metrics() -> Response:
        await gateway.state()  # brings the gauges up to date
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/deny-codes", dependencies=readers)
    async def deny_codes() -> dict[str, dict[str, str]]:
        # So that whoever shows a denial to a person shows these words, and no copy that grows old.
        return {code.name: {"meaning": code.meaning, "remedy": code.remedy} for code in DenyCode}

    @app.get("/journal/rows", dependencies=readers)
    async def rows(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    ) -> dict[str, Any]:
        try:
            return {"rows": await gateway.rows(start, limit)}
        except JournalError as error:
            raise HTTPException(503, f"the journal cannot be read: {error}") from error

    @app.get("/journal/entries", dependencies=readers)
    async def entries(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    ) -> Response:
        # For the witness, which reads every row: nothing is parsed and rendered, so no order waits for it.
        try:
            return Response(await gateway.entries(start, limit), media_type="application/jsonl; charset=utf-8")
        except JournalError as error:
            raise HTTPException(503, f"the journal cannot be read: {error}") from error

    @app.get("/journal/checkpoint", dependencies=readers)
    async def checkpoint() -> Response:
        try:
            return Response(await gateway.checkpoint(), media_type="text/plain; charset=utf-8")
        except JournalError as error:
            raise HTTPException(503, f"the journal cannot be written: {error}") from error

    @app.get("/journal/cosigned", dependencies=readers)
    async def cosigned() -> Response:
        return Response(await gateway.cosigned(), media_type="text/plain; charset=utf-8")

    # The dependency is named as a default, since an annotation would be looked up outside this function.
    who = Depends(allow(READERS))

    @app.post("/halt")
    async def halt(body: HaltRequest, role: Role = who) -> dict[str, Any]:
        return await gateway.halt(body.reason, by=role.value, trigger_value=body.trigger_value)

    @app.post("/lease", dependencies=[Depends(allow(frozenset({Role.WATCHDOG})))])
    async def lease(request: Request) -> dict[str, Any]:
        raw = await _bounded_body(request)
        try:
            return await gateway.accept_lease(raw)
        except NotTrusted as error:
            raise HTTPException(409, str(error)) from error

    _add_warrants(app, gateway, may_hand_in=[Depends(allow(frozenset({Role.OPERATOR})))], readers=readers)

    return app


def _add_warrants(app: FastAPI, gateway: Controlled, *, may_hand_in: list[Any], readers: list[Any]) -> None:
    """Add what carries its own authority: a token only says who may bring it."""
    for path, accept, dependencies in (
        ("/release", lambda: gateway.accept_release, may_hand_in),
        ("/ring", lambda: gateway.accept_ring, may_hand_in),
        ("/kill", lambda: gateway.accept_kill, readers),
    ):
        app.add_api_route(path, _taking(accept), methods=["POST"], dependencies=dependencies, response_model=None)


def _taking(accept: Callable[[], _Accept]) -> Callable[[Request], Awaitable[dict[str, Any]]]:
    async def take(request: Request) -> dict[str, Any]:
        raw = await _bounded_body(request)
        try:
            return await accept()(raw)
        except NotTrusted as error:
            raise HTTPException(409, str(error)) from error

    return take


def refusal_of(headers: Mapping[str, str]) -> Response | None:
    """Refuse what was not meant for this listener, or came from a browser's page, and a body of no or great length."""
    if headers.get("host", "").rsplit(":", 1)[0] not in _HOSTS or "origin" in headers:
        return Response("this listener is not for browsers or other hosts\n", status_code=403)
    # FastAPI reads a JSON body before it asks who sent it.
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MAX_LEASE_BYTES:
        return Response(f"a body needs its length, at most {MAX_LEASE_BYTES} bytes\n", status_code=413)
    return None


def role_of(authorization: str, *, tokens: Mapping[Role, Secret]) -> Role | None:
    """Tell whose token a request carries; None for nobody's. Each is compared in constant time."""
    given = authorization.encode("utf-8", "replace")
    return next(
        (role for role, token in tokens.items() if hmac.compare_digest(given, b"Bearer " + token.reveal().encode())),
        None,
    )


async def _bounded_body(request: Request) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_LEASE_BYTES:
            raise HTTPException(413, f"at most {MAX_LEASE_BYTES} bytes")
    return bytes(raw)


def _guard(tokens: Mapping[Role, Secret]) -> Callable[[frozenset[Role]], Callable[[Request], Awaitable[Role]]]:
    def allow(roles: frozenset[Role]) -> Callable[[Request], Awaitable[Role]]:
        async def check(request: Request) -> Role:  # FastAPI would give a plain function to another thread
            role = role_of(request.headers.get("authorization", ""), tokens=tokens)
            if role is None:
                raise HTTPException(401, "a bearer token of this gateway is needed")
            recognise = request.scope.get(RECOGNISE_KEY)  # absent behind another protocol, as in tests
            if recognise is not None:
                recognise()
            if role not in roles:
                raise HTTPException(403, f"the role {role.value} may not do this")
            return role

        return check

    return allow
