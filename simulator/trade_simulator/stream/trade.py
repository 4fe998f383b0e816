"""The order stream: the order endpoints of REST over an authenticated connection.

The session is authenticated once; the key is looked up again at every operation, so that a deleted or frozen key
is refused at once on connections already open.
"""

from __future__ import annotations

from typing import Any

from trade_simulator.api.authentication import check_time
from trade_simulator.api.connection import Receive, Scope, Send
from trade_simulator.api.fields import Fields
from trade_simulator.api.reception import Reply
from trade_simulator.api.routes import ROUTES
from trade_simulator.api.shapes import Shape
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.rejections import Rejected, parameter_error
from trade_simulator.stream.login import log_in
from trade_simulator.stream.session import Session, StreamContext, request_id

_PATHS = {
    "order.create": "/v5/order/create",
    "order.amend": "/v5/order/amend",
    "order.cancel": "/v5/order/cancel",
    "order.create-batch": "/v5/order/create-batch",
    "order.amend-batch": "/v5/order/amend-batch",
    "order.cancel-batch": "/v5/order/cancel-batch",
}
MAX_REQUEST_ID = 36
# How many request ids a session remembers in order to refuse a repeated one.
MAX_REQUEST_IDS = 100_000


class TradeSession(Session):
    """A connection to the order stream."""

    stream = "ws:trade"

    def __init__(self, scope: Scope, receive: Receive, send: Send, context: StreamContext) -> None:
        super().__init__(scope, receive, send, context)
        self._key: ApiKey | None = None
        self._request_ids: dict[str, None] = {}

    @property
    def logged_key(self) -> str:
        """Give the key that logged in."""
        return self._key.api_key if self._key else ""

    def operate(self, message: dict[str, Any]) -> None:
        """Answer auth, ping and the order operations."""
        self.context.reception.limits.visit_frame(self.address, now_ms=self.now_ms())
        match message.get("op"):
            case "auth":
                self._log_in(message)
            case "ping":
                self._answer(message, op="pong", extra={"data": [str(self.now_ms())]})
            case str() as op if op in _PATHS:
                self._order(op, message)
            case _:
                raise Rejected(10404, "op type is not found")

    def _log_in(self, message: dict[str, Any]) -> None:
        if self._key is not None:
            raise Rejected(20001, "Repeat auth")
        self._key = log_in(message, reception=self.context.reception, address=self.address)
        self._answer(message, op="auth")

    def _order(self, op: str, message: dict[str, Any]) -> None:
        if self._key is None:
            raise Rejected(10004, "Not authorized, please log in first")
        self._check_request_id(message)
        fields = Fields(_one_object(message, "args"))
        key = self.context.reception.exchange.keys.authenticate(self._key.api_key, address=self.address)
        header = message.get("header")
        if not isinstance(header, dict):
            raise parameter_error("header is required")
        check_time(
            timestamp=_header_text(header, "X-BAPI-TIMESTAMP"),
            recv_window=_header_text(header, "X-BAPI-RECV-WINDOW"),
            now_ms=self.now_ms(),
        )
        if fields.text("category") not in set(Category):
            raise Rejected(10404, "category is not correct or not supported")
        path = _PATHS[op]
        self._answer_order(op, message, self.context.reception.answer_call(path, ROUTES[path], fields, key))

    def _check_request_id(self, message: dict[str, Any]) -> None:
        """Refuse a request id that is too long (10001) or was used before (20006)."""
        if "reqId" not in message:
            return
        value = message["reqId"]
        if not isinstance(value, str) or len(value) > MAX_REQUEST_ID:
            raise parameter_error("reqId invalid")
        if not value:
            return
        if value in self._request_ids:
            raise Rejected(20006, "reqId is duplicated")
        self._request_ids[value] = None
        if len(self._request_ids) > MAX_REQUEST_IDS:
            del self._request_ids[next(iter(self._request_ids))]

    def _answer_order(self, op: str, message: dict[str, Any], reply: Reply) -> None:
        now_ms = str(self.now_ms())
        extra: Shape = {
            "data": reply.answer.result,
            "retExtInfo": reply.answer.ext_info,
            "header": reply.allowance.headers() | {"Traceid": self.connection_id, "Timenow": now_ms},
        }
        answer = reply.answer
        self._answer(message, op=op, code=answer.ret_code, text=answer.ret_msg, extra=extra)

    def _answer(
        self,
        message: dict[str, Any],
        *,
        op: str,
        code: int = 0,
        text: str = "OK",
        extra: Shape | None = None,
    ) -> None:
        shape: Shape = {"retCode": code, "retMsg": text, "op": op} | (extra or {})
        shape["connId"] = self.connection_id
        given = request_id(message, "reqId")
        if given:
            shape = {"reqId": given} | shape
        self.answer(shape, code=code)

    def refuse(self, code: int, text: str, message: dict[str, Any]) -> None:
        """Answer an operation that failed."""
        op = request_id(message, "op")
        extra: Shape = {"data": {}, "retExtInfo": {}} if op in _PATHS else {}
        self._answer(message, op=op, code=code, text=text, extra=extra)


def _one_object(message: dict[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name)
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise parameter_error(f"{name} must be a list of one object")
    return value[0]


def _header_text(header: dict[str, Any], name: str) -> str:
    value = header.get(name, "")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise parameter_error(f"{name} invalid")
    return value
