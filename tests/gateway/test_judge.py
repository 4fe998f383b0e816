"""Each request of the bot: which check answers first, and that it is one row or one count."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from gateway.house import POLICY, STOPS_POLICY, House, house
from gateway.parts import rows_of, value_of
from http_double import envelope, reply

from trade_core.clock import ManualClock
from trade_gateway import egress
from trade_gateway.egress import READS_PER_S
from trade_gateway.metrics import Metrics
from trade_gateway.policy.model import Policy
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import ANSWER_ROWS_PER_S, Recorder
from trade_journal.log.rows import REQUEST_KINDS, RowKind
from trade_journal.writer.writer import JournalWriter

DUPLICATE = ((b"host", b"a"), (b"host", b"b"))


async def recorded(it: House, journal: JournalWriter) -> tuple[int, int]:
    """Count the requests in rows of their own and in counted rows."""
    it.recorder.flush_counts()
    rows = await rows_of(journal)
    counted = sum(cast("int", row.fields["count"]) for row in rows if row.kind is RowKind.REQUEST_COUNTED)
    return sum(row.kind in REQUEST_KINDS for row in rows), counted


@pytest.fixture
def parts(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> Any:
    """What a house is built of."""
    return recorder, metrics, clock


async def test_judge_order_is_answered_in_the_exchanges_envelope(parts: Any) -> None:
    async with house(*parts) as it:
        answer = await it.create(orderLinkId="mine")
        assert (answer["retCode"], answer["retMsg"]) == (0, "OK")
        assert answer["result"] == {"orderId": "x1", "orderLinkId": "mine"}
        assert len(it.sent()) == 1


DENIED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "unknown path before authentication": (("POST", "/v5/asset/withdraw/create", {}), {"secret": "no"}, "PATH_UNKNOWN"),
    "unknown path before framing": (("POST", "/v5/x?y", {}), {"headers": DUPLICATE}, "PATH_UNKNOWN"),
    "wrong method": (("GET", "/v5/order/create"), {}, "PATH_METHOD_NOT_ALLOWED"),
    "framing before authentication": (
        ("POST", "/v5/order/create", {}),
        {"headers": DUPLICATE, "secret": "no"},
        "REQUEST_HEADER_DUPLICATE",
    ),
    "framing of a public read": (("GET", "/v5/market/time"), {"headers": DUPLICATE}, "REQUEST_HEADER_DUPLICATE"),
    "host of a public read": (("GET", "/v5/market/time"), {"headers": ((b"host", b"evil.example"),)}, "REQUEST_HOST"),
    "host before parsing": (
        ("POST", "/v5/order/create", b"nonsense"),
        {"headers": ((b"host", b"evil.example:22000"),)},
        "REQUEST_HOST",
    ),
    "authentication before host": (
        ("POST", "/v5/order/create", b"nonsense"),
        {"headers": ((b"host", b"evil.example"),), "secret": "no"},
        "AUTH_SIGNATURE_WRONG",
    ),
    "authentication before parsing": (
        ("POST", "/v5/order/create", b"nonsense"),
        {"secret": "no"},
        "AUTH_SIGNATURE_WRONG",
    ),
    "no authentication": (("GET", "/v5/order/realtime?category=spot"), {"is_signed": False}, "AUTH_HEADER_MISSING"),
    "parsing of an order": (("POST", "/v5/order/create", b"nonsense"), {}, "BODY_NOT_FLAT_JSON"),
    "parsing of a cancel": (("POST", "/v5/order/cancel", b"nonsense"), {}, "BODY_NOT_FLAT_JSON"),
    "parsing of a pin": (("POST", "/v5/position/set-leverage", b"nonsense"), {}, "BODY_NOT_FLAT_JSON"),
    "parsing of a read": (("GET", "/v5/order/realtime?x=y"), {}, "QUERY_KEY_UNKNOWN"),
    "parsing of a public read": (("GET", "/v5/market/tickers?x=y"), {}, "QUERY_KEY_UNKNOWN"),
    "parsing of a local read": (("GET", "/v5/user/query-api?x=y"), {}, "QUERY_KEY_UNKNOWN"),
}


@pytest.mark.parametrize("case", DENIED)
async def test_judge_first_failing_check_answers_and_nothing_goes_upstream(
    parts: Any, journal: JournalWriter, metrics: Metrics, case: str
) -> None:
    (asked, options, code) = DENIED[case]
    async with house(*parts) as it:
        answer = await it.ask(*asked, **options)
        assert answer["retCode"] != 0
        assert answer["retMsg"].startswith(code)
        assert it.double.asked == []
        assert sum(await recorded(it, journal)) == 1
        assert value_of(metrics, "trade_gateway_denials_total", code=code) == 1
        assert value_of(metrics, "trade_gateway_requests_total", outcome="denied") == 1


async def test_judge_unauthenticated_request_is_counted_and_never_a_row(parts: Any, journal: JournalWriter) -> None:
    async with house(*parts) as it:
        for _ in range(3):
            await it.ask("POST", "/v5/order/create", {}, secret="no")
        assert await recorded(it, journal) == (0, 3)


async def test_judge_missing_headers_are_answered_401(parts: Any) -> None:
    async with house(*parts) as it:
        request = it.request("GET", "/v5/order/realtime?category=spot", is_signed=False)
        assert (await it.judge.answer(request)).status == 401


async def test_judge_replayed_write_is_refused(parts: Any) -> None:
    async with house(*parts) as it:
        request = it.request("POST", "/v5/order/cancel", {"category": "spot", "symbol": "BTCUSDT", "orderId": "x9"})
        await it.judge.answer(request)
        again = json.loads((await it.judge.answer(request)).body)
        assert again["retMsg"].startswith("AUTH_SIGNATURE_SPENT")


async def test_judge_order_denied_by_the_policy_names_its_code(parts: Any, journal: JournalWriter) -> None:
    async with house(*parts) as it:
        answer = await it.create(qty="9")
        assert answer["retMsg"].startswith("ORDER_NOTIONAL_ABOVE_MAXIMUM")
        assert await recorded(it, journal) == (1, 0)
        assert it.sent() == []


async def test_judge_order_rejected_by_the_exchange_keeps_its_code(parts: Any) -> None:
    async with house(*parts) as it:
        it.answers["/v5/order/create"] = envelope({}, ret_code=170131, ret_msg="Insufficient balance.")
        answer = await it.create()
        assert (answer["retCode"], answer["retMsg"]) == (170131, "Insufficient balance.")


async def test_judge_order_whose_answer_cannot_be_delivered_is_handed_back(parts: Any) -> None:
    async with house(*parts) as it:
        body = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
        answer = await it.judge.answer(
            it.request("POST", "/v5/order/create", {**body, "qty": "0.01", "price": "30000", "timeInForce": "PostOnly"})
        )
        await answer.on_undelivered()
        assert [order.is_disowned for order in it.ledger.open_orders()] == [True]


async def test_judge_cancel_is_answered_with_the_bots_names(parts: Any) -> None:
    async with house(*parts) as it:
        await it.create(orderLinkId="mine")
        answer = await it.cancel(orderLinkId="mine")
        assert (answer["retCode"], answer["result"]) == (0, {"orderId": "x1", "orderLinkId": "mine"})


async def test_judge_cancel_passes_while_killed(parts: Any) -> None:
    async with house(*parts) as it:
        await it.create()
        it.state[0] = TradingState.KILLED
        assert (await it.cancel(orderId="x1"))["retCode"] == 0


async def test_judge_cancel_of_an_unknown_order_is_not_found(parts: Any, journal: JournalWriter) -> None:
    async with house(*parts) as it:
        assert (await it.cancel(orderId="x1"))["retCode"] == 170213
        assert await recorded(it, journal) == (1, 0)
        assert it.double.asked == []


async def test_judge_cancel_that_fails_says_so(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_gateway.order_flow._CANCEL_WITHIN_NS", 0)
    async with house(*parts) as it:
        await it.create()
        it.answers["/v5/order/cancel"] = reply(b"", status=502)
        assert (await it.cancel(orderId="x1"))["retMsg"].startswith("EXCHANGE_UNREACHABLE")


@pytest.mark.parametrize("target", ["/v5/market/time", "/v5/order/realtime?category=spot"])
async def test_judge_read_is_forwarded_and_is_one_row(parts: Any, journal: JournalWriter, target: str) -> None:
    async with house(*parts) as it:
        assert (await it.ask("GET", target))["retCode"] == 0
        assert it.double.paths() == [target.partition("?")[0]]
        assert await recorded(it, journal) == (1, 0)


async def test_judge_public_read_needs_no_signature(parts: Any) -> None:
    async with house(*parts) as it:
        assert (await it.ask("GET", "/v5/market/time", is_signed=False))["retCode"] == 0


@pytest.mark.parametrize("target", ["/v5/user/query-api", "/v5/account/info", "/v5/asset/coin/query-info"])
async def test_judge_local_read_is_answered_here(parts: Any, journal: JournalWriter, target: str) -> None:
    async with house(*parts) as it:
        assert (await it.ask("GET", target))["retCode"] == 0
        assert it.double.asked == []
        assert await recorded(it, journal) == (1, 0)


async def test_judge_read_that_fails_is_one_record_and_measured(
    parts: Any, journal: JournalWriter, metrics: Metrics
) -> None:
    async with house(*parts) as it:
        it.answers["/v5/position/list"] = reply(b"", status=500)
        answer = await it.ask("GET", "/v5/position/list?category=linear")
        assert answer["retMsg"].startswith("EXCHANGE_UNREACHABLE")
        assert await recorded(it, journal) == (1, 0)
        assert value_of(metrics, "trade_gateway_denials_total", code="EXCHANGE_UNREACHABLE") == 1


async def test_judge_flood_of_public_reads_beyond_the_budget_is_counted(
    parts: Any, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "READ_PATIENCE_S", 0)
    async with house(*parts) as it:
        it.clock = ManualClock()  # so that the budget's own clock stands still
        answers = [await it.ask("GET", "/v5/market/time", is_signed=False) for _ in range(READS_PER_S + 30)]
        assert answers[-1]["retMsg"].startswith("LIMIT_REQUEST_RATE")
        assert await recorded(it, journal) == (ANSWER_ROWS_PER_S, READS_PER_S + 30 - ANSWER_ROWS_PER_S)


PINS = [
    ("/v5/position/set-leverage", {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "2", "sellLeverage": "2"}),
    ("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0}),
    ("/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}),
]


@pytest.mark.parametrize(("path", "body"), PINS)
async def test_judge_pinned_setting_is_answered_here(parts: Any, journal: JournalWriter, path: str, body: Any) -> None:
    async with house(*parts) as it:
        assert (await it.ask("POST", path, body))["retCode"] in {0, 110043}
        assert it.double.asked == []
        assert await recorded(it, journal) == (1, 0)


async def test_judge_other_leverage_blocks_the_symbol_until_the_pinned_one_is_asked_for(parts: Any) -> None:
    path, body = PINS[0]
    async with house(*parts) as it:
        answer = await it.ask("POST", path, {**body, "buyLeverage": "10", "sellLeverage": "10"})
        assert answer["retMsg"].startswith("PIN_LEVERAGE_DIFFERS")
        denied = await it.create(category="linear")
        assert denied["retMsg"].startswith("SYMBOL_LEVERAGE_UNPINNED")
        await it.ask("POST", path, body)
        assert (await it.create(category="linear"))["retCode"] == 0


async def test_judge_leverage_of_an_unlisted_symbol_is_not_remembered(parts: Any) -> None:
    path, body = PINS[0]
    async with house(*parts) as it:
        for n in range(5):
            await it.ask("POST", path, {**body, "symbol": f"C{n}USDT"})
        assert it.desk.leverage_unpinned == set()


async def test_judge_fault_of_ours_is_a_refusal_and_recorded(
    parts: Any, journal: JournalWriter, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(*parts) as it:

        async def broken(intent: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(it.desk, "create", broken)
        answer = await it.create()
        assert answer["retMsg"].startswith("GATEWAY_FAULT")
        assert await recorded(it, journal) == (0, 1)
        assert (await it.ask("GET", "/v5/account/info"))["retCode"] == 0


@pytest.mark.parametrize("code", ["BODY_TOO_SLOW", "CLIENT_GONE", "REQUEST_BODY_TOO_LARGE"])
async def test_judge_request_that_was_not_read_is_counted_and_ends_the_connection(
    parts: Any, journal: JournalWriter, code: str
) -> None:
    async with house(*parts) as it:
        answer = it.judge.refuse_unread(code)
        assert answer.closes
        assert json.loads(answer.body)["retMsg"].startswith(code)
        assert await recorded(it, journal) == (0, 1)


async def test_judge_every_request_is_one_row_or_one_count(parts: Any, journal: JournalWriter) -> None:
    async with house(*parts) as it:
        for asked, options, _ in DENIED.values():
            await it.ask(*asked, **options)
        await it.create()
        await it.create(qty="9")
        await it.cancel(orderId="x1")
        await it.cancel(orderId="x1")
        await it.cancel(orderId="x7")
        for path, body in PINS:
            await it.ask("POST", path, body)
        await it.ask("GET", "/v5/market/time")
        await it.ask("GET", "/v5/account/info")
        it.judge.count_refusal("REQUEST_UNPARSABLE")
        assert sum(await recorded(it, journal)) == len(DENIED) + 2 + 3 + 3 + 2 + 1


@pytest.mark.parametrize(
    ("asked", "options", "is_authenticated"),
    [
        (("POST", "/v5/order/create", b"nonsense"), {}, True),
        (("POST", "/v5/order/create", {}), {"headers": DUPLICATE}, True),
        (("GET", "/v5/account/info"), {}, True),
        (("POST", "/v5/nowhere", {}), {}, True),
        (("POST", "/v5/nowhere", {}), {"secret": "no"}, False),
        (("POST", "/v5/order/create", {}), {"secret": "no"}, False),
        (("GET", "/v5/account/info"), {"is_signed": False}, False),
        (("GET", "/v5/market/time"), {"is_signed": False}, False),
    ],
)
async def test_judge_says_who_has_authenticated(
    parts: Any, asked: tuple[Any, ...], options: dict[str, Any], is_authenticated: bool
) -> None:
    async with house(*parts) as it:
        answer = await it.judge.answer(it.request(*asked, **options))
        assert answer.is_authenticated is is_authenticated


STOP = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Sell",
    "orderType": "Market",
    "qty": "0.5",
    "triggerPrice": "29000",
    "triggerDirection": 2,
    "triggerBy": "MarkPrice",
    "reduceOnly": True,
}


async def test_judge_stop_is_answered_like_an_order_when_the_policy_permits_it(parts: Any) -> None:
    async with house(*parts, STOPS_POLICY) as it:
        it.hold("0.5")
        answer = await it.ask("POST", "/v5/order/create", STOP)
        assert (answer["retCode"], answer["result"]["orderId"]) == (0, "x1")


@pytest.mark.parametrize(
    ("policy", "change", "code"),
    [
        (POLICY, {}, "ORDER_STOP_NOT_PERMITTED"),
        (POLICY, {"triggerBy": "LastPrice"}, "ORDER_STOP_NOT_PERMITTED"),
        (STOPS_POLICY, {"triggerBy": "LastPrice"}, "BODY_VALUE_INVALID"),
        (STOPS_POLICY, {"triggerDirection": 1}, "ORDER_STOP_DIRECTION"),
        (STOPS_POLICY, {"qty": "9"}, "ORDER_REDUCES_TOO_MUCH"),
        (STOPS_POLICY, {"triggerPrice": "30000"}, "ORDER_STOP_TRIGGERS_AT_ONCE"),
        (STOPS_POLICY, {"orderType": "Limit", "price": "20000"}, "PRICE_OUTSIDE_COLLAR"),
        (STOPS_POLICY, {"closeOnTrigger": True}, "ORDER_FIELD_FORBIDDEN"),
    ],
)
async def test_judge_stop_that_is_denied_on_a_position_is_one_row_and_an_incident(
    parts: Any, journal: JournalWriter, policy: Policy, change: dict[str, Any], code: str
) -> None:
    async with house(*parts, policy) as it:
        it.hold("0.5")
        for _ in range(2):
            answer = await it.ask("POST", "/v5/order/create", {**STOP, **change})
            assert answer["retMsg"].startswith(code)
        assert it.sent() == []
        rows = await rows_of(journal)
        assert [row.fields["code"] for row in rows if row.kind is RowKind.ORDER_DENIED] == [code, code]
        assert [row.fields["reason"] for row in rows if row.kind is RowKind.INCIDENT_OPENED] == [code]


async def test_judge_order_that_is_denied_on_a_position_is_no_incident(parts: Any, journal: JournalWriter) -> None:
    async with house(*parts, STOPS_POLICY) as it:
        it.hold("0.5")
        await it.create(orderType="Market")
        assert not [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]


async def test_judge_flood_that_costs_only_a_signature_is_counted_above_twenty_rows_a_second(
    parts: Any, journal: JournalWriter
) -> None:
    async with house(*parts) as it:
        for number in range(50):
            await it.cancel(orderId=f"unknown{number}")
            await it.ask("GET", "/v5/account/info")
            await it.ask("GET", "/v5/order/realtime?category=spot&orderLinkId=unknown")
            await it.ask("POST", *PINS[0])
        rows, counted = await recorded(it, journal)
        assert rows + counted == 200
        assert rows <= 2 * ANSWER_ROWS_PER_S  # requests of one second, or of two
