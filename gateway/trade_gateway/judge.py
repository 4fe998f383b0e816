"""Judges each request of the bot: route, framing, authentication, parsing, and then the one who answers.

The order of the checks is the order of this file. Whatever fails is answered in the exchange's envelope with our
deny code, recorded once, and nothing of it goes upstream.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.secrets import Secret
from trade_gateway.listener import Answer
from trade_gateway.metrics import Metrics
from trade_gateway.order_desk import Cancelled, OrderDesk, Placed, RejectedByExchange
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.policy.pins import decide_pin
from trade_gateway.reads import ReadDone, ReadFailed, Reads
from trade_gateway.recorder import Recorder
from trade_gateway.wire.authentication import AuthenticationFailure, SpentSignatures, authenticate
from trade_gateway.wire.intents import (
    Category,
    PinIntent,
    SetLeverageIntent,
)
from trade_gateway.wire.parse import (
    parse_order_cancel,
    parse_order_create,
    parse_order_or_stop,
    parse_pins,
    parse_read,
    stop_symbol,
)
from trade_gateway.wire.refusal import Refusal, refuse
from trade_gateway.wire.render import denied_answer, envelope, local_read_answer, order_answer, pinned_answer
from trade_gateway.wire.request import RawRequest, check_framing, check_host
from trade_gateway.wire.routes import Kind, Route, match_route
from trade_gateway.wire.triggers import is_trigger
from trade_journal.log.rows import Fields, RowKind

MAX_INCIDENT_PATHS = 128  # more than the list of forbidden paths has; the names of algorithms are the client's own
log = logging.getLogger(__name__)


class BotJudge:
    """Implements the listener's Judge."""

    def __init__(
        self,
        *,
        virtual_keys: Mapping[str, Secret],
        hosts: frozenset[bytes],
        policy: Policy,
        desk: OrderDesk,
        reads: Reads,
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
        spent: SpentSignatures,
        halt: Callable[[str], Awaitable[None]],
    ) -> None:
        self._halt = halt
        self._virtual_keys = virtual_keys
        self._hosts = hosts
        self.policy = policy
        self._desk = desk
        self._reads = reads
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._spent = spent
        self._incident_paths: set[str] = set()

    async def answer(self, request: RawRequest) -> Answer:
        """Answer one whole request; a fault of our own is a refusal too."""
        began_ns = self._clock.monotonic_ns()
        route = match_route(request.method, request.target)
        label = route.name if isinstance(route, Route) else "unknown"
        try:
            answer = await self._judged(request, route)
        except Exception:
            # The boundary of a request: it fails closed, and one bad request never ends the process.
            log.exception("request on %s failed", label)
            answer = self._denied(refuse(DenyCode.GATEWAY_FAULT), route=None, is_authenticated=False)
        self._metrics.note_answer(label, (self._clock.monotonic_ns() - began_ns) / NS_PER_S)
        return answer

    def refuse_unread(self, code: str) -> Answer:
        """Answer a request whose body could not be read; the connection is of no further use."""
        self.count_refusal(code)
        body = envelope(10024, f"{code}: the request was not read to its end", {}, now_ms=self._now_ms())
        return Answer(body=body, closes=True)

    def count_refusal(self, code: str) -> None:
        """Count a request that was refused before it could be judged."""
        self._metrics.count_request("denied")
        self._metrics.denials.labels(code=code).inc()
        self._recorder.count(code)

    async def _judged(self, request: RawRequest, route: Route | Refusal) -> Answer:
        framing = check_framing(request)
        astray = check_host(request.headers, hosts=self._hosts)
        if isinstance(route, Route) and route.kind is Kind.PUBLIC_READ:
            refusal = framing or astray
            if refusal is not None:
                return self._denied(refusal, route=route, is_authenticated=False)
            return await self._read(request, route, is_authenticated=False)
        verdict = authenticate(request, virtual_keys=self._virtual_keys, now_ms=self._now_ms(), spent=self._spent)
        is_authenticated = not isinstance(verdict, AuthenticationFailure)
        if isinstance(route, Refusal):
            if is_authenticated and is_trigger(request.method, request.raw_path):
                answer = await self._triggered(request)
            else:
                answer = self._denied(route, route=None, is_authenticated=is_authenticated)
        elif framing is not None:
            answer = self._denied(framing, route=route, is_authenticated=is_authenticated)
        elif isinstance(verdict, AuthenticationFailure):
            answer = self._unauthenticated(verdict)
        elif astray is not None:
            answer = self._denied(astray, route=route, is_authenticated=True)
        else:
            answer = await self._authenticated(request, route)
        return Answer(
            body=answer.body,
            status=answer.status,
            closes=answer.closes,
            is_authenticated=is_authenticated,
            on_undelivered=answer.on_undelivered,
        )

    async def _triggered(self, request: RawRequest) -> Answer:
        """No working bot ever calls such a path: its host is taken for compromised, and trading halts."""
        refusal = refuse(DenyCode.PATH_FORBIDDEN, path=request.raw_path)
        answer = self._denied(refusal, route=None, is_authenticated=True)
        path = dict(refusal.detail)["path"]
        await self._halt(f"the bot's credential called {path}")
        if path not in self._incident_paths and len(self._incident_paths) < MAX_INCIDENT_PATHS:
            # One incident a path: further hits are denials like any other, and a flood of them must not fill the disk.
            self._incident_paths.add(path)
            incident: Fields = {"type": "forbidden endpoint called", "severity": "critical", "path": path}
            self._recorder.append_later(RowKind.INCIDENT_OPENED, incident)
        return answer

    async def _authenticated(self, request: RawRequest, route: Route) -> Answer:
        match route.kind:
            case Kind.PUBLIC_READ | Kind.PRIVATE_READ:
                return await self._read(request, route, is_authenticated=True)
            case Kind.LOCAL_READ:
                return self._local_read(request, route)
            case Kind.ORDER_CREATE:
                return await self._create(request)
            case Kind.ORDER_CANCEL:
                return await self._cancel(request)
            case Kind.PIN_LEVERAGE | Kind.PIN_POSITION_MODE | Kind.PIN_MARGIN_MODE:
                return self._pin(request, route)
            case _:
                assert_never(route.kind)

    async def _create(self, request: RawRequest) -> Answer:
        # While stops are denied a body that means one is told so, whatever else is wrong with it.
        are_stops_permitted = self.policy.protective_stops is ProtectiveStops.REDUCE_ONLY
        intent = parse_order_or_stop(request.body) if are_stops_permitted else parse_order_create(request.body)
        if isinstance(intent, Refusal):
            symbol = stop_symbol(request.body)
            if symbol is not None:
                self._desk.note_missing_stop(symbol, reason=intent.code.name)
            return self._denied(intent, route=Route.ORDER_CREATE, is_authenticated=True, kind=RowKind.ORDER_DENIED)
        result = await self._desk.create(intent)
        match result:
            case Placed():
                self._metrics.count_request("order")
                body = order_answer(result.order_id, result.client_link_id or "", now_ms=self._now_ms())
                return Answer(body=body, on_undelivered=result.undo)
            case RejectedByExchange():
                self._metrics.count_request("order")
                return self._exchange_answer(result.ret_code, result.ret_msg)
            case Refusal():
                self._metrics.count_request("denied")
                return self._refusal_answer(result, Route.ORDER_CREATE)
            case _:
                assert_never(result)

    async def _cancel(self, request: RawRequest) -> Answer:
        intent = parse_order_cancel(request.body)
        if isinstance(intent, Refusal):
            return self._denied(intent, route=Route.ORDER_CANCEL, is_authenticated=True, kind=RowKind.CANCEL_ANSWERED)
        self._metrics.count_request("cancel")
        result = await self._desk.cancel(intent)
        match result:
            case Cancelled():
                body = order_answer(result.order_id, result.client_link_id or "", now_ms=self._now_ms())
                return Answer(body=body)
            case RejectedByExchange():
                return self._exchange_answer(result.ret_code, result.ret_msg)
            case Refusal():
                return self._refusal_answer(result, Route.ORDER_CANCEL)
            case _:
                assert_never(result)

    async def _read(self, request: RawRequest, route: Route, *, is_authenticated: bool) -> Answer:
        intent = parse_read(route, request.raw_query)
        if isinstance(intent, Refusal):
            return self._denied(intent, route=route, is_authenticated=is_authenticated)
        self._metrics.count_request("read")
        result = await self._reads.forward(intent)
        fields = {"route": route.name}
        match result:
            case ReadDone():
                kind = RowKind.READ_ANSWERED if result.is_local else RowKind.READ_FORWARDED
                self._recorder.answer(kind, {**fields, "ret_code": result.ret_code})
                body = envelope(result.ret_code, result.ret_msg, result.result, now_ms=self._now_ms())
                return Answer(body=body)
            case ReadFailed():
                code = DenyCode.LIMIT_REQUEST_RATE if result.is_budget else DenyCode.EXCHANGE_UNREACHABLE
                # A flood of these is counted like one of denials: public reads come from anybody.
                self._recorder.deny(
                    RowKind.READ_FAILED,
                    code=code.name,
                    fields={**fields, "reason": result.reason[:200]},
                    is_authenticated=is_authenticated,
                )
                return self._refusal_answer(Refusal(code=code), route)
            case _:
                assert_never(result)

    def _local_read(self, request: RawRequest, route: Route) -> Answer:
        intent = parse_read(route, request.raw_query)
        if isinstance(intent, Refusal):
            return self._denied(intent, route=route, is_authenticated=True)
        self._metrics.count_request("read")
        self._recorder.answer(RowKind.READ_ANSWERED, {"route": route.name})
        return Answer(body=local_read_answer(route, now_ms=self._now_ms()))

    def _pin(self, request: RawRequest, route: Route) -> Answer:
        intent = parse_pins(route, request.body)
        if isinstance(intent, Refusal):
            return self._denied(intent, route=route, is_authenticated=True)
        self._metrics.count_request("pin")
        refusal = self._pin_refusal(intent)
        fields: Fields = {"route": route.name, "is_pinned_value": refusal is None}
        if refusal is not None:
            # A flood of these is counted like one of denials.
            self._recorder.deny(RowKind.PIN_ANSWERED, code=refusal.code.name, fields=fields, is_authenticated=True)
            return self._refusal_answer(refusal, route)
        self._recorder.answer(RowKind.PIN_ANSWERED, fields)
        return Answer(body=pinned_answer(route, now_ms=self._now_ms()))

    def _pin_refusal(self, intent: PinIntent) -> Refusal | None:
        denied = decide_pin(intent, policy=self.policy)
        if isinstance(intent, SetLeverageIntent) and self.policy.permits(Category.LINEAR, intent.symbol):
            # freqtrade goes on after this refusal, so its entries on the symbol are denied until it asks for the pin.
            if denied is None:
                self._desk.leverage_unpinned.discard(intent.symbol)
            else:
                self._desk.leverage_unpinned.add(intent.symbol)
        return None if denied is None else Refusal(code=denied.code, detail=denied.detail)

    def _denied(
        self,
        refusal: Refusal,
        *,
        route: Route | None,
        is_authenticated: bool,
        kind: RowKind = RowKind.REQUEST_DENIED,
    ) -> Answer:
        self._metrics.count_request("denied")
        fields: Fields = {"route": route.name if route is not None else None, "detail": dict(refusal.detail)}
        self._recorder.deny(kind, code=refusal.code.name, fields=fields, is_authenticated=is_authenticated)
        return self._refusal_answer(refusal, route)

    def _unauthenticated(self, failure: AuthenticationFailure) -> Answer:
        self.count_refusal(failure.code.name)
        body = envelope(failure.ret_code, failure.ret_msg, {}, now_ms=self._now_ms())
        return Answer(body=body, status=failure.http_status)

    def _refusal_answer(self, refusal: Refusal, route: Route | None) -> Answer:
        status, body = denied_answer(refusal.code, refusal.detail, route, now_ms=self._now_ms())
        return Answer(body=body, status=status)

    def _exchange_answer(self, ret_code: int, ret_msg: str) -> Answer:
        return Answer(body=envelope(ret_code, ret_msg, {}, now_ms=self._now_ms()))

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS
