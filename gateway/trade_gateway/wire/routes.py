"""The allow-list of endpoints, matched on raw bytes.

Guarantees: a request reaches a route only when its method and its undecoded path equal a table entry byte by byte.
Percent-encoding, dots, doubled or trailing slashes, path parameters, fragments, upper case and absolute-form targets
are therefore all unknown paths; there is no normalisation that two readers could do differently.
"""

from __future__ import annotations

from enum import Enum, auto

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import Refusal, refuse


class Kind(Enum):
    """What the gateway does with a route."""

    PUBLIC_READ = auto()
    """Forwarded unsigned; the client need not authenticate."""
    PRIVATE_READ = auto()
    """Forwarded, signed with the gateway's own key."""
    LOCAL_READ = auto()
    """Answered by the gateway; forwarding would show key metadata."""
    ORDER_CREATE = auto()
    ORDER_CANCEL = auto()
    PIN_LEVERAGE = auto()
    PIN_POSITION_MODE = auto()
    PIN_MARGIN_MODE = auto()


class Route(Enum):
    """One member an allowed endpoint: (method, path, kind)."""

    method: str
    path: str
    kind: Kind

    def __new__(cls, method: str, path: str, kind: Kind) -> Route:
        """Make a member whose value is the method and path."""
        member = object.__new__(cls)
        member._value_ = f"{method} {path}"
        member.method = method
        member.path = path
        member.kind = kind
        return member

    MARKET_TIME = ("GET", "/v5/market/time", Kind.PUBLIC_READ)
    MARKET_INSTRUMENTS = ("GET", "/v5/market/instruments-info", Kind.PUBLIC_READ)
    MARKET_KLINE = ("GET", "/v5/market/kline", Kind.PUBLIC_READ)
    MARKET_MARK_PRICE_KLINE = ("GET", "/v5/market/mark-price-kline", Kind.PUBLIC_READ)
    MARKET_FUNDING_HISTORY = ("GET", "/v5/market/funding/history", Kind.PUBLIC_READ)
    MARKET_TICKERS = ("GET", "/v5/market/tickers", Kind.PUBLIC_READ)
    MARKET_ORDERBOOK = ("GET", "/v5/market/orderbook", Kind.PUBLIC_READ)
    MARKET_RECENT_TRADE = ("GET", "/v5/market/recent-trade", Kind.PUBLIC_READ)
    MARKET_RISK_LIMIT = ("GET", "/v5/market/risk-limit", Kind.PUBLIC_READ)
    MARKET_OPEN_INTEREST = ("GET", "/v5/market/open-interest", Kind.PUBLIC_READ)
    WALLET_BALANCE = ("GET", "/v5/account/wallet-balance", Kind.PRIVATE_READ)
    ORDER_REALTIME = ("GET", "/v5/order/realtime", Kind.PRIVATE_READ)
    ORDER_HISTORY = ("GET", "/v5/order/history", Kind.PRIVATE_READ)
    EXECUTION_LIST = ("GET", "/v5/execution/list", Kind.PRIVATE_READ)
    POSITION_LIST = ("GET", "/v5/position/list", Kind.PRIVATE_READ)
    FEE_RATE = ("GET", "/v5/account/fee-rate", Kind.PRIVATE_READ)
    QUERY_API = ("GET", "/v5/user/query-api", Kind.LOCAL_READ)
    ACCOUNT_INFO = ("GET", "/v5/account/info", Kind.LOCAL_READ)
    COIN_INFO = ("GET", "/v5/asset/coin/query-info", Kind.LOCAL_READ)
    ORDER_CREATE = ("POST", "/v5/order/create", Kind.ORDER_CREATE)
    ORDER_CANCEL = ("POST", "/v5/order/cancel", Kind.ORDER_CANCEL)
    SET_LEVERAGE = ("POST", "/v5/position/set-leverage", Kind.PIN_LEVERAGE)
    SWITCH_POSITION_MODE = ("POST", "/v5/position/switch-mode", Kind.PIN_POSITION_MODE)
    SET_MARGIN_MODE = ("POST", "/v5/account/set-margin-mode", Kind.PIN_MARGIN_MODE)


_BY_METHOD_AND_PATH = {(route.method.encode(), route.path.encode()): route for route in Route}
_PATHS = frozenset(path for _, path in _BY_METHOD_AND_PATH)


def match_route(method: bytes, target: bytes) -> Route | Refusal:
    """Find the route of a request line, or say why there is none."""
    raw_path = target.partition(b"?")[0]
    route = _BY_METHOD_AND_PATH.get((method, raw_path))
    if route is not None:
        return route
    if raw_path in _PATHS:
        return refuse(DenyCode.PATH_METHOD_NOT_ALLOWED, method=method, path=raw_path)
    return refuse(DenyCode.PATH_UNKNOWN, method=method, path=raw_path)
