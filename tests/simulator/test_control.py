"""The control interface: who may use it, and what each control does to the exchange."""

from __future__ import annotations

from decimal import Decimal

import pytest
from simulator.support import TOKEN, Key, Venue

ORDER = {
    "category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "60000",
    "timeInForce": "GTC", "orderLinkId": "behind-the-back",
}  # fmt: skip


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}])
async def test_control_without_the_token_is_refused(venue: Venue, headers: dict[str, str]) -> None:
    assert (await venue.control_http.get("/__sim/state", headers=headers)).status_code == 401


async def test_control_from_a_web_page_is_refused(venue: Venue) -> None:
    answer = await venue.control_http.get("/__sim/state", headers={"Origin": "http://127.0.0.1:2"})
    assert answer.status_code == 403


async def test_control_under_a_foreign_host_name_is_refused(venue: Venue) -> None:
    answer = await venue.control_http.get("/__sim/state", headers={"Host": "rebound.example:2"})
    assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/__sim/x", 404), ("PUT", "/__sim/price", 405)])
async def test_control_that_does_not_exist_is_refused(venue: Venue, method: str, path: str, status: int) -> None:
    assert (await venue.control_http.request(method, path)).status_code == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("price", {"symbol": "BTCUSDT"}),
        ("price", {"symbol": "BTCUSDT", "price": "-1"}),
        ("price", {"symbol": "BTCUSDT", "price": "1e5"}),
        ("price", {"symbol": "DOGEUSDT", "price": "1"}),
        ("flow", {"coin": "USDT"}),
        ("flow", {"coin": "USDT", "amount": "1", "uid": "1"}),
        ("key", {"uid": "1"}),
        ("key", {"permissions": {"Root": ["All"]}}),
        ("key", {"ips": 5}),
        ("clock", {"offset_ms": "5"}),
        ("clock", {"offset_ms": 10**12}),
        ("limits", {"enabled": 1}),
        ("faults", {"path": "/v5/market/time", "mode": "explode"}),
        ("faults", {"path": "/v5/market/time", "mode": "delay"}),
        ("faults", {"path": "/v5/market/time", "mode": "close", "often": 3}),
        ("faults", {"path": "/v5/market/time", "mode": "close", "count": "1"}),
        ("faults", {"path": "/v5/market/time", "mode": "error", "message": 7}),
    ],
)
async def test_control_that_makes_no_sense_answers_400_with_a_reason(
    venue: Venue, path: str, body: dict[str, object]
) -> None:
    answer = await venue.control_http.post(f"/__sim/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"x" * 70_000])
async def test_control_with_a_body_that_is_no_object_answers_400(venue: Venue, content: bytes) -> None:
    assert (await venue.control_http.post("/__sim/price", content=content)).status_code == 400


@pytest.mark.parametrize("price", ["70000", 70000, 70000.5])
async def test_price_moves_index_mark_and_books_of_both_categories(venue: Venue, price: object) -> None:
    await venue.control("POST", "price", {"symbol": "BTCUSDT", "price": price})
    prices = (await venue.control("GET", "state"))["prices"]
    for category in ("spot", "linear"):
        for name in ("index", "mark", "bid", "ask"):
            assert Decimal(prices[category]["BTCUSDT"][name]) == pytest.approx(Decimal(str(price)), rel=Decimal("0.01"))


async def test_flow_in_and_out_moves_the_wallet_of_the_sub_account(venue: Venue) -> None:
    async def balance() -> Decimal:
        state = await venue.control("GET", "state")
        coins = state["wallets"][venue.opening.sub_uid]["coin"]
        return next(Decimal(coin["walletBalance"]) for coin in coins if coin["coin"] == "USDT")

    assert await balance() == 4000
    await venue.control("POST", "flow", {"coin": "USDT", "amount": "250.5"})
    assert await balance() == Decimal("4250.5")
    await venue.control("POST", "flow", {"coin": "USDT", "amount": -50})
    assert await balance() == Decimal("4200.5")


async def test_order_is_placed_with_the_order_key_and_leaves_no_request(venue: Venue) -> None:
    answer = await venue.control("POST", "order", ORDER)
    assert answer["retCode"] == 0
    state = await venue.control("GET", "state")
    assert [(row["uid"], row["orderId"], row["orderLinkId"]) for row in state["orders"]] == [
        (venue.opening.sub_uid, answer["orderId"], "behind-the-back")
    ]
    assert await venue.control("GET", "requests") == []


async def test_order_with_a_dead_order_key_is_refused(venue: Venue) -> None:
    venue.exchange.keys.delete(venue.key("order").key)
    answer = await venue.control_http.post("/__sim/order", json=ORDER)
    assert (answer.status_code, answer.json()["retCode"]) == (400, 10003)


async def test_key_made_behind_our_back_works_and_is_listed(venue: Venue) -> None:
    body = {"uid": venue.opening.sub_uid, "permissions": {"Spot": ["SpotTrade"]}, "readOnly": 0, "ips": []}
    made = await venue.control("POST", "key", body)
    key = Key(key=made["key"], secret=made["secret"])
    assert (await venue.get("/v5/user/query-api", key)).json()["result"]["note"] == "control"
    listed = (await venue.get("/v5/user/sub-apikeys", "master_read", subMemberId=venue.opening.sub_uid)).json()
    assert made["key"] in {row["apiKey"] for row in listed["result"]["result"]}


@pytest.mark.parametrize("offset_ms", [-3_600_000, 3_600_000, 40 * 24 * 3_600_000])
async def test_clock_moves_the_time_of_the_exchange_and_the_market_goes_on(venue: Venue, offset_ms: int) -> None:
    await venue.control("POST", "clock", {"offset_ms": offset_ms})
    assert (await venue.get("/v5/market/time")).json()["time"] == venue.now_ms() + offset_ms
    assert (await venue.get("/v5/account/info", "order")).json()["retCode"] == 10002
    venue.exchange.tick()
    await venue.control("POST", "clock", {"offset_ms": 0})
    venue.exchange.tick()
    assert (await venue.get("/v5/account/info", "order")).json()["retCode"] == 0


async def test_clock_offset_is_absolute(venue: Venue) -> None:
    for _ in range(2):
        answer = await venue.control("POST", "clock", {"offset_ms": 5000})
    assert answer["now_ms"] == venue.now_ms() + 5000


async def test_requests_are_listed_after_a_number_and_cleared(venue: Venue) -> None:
    for _ in range(3):
        await venue.get("/v5/market/time")
    assert [row["n"] for row in await venue.control("GET", "requests?since=1")] == [2, 3]
    await venue.control("DELETE", "requests")
    assert await venue.control("GET", "requests") == []


async def test_state_shows_the_exchange(venue: Venue) -> None:
    state = await venue.control("GET", "state")
    assert {"orders", "positions", "wallets", "keys", "prices", "tick_lag_ms", "clock_offset_ms"} <= state.keys()
    assert {row["role"] for row in state["keys"]} == {
        "master", "order", "watch", "master_read", "revoker", "exit", "client",
    }  # fmt: skip
    assert "secret" not in str(state)


@pytest.mark.parametrize(("mode", "status"), [("error", 200), ("status", 503)])
async def test_fault_answers_in_the_words_that_it_was_given(venue: Venue, mode: str, status: int) -> None:
    fault = {"path": "/v5/market/time", "mode": mode, "count": 1}
    for message, words in (("key k1 is wrong", "key k1 is wrong"), (None, "simulated fault")):
        await venue.control("POST", "faults", {**fault, "message": message})
        answer = await venue.http.get("/v5/market/time")
        assert (answer.status_code, answer.json()["retMsg"]) == (status, words)


async def test_faults_are_listed_and_cleared(venue: Venue) -> None:
    await venue.control("POST", "faults", {"path": "ws:private", "mode": "gap", "count": 2})
    assert await venue.control("GET", "faults") == [{"path": "ws:private", "mode": "gap", "left": 2}]
    await venue.control("DELETE", "faults")
    assert await venue.control("GET", "faults") == []
