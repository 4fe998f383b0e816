"""Parses the queries of reads.

Guarantees: every key is on its route's list and stands once, every value is of its key's own grammar, so that the
query sent upstream can be rebuilt from the intent without any encoding. Only a cursor may carry percent-escapes,
because the exchange issues cursors in that form and they must go back exactly as they came. A comma between coins may
be one too, and goes up as a comma.
A known key without a value counts as not sent, as at the exchange: many clients page with an empty first cursor.
Source of the keys: Bybit V5 documentation of each endpoint, and what freqtrade, ccxt 4.5.90 and pybit 5.17.0 send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.fields import COIN, LINK_ID, ORDER_ID, SYMBOL
from trade_gateway.wire.intents import ReadIntent
from trade_gateway.wire.refusal import Refusal, Refused, refuse
from trade_gateway.wire.routes import Kind, Route

MAX_QUERY_BYTES = 1024
MAX_PARAMETERS = 16


def _words(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word) for word in words), re.ASCII)


_TIME_MS = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_ORDER_STATUSES = (
    "Cancelled",
    "Deactivated",
    "Filled",
    "New",
    "PartiallyFilled",
    "PartiallyFilledCanceled",
    "Rejected",
    "Triggered",
    "Untriggered",
)
_EXECUTION_TYPES = ("AdlTrade", "BustTrade", "Delivery", "Funding", "Settle", "Trade")
_GRAMMARS: dict[str, re.Pattern[str]] = {
    "accountType": _words("UNIFIED"),
    "baseCoin": COIN,
    "category": _words("spot", "linear"),
    "coin": re.compile(r"[A-Z0-9]{1,20}(?:,[A-Z0-9]{1,20}){0,19}", re.ASCII),
    "cursor": re.compile(r"(?:[A-Za-z0-9._~=,:;/-]|%[2-6][0-9A-Fa-f]|%7[0-9A-Ea-e]){1,512}", re.ASCII),
    "end": _TIME_MS,
    "endTime": _TIME_MS,
    "execType": _words(*_EXECUTION_TYPES),
    "interval": _words("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"),
    "intervalTime": _words("5min", "15min", "30min", "1h", "4h", "1d"),
    "limit": re.compile(r"[1-9][0-9]{0,2}|1000", re.ASCII),
    "openOnly": _words("0", "1", "2"),
    "orderFilter": _words("Order", "StopOrder", "tpslOrder"),
    "orderId": ORDER_ID,
    "orderLinkId": LINK_ID,
    "orderStatus": _words(*_ORDER_STATUSES),
    "settleCoin": COIN,
    "start": _TIME_MS,
    "startTime": _TIME_MS,
    "status": _words("PreLaunch", "Trading"),
    "symbol": SYMBOL,
}
# Clients list every market of the exchange at their start; only what may be traded has private reads.
_PUBLIC_CATEGORY = _words("spot", "linear", "inverse", "option")
_ESCAPED_COMMA = re.compile("%2[Cc]", re.ASCII)  # how Go, Rust and JavaScript write it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = field(default=frozenset())

    @property
    def known(self) -> frozenset[str]:
        return self.required | self.optional


def _rule(required: str, optional: str = "") -> _Rule:
    return _Rule(required=frozenset(required.split()), optional=frozenset(optional.split()))


_ORDER_LISTS = "symbol baseCoin settleCoin orderId orderLinkId orderFilter limit cursor"
RULES: dict[Route, _Rule] = {
    Route.MARKET_TIME: _rule(""),
    Route.MARKET_INSTRUMENTS: _rule("category", "symbol status baseCoin limit cursor"),
    Route.MARKET_KLINE: _rule("symbol interval", "category start end limit"),
    Route.MARKET_MARK_PRICE_KLINE: _rule("symbol interval", "category start end limit"),
    Route.MARKET_FUNDING_HISTORY: _rule("category symbol", "startTime endTime limit"),
    Route.MARKET_TICKERS: _rule("category", "symbol baseCoin"),
    Route.MARKET_ORDERBOOK: _rule("category symbol", "limit"),
    Route.MARKET_RECENT_TRADE: _rule("category", "symbol baseCoin limit"),
    Route.MARKET_RISK_LIMIT: _rule("category", "symbol cursor"),
    Route.MARKET_OPEN_INTEREST: _rule("category symbol intervalTime", "startTime endTime limit cursor"),
    Route.WALLET_BALANCE: _rule("accountType", "coin"),
    Route.ORDER_REALTIME: _rule("category", f"{_ORDER_LISTS} openOnly"),
    Route.ORDER_HISTORY: _rule("category", f"{_ORDER_LISTS} orderStatus startTime endTime"),
    Route.EXECUTION_LIST: _rule(
        "category", "symbol orderId orderLinkId baseCoin execType startTime endTime limit cursor"
    ),
    Route.POSITION_LIST: _rule("category", "symbol baseCoin settleCoin limit cursor"),
    Route.FEE_RATE: _rule("", "category symbol baseCoin"),
    Route.QUERY_API: _rule(""),
    Route.ACCOUNT_INFO: _rule(""),
    Route.COIN_INFO: _rule("", "coin"),
}


def parse_read(route: Route, raw_query: bytes) -> ReadIntent | Refusal:
    """Parse the raw query of a read. Raises KeyError for a route that is no read."""
    rule = RULES[route]
    try:
        parameters = _parameters(raw_query, rule, is_public=route.kind is Kind.PUBLIC_READ)
    except Refused as error:
        return error.refusal
    return ReadIntent(route=route, parameters=tuple(parameters.items()))


def _parameters(raw_query: bytes, rule: _Rule, *, is_public: bool) -> dict[str, str]:
    sent: dict[str, str] = {}
    for pair in _pairs(raw_query):
        key, equals, value = pair.partition("=")
        if not equals:
            raise Refused(refuse(DenyCode.QUERY_MALFORMED, pair=pair))
        if key not in rule.known:
            raise Refused(refuse(DenyCode.QUERY_KEY_UNKNOWN, key=key))
        if key in sent:
            raise Refused(refuse(DenyCode.QUERY_KEY_DUPLICATE, key=key))
        sent[key] = _checked(key, value, is_public=is_public)
    parameters = {key: value for key, value in sent.items() if value}
    for key in sorted(rule.required):
        if key not in parameters:
            raise Refused(refuse(DenyCode.QUERY_KEY_MISSING, key=key))
    return parameters


def _checked(key: str, value: str, *, is_public: bool) -> str:
    plain = _ESCAPED_COMMA.sub(",", value) if key == "coin" else value
    grammar = _PUBLIC_CATEGORY if key == "category" and is_public else _GRAMMARS[key]
    if value and grammar.fullmatch(plain) is None:
        raise Refused(refuse(DenyCode.QUERY_VALUE_INVALID, key=key, value=value))
    return plain


def _pairs(raw_query: bytes) -> list[str]:
    if len(raw_query) > MAX_QUERY_BYTES or not raw_query.isascii():
        raise Refused(refuse(DenyCode.QUERY_MALFORMED, query_bytes=len(raw_query)))
    pairs = raw_query.decode("ascii").split("&") if raw_query else []
    if len(pairs) > MAX_PARAMETERS:
        raise Refused(refuse(DenyCode.QUERY_MALFORMED, parameters=len(pairs)))
    return pairs
