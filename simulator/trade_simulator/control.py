"""The control interface: tests move the market, the clock and the network, and read what the exchange saw.

On a port of its own, on loopback, behind a bearer token. Requests with an Origin header are refused, so that no web
page can reach it, and so are those whose Host is not a loopback name.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from trade_simulator.api.connection import Receive, Scope, Send
from trade_simulator.api.envelope import ENVIRONMENT_HEADER, encode
from trade_simulator.api.fields import Fields
from trade_simulator.api.reception import Reception, Reply
from trade_simulator.api.routes import ROUTES
from trade_simulator.api.user import parse_permissions
from trade_simulator.bootstrap import Opening
from trade_simulator.control_state import describe
from trade_simulator.faults import DEFAULT_MESSAGE, Fault, FaultMode, Faults, InvalidFault
from trade_simulator.rejections import Rejected
from trade_simulator.request_log import RequestLog
from trade_simulator.ticker import TickLoop

MAX_BODY_BYTES = 64 * 1024
# A day either way: enough for every lease, window and ban, small enough that candles stay in range.
MAX_OFFSET_MS = 40 * 24 * 3600 * 1000
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?", re.ASCII)
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_ORDER_PATH = "/v5/order/create"


class InvalidControl(ValueError):
    """A control request that cannot be carried out; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What the control interface reaches."""

    reception: Reception
    faults: Faults
    log: RequestLog
    opening: Opening
    ticker: TickLoop
    open_sessions: Callable[[], int]


Action = Callable[[Mapping[str, Any]], object]


class ControlApplication:
    """The ASGI application of the control port."""

    def __init__(self, controls: Controls, *, token: str) -> None:
        self._controls = controls
        self._authorization = f"Bearer {token}".encode()
        self._actions: dict[tuple[str, str], Action] = {
            ("GET", "/__sim/requests"): self._requests,
            ("DELETE", "/__sim/requests"): self._clear_requests,
            ("GET", "/__sim/state"): self._state,
            ("POST", "/__sim/price"): self._price,
            ("POST", "/__sim/flow"): self._flow,
            ("POST", "/__sim/order"): self._order,
            ("POST", "/__sim/key"): self._key,
            ("POST", "/__sim/clock"): self._clock,
            ("POST", "/__sim/limits"): self._limits,
            ("GET", "/__sim/faults"): self._list_faults,
            ("POST", "/__sim/faults"): self._add_fault,
            ("DELETE", "/__sim/faults"): self._clear_faults,
        }

    @property
    def controls(self) -> set[tuple[str, str]]:
        """Name every control as method and path."""
        return set(self._actions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise ValueError(f"unexpected scope {scope['type']}")
        status, content = await self._serve(scope, receive)
        body = encode(content)
        lines = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            ENVIRONMENT_HEADER,
        ]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    async def _serve(self, scope: Scope, receive: Receive) -> tuple[int, object]:
        refusal = self._refusal(dict(scope["headers"]))
        if refusal is not None:
            return refusal
        path = scope["raw_path"].decode("latin-1")
        action = self._actions.get((scope["method"], path))
        if action is None:
            known = any(path == one for _, one in self._actions)
            return (405, {"error": "method not allowed"}) if known else (404, {"error": "no such control"})
        try:
            given = await _given(scope, receive)
            return 200, action(given)
        except (InvalidControl, InvalidFault) as error:
            return 400, {"error": str(error)}
        except Rejected as rejected:
            return 400, {"error": rejected.message, "retCode": rejected.code, "retMsg": rejected.message}

    def _refusal(self, headers: Mapping[bytes, bytes]) -> tuple[int, object] | None:
        if b"origin" in headers:
            return 403, {"error": "requests with an Origin header are refused"}
        host = headers.get(b"host", b"").decode("latin-1")
        if re.sub(r":[0-9]+$", "", host) not in _LOOPBACK_NAMES:
            return 403, {"error": "the Host must be a loopback name"}
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
            return 401, {"error": "the bearer token is missing or wrong"}
        return None

    def _requests(self, given: Mapping[str, Any]) -> object:
        text = str(given.get("since", "0"))
        if not text.isascii() or not text.isdigit():
            raise InvalidControl("since must be a number")
        return [entry.as_json() for entry in self._controls.log.since(int(text))]

    def _clear_requests(self, _: Mapping[str, Any]) -> object:
        self._controls.log.clear()
        return {}

    def _state(self, _: Mapping[str, Any]) -> object:
        controls = self._controls
        return describe(controls.reception.exchange, controls.opening) | {
            "now_ms": controls.reception.clock.now_ms(),
            "clock_offset_ms": controls.reception.clock.offset_ms,
            "limits_enabled": controls.reception.limits.enabled,
            "faults": controls.faults.as_json(),
            "open_sessions": controls.open_sessions(),
            "tick_lag_ms": controls.ticker.lag.as_json(),
        }

    def _price(self, given: Mapping[str, Any]) -> object:
        price = _number(given, "price")
        if price <= 0:
            raise InvalidControl("price must be positive")
        self._controls.reception.exchange.set_price(_text(given, "symbol"), price)
        return {}

    def _flow(self, given: Mapping[str, Any]) -> object:
        uid = given.get("uid", self._controls.opening.sub_uid)
        exchange = self._controls.reception.exchange
        if uid not in exchange.accounts:
            raise InvalidControl("uid is not an account of this exchange")
        exchange.flow(uid, coin=_text(given, "coin"), amount=_number(given, "amount"))
        return {}

    def _order(self, given: Mapping[str, Any]) -> object:
        """Place an order with the order key; a dead key is refused as it would be from outside."""
        key = self._controls.reception.exchange.keys.authenticate(
            self._controls.opening.keys["order"].api_key, address="127.0.0.1"
        )
        # The exchange takes numbers as text only; a test may write them either way.
        numbers = {name: str(given[name]) for name in ("qty", "price") if given.get(name) is not None}
        fields = Fields({**given, **numbers})
        reply: Reply = self._controls.reception.answer_call(_ORDER_PATH, ROUTES[_ORDER_PATH], fields, key)
        answer = reply.answer
        result = answer.result if isinstance(answer.result, dict) else {}
        return {"retCode": answer.ret_code, "retMsg": answer.ret_msg, "result": answer.result} | result

    def _key(self, given: Mapping[str, Any]) -> object:
        exchange = self._controls.reception.exchange
        uid = given.get("uid", self._controls.opening.sub_uid)
        account = exchange.accounts.get(uid) if isinstance(uid, str) else None
        if account is None:
            raise InvalidControl("uid is not an account of this exchange")
        ips = given.get("ips") or []
        names = ips.split(",") if isinstance(ips, str) else ips
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidControl("ips must be a list of addresses")
        key = exchange.keys.create(
            uid=account.uid,
            is_master=account.is_master,
            permissions=parse_permissions(given.get("permissions", {"Spot": ["SpotTrade"]})),
            read_only=bool(given.get("readOnly", 0)),
            ips=tuple(names),
            note="control",
            rsa_public_key=str(given.get("rsaPublicKey", "")),
        )
        return {"uid": account.uid, "id": key.key_id, "key": key.api_key, "secret": key.secret}

    def _clock(self, given: Mapping[str, Any]) -> object:
        offset_ms = given.get("offset_ms")
        if not isinstance(offset_ms, int) or isinstance(offset_ms, bool) or abs(offset_ms) > MAX_OFFSET_MS:
            raise InvalidControl(f"offset_ms must be a whole number up to {MAX_OFFSET_MS} either way")
        self._controls.reception.clock.offset_ms = offset_ms
        return {"offset_ms": offset_ms, "now_ms": self._controls.reception.clock.now_ms()}

    def _limits(self, given: Mapping[str, Any]) -> object:
        enabled = given.get("enabled")
        if not isinstance(enabled, bool):
            raise InvalidControl("enabled must be true or false")
        self._controls.reception.limits.set_enabled(enabled)
        return {"enabled": enabled}

    def _list_faults(self, _: Mapping[str, Any]) -> object:
        return self._controls.faults.as_json()

    def _add_fault(self, given: Mapping[str, Any]) -> object:
        unknown = given.keys() - {"path", "mode", "ms", "ret_code", "status", "message", "count"}
        if unknown:
            raise InvalidControl(f"unknown: {', '.join(sorted(unknown))}")
        numbers: dict[str, int] = {}
        for name in ("ms", "ret_code", "status", "count"):
            value = given.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidControl(f"{name} must be a whole number")
            numbers[name] = value
        try:
            mode = FaultMode(_text(given, "mode"))
        except ValueError as error:
            raise InvalidControl(f"mode must be one of {', '.join(FaultMode)}") from error
        words = DEFAULT_MESSAGE if given.get("message") is None else _text(given, "message")
        self._controls.faults.add(Fault(path=_text(given, "path"), mode=mode, message=words, **numbers))
        return {}

    def _clear_faults(self, _: Mapping[str, Any]) -> object:
        self._controls.faults.clear()
        return {}


async def _given(scope: Scope, receive: Receive) -> Mapping[str, Any]:
    """Read what the request says: the query of a GET, the JSON object of a POST."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise InvalidControl("the body is too large")
        if not message.get("more_body", False):
            break
    if scope["method"] != "POST":
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return {name: values[-1] for name, values in query.items()}
    try:
        # Numbers stay text until they are decimals: a price must not pass through a float.
        value = json.loads(body, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise InvalidControl("the body is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidControl("the body is not a JSON object")
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidControl(f"{name} must be a text")
    return value


def _number(given: Mapping[str, Any], name: str) -> Decimal:
    value = given.get(name)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if _NUMBER.fullmatch(text) is None:
        raise InvalidControl(f"{name} must be a number")
    return Decimal(text)
