"""The reception: takes one parsed or raw request, admits it and answers it. It does no input or output."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from trade_simulator.api.authentication import authenticate, read_headers
from trade_simulator.api.call import Call
from trade_simulator.api.envelope import Answer, HttpRefusal
from trade_simulator.api.fields import UNLISTED_CATEGORIES, Fields, parse_json, parse_query
from trade_simulator.api.rate_limits import Allowance, RateLimits, TooManyVisits
from trade_simulator.api.routes import ROUTES, Endpoint
from trade_simulator.exchange import Exchange
from trade_simulator.exchange_clock import ExchangeClock
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.rejections import Rejected

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it came, body read; and whether a fault has it carried out only in part."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    address: str
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, and what is left of the limit that it counted against."""

    answer: Answer
    allowance: Allowance


class Reception:
    """Everything between the raw request and the exchange."""

    def __init__(self, *, exchange: Exchange, clock: ExchangeClock, limits: RateLimits) -> None:
        self.exchange = exchange
        self.clock = clock
        self.limits = limits

    def answer_http(self, request: HttpRequest) -> Reply:
        """Answer a REST request. Never raises: a bug of ours is 10016 and an ERROR line."""
        now_ms = self.clock.now_ms()
        allowance = Allowance(limit=0, left=0, reset_ms=now_ms)
        try:
            allowance = self.limits.visit_address(request.address, now_ms=now_ms)
            endpoint = _find(request)
            key = None if endpoint.is_public else self._authenticate(request, now_ms)
            fields = Fields(parse_json(request.body) if request.method == "POST" else parse_query(request.query))
            if key is None:
                return Reply(answer=self._handle(endpoint, fields, None, request.path), allowance=allowance)
            return self.answer_call(request.path, endpoint, fields, key, is_partial=request.is_partial)
        except HttpRefusal as refusal:
            return Reply(answer=refusal.answer, allowance=allowance)
        except Rejected as rejected:
            return Reply(answer=refusal_answer(rejected), allowance=allowance)

    def answer_call(
        self, path: str, endpoint: Endpoint, fields: Fields, key: ApiKey, *, is_partial: bool = False
    ) -> Reply:
        """Answer an authenticated request, counted against the account's limit of the path."""
        now_ms = self.clock.now_ms()
        try:
            allowance = self.limits.visit(key.uid, path, _category(fields), now_ms=now_ms)
        except TooManyVisits as too_many:
            return Reply(answer=refusal_answer(too_many), allowance=too_many.allowance)
        answer = self._handle(endpoint, fields, key, path, is_partial=is_partial)
        return Reply(answer=answer, allowance=allowance)

    def _authenticate(self, request: HttpRequest, now_ms: int) -> ApiKey:
        payload = request.body if request.method == "POST" else request.query
        signed = read_headers(request.headers, payload)
        return authenticate(signed, keys=self.exchange.keys, address=request.address, now_ms=now_ms)

    def _handle(
        self, endpoint: Endpoint, fields: Fields, key: ApiKey | None, path: str, *, is_partial: bool = False
    ) -> Answer:
        now_ms = self.clock.now_ms()

        def charge(category: Category) -> Allowance:
            return self.limits.visit(key.uid if key else "", path, category, now_ms=now_ms)

        call = Call(exchange=self.exchange, fields=fields, now_ms=now_ms, key=key, charge=charge, is_partial=is_partial)
        category = fields.raw("category")
        if endpoint.is_listing and isinstance(category, str) and category in UNLISTED_CATEGORIES:
            return Answer(result={"category": category, "list": [], "nextPageCursor": ""})
        try:
            result = endpoint.handler(call)
        except Rejected as rejected:
            return refusal_answer(rejected)
        except Exception:  # noqa: BLE001 - the task boundary of one request: answered as the exchange would
            _LOG.exception("a request to %s failed inside the simulator", path)
            return Answer(ret_code=10016, ret_msg="Server error.")
        return result if isinstance(result, Answer) else Answer(result=result, ret_msg=endpoint.ret_msg)


def refusal_answer(rejected: Rejected) -> Answer:
    """Turn a refusal into the answer that carries its code."""
    return Answer(ret_code=rejected.code, ret_msg=rejected.message)


def _find(request: HttpRequest) -> Endpoint:
    endpoint = ROUTES.get(request.path)
    if endpoint is None:
        raise HttpRefusal(404, 10017, "Route not found.")
    if request.method != endpoint.method:
        raise HttpRefusal(400, 10001, f"Bad request. Need to send the request with {endpoint.method}.")
    if request.method == "GET" and request.body:
        raise HttpRefusal(403, 10001, "Forbidden request. A GET request carries no body.")
    return endpoint


def _category(fields: Fields) -> Category | None:
    value = fields.raw("category")
    return Category(value) if isinstance(value, str) and value in set(Category) else None
