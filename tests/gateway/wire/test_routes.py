"""The allow-list: exact bytes, and nothing that merely looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.routes import Kind, Route, match_route
from trade_gateway.wire.triggers import TRIGGER_PATHS, is_trigger

ALLOWED = {
    "GET /v5/market/time",
    "GET /v5/market/instruments-info",
    "GET /v5/market/kline",
    "GET /v5/market/mark-price-kline",
    "GET /v5/market/funding/history",
    "GET /v5/market/tickers",
    "GET /v5/market/orderbook",
    "GET /v5/market/recent-trade",
    "GET /v5/market/risk-limit",
    "GET /v5/market/open-interest",
    "GET /v5/account/wallet-balance",
    "GET /v5/order/realtime",
    "GET /v5/order/history",
    "GET /v5/execution/list",
    "GET /v5/position/list",
    "GET /v5/account/fee-rate",
    "GET /v5/user/query-api",
    "GET /v5/account/info",
    "GET /v5/asset/coin/query-info",
    "POST /v5/order/create",
    "POST /v5/order/cancel",
    "POST /v5/position/set-leverage",
    "POST /v5/position/switch-mode",
    "POST /v5/account/set-margin-mode",
}


def denied(method: bytes, target: bytes) -> DenyCode:
    result = match_route(method, target)
    assert isinstance(result, Refusal)
    return result.code


def test_routes_are_exactly_the_allow_list() -> None:
    assert {route.value for route in Route} == ALLOWED
    assert len(Route) == len(ALLOWED)


def test_writes_are_the_five_calls_of_a_bot() -> None:
    writes = {route.kind for route in Route if route.method == "POST"}
    reads = {Kind.PUBLIC_READ, Kind.PRIVATE_READ, Kind.LOCAL_READ}
    assert writes == set(Kind) - reads
    assert {route.kind for route in Route if route.method == "GET"} == reads


@pytest.mark.parametrize("route", list(Route))
def test_route_matches_its_own_bytes_with_and_without_query(route: Route) -> None:
    assert match_route(route.method.encode(), route.path.encode()) is route
    assert match_route(route.method.encode(), route.path.encode() + b"?a=b") is route


@pytest.mark.parametrize(
    "target",
    [
        b"/v5/order%2Fcreate",
        b"/v5/order/%63reate",
        b"//v5/order/create",
        b"/v5//order/create",
        b"/v5/order/../asset/withdraw/create",
        b"/v5/market/../order/create",
        b"/v5/./order/create",
        b"/v5/order/create/",
        b"/v5/order/create/.",
        b"/v5/order/create;a=b",
        b"/v5/order;x/create",
        b"/v5/order/create#fragment",
        b"/v5/Order/create",
        b"/V5/order/create",
        b"http://api.bybit.com/v5/order/create",
        b"http:///v5/order/create",
        b"v5/order/create",
        b"/v5/order/create ",
        b" /v5/order/create",
        b"/v5/order/create\x00",
        b"/v5/order/create%00",
        b"/v5\\order\\create",
        b"/v5/order/cre\xc3\xa4te",
        b"*",
        b"",
        b"?",
        b"/",
    ],
)
def test_match_of_a_path_trick_is_unknown(target: bytes) -> None:
    for method in (b"POST", b"GET"):
        assert denied(method, target) is DenyCode.PATH_UNKNOWN


@pytest.mark.parametrize(
    "path",
    [
        b"/v5/order/amend",
        b"/v5/order/amend-batch",
        b"/v5/order/create-batch",
        b"/v5/order/cancel-batch",
        b"/v5/order/cancel-all",
        b"/v5/position/trading-stop",
        b"/v5/trade",
        b"/v5/strategy/create",
        b"/v5/asset/withdraw/create",
        b"/v5/user/query-sub-members",
        b"/metrics",
        b"/docs",
        b"/openapi.json",
        b"/halt",
    ],
)
def test_match_of_an_unlisted_path_is_unknown(path: bytes) -> None:
    assert denied(b"POST", path) is DenyCode.PATH_UNKNOWN
    assert denied(b"GET", path) is DenyCode.PATH_UNKNOWN


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"post", b"POST "])
def test_match_of_a_known_path_with_another_method_is_denied(method: bytes) -> None:
    assert denied(method, b"/v5/order/create") is DenyCode.PATH_METHOD_NOT_ALLOWED


@given(st.sampled_from(list(Route)), st.data())
def test_match_of_any_changed_path_is_no_route_or_another_listed_one(route: Route, data: st.DataObject) -> None:
    path = bytearray(route.path.encode())
    position = data.draw(st.integers(0, len(path) - 1))
    path[position : position + data.draw(st.integers(0, 1))] = data.draw(st.binary(min_size=1, max_size=3))
    result = match_route(route.method.encode(), bytes(path))
    raw_path = bytes(path).partition(b"?")[0]
    listed = {(known.method, known.path.encode()) for known in Route}
    assert isinstance(result, Route) == ((route.method, raw_path) in listed)


@pytest.mark.parametrize(
    "path",
    [
        b"/v5/asset/withdraw/create",
        b"/v5/asset/withdraw/cancel",
        b"/v5/asset/transfer/inter-transfer",
        b"/v5/asset/transfer/universal-transfer",
        b"/v5/asset/deposit/deposit-to-account",
        b"/v5/user/create-sub-api",
        b"/v5/user/update-sub-api",
        b"/v5/user/delete-sub-api",
        b"/v5/user/frozen-sub-member",
        b"/v5/strategy/create",
        b"/v5/strategy/some-future-algorithm",
        b"/v5/p2p/order/pay",
        b"/contract/v3/private/copytrading/wallet/transfer",
        b"/asset/v3/private/transfer/inter-transfer",
        b"/asset/v3/private/transfer/sub-member-transfer",
        b"/asset/v3/private/transfer/transfer-sub-member-save",
        b"/asset/v3/private/transfer/universal-transfer",
        b"/asset/v3/private/withdraw/cancel",
        b"/asset/v3/private/withdraw/create",
        b"/user/v3/private/create-sub-api",
        b"/user/v3/private/create-sub-member",
        b"/user/v3/private/delete-api",
        b"/user/v3/private/delete-sub-api",
        b"/user/v3/private/update-api",
        b"/user/v3/private/update-sub-api",
        b"/v5/dca/close-bot",
        b"/v5/dca/create-bot",
        b"/v5/fcombobot/close",
        b"/v5/fcombobot/create",
        b"/v5/fgridbot/close",
        b"/v5/fgridbot/create",
        b"/v5/fmartingalebot/close",
        b"/v5/fmartingalebot/create",
        b"/v5/grid/close-grid",
        b"/v5/grid/create-grid",
    ],
)
def test_trigger_of_a_money_authority_or_algorithm_write_is_seen(path: bytes) -> None:
    assert is_trigger(b"POST", path)
    assert not is_trigger(b"GET", path)


@pytest.mark.parametrize(
    "path",
    [
        b"/v5/asset/withdraw/create/",
        b"/v5/asset/withdraw/Create",
        b"/v5/asset/withdraw/query-record",
        b"/v5/order/create-batch",
        b"/v5/strategy",
        b"/v5/user/query-api",
        b"/v5/p2p/order/info",
        b"/v5/grid/query-grid-detail",
        b"/v5/fgridbot/validate",
        b"/v5/fcombobot/getlimit",
        b"/user/v3/private/query-api",
        b"/v5/x",
    ],
)
def test_trigger_of_other_paths_is_not_seen(path: bytes) -> None:
    assert not is_trigger(b"POST", path)


def test_triggers_and_routes_do_not_meet() -> None:
    assert not TRIGGER_PATHS & {route.path.encode() for route in Route}
    assert len(TRIGGER_PATHS) == 57
