"""What the console serves: pages to whoever has signed in, health and metrics to anybody on the machine.

Guarantees
- Without a session nothing is shown and nothing is done, but for signing in and for probes.
- What tightens (halt, sweep) and what takes note (acknowledge) is handed on at once, and its answer is told.
- What loosens or destroys is no route here that a session opens: it takes a warrant; see `ceremony`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, ConfigDict, Field

from trade_core.logs import neutralise
from trade_killswitch.console.ceremony import add_ceremony
from trade_killswitch.console.ledger import Person
from trade_killswitch.console.metrics import Action, ActionResult, SignIn
from trade_killswitch.console.pages import TEXT_CHARACTERS_MAX, rendered, static_file
from trade_killswitch.console.panels import page_of
from trade_killswitch.console.parts import (
    ACTED,
    REFUSED,
    SIGNED_IN,
    Parts,
    cookie_name,
    person_of,
    session_check,
    session_of,
)
from trade_killswitch.console.sign_in import SESSION_LIFETIME_S, Session, Spent
from trade_killswitch.console.sources import Answer, Asked, Unreadable

_REASON = Annotated[str, Field(min_length=1, max_length=150)]


class Code(BaseModel):
    """The one-time code, as it was entered."""

    model_config = ConfigDict(extra="forbid", strict=True)
    code: Annotated[str, Field(max_length=40)]


class Reasoned(BaseModel):
    """Why somebody halts or sweeps."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: _REASON


class Acknowledged(BaseModel):
    """Which matter of which service somebody has taken note of."""

    model_config = ConfigDict(extra="forbid", strict=True)
    at: Literal["watchdog", "executor"]
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,80}$")]


def console_app(parts: Parts) -> FastAPI:
    """Build the application; `Guard` goes in front of it."""
    app = FastAPI(title="trade-console", docs_url=None, redoc_url=None, openapi_url=None)
    Instrumentator(registry=parts.metrics.registry, excluded_handlers=["/metrics"]).instrument(app)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: Exception) -> Response:
        # What was sent is not sent back: it may be a code, or somebody else's markup.
        fields = (
            sorted({str(item["loc"][-1]) for item in error.errors()})
            if isinstance(error, RequestValidationError)
            else []
        )
        return JSONResponse({"detail": f"not understood: {', '.join(fields)[:100]}"}, status_code=422)

    _add_probes(app, parts)
    _add_reading(app, parts)
    _add_sessions(app, parts)
    _add_actions(app, parts)
    add_ceremony(app, parts)
    return app


def _add_probes(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "executor": parts.watch.executor_health()}

    @app.get("/metrics")
    async def metrics() -> Response:
        own = generate_latest(parts.metrics.registry)
        try:
            answer = await parts.executor.ask("GET", "/metrics")
        except Unreadable:
            return Response(own, media_type=CONTENT_TYPE_LATEST)
        # Two processes, one page: each name begins with its component, so none stands there twice.
        theirs = answer.body if answer.status == 200 else b""
        return Response(own + theirs, media_type=CONTENT_TYPE_LATEST)


def _add_reading(app: FastAPI, parts: Parts) -> None:
    signed_in = Depends(session_check(parts))

    @app.get("/")
    async def page(request: Request) -> Response:
        if session_of(request, parts) is None:
            return RedirectResponse("/sign-in", status_code=303)
        return HTMLResponse(rendered("page.html", page=page_of(parts.watch.readings())))

    @app.get("/panels", dependencies=[signed_in])
    async def panels() -> Response:
        return HTMLResponse(rendered("panels.html", page=page_of(parts.watch.readings())))

    @app.get("/report", dependencies=[signed_in])
    async def report() -> Response:
        try:
            answer = await parts.executor.ask("GET", "/report")
        except Unreadable as error:
            raise HTTPException(502, str(error)) from None
        if answer.status != httpx.codes.OK:
            raise HTTPException(404, "the kill executor gives no report")
        lines = answer.body.decode("utf-8", "replace").split("\n")
        return PlainTextResponse("\n".join(neutralise(line, limit=TEXT_CHARACTERS_MAX) for line in lines))

    @app.get("/report.json", dependencies=[signed_in])
    async def report_data() -> dict[str, Any]:
        return {"kill": parts.watch.kill_document()}

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        found = static_file(name)
        if found is None:
            raise HTTPException(404, "there is no such file")
        return Response(found[0], media_type=found[1])


