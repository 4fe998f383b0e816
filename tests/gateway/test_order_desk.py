"""Orders and cancels from an intent to what left the house."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.house import DEPLOYMENT, STOPS_POLICY, TAG_KEY, House, house
from gateway.parts import ACCOUNT, order_intent, rows_of, stop_intent, tracked_stop, value_of
from http_double import HANG, Asked, envelope, reply

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.trust.tag import TaggedOrder, is_valid_tag
from trade_gateway import order_desk, order_flow, upstream
from trade_gateway.conductor import TooManyFlows
from trade_gateway.egress import ORDERS_PER_S
from trade_gateway.ledger import Phase
from trade_gateway.metrics import Metrics
from trade_gateway.order_desk import Cancelled, Placed, RejectedByExchange
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import CancelIntent, Category, Side
from trade_gateway.wire.refusal import Refusal
from trade_journal.log.rows import Row, RowKind
from trade_journal.writer.writer import JournalWriter


def cancel_intent(
    *,
    order_id: str | None = "x1",
    client_link_id: str | None = None,
    category: Category = Category.SPOT,
    symbol: str = "BTCUSDT",
) -> CancelIntent:
    return CancelIntent(
        category=category, symbol=symbol, order_id=order_id, client_link_id=client_link_id, order_filter=None
    )


async def placed(it: House, **options: str) -> Placed:
    answer = await it.desk.create(order_intent(**options))  # type: ignore[arg-type]
    assert isinstance(answer, Placed)
    return answer


def code_of(answer: object) -> DenyCode:
    assert isinstance(answer, Refusal)
    return answer.code


async def test_desk_permitted_order_is_placed_under_a_valid_tag(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        answer = await placed(it, client_link_id="mine")
        assert (answer.order_id, answer.client_link_id) == ("x1", "mine")
        (sent,) = it.sent()
        tagged = TaggedOrder(
            category="spot",
            symbol="BTCUSDT",
            side="Buy",
            quantity=Decimal("0.01"),
            price=Decimal(30000),
            is_reducing=False,
        )
        tag = sent.json()["orderLinkId"]
        assert is_valid_tag(tag, tagged, key=TAG_KEY, deployment=DEPLOYMENT, account=ACCOUNT)
        moved = replace(tagged, category="linear")
        assert not is_valid_tag(tag, moved, key=TAG_KEY, deployment=DEPLOYMENT, account=ACCOUNT)
        assert it.ledger.open_count() == 1


async def test_desk_denied_order_leaves_a_row_and_nothing_else(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock) as it:
        answer = await it.desk.create(order_intent(symbol="ETHUSDT"))
        assert code_of(answer) is DenyCode.SYMBOL_NOT_PERMITTED
        assert it.double.asked == []
        assert it.ledger.open_count() == 0
        (row,) = await rows_of(journal)
        assert row.kind is RowKind.ORDER_DENIED
        assert (row.fields["code"], row.fields["symbol"]) == ("SYMBOL_NOT_PERMITTED", "ETHUSDT")


async def test_desk_symbol_that_the_exchange_refuses_takes_exits_and_nothing_else(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.desk.take_instruments(it.desk.instruments, {(Category.SPOT, "BTCUSDT")})
        assert code_of(await it.desk.create(order_intent())) is DenyCode.SYMBOL_INSTRUMENT_UNKNOWN
        assert isinstance(await it.desk.create(order_intent(side=Side.SELL)), Placed)
        it.desk.take_instruments(it.desk.instruments, frozenset())
        await placed(it)


async def test_desk_order_link_id_is_good_for_one_order(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it, client_link_id="mine")
        answer = await it.desk.create(order_intent(client_link_id="mine"))
        assert code_of(answer) is DenyCode.ORDER_LINK_ID_USED
        assert len(it.sent()) == 1


async def test_desk_orders_at_once_never_exceed_the_open_order_limit(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        answers = await asyncio.gather(*(it.desk.create(order_intent(price=f"3000{step}")) for step in range(9)))
        assert sum(isinstance(answer, Placed) for answer in answers) == 5
        assert len(it.sent()) == 5


async def test_desk_sells_at_once_never_exceed_the_holdings(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        prices = [f"3000{step}" for step in range(4)]
        sells = (it.desk.create(order_intent(side=Side.SELL, quantity="0.4", price=price)) for price in prices)
        answers = await asyncio.gather(*sells)
        assert sum(isinstance(answer, Placed) for answer in answers) == 2


async def test_desk_exit_sent_again_while_its_outcome_is_open_is_denied_and_another_one_passes(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        first = asyncio.create_task(it.desk.create(order_intent(side=Side.SELL, quantity="0.4")))
        await asyncio.sleep(0)
        copy = await it.desk.create(order_intent(side=Side.SELL, quantity="0.4"))
        assert code_of(copy) is DenyCode.ORDER_DUPLICATE
        assert isinstance(await it.desk.create(order_intent(side=Side.SELL, quantity="0.5")), Placed)
        assert isinstance(await first, Placed)
        assert len(it.sent()) == 2


async def test_desk_orders_beyond_the_budget_are_denied(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        for _ in range(ORDERS_PER_S):
            await placed(it)
            for order in it.ledger.open_orders():
                it.ledger.finish(order.tag, status="Cancelled")
        assert code_of(await it.desk.create(order_intent())) is DenyCode.LIMIT_REQUEST_RATE
        assert len(it.sent()) == ORDERS_PER_S


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (TradingState.REDUCE_ONLY, DenyCode.STATE_REDUCE_ONLY),
        (TradingState.HALTED, DenyCode.STATE_HALTED),
        (TradingState.KILLED, DenyCode.STATE_KILLED),
    ],
)
async def test_desk_state_that_forbids_risk_denies(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, state: TradingState, code: DenyCode
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.state[0] = state
        assert code_of(await it.desk.create(order_intent())) is code
        assert it.sent() == []


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (TradingState.REDUCE_ONLY, DenyCode.STATE_REDUCE_ONLY),
        (TradingState.HALTED, DenyCode.STATE_HALTED),
        (TradingState.KILLED, DenyCode.STATE_KILLED),
    ],
)
async def test_desk_state_that_changes_while_the_row_is_written_withholds(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, state: TradingState, code: DenyCode
) -> None:
    async with house(recorder, metrics, clock) as it:
        creating = asyncio.create_task(it.desk.create(order_intent()))
        await asyncio.sleep(0)
        it.state[0] = state
        assert code_of(await creating) is code
        assert it.sent() == []
        assert it.ledger.open_count() == 0


@pytest.mark.parametrize("state", [TradingState.REDUCE_ONLY, TradingState.HALTED])
async def test_desk_exit_passes_in_every_state_but_killed(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, state: TradingState
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.state[0] = state
        assert isinstance(await it.desk.create(order_intent(side=Side.SELL)), Placed)


@pytest.mark.parametrize(("scale", "is_placed"), [("0.5", True), ("0.3", True), ("0.29", False), ("0", False)])
async def test_desk_trimmed_state_counts_with_the_leases_scale(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, scale: str, is_placed: bool
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.state[0] = TradingState.TRIMMED
        it.scale[0] = Decimal(scale)
        assert isinstance(await it.desk.create(order_intent()), Placed) is is_placed


async def test_desk_exit_right_after_a_fill_takes_a_second_look(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.coins = [{"coin": "BTC", "walletBalance": "3"}]
        clock.advance(NS_PER_S)
        assert isinstance(await it.desk.create(order_intent(side=Side.SELL, quantity="2")), Placed)


async def test_desk_exit_beyond_the_holdings_is_denied_after_the_second_look(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        clock.advance(NS_PER_S)
        answer = await it.desk.create(order_intent(side=Side.SELL, quantity="2"))
        assert code_of(answer) is DenyCode.ORDER_SELL_EXCEEDS_HOLDINGS
        assert it.double.paths().count("/v5/account/wallet-balance") == 1


async def test_desk_rejection_is_handed_on_neutralised(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        it.answers["/v5/order/create"] = envelope({}, ret_code=170131, ret_msg="<b>\x1b no")
        answer = await it.desk.create(order_intent())
        assert isinstance(answer, RejectedByExchange)
        assert answer.ret_code == 170131
        assert "<" not in answer.ret_msg
        assert answer.ret_msg.isprintable()
        assert it.ledger.open_count() == 0


async def test_desk_exchange_that_finally_does_not_know_the_order_is_said_and_nothing_counts(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_flow, "NOT_FOUND_IS_FINAL_AFTER_NS", -NS_PER_S)
    async with house(recorder, metrics, clock) as it:
        it.answers["/v5/order/create"] = reply(b"", status=502)
        assert code_of(await it.desk.create(order_intent())) is DenyCode.EXCHANGE_UNREACHABLE
        assert it.ledger.open_count() == 0
        assert value_of(metrics, "trade_gateway_orders_total", result="not_placed") == 1


async def test_desk_unknown_outcome_that_nobody_resolves_is_said_and_blocks(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_flow, "ANSWER_WITHIN_NS", NS_PER_S // 10)
    async with house(recorder, metrics, clock) as it:
        it.answers["/v5/order/create"] = reply(b"", status=502)
        it.answers["/v5/order/realtime"] = reply(b"", status=502)
        assert code_of(await it.desk.create(order_intent())) is DenyCode.EXCHANGE_OUTCOME_UNKNOWN
        assert code_of(await it.desk.create(order_intent())) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
        assert len(it.sent()) == 1
        (order,) = it.ledger.open_orders()
        assert order.is_disowned


async def test_desk_symbol_is_blocked_while_an_unknown_outcome_is_being_asked_for(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_flow, "ANSWER_WITHIN_NS", NS_PER_S // 4)
    monkeypatch.setattr(upstream, "ASK_TIMEOUT_S", 0.2)
    async with house(recorder, metrics, clock) as it:
        it.answers["/v5/order/create"] = reply(b"", status=502)
        it.answers["/v5/order/realtime"] = HANG
        first = asyncio.create_task(it.desk.create(order_intent()))
        async with asyncio.timeout(60):
            while not it.sent("/v5/order/realtime"):  # noqa: ASYNC110 - the exchange sets no event
                await asyncio.sleep(0.005)
        assert code_of(await it.desk.create(order_intent())) is DenyCode.SYMBOL_OUTCOME_UNRESOLVED
        await first


async def test_desk_client_that_leaves_disowns_its_order(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        creating = asyncio.create_task(it.desk.create(order_intent()))
        await asyncio.sleep(0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        await it.conductor.drain(within_s=60)
        (order,) = it.ledger.open_orders()
        assert order.phase is Phase.WORKING
        assert order.is_disowned


async def test_desk_undelivered_answer_hands_the_order_back(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock) as it:
        answer = await placed(it)
        await answer.undo()
        (order,) = it.ledger.open_orders()
        assert order.is_disowned
    assert [row.fields.get("result") for row in await rows_of(journal)] == [None, "acknowledged", "undelivered"]


async def test_desk_too_many_flows_deny_and_count_nothing(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(recorder, metrics, clock) as it:

        async def full(flow: object) -> None:
            raise TooManyFlows

        monkeypatch.setattr(it.conductor, "place", full)
        assert code_of(await it.desk.create(order_intent())) is DenyCode.LIMIT_REQUEST_RATE
        assert it.ledger.open_count() == 0


# Cancels


async def test_desk_cancel_goes_upstream_by_the_exchanges_id(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it, client_link_id="mine")
        assert await it.desk.cancel(cancel_intent()) == Cancelled(order_id="x1", client_link_id="mine")
        (sent,) = it.sent("/v5/order/cancel")
        assert sent.json() == {"category": "spot", "symbol": "BTCUSDT", "orderId": "x1"}


async def test_desk_cancel_by_the_bots_own_name_is_translated(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it, client_link_id="mine")
        answer = await it.desk.cancel(cancel_intent(order_id=None, client_link_id="mine"))
        assert isinstance(answer, Cancelled)
        assert it.sent("/v5/order/cancel")[0].json()["orderId"] == "x1"


@pytest.mark.parametrize("state", list(TradingState))
async def test_desk_cancel_passes_in_every_state(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, state: TradingState
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        it.state[0] = state
        assert isinstance(await it.desk.cancel(cancel_intent()), Cancelled)


@pytest.mark.parametrize(
    ("intent", "ret_code"),
    [
        (cancel_intent(order_id="unknown"), 170213),
        (cancel_intent(order_id=None, client_link_id="unknown"), 170213),
        (cancel_intent(symbol="ETHUSDT"), 170213),
        (cancel_intent(category=Category.LINEAR), 110001),
    ],
)
async def test_desk_cancel_of_what_is_not_a_working_order_of_ours_is_answered_here(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, intent: CancelIntent, ret_code: int
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        answer = await it.desk.cancel(intent)
        assert isinstance(answer, RejectedByExchange)
        assert answer.ret_code == ret_code
        assert it.sent("/v5/order/cancel") == []


async def test_desk_cancel_of_a_finished_order_is_answered_here(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        for order in it.ledger.open_orders():
            it.ledger.finish(order.tag, status="Filled")
        assert isinstance(await it.desk.cancel(cancel_intent()), RejectedByExchange)
        assert it.sent("/v5/order/cancel") == []


async def test_desk_cancels_of_one_order_share_one_request_and_each_leaves_a_row(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        answers = await asyncio.gather(*(it.desk.cancel(cancel_intent()) for _ in range(5)))
        assert all(isinstance(answer, Cancelled) for answer in answers)
        for _ in range(5):
            assert isinstance(await it.desk.cancel(cancel_intent()), Cancelled)
        assert len(it.sent("/v5/order/cancel")) == 1
    kinds = [row.kind for row in await rows_of(journal)]
    assert kinds.count(RowKind.CANCEL_INTENT) == 1
    assert kinds.count(RowKind.CANCEL_ANSWERED) == 9


async def test_desk_cancel_is_sent_again_once_the_answer_is_old(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "_CANCEL_ANSWER_LASTS_S", 0)
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        await it.desk.cancel(cancel_intent())
        async with asyncio.timeout(60):
            while len(it.sent("/v5/order/cancel")) < 2:
                await it.desk.cancel(cancel_intent())
                await asyncio.sleep(0.005)


async def test_desk_first_client_that_leaves_does_not_stop_a_shared_cancel(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        first = asyncio.create_task(it.desk.cancel(cancel_intent()))
        second = asyncio.create_task(it.desk.cancel(cancel_intent()))
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, Cancelled)
        assert len(it.sent("/v5/order/cancel")) == 1


@pytest.mark.parametrize("ret_code", [110001, 170213, 10006])
async def test_desk_cancel_rejected_is_handed_on(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, ret_code: int
) -> None:
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        it.answers["/v5/order/cancel"] = envelope({}, ret_code=ret_code, ret_msg="m")
        assert await it.desk.cancel(cancel_intent()) == RejectedByExchange(ret_code=ret_code, ret_msg="m")


async def test_desk_cancel_that_nobody_answers_is_said(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_flow, "_CANCEL_WITHIN_NS", 0)
    async with house(recorder, metrics, clock) as it:
        await placed(it)
        it.answers["/v5/order/cancel"] = reply(b"", status=502)
        assert code_of(await it.desk.cancel(cancel_intent())) is DenyCode.EXCHANGE_UNREACHABLE
        assert it.ledger.open_count() == 1


# Protective stops


async def test_desk_stop_is_placed_with_a_bounded_limit_under_a_tag_that_fits_what_is_shown(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        answer = await it.desk.create(stop_intent(quantity="0.5", limit_price=None, client_link_id="mine"))
        assert isinstance(answer, Placed)
        assert (answer.order_id, answer.client_link_id) == ("x1", "mine")
        body = it.sent()[0].json()
        assert (body["orderType"], body["price"], body["reduceOnly"]) == ("Limit", "28710", True)
        tagged = TaggedOrder(
            category="linear",
            symbol="BTCUSDT",
            side="Sell",
            quantity=Decimal("0.5"),
            price=Decimal(28710),
            is_reducing=True,
        )
        assert is_valid_tag(body["orderLinkId"], tagged, key=TAG_KEY, deployment=DEPLOYMENT, account=ACCOUNT)
        (order,) = it.ledger.stops()
        assert (order.adds_risk, order.is_gateways, order.reference_price) == (False, False, Decimal(29000))
        assert it.ledger.open_count() == 0


async def test_desk_stop_uses_up_no_order_and_orders_no_stop(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        stops = [await it.desk.create(stop_intent(trigger_price=f"{29000 - n}", limit_price=None)) for n in range(6)]
        assert [isinstance(answer, Placed) for answer in stops] == [True] * 5 + [False]
        assert code_of(stops[5]) is DenyCode.LIMIT_STOPS
        orders = [await it.desk.create(order_intent(price=f"3000{n}")) for n in range(6)]
        assert [isinstance(answer, Placed) for answer in orders] == [True] * 5 + [False]


@pytest.mark.parametrize("state", [TradingState.REDUCE_ONLY, TradingState.HALTED])
async def test_desk_stop_passes_while_no_risk_may_be_added_and_can_be_cancelled(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, state: TradingState
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        it.state[0] = state
        assert isinstance(await it.desk.create(stop_intent()), Placed)
        for kept in (state, TradingState.KILLED):
            it.state[0] = kept
            answer = await it.desk.cancel(cancel_intent(category=Category.LINEAR))
            assert isinstance(answer, Cancelled)


async def test_desk_stop_is_denied_when_killed(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        it.state[0] = TradingState.KILLED
        assert code_of(await it.desk.create(stop_intent())) is DenyCode.STATE_KILLED
        assert it.sent() == []


async def test_desk_stop_whose_answer_is_lost_is_found_and_told(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        it.answers["/v5/order/create"] = reply(b"", status=504)

        def shown(asked: Asked) -> bytes | None:
            if asked.path != "/v5/order/realtime":
                return it.answer(asked)
            (order,) = it.ledger.stops()
            row = {"orderId": "x9", "orderLinkId": order.tag, "orderStatus": "Untriggered", "cumExecQty": "0"}
            return envelope({"list": [row]})

        it.double.answer = shown
        answer = await it.desk.create(stop_intent())
        assert isinstance(answer, Placed)
        assert answer.order_id == "x9"
        assert len(it.sent()) == 1


async def test_desk_disaster_stop_cannot_be_cancelled_by_the_bot(
    recorder: Recorder, metrics: Metrics, clock: ManualClock
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.ledger.reserve(tracked_stop("T1own", is_gateways=True))
        it.ledger.acknowledge("T1own", "x77")
        answer = await it.desk.cancel(cancel_intent(order_id="x77", category=Category.LINEAR))
        assert isinstance(answer, RejectedByExchange)
        assert answer.ret_code == 110001
        assert it.sent("/v5/order/cancel") == []


def incidents_in(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.kind is RowKind.INCIDENT_OPENED]


async def test_desk_denied_stop_on_an_open_position_is_an_incident_once_a_minute(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        too_large = stop_intent(quantity="3")
        await it.desk.create(too_large)
        assert incidents_in(await rows_of(journal)) == []  # no position is unprotected
        it.hold("0.5")
        for _ in range(3):
            assert code_of(await it.desk.create(too_large)) is DenyCode.ORDER_REDUCES_TOO_MUCH
        (incident,) = incidents_in(await rows_of(journal))
        assert incident.fields == {
            "type": "protective stop not placed",
            "severity": "critical",
            "symbol": "BTCUSDT",
            "reason": "ORDER_REDUCES_TOO_MUCH",
        }


async def test_desk_stop_that_the_exchange_rejects_is_an_incident_with_its_code(
    recorder: Recorder, metrics: Metrics, clock: ManualClock, journal: JournalWriter
) -> None:
    async with house(recorder, metrics, clock, STOPS_POLICY) as it:
        it.hold("0.5")
        it.answers["/v5/order/create"] = envelope({}, ret_code=110093, ret_msg="expect Falling")
        assert isinstance(await it.desk.create(stop_intent()), RejectedByExchange)
        (incident,) = incidents_in(await rows_of(journal))
        assert incident.fields["reason"] == "EXCHANGE_REJECTED_110093"
