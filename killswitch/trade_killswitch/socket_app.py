"""What the executor's socket serves. Whoever reaches it is a user that was named; see `peer_protocol` of the core.

Everything here tightens or reads. `/sweep` needs no warrant for that reason. `/kill` takes the request and the evidence
into the journal, and does what needs no warrant: this version holds none, so a kill is a sweep and a call for a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Protocol

from fastapi import FastAPI, HTTPException, Query, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from trade_core.peer_protocol import PEER_UID_KEY
from trade_journal.errors import JournalError
from trade_journal.log.rows import INTEGER_MAX

BODY_BYTES_MAX: Final = 16 * 1024
ROWS_MAX: Final = 512
EVIDENCE_MAX: Final = 32
_SHORT = Annotated[str, Field(min_length=1, max_length=200)]
_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class SweepRequest(BaseModel):
    """Why somebody wants a sweep."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: _SHORT


class KillRequest(BaseModel):
    """Why somebody wants a kill, and what he has seen. The same `request_id` is the same request."""

    model_config = ConfigDict(extra="forbid", strict=True)
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,128}$")]
    condition: Annotated[str, Field(pattern=r"^(drawdown|rogue_order|rogue_key|forked_journal)$")]
    reason: _SHORT
    evidence: Annotated[
        dict[_NAME, Annotated[str, Field(max_length=200)]], Field(default_factory=dict, max_length=EVIDENCE_MAX)
    ]


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

    async def kill(self, request: KillRequest, *, by: str) -> dict[str, Any]:
        """Take a request to kill."""
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


def socket_app(executor: Controlled, *, registry: CollectorRegistry) -> FastAPI:
    """Build the application."""
    app = FastAPI(title="trade-kill-executor", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def check_body(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
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
    async def kill(asked: KillRequest, request: Request) -> dict[str, Any]:
        return await executor.kill(asked, by=_caller(request))

    @app.post("/ack")
    async def ack(asked: AckRequest) -> dict[str, Any]:
        executor.acknowledge(asked.subject)
        return {"unacknowledged": executor.status()["unacknowledged"]}

    @app.get("/metrics")
    async def metrics() -> Response:
        executor.status()  # brings the gauges up to date
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    _add_journal(app, executor)
    return app


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


async def _given(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except JournalError:
        raise HTTPException(503, "the journal cannot be read now") from None


def _caller(request: Request) -> str:
    return f"uid {request.scope.get(PEER_UID_KEY, 'unknown')}"