def _add_sessions(app: FastAPI, parts: Parts) -> None:
    name = cookie_name(parts.origin)

    @app.get("/sign-in")
    async def sign_in_page() -> Response:
        return HTMLResponse(rendered("sign_in.html"))

    @app.post("/sign-in")
    async def sign_in(body: Code, request: Request) -> Response:
        spent = parts.codes.spend(body.code)
        if spent is not Spent.ACCEPTED:
            parts.metrics.note_sign_in(SignIn.REFUSED)
            if spent is Spent.WRONG and (wrong := parts.wrong_codes.note()):  # nobody fills the journal with them
                person = person_of(request, "nobody")
                result = "not the code" if wrong == 1 else f"not the code, {wrong} times"
                await parts.ledger.note(REFUSED, person, action="sign_in", shown="none", result=result)
            raise HTTPException(403, "that is not the code, or it has lapsed; print another one")
        token, session = parts.sessions.begin()
        parts.metrics.note_sign_in(SignIn.ACCEPTED)
        person = person_of(request, session.name)
        await parts.ledger.note(SIGNED_IN, person, action="sign_in", shown="none", result="signed in")
        answer = JSONResponse({"said": "signed in"})
        answer.set_cookie(
            name,
            token,
            max_age=SESSION_LIFETIME_S,
            httponly=True,
            samesite="strict",
            path="/",
            secure=parts.origin.startswith("https:"),
        )
        return answer

    @app.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        session = session_of(request, parts)
        parts.sessions.end(request.cookies.get(name, ""))
        if session is not None:
            person = person_of(request, session.name)
            await parts.ledger.note(ACTED, person, action="sign_out", shown="none", result="signed out")
        answer = JSONResponse({"said": "signed out"})
        answer.delete_cookie(name, httponly=True, samesite="strict", path="/")
        return answer


def _add_actions(app: FastAPI, parts: Parts) -> None:
    signed_in = Depends(session_check(parts))

    @app.post("/act/halt")
    async def halt(body: Reasoned, request: Request, session: Session = signed_in) -> dict[str, Any]:
        content = {"reason": f"console, {session.name}: {body.reason}"}
        return await _do(
            parts, parts.gateway, "/halt", content, action=Action.HALT, person=person_of(request, session.name)
        )

    @app.post("/act/sweep")
    async def sweep(body: Reasoned, request: Request, session: Session = signed_in) -> dict[str, Any]:
        content = {"reason": f"console, {session.name}: {body.reason}"}
        person = person_of(request, session.name)
        return await _do(parts, parts.executor, "/sweep", content, action=Action.SWEEP, person=person)

    @app.post("/act/resume")
    async def resume(request: Request, session: Session = signed_in) -> dict[str, Any]:
        person = person_of(request, session.name)
        content = {"reason": "try again at once what of the kill has not succeeded"}
        return await _do(parts, parts.executor, "/resume", content, action=Action.RESUME, person=person)

    @app.post("/act/acknowledge")
    async def acknowledge(body: Acknowledged, request: Request, session: Session = signed_in) -> dict[str, Any]:
        person = person_of(request, session.name)
        if body.at == "watchdog":
            content, service = {"subject": body.subject, "by": session.name}, parts.watchdog
        else:
            content, service = {"subject": body.subject}, parts.executor
        return await _do(parts, service, "/ack", content, action=Action.ACKNOWLEDGE, person=person)


async def _do(
    parts: Parts, service: Asked, path: str, content: dict[str, str], *, action: Action, person: Person
) -> dict[str, Any]:
    """Hand something on that only tightens or takes note, and write down how it ended. Raises HTTPException."""
    try:
        answer = await service.ask("POST", path, json.dumps(content).encode())
    except Unreadable as error:
        result, said, status = ActionResult.UNANSWERED, f"{error}; it may have been done: look again", 502
    else:
        result, said, status = _said(service, answer)
    parts.metrics.note_action(action, result)
    shown = content.get("reason") or content["subject"]
    is_noted = await parts.ledger.note(ACTED, person, action=action.value, shown=shown, result=said)
    parts.watch.look_soon()
    if result is not ActionResult.DONE:
        raise HTTPException(status, said)
    return {"said": said + ("" if is_noted else " (the executor's journal could not take a row of it)")}


def _said(service: Asked, answer: Answer) -> tuple[ActionResult, str, int]:
    if 200 <= answer.status < 300:
        return ActionResult.DONE, _sentence(answer), 200
    return ActionResult.REFUSED, f"{service.name} refuses (HTTP {answer.status}): {answer.detail()}", 409


def _sentence(answer: Answer) -> str:
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "done"
    if not isinstance(content, dict):
        return "done"
    if "trading_state" in content:
        in_flight = content.get("in_flight")
        count = len(in_flight) if isinstance(in_flight, list) else 0
        on_the_wire = f"; {count} requests were on the wire already" if count else ""
        return f"the gateway is {content['trading_state']}{on_the_wire}"
    if "kill_id" in content:
        return f"kill {content['kill_id']} is taken up again"
    if "sweep_id" in content:
        return "a sweep has begun; its proof appears here" if content.get("is_new") else "a sweep goes on already"
    return "acknowledged"
