"""The server: what it refuses and with which code, what it logs, and that nothing makes it answer 500."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator.support import Key, Venue, signed_headers

from trade_simulator.api.routes import ROUTES

CREATE = "/v5/order/create"
ORDER = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "60000"}


async def test_every_answer_says_that_it_is_simulated(venue: Venue) -> None:
    answers = [
        await venue.get("/v5/market/time"),
        await venue.get("/nowhere"),
        await venue.get("/v5/account/info"),
        await venue.get("/v5/account/info", "order"),
        await venue.control_http.get("/__sim/faults"),
        await venue.http.get("/__sim/state"),
    ]
    assert {answer.headers["x-trade-environment"] for answer in answers} == {"SIMULATED"}


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v5", "/v5/order/create/", "/v5/order/Create", "/v5//order/create", "/v5/order/%63reate",
        "/v5/account/withdrawal", "/v5/spot-margin-trade/state", "/__sim/state",
    ],
)  # fmt: skip
async def test_unknown_path_answers_404(venue: Venue, path: str) -> None:
    request = venue.http.build_request("GET", "http://127.0.0.1:1/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await venue.http.send(request)).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("POST", "/v5/market/time"), ("GET", CREATE), ("PUT", CREATE)])
async def test_wrong_method_answers_400(venue: Venue, method: str, path: str) -> None:
    assert (await venue.http.request(method, path)).status_code == 400


async def test_get_with_a_body_answers_403(venue: Venue) -> None:
    answer = await venue.http.request("GET", "/v5/market/time", content=b"{}")
    assert answer.status_code == 403


@pytest.mark.parametrize("path", sorted(path for path, endpoint in ROUTES.items() if not endpoint.is_public))
async def test_private_path_without_headers_answers_401(venue: Venue, path: str) -> None:
    answer = await venue.http.request(ROUTES[path].method, path)
    assert answer.status_code == 401


@pytest.mark.parametrize("path", sorted(path for path, one in ROUTES.items() if one.is_public))
async def test_public_path_needs_no_key(venue: Venue, path: str) -> None:
    answer = await venue.get(path)
    assert answer.status_code == 200
    assert answer.json()["retCode"] in {0, 10001}


async def test_oversized_body_answers_413(venue: Venue) -> None:
    answer = await venue.post(CREATE, "order", b"x" * (256 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"category":"spot","category":"spot"}', b"\xff", b'{"qty":NaN}'])
async def test_malformed_json_answers_10001(venue: Venue, body: bytes) -> None:
    answer = await venue.post(CREATE, "order", body)
    assert (answer.status_code, answer.json()["retCode"]) == (200, 10001)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(
        st.sampled_from([*ORDER, "triggerPrice", "reduceOnly", "positionIdx", "orderLinkId", "timeInForce", "request"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
            st.sampled_from([*ORDER.values()]),
            st.lists(st.dictionaries(st.sampled_from([*ORDER]), st.text(max_size=5), max_size=3), max_size=3),
        ),
        max_size=9,
    ),
    path=st.sampled_from(sorted(path for path, endpoint in ROUTES.items() if endpoint.method == "POST")),
)  # fmt: skip
async def test_any_body_to_any_post_path_never_answers_500_or_10016(
    venue: Venue, body: dict[str, object], path: str
) -> None:
    answer = await venue.post(path, "client", body)
    assert answer.status_code in {200, 403}
    assert answer.json()["retCode"] != 10016


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["category", "symbol", "limit", "cursor", "interval", "startTime", "endTime", "start", "end", "openOnly",
             "settleCoin", "accountType", "intervalTime", "subMemberId", "coin", "orderStatus", "execType", "baseCoin"]
        ),
        st.one_of(
            st.integers(), st.text(max_size=20),
            st.sampled_from(["spot", "linear", "inverse", "BTCUSDT", "USDT", "D", "1", "5min", "UNIFIED", "Filled"]),
        ),
        max_size=8,
    ),
    path=st.sampled_from(sorted(path for path, endpoint in ROUTES.items() if endpoint.method == "GET")),
)  # fmt: skip
async def test_any_query_to_any_get_path_never_answers_500_or_10016(
    venue: Venue, query: dict[str, object], path: str
) -> None:
    answer = await venue.get(path, "client", **query)
    assert answer.status_code in {200, 403}
    assert answer.json()["retCode"] != 10016


async def test_wrong_signature_answers_10004_with_http_200(venue: Venue) -> None:
    key = venue.key("order")
    answer = await venue.get("/v5/account/info", Key(key=key.key, secret="wrong"))
    assert (answer.status_code, answer.json()["retCode"]) == (200, 10004)
    assert answer.json()["retMsg"].startswith("error sign! origin_string[")


async def test_old_request_answers_10002(venue: Venue) -> None:
    key = venue.key("order")
    headers = signed_headers(key, b"", now_ms=venue.now_ms() - 5001)
    assert (await venue.http.get("/v5/account/info", headers=headers)).json()["retCode"] == 10002


async def test_answer_carries_envelope_and_limit_headers(venue: Venue) -> None:
    answer = await venue.get("/v5/account/info", "order")
    assert set(answer.json()) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert answer.json()["time"] == venue.now_ms()
    assert answer.headers["x-bapi-limit"] == "50"
    assert answer.headers["x-bapi-limit-status"] == "49"
    assert answer.headers["x-bapi-limit-reset-timestamp"] == str(venue.now_ms())


async def test_eleventh_linear_order_in_a_second_answers_10006(venue: Venue) -> None:
    body = ORDER | {"category": "linear"}
    codes = [(await venue.post(CREATE, "order", body)).json()["retCode"] for _ in range(11)]
    assert codes[10] == 10006
    assert 10006 not in codes[:10]


async def test_flood_from_one_address_answers_403_until_limits_are_off(venue: Venue) -> None:
    statuses = [(await venue.get("/v5/market/time")).status_code for _ in range(602)]
    assert statuses[:600] == [200] * 600
    assert statuses[600:] == [403, 403]
    await venue.control("POST", "limits", {"enabled": False})
    assert (await venue.get("/v5/market/time")).status_code == 200


async def test_every_request_is_logged_with_its_code(venue: Venue) -> None:
    await venue.post(CREATE, "order", ORDER)
    await venue.get("/nowhere", x=1)
    await venue.get("/v5/account/info")
    rows = await venue.control("GET", "requests?since=0")
    assert [(row["n"], row["method"], row["path"], row["query"], row["ret_code"]) for row in rows] == [
        (1, "POST", CREATE, "", 0),
        (2, "GET", "/nowhere", "x=1", 404),
        (3, "GET", "/v5/account/info", "", 401),
    ]
    assert rows[0]["key"] == venue.key("order").key
    assert '"qty": "0.01"' in rows[0]["body"]


class TestKeyPowers:
    """Who may do what."""

    @pytest.mark.parametrize("role", ["watch", "master_read"])
    async def test_read_only_key_changes_nothing(self, venue: Venue, role: str) -> None:
        for path, body in (
            (CREATE, ORDER),
            ("/v5/order/cancel-all", {"category": "spot"}),
            ("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0}),
            ("/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}),
            ("/v5/strategy/create", {"category": "UTA_USDT"}),
            ("/v5/user/delete-api", {}),
        ):  # fmt: skip
            assert (await venue.post(path, role, body)).json()["retCode"] == 10005, path

    async def test_order_key_moves_no_money_and_manages_no_keys(self, venue: Venue) -> None:
        transfer = {
            "transferId": "1", "coin": "USDT", "amount": "1", "fromAccountType": "UNIFIED", "toAccountType": "FUND",
        }  # fmt: skip
        withdrawal = {
            "coin": "USDT", "address": "x", "amount": "10", "timestamp": 1, "accountType": "FUND", "chain": "TRX",
        }  # fmt: skip
        for path, body in (
            ("/v5/asset/transfer/inter-transfer", transfer),
            ("/v5/asset/transfer/universal-transfer", transfer | {"fromMemberId": 1, "toMemberId": 2}),
            ("/v5/asset/withdraw/create", withdrawal),
            ("/v5/user/create-sub-api", {"subuid": int(venue.opening.sub_uid), "readOnly": 0, "permissions": {}}),
            ("/v5/user/delete-sub-api", {"apikey": venue.key("watch").key}),
            ("/v5/user/frozen-sub-member", {"subuid": int(venue.opening.sub_uid), "frozen": 1}),
        ):
            assert (await venue.post(path, "order", body)).json()["retCode"] == 10005, path

    async def test_order_key_cannot_delete_itself(self, venue: Venue) -> None:
        for path in ("/v5/user/delete-api", "/v5/user/delete-sub-api"):
            assert (await venue.post(path, "order", {})).json()["retCode"] == 10005, path
        assert (await venue.get("/v5/user/query-api", "order")).json()["retCode"] == 0

    async def test_revoker_lists_and_deletes_keys_of_the_sub_account_but_does_not_trade(self, venue: Venue) -> None:
        sub_uid = venue.opening.sub_uid
        listed = (await venue.get("/v5/user/sub-apikeys", "revoker", subMemberId=sub_uid)).json()
        assert venue.key("order").key in {row["apiKey"] for row in listed["result"]["result"]}
        assert (await venue.post(CREATE, "revoker", ORDER)).json()["retCode"] == 10005
        deleted = await venue.post("/v5/user/delete-sub-api", "revoker", {"apikey": venue.key("order").key})
        assert deleted.json()["retCode"] == 0
        assert (await venue.get("/v5/user/query-api", "order")).json()["retCode"] == 10003
        junk = Key(key=venue.key("order").key, secret="junk")
        assert (await venue.get("/v5/user/query-api", junk)).json()["retCode"] == 10003

    async def test_sub_account_key_sees_no_other_keys(self, venue: Venue) -> None:
        answer = await venue.get("/v5/user/sub-apikeys", "watch", subMemberId=venue.opening.sub_uid)
        assert answer.json()["retCode"] == 10005
        assert (await venue.get("/v5/user/query-sub-members", "watch")).json()["retCode"] == 10005

    async def test_foreign_master_sees_nothing_of_our_sub_account(self, venue: Venue) -> None:
        answer = await venue.get("/v5/user/sub-apikeys", "client", subMemberId=venue.opening.sub_uid)
        assert answer.json()["retCode"] != 0

    async def test_order_key_describes_itself_with_exactly_its_powers(self, venue: Venue) -> None:
        described = (await venue.get("/v5/user/query-api", "order")).json()["result"]
        granted = {group: names for group, names in described["permissions"].items() if names}
        assert granted == {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"]}
        assert described["ips"] == ["127.0.0.1"]
        assert (described["readOnly"], described["isMaster"], described["deadlineDay"]) == (0, False, -2)
        assert described["parentUid"] == venue.opening.master_uid


class TestFaults:
    """What faults do to requests; those that close connections are tried against a real process."""

    async def test_error_is_answered_and_nothing_processed(self, venue: Venue) -> None:
        await venue.control("POST", "faults", {"path": CREATE, "mode": "error", "ret_code": 10016, "count": 1})
        assert (await venue.post(CREATE, "order", ORDER)).json()["retCode"] == 10016
        assert (await venue.get("/v5/order/realtime", "order", category="spot")).json()["result"]["list"] == []
        assert (await venue.post(CREATE, "order", ORDER)).json()["retCode"] == 0

    async def test_status_is_answered_and_nothing_processed(self, venue: Venue) -> None:
        await venue.control("POST", "faults", {"path": CREATE, "mode": "status", "status": 502})
        assert (await venue.post(CREATE, "order", ORDER)).status_code == 502
        await venue.control("DELETE", "faults")
        assert (await venue.post(CREATE, "order", ORDER)).status_code == 200

    async def test_duplicate_is_processed_twice(self, venue: Venue) -> None:
        await venue.control("POST", "faults", {"path": CREATE, "mode": "duplicate", "count": 1})
        await venue.post(CREATE, "order", ORDER)
        listed = (await venue.get("/v5/order/realtime", "order", category="spot")).json()["result"]["list"]
        assert len(listed) == 2

    async def test_partial_cancel_all_acknowledges_every_order_and_leaves_every_second_one(self, venue: Venue) -> None:
        path = "/v5/order/cancel-all"
        placed = [(await venue.post(CREATE, "order", ORDER)).json()["result"]["orderId"] for _ in range(3)]
        await venue.control("POST", "faults", {"path": path, "mode": "partial", "count": 1})
        for works in ([placed[0], placed[2]], []):
            answer = (await venue.post(path, "order", {"category": "spot"})).json()
            listed = (await venue.get("/v5/order/realtime", "order", category="spot")).json()["result"]["list"]
            assert {order["orderId"] for order in listed} == set(works)
            assert {order["orderId"] for order in answer["result"]["list"]} == set(placed)
            placed = works
