"""Rate limits: per account and endpoint each second, per address over five seconds, and the ban that follows.

More than 600 requests in 5 s from one address are answered HTTP 403 and ban it for 10 minutes. Windows are of the
exchange's own clock, so that moving that clock on lifts a ban.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from trade_simulator.api.envelope import HttpRefusal
from trade_simulator.instruments import Category
from trade_simulator.rejections import Rejected

ADDRESS_REQUESTS = 600
ADDRESS_WINDOW_MS = 5_000
BAN_MS = 600_000
WINDOW_MS = 1_000
NEW_CONNECTIONS = 500
NEW_CONNECTIONS_WINDOW_MS = 300_000
FRAMES = 3_000
MAX_COUNTERS = 10_000
DEFAULT_LIMIT = 10

# Requests a second and account, from the rate-limit page of the documentation.
_LIMITS: dict[str, int] = {
    "/v5/order/realtime": 50,
    "/v5/order/history": 50,
    "/v5/execution/list": 50,
    "/v5/position/list": 50,
    "/v5/position/closed-pnl": 50,
    "/v5/account/wallet-balance": 50,
    "/v5/account/info": 50,
    "/v5/account/fee-rate": 5,
    "/v5/account/transaction-log": 50,
    "/v5/asset/coin/query-info": 5,
    "/v5/asset/transfer/query-inter-transfer-list": 60,
    "/v5/asset/transfer/query-universal-transfer-list": 5,
    "/v5/asset/transfer/inter-transfer": 60,
    "/v5/asset/transfer/universal-transfer": 5,
    "/v5/asset/withdraw/create": 5,
    "/v5/asset/withdraw/query-record": 300,
    "/v5/asset/deposit/query-record": 100,
    "/v5/user/create-sub-api": 5,
    "/v5/user/update-sub-api": 5,
    "/v5/user/delete-sub-api": 5,
    "/v5/user/update-api": 5,
    "/v5/user/delete-api": 5,
    "/v5/user/frozen-sub-member": 5,
}
_SPOT_LIMITS: dict[str, int] = {
    "/v5/order/create": 20,
    "/v5/order/cancel": 20,
    "/v5/order/cancel-all": 20,
    "/v5/order/create-batch": 20,
    "/v5/order/cancel-batch": 20,
}


def limit_of(path: str, category: Category | None) -> int:
    """Give the requests a second that one account may make to a path."""
    if category is Category.SPOT and path in _SPOT_LIMITS:
        return _SPOT_LIMITS[path]
    return _LIMITS.get(path, DEFAULT_LIMIT)


@dataclass(slots=True, kw_only=True)
class _Counter:
    started_ms: int
    used: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is left of a limit; rendered into the headers of every answer."""

    limit: int
    left: int
    reset_ms: int

    def headers(self) -> dict[str, str]:
        """Give the three headers that the exchange sends."""
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.left),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


class TooManyVisits(Rejected):
    """10006, with the allowance whose reset time tells the client when to come back."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(10006, "Too many visits!")
        self.allowance = allowance


class RateLimits:
    """Counters of one exchange. Switched off, everything is counted and nothing refused."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._counters: OrderedDict[tuple[str, str, str], _Counter] = OrderedDict()
        self._addresses: dict[str, deque[int]] = {}
        self._connections: dict[str, deque[int]] = {}
        self._banned_until_ms: dict[str, int] = {}

    def set_enabled(self, enabled: bool) -> None:
        """Switch refusals on or off; off also lifts every ban."""
        self.enabled = enabled
        if not enabled:
            self._banned_until_ms.clear()
            self._addresses.clear()
            self._connections.clear()

    def visit_address(self, address: str, *, now_ms: int) -> Allowance:
        """Count one HTTP request of an address. Raises HttpRefusal 403 when it is, or becomes, banned."""
        if self.enabled and self._is_banned(address, now_ms):
            raise _too_frequent()
        used = _slide(self._addresses, address, now_ms, ADDRESS_WINDOW_MS, ADDRESS_REQUESTS)
        if self.enabled and used > ADDRESS_REQUESTS:
            self._banned_until_ms[address] = now_ms + BAN_MS
            raise _too_frequent()
        return Allowance(limit=ADDRESS_REQUESTS, left=max(0, ADDRESS_REQUESTS - used), reset_ms=now_ms)

    def _is_banned(self, address: str, now_ms: int) -> bool:
        until_ms = self._banned_until_ms.get(address)
        if until_ms is None:
            return False
        # A clock that was moved back must not turn ten minutes into for ever.
        if now_ms >= until_ms or until_ms - now_ms > BAN_MS:
            del self._banned_until_ms[address]
            self._addresses.pop(address, None)
            return False
        return True

    def visit_connection(self, address: str, *, now_ms: int) -> None:
        """Count one new WebSocket of an address. Raises HttpRefusal 403 above 500 in 5 minutes or when banned."""
        if self.enabled and self._is_banned(address, now_ms):
            raise _too_frequent()
        used = _slide(self._connections, address, now_ms, NEW_CONNECTIONS_WINDOW_MS, NEW_CONNECTIONS)
        if self.enabled and used > NEW_CONNECTIONS:
            raise _too_frequent()

    def visit(self, uid: str, path: str, category: Category | None, *, now_ms: int, weight: int = 1) -> Allowance:
        """Count a request of an account, a batch once for each order. Raises TooManyVisits."""
        limit = limit_of(path, category)
        counter = self._counter((uid, path, category or ""), now_ms)
        reset_ms = counter.started_ms + WINDOW_MS
        if self.enabled and counter.used + weight > limit:
            raise TooManyVisits(Allowance(limit=limit, left=0, reset_ms=reset_ms))
        counter.used += weight
        return Allowance(limit=limit, left=max(0, limit - counter.used), reset_ms=now_ms)

    def visit_frame(self, address: str, *, now_ms: int) -> None:
        """Count one frame of order entry of an address. Raises Rejected 10403 above 3000 a second."""
        counter = self._counter(("frames", address, ""), now_ms)
        counter.used += 1
        if self.enabled and counter.used > FRAMES:
            raise Rejected(10403, "Exceed IP rate limit. 3000 requests per second per IP.")

    def _counter(self, name: tuple[str, str, str], now_ms: int) -> _Counter:
        counter = self._counters.get(name)
        if counter is None or not 0 <= now_ms - counter.started_ms < WINDOW_MS:
            counter = _Counter(started_ms=now_ms)
            self._counters[name] = counter
        self._counters.move_to_end(name)
        if len(self._counters) > MAX_COUNTERS:
            self._counters.popitem(last=False)
        return counter


def _slide(windows: dict[str, deque[int]], address: str, now_ms: int, window_ms: int, most: int) -> int:
    """Count an arrival in a sliding window and give the number in it."""
    if len(windows) > MAX_COUNTERS:
        windows.clear()
    window = windows.setdefault(address, deque(maxlen=most + 1))
    window.append(now_ms)
    while window and not 0 <= now_ms - window[0] < window_ms:
        window.popleft()
    return len(window)


def _too_frequent() -> HttpRefusal:
    return HttpRefusal(403, 10018, "403, access too frequent")
