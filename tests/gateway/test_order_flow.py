"""Dialogues with the flows: a command comes out, its result goes in, nothing is sent and no time passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from gateway.parts import order_intent, tracked, tracked_stop

from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_gateway.account.tally import tally
from trade_gateway.commands import (
    Acknowledged,
    AppendBeside,
    AppendDurable,
    AppendLater,
    AskOrder,
    CannotAsk,
    Command,
    Flow,
    Found,
    NotFound,
    NotSent,
    Rejected,
    SendCancel,
    SendOrder,
    Unknown,
    Wait,
)
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import (
    ANSWER_WITHIN_NS,
    GONE_CODES,
    NOT_FOUND_IS_FINAL_AFTER_NS,
    TERMINAL_STATUSES,
    Cancellation,
    CancelResult,
    Placement,
    PlaceResult,
    cancel_order,
    disown_order,
    intent_fields,
    place_order,
    report_unknown_fill,
    resolve_order,
    withdraw_order,
)
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import RowKind

T0 = 1000 * NS_PER_S
LOST = Unknown(reason="lost", signed_at_ns=T0)


class Dialogue:
    """One flow, driven by hand; `said` is what it asks for now, `result` what it came to."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self.log: list[Command] = []
        self.result: Any = None
        self.is_over = False
        self.said: Command | None = None
        self.hear(None)

    def hear(self, given: Any) -> Dialogue:
        try:
            self.said = self._flow.send(given)
            self.log.append(self.said)
        except StopIteration as ended:
            self.said, self.result, self.is_over = None, ended.value, True
        return self

    def close(self) -> None:
        self._flow.close()

    def sends(self) -> int:
        return sum(isinstance(command, SendOrder | SendCancel) for command in self.log)

    def rows(self, kind: RowKind) -> list[Any]:
        return [c.fields for c in self.log if isinstance(c, AppendDurable | AppendLater) and c.kind is kind]


def reserved(**options: Any) -> tuple[TrackedOrder, OrderLedger]:
    order = tracked(**options)
    ledger = OrderLedger()
    ledger.reserve(order)
    return order, ledger


def working(order_id: str = "x1", **options: Any) -> tuple[TrackedOrder, OrderLedger]:
    order, ledger = reserved(**options)
    order.is_in_flow = False
    ledger.acknowledge(order.tag, order_id)
    return order, ledger


def placing(order: TrackedOrder, ledger: OrderLedger) -> Dialogue:
    return Dialogue(place_order(order, ledger=ledger, arrived_at_ns=T0))


def unknown(order: TrackedOrder, ledger: OrderLedger) -> Dialogue:
    """A placement whose answer was lost, up to the first question."""
    talk = placing(order, ledger).hear(True).hear(LOST).hear(None)
    assert talk.said == Wait(until_ns=0)
    return talk


def found(status: str = "New", filled: str = "0", order_id: str = "x1") -> Found:
    return Found(order_id=order_id, status=status, filled=filled, asked_at_ns=T0 + 1)


# Placing


def test_place_order_writes_its_row_before_anything_is_sent() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger)
    assert talk.said == AppendDurable(kind=RowKind.ORDER_INTENT, fields=intent_fields(order))
    assert isinstance(talk.hear(True).said, SendOrder)


def test_place_order_without_a_durable_row_sends_nothing_and_counts_no_more() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(False)
    assert talk.result == Placement(result=PlaceResult.JOURNAL_UNAVAILABLE)
    assert talk.sends() == 0
    assert ledger.open_count() == 0


@pytest.mark.parametrize("adds_risk", [True, False])
def test_place_order_sends_what_was_checked_under_our_tag(adds_risk: bool) -> None:
    intent = order_intent(
        category=Category.LINEAR,
        side=Side.SELL,
        quantity="0.50",
        price="1E+2",
        reduce_only=not adds_risk,
        client_link_id="bots-own",
    )
    order, ledger = reserved(intent=intent, adds_risk=adds_risk)
    sent = placing(order, ledger).hear(True).said
    assert isinstance(sent, SendOrder)
    assert sent.adds_risk is adds_risk
    body = json.loads(sent.body)
    assert body.pop("reduceOnly", False) is not adds_risk
    assert body == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Sell",
        "orderType": "Limit",
        "qty": "0.5",
        "price": "100",
        "timeInForce": "PostOnly",
        "orderLinkId": "T1tag",
        "positionIdx": 0,
    }


def test_place_order_acknowledged_is_placed_and_works() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True).hear(Acknowledged(order_id="x1", signed_at_ns=T0))
    assert talk.rows(RowKind.ORDER_OUTCOME) == [
        {"tag": "T1tag", "result": "acknowledged", "order_id": "x1", "is_disowned": False}
    ]
    assert talk.hear(None).result == Placement(result=PlaceResult.PLACED, order_id="x1")
    assert order.phase is Phase.WORKING
    assert not order.is_in_flow
    assert not order.is_disowned
    assert ledger.open_count() == 1


def test_place_order_acknowledged_after_its_client_left_says_so_in_the_row() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True)
    order.is_disowned = True
    talk.hear(Acknowledged(order_id="x1", signed_at_ns=T0))
    assert talk.rows(RowKind.ORDER_OUTCOME)[0]["is_disowned"] is True


def test_place_order_rejected_ends_with_the_exchanges_words() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True).hear(Rejected(ret_code=170131, ret_msg="Insufficient balance."))
    assert talk.rows(RowKind.ORDER_OUTCOME) == [{"tag": "T1tag", "result": "rejected", "ret_code": 170131}]
    expected = Placement(result=PlaceResult.REJECTED, ret_code=170131, ret_msg="Insufficient balance.")
    assert talk.hear(None).result == expected
    assert ledger.open_count() == 0


@pytest.mark.parametrize(
    ("is_withheld", "row", "result"),
    [(True, "withheld", PlaceResult.WITHHELD), (False, "not_sent", PlaceResult.EXCHANGE_UNAVAILABLE)],
)
def test_place_order_not_sent_ends_and_counts_no_more(is_withheld: bool, row: str, result: PlaceResult) -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True).hear(NotSent(reason="why", is_withheld=is_withheld))
    assert talk.rows(RowKind.ORDER_OUTCOME) == [{"tag": "T1tag", "result": row, "reason": "why"}]
    assert talk.hear(None).result == Placement(result=result)
    assert ledger.open_count() == 0


@pytest.mark.parametrize("heard", [[], [True], [True, LOST], [True, LOST, None], [True, LOST, None, T0]])
def test_place_order_broken_off_leaves_its_order_to_the_resolver(heard: list[Any]) -> None:
    order, ledger = reserved()
    talk = placing(order, ledger)
    for given in heard:
        talk.hear(given)
    talk.close()
    assert order in ledger.unresolved()
    assert order.is_disowned


# An unknown outcome


def test_unknown_outcome_is_asked_for_and_never_sent_again() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0)
    for step in range(200):
        if talk.is_over:
            break
        talk.hear(T0 + step * 100 * NS_PER_MS if isinstance(talk.said, Wait) else CannotAsk(reason="down"))
    assert talk.is_over
    assert talk.sends() == 1


def test_unknown_outcome_blocks_its_symbol_while_its_own_request_asks() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger)  # a dialogue that nobody holds is broken off, and then the resolver's
    assert order.is_in_flow
    assert tally(ledger.claims()).unresolved == {(Category.SPOT, "BTCUSDT")}
    assert ledger.open_count() == 1
    assert not talk.is_over


def test_unknown_outcome_is_written_before_it_is_asked_for() -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True).hear(LOST)
    assert talk.said == AppendLater(
        kind=RowKind.ORDER_OUTCOME, fields={"tag": "T1tag", "result": "unknown", "reason": "lost"}
    )


def test_unknown_outcome_question_names_the_tag_and_the_bots_deadline() -> None:
    order, ledger = reserved()
    assert unknown(order, ledger).hear(T0).said == AskOrder(
        category=Category.SPOT, symbol="BTCUSDT", tag="T1tag", deadline_ns=T0 + ANSWER_WITHIN_NS
    )


def test_unknown_outcome_found_is_placed() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(found())
    assert talk.rows(RowKind.ORDER_RESOLVED)[0]["result"] == "found"
    assert talk.hear(None).result == Placement(result=PlaceResult.PLACED, order_id="x1")
    assert order.phase is Phase.WORKING
    assert tally(ledger.claims()).unresolved == frozenset()


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_unknown_outcome_found_ended_is_placed_and_counts_no_more(status: str) -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(found(status)).hear(None)
    assert talk.result == Placement(result=PlaceResult.PLACED, order_id="x1")
    assert ledger.open_count() == 0
    assert ledger.find(order_id="x1", client_link_id=None) is order


def test_unknown_outcome_found_filled_is_no_incident_for_a_bot_that_is_told() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(found("Filled", "0.01")).hear(None)
    assert talk.rows(RowKind.INCIDENT_OPENED) == []


@pytest.mark.parametrize(
    ("asked_at_ns", "is_final"),
    [
        (T0, False),
        (T0 + 2 * NS_PER_S, False),
        (T0 + NOT_FOUND_IS_FINAL_AFTER_NS - 1, False),
        (T0 + NOT_FOUND_IS_FINAL_AFTER_NS, False),
        (T0 + NOT_FOUND_IS_FINAL_AFTER_NS + 1, True),
    ],
)
def test_unknown_outcome_not_found_is_believed_only_past_the_receive_window_and_a_second(
    asked_at_ns: int, is_final: bool
) -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(NotFound(asked_at_ns=asked_at_ns))
    if is_final:
        assert talk.hear(None).result == Placement(result=PlaceResult.NOT_PLACED)
        assert ledger.open_count() == 0
    else:
        assert isinstance(talk.said, Wait)
        assert ledger.open_count() == 1


def test_not_found_is_final_three_seconds_after_signing() -> None:
    assert NOT_FOUND_IS_FINAL_AFTER_NS == 3 * NS_PER_S


def test_unknown_outcome_counts_the_window_from_signing_and_not_from_arrival() -> None:
    order, ledger = reserved()
    late = Unknown(reason="lost", signed_at_ns=T0 + 2 * NS_PER_S)
    talk = placing(order, ledger).hear(True).hear(late).hear(None).hear(T0)
    talk.hear(NotFound(asked_at_ns=T0 + NOT_FOUND_IS_FINAL_AFTER_NS + 1))
    assert isinstance(talk.said, Wait)


@pytest.mark.parametrize("answer", [CannotAsk(reason="down"), NotFound(asked_at_ns=T0)])
def test_unknown_outcome_is_asked_for_again_half_a_second_later(answer: object) -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(answer)
    assert talk.said == Wait(until_ns=T0 + 500 * NS_PER_MS)
    assert isinstance(talk.hear(T0 + 500 * NS_PER_MS).said, AskOrder)


def test_unknown_outcome_never_answered_is_disowned_in_time() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0).hear(CannotAsk(reason="down")).hear(T0 + ANSWER_WITHIN_NS)
    assert talk.rows(RowKind.ORDER_RESOLVED) == [{"tag": "T1tag", "result": "still_unknown"}]
    assert talk.hear(None).result == Placement(result=PlaceResult.UNRESOLVED)
    assert order.is_disowned
    assert order in ledger.unresolved()
    assert ledger.open_count() == 1


def test_unknown_outcome_waits_no_longer_than_the_bots_deadline() -> None:
    order, ledger = reserved()
    late_ns = T0 + ANSWER_WITHIN_NS - 1
    assert unknown(order, ledger).hear(late_ns).hear(CannotAsk(reason="down")).said == Wait(
        until_ns=T0 + ANSWER_WITHIN_NS
    )


@pytest.mark.parametrize("answer", [CannotAsk(reason="down"), NotFound(asked_at_ns=T0 + 60 * NS_PER_S)])
def test_unknown_outcome_that_the_stream_shows_while_it_is_asked_for_is_placed(answer: object) -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0)
    ledger.acknowledge(order.tag, "x1")
    ledger.observe(order.tag, status="PartiallyFilled", filled=Decimal("0.0040"))
    talk.hear(answer)
    (row,) = talk.rows(RowKind.ORDER_RESOLVED)
    assert (row["result"], row["order_id"], row["status"], row["filled"]) == ("found", "x1", "PartiallyFilled", "0.004")
    assert talk.hear(None).result == Placement(result=PlaceResult.PLACED, order_id="x1")
    assert order.phase is Phase.WORKING


def test_unknown_outcome_that_the_stream_has_shown_already_is_not_asked_for() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger)
    ledger.acknowledge(order.tag, "x1")
    talk.hear(T0)
    assert not any(isinstance(command, AskOrder) for command in talk.log)
    assert talk.hear(None).result == Placement(result=PlaceResult.PLACED, order_id="x1")


def test_unknown_outcome_that_the_stream_shows_ended_while_it_is_asked_for_stays_ended() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0)
    ledger.acknowledge(order.tag, "x1")
    ledger.observe(order.tag, status="Filled", filled=Decimal("0.01"))
    ledger.finish(order.tag, status="Filled")
    talk.hear(NotFound(asked_at_ns=T0 + 60 * NS_PER_S)).hear(None)
    assert talk.result == Placement(result=PlaceResult.PLACED, order_id="x1")
    assert (order.phase, order.status, order.filled) == (Phase.FINISHED, "Filled", Decimal("0.01"))


def test_unknown_outcome_with_a_clock_that_stands_still_is_asked_for_a_bounded_number_of_times() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger)
    asked = 0
    for _ in range(1000):
        asked += isinstance(talk.said, AskOrder)
        if isinstance(talk.said, AppendLater):
            break
        talk.hear(T0 if isinstance(talk.said, Wait) else CannotAsk(reason="down"))
    assert talk.rows(RowKind.ORDER_RESOLVED) == [{"tag": "T1tag", "result": "still_unknown"}]
    assert asked == 40


# Resolving in the background


def resolving(order: TrackedOrder, ledger: OrderLedger) -> Dialogue:
    order.is_in_flow = False
    return Dialogue(resolve_order(order, ledger=ledger, deadline_ns=T0 + 5 * NS_PER_S))


def test_resolve_order_found_live_is_adopted_and_stays_disowned() -> None:
    order, ledger = reserved()
    order.is_disowned = True
    talk = resolving(order, ledger).hear(T0).hear(found())
    assert talk.rows(RowKind.ORDER_RESOLVED)[0]["is_disowned"] is True
    assert talk.hear(None).result is True
    assert order.phase is Phase.WORKING
    assert order.is_disowned


def test_resolve_order_finally_not_found_ends() -> None:
    order, ledger = reserved()
    talk = resolving(order, ledger).hear(T0).hear(NotFound(asked_at_ns=T0))
    assert talk.rows(RowKind.ORDER_RESOLVED) == [{"tag": "T1tag", "result": "not_found"}]
    assert talk.hear(None).result is True
    assert ledger.open_count() == 0


def test_resolve_order_not_answered_goes_on_counting() -> None:
    order, ledger = reserved()
    talk = resolving(order, ledger).hear(T0).hear(CannotAsk(reason="down")).hear(T0 + 5 * NS_PER_S)
    assert talk.result is False
    assert ledger.open_count() == 1


def test_resolve_order_past_its_deadline_asks_nothing() -> None:
    order, ledger = reserved()
    talk = resolving(order, ledger).hear(T0 + 5 * NS_PER_S)
    assert talk.result is False
    assert not any(isinstance(command, AskOrder) for command in talk.log)


def test_resolve_order_disowned_and_filled_opens_an_incident() -> None:
    order, ledger = reserved()
    order.is_disowned = True
    talk = resolving(order, ledger).hear(T0).hear(found("Filled", "0.010")).hear(None)
    assert talk.rows(RowKind.INCIDENT_OPENED) == [
        {
            "type": "position unknown to the bot",
            "severity": "critical",
            "tag": "T1tag",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "filled": "0.01",
        }
    ]
    assert talk.hear(None).result is True


# Orders that the bot does not know


def test_disown_order_is_written_and_marked() -> None:
    order, _ = working()
    talk = Dialogue(disown_order(order))
    assert order.is_disowned
    assert talk.rows(RowKind.ORDER_RESOLVED) == [{"tag": "T1tag", "result": "undelivered"}]
    assert talk.hear(None).is_over
    assert talk.rows(RowKind.INCIDENT_OPENED) == []


def test_disown_order_that_has_filled_already_opens_an_incident() -> None:
    order, ledger = working()
    ledger.observe(order.tag, status="Filled", filled=Decimal("0.01"))
    ledger.finish(order.tag, status="Filled")
    talk = Dialogue(disown_order(order)).hear(None)
    assert [row["filled"] for row in talk.rows(RowKind.INCIDENT_OPENED)] == ["0.01"]
    assert talk.hear(None).is_over


def test_unknown_fill_is_reported_once_and_again_for_what_is_more() -> None:
    order, _ = working()
    order.is_disowned = True
    fills = [Decimal(text) for text in ("0", "0.004", "0.004", "0.003", "0.01")]
    reported = [row.fields["filled"] for fill in fills for row in report_unknown_fill(order, filled=fill)]  # type: ignore[union-attr]
    assert reported == ["0.004", "0.01"]


def test_fill_that_the_bot_knows_is_not_reported() -> None:
    order, _ = working()
    assert list(report_unknown_fill(order, filled=Decimal(1))) == []


@pytest.mark.parametrize("phase", [Phase.UNRESOLVED, Phase.FINISHED])
def test_withdraw_order_that_does_not_work_does_nothing(phase: Phase) -> None:
    order, ledger = working()
    order.phase = phase
    assert Dialogue(withdraw_order(order, ledger=ledger, reason="a test")).is_over


def test_withdraw_order_without_an_exchange_id_does_nothing() -> None:
    order, ledger = working()
    order.order_id = None
    assert Dialogue(withdraw_order(order, ledger=ledger, reason="a test")).is_over


def withdrawing(order: TrackedOrder, ledger: OrderLedger) -> Dialogue:
    """A withdrawal up to its cancel."""
    order.is_disowned = True
    talk = Dialogue(withdraw_order(order, ledger=ledger, reason="a test")).hear(T0)
    assert talk.said == AppendBeside(
        kind=RowKind.ORDER_CANCELED_BY_GATEWAY,
        fields={"tag": "T1tag", "order_id": "x1", "symbol": "BTCUSDT", "reason": "a test"},
    )
    return talk.hear(None)


def test_withdraw_order_cancels_beside_its_row() -> None:
    order, ledger = working()
    talk = withdrawing(order, ledger)
    assert isinstance(talk.said, SendCancel)
    assert talk.said.is_own
    assert json.loads(talk.said.body) == {"category": "spot", "symbol": "BTCUSDT", "orderId": "x1"}


def test_withdraw_order_without_a_fill_is_no_incident() -> None:
    order, ledger = working()
    talk = withdrawing(order, ledger).hear(Acknowledged(order_id="x1", signed_at_ns=T0)).hear(None)
    assert isinstance(talk.said, AskOrder)
    assert talk.hear(found("Cancelled")).is_over
    assert talk.rows(RowKind.INCIDENT_OPENED) == []


def test_withdraw_order_with_a_fill_opens_an_incident() -> None:
    order, ledger = working()
    talk = withdrawing(order, ledger).hear(Rejected(ret_code=110001, ret_msg="gone")).hear(None)
    talk.hear(found("Filled", "0.01"))
    assert [row["filled"] for row in talk.rows(RowKind.INCIDENT_OPENED)] == ["0.01"]
    assert talk.hear(None).is_over
    assert order.filled == Decimal("0.01")


def test_withdraw_order_whose_fill_the_account_reading_saw_first_is_still_an_incident() -> None:
    order, ledger = working()
    ledger.observe(order.tag, status="Filled", filled=Decimal("0.01"))
    talk = withdrawing(order, ledger).hear(Rejected(ret_code=110001, ret_msg="gone")).hear(None)
    talk.hear(found("Filled", "0.01"))
    assert len(talk.rows(RowKind.INCIDENT_OPENED)) == 1


@pytest.mark.parametrize("asked", [NotFound(asked_at_ns=T0), CannotAsk(reason="down")])
def test_withdraw_order_that_cannot_be_seen_stays_for_the_next_try(asked: object) -> None:
    order, ledger = working()
    talk = withdrawing(order, ledger).hear(Acknowledged(order_id="x1", signed_at_ns=T0)).hear(None).hear(asked)
    assert talk.is_over
    assert order.phase is Phase.WORKING


# Cancelling


def cancelling(order: TrackedOrder, *, is_durable: bool = True) -> Dialogue:
    talk = Dialogue(cancel_order(order)).hear(T0)
    assert talk.said == AppendDurable(
        kind=RowKind.CANCEL_INTENT,
        fields={"tag": "T1tag", "order_id": order.order_id, "symbol": "BTCUSDT"},
        within_ns=250 * NS_PER_MS,
    )
    return talk.hear(is_durable)


@pytest.mark.parametrize("is_durable", [True, False])
def test_cancel_order_passes_with_and_without_its_row(is_durable: bool) -> None:
    order, _ = working()
    talk = cancelling(order, is_durable=is_durable)
    assert isinstance(talk.said, SendCancel)
    assert not talk.said.is_own
    talk.hear(Acknowledged(order_id="x1", signed_at_ns=T0))
    assert talk.rows(RowKind.CANCEL_OUTCOME)[0]["is_intent_durable"] is is_durable
    assert talk.rows(RowKind.CANCEL_OUTCOME)[0]["result"] == "acknowledged"
    assert talk.hear(None).result == Cancellation(result=CancelResult.ACCEPTED)


@pytest.mark.parametrize("ret_code", [110001, 110008, 110010, 170142, 170143, 170213])
def test_cancel_order_that_has_ended_is_gone(ret_code: int) -> None:
    order, _ = working()
    talk = cancelling(order).hear(Rejected(ret_code=ret_code, ret_msg="m")).hear(None)
    assert talk.result == Cancellation(result=CancelResult.GONE, ret_code=ret_code, ret_msg="m")
    assert talk.sends() == 1


def test_cancel_order_rejected_otherwise_says_so() -> None:
    order, _ = working()
    talk = cancelling(order).hear(Rejected(ret_code=10006, ret_msg="m"))
    assert talk.rows(RowKind.CANCEL_OUTCOME)[0]["ret_code"] == 10006
    assert talk.hear(None).result == Cancellation(result=CancelResult.REJECTED, ret_code=10006, ret_msg="m")


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (Unknown(reason="lost", signed_at_ns=T0), {"result": "unknown", "reason": "lost"}),
        (NotSent(reason="refused"), {"result": "not_sent", "reason": "refused"}),
    ],
)
def test_cancel_order_that_fails_is_tried_three_times(answer: object, row: dict[str, str]) -> None:
    order, _ = working()
    talk = cancelling(order)
    for _ in range(2):
        assert isinstance(talk.said, SendCancel)
        assert talk.hear(answer).said == Wait(until_ns=0)
        assert talk.hear(T0).said == Wait(until_ns=T0 + 500 * NS_PER_MS)
        talk.hear(T0 + 500 * NS_PER_MS)
    talk.hear(answer)
    assert talk.rows(RowKind.CANCEL_OUTCOME)[0].items() >= row.items()
    assert talk.hear(None).result == Cancellation(result=CancelResult.UNAVAILABLE)
    assert talk.sends() == 3


def test_cancel_order_that_succeeds_on_the_second_try_is_accepted() -> None:
    order, _ = working()
    talk = cancelling(order).hear(LOST).hear(T0).hear(T0).hear(Acknowledged(order_id="x1", signed_at_ns=T0)).hear(None)
    assert talk.result == Cancellation(result=CancelResult.ACCEPTED)
    assert talk.sends() == 2


@pytest.mark.parametrize(("late_ns", "sends"), [(3500 * NS_PER_MS, 2), (3500 * NS_PER_MS + 1, 1), (NS_PER_S * 9, 1)])
def test_cancel_order_begins_no_try_after_four_seconds(late_ns: int, sends: int) -> None:
    order, _ = working()
    talk = cancelling(order).hear(LOST).hear(T0 + late_ns)
    if sends > 1:
        talk.hear(T0 + late_ns + 500 * NS_PER_MS).hear(Rejected(ret_code=1, ret_msg=""))
    talk.hear(None)
    assert talk.is_over
    assert talk.sends() == sends


def test_cancel_order_without_an_exchange_id_is_unavailable() -> None:
    order, _ = working()
    order.order_id = None
    talk = cancelling(order).hear(None)
    assert talk.result == Cancellation(result=CancelResult.UNAVAILABLE)
    assert talk.sends() == 0


# Bounds on the whole dialogue


@pytest.mark.parametrize("tick_ns", [1, 100 * NS_PER_MS, NS_PER_S])
def test_place_order_is_answered_within_its_time_whatever_the_exchange_does(tick_ns: int) -> None:
    order, ledger = reserved()
    talk = placing(order, ledger).hear(True).hear(LOST)
    now_ns = T0
    answers: dict[type[Command], Callable[[Any], Any]] = {
        Wait: lambda wait: max(now_ns, wait.until_ns),
        AskOrder: lambda _: CannotAsk(reason="down"),
        AppendLater: lambda _: None,
    }
    while not talk.is_over:
        now_ns += tick_ns
        given = answers[type(talk.said)](talk.said)  # type: ignore[arg-type, index]
        now_ns = max(now_ns, given) if isinstance(given, int) else now_ns
        talk.hear(given)
    assert now_ns <= T0 + ANSWER_WITHIN_NS + 3 * tick_ns
    assert talk.result == Placement(result=PlaceResult.UNRESOLVED)


def test_bot_is_answered_within_seven_and_a_half_seconds_of_its_request() -> None:
    assert ANSWER_WITHIN_NS == 7_500 * NS_PER_MS


def test_codes_of_orders_that_are_gone_are_those_that_the_exchange_documents() -> None:
    assert sorted(GONE_CODES) == [110001, 110008, 110010, 170142, 170143, 170213]


def test_answers_without_words_of_the_exchange_have_no_code_of_it() -> None:
    assert Placement(result=PlaceResult.PLACED).ret_code == 0
    assert Cancellation(result=CancelResult.ACCEPTED).ret_code == 0


# Stops


def test_stop_is_sent_from_its_model_after_a_row_that_rebuilds_it() -> None:
    order = tracked_stop()
    ledger = OrderLedger()
    ledger.reserve(order)
    talk = placing(order, ledger)
    assert isinstance(talk.said, AppendDurable)
    assert talk.said.kind is RowKind.ORDER_INTENT
    fields = talk.said.fields
    assert (fields["trigger_price"], fields["trigger_by"], fields["order_type"]) == ("29000", "MarkPrice", "Limit")
    assert (fields["price"], fields["reduce_only"], fields["adds_risk"]) == ("28800", True, False)
    assert fields["notional_usdt"] == "288"
    talk.hear(True)
    assert isinstance(talk.said, SendOrder)
    assert not talk.said.adds_risk
    body = json.loads(talk.said.body)
    assert body == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Sell",
        "orderType": "Limit",
        "qty": "0.01",
        "price": "28800",
        "timeInForce": "GTC",
        "triggerPrice": "29000",
        "triggerDirection": 2,
        "triggerBy": "MarkPrice",
        "reduceOnly": True,
        "positionIdx": 0,
        "orderLinkId": "T1stop",
    }


def test_disaster_stop_has_rows_of_its_own_kinds_and_is_never_disowned() -> None:
    order = tracked_stop(is_gateways=True, limit_price=None)
    ledger = OrderLedger()
    ledger.reserve(order)
    talk = placing(order, ledger).hear(True).hear(LOST)
    assert [row["order_type"] for row in talk.rows(RowKind.DISASTER_STOP_INTENT)] == ["Market"]
    assert [row["result"] for row in talk.rows(RowKind.DISASTER_STOP_OUTCOME)] == ["unknown"]
    talk.hear(None).hear(T0 + ANSWER_WITHIN_NS)
    assert [row["result"] for row in talk.rows(RowKind.DISASTER_STOP_RESOLVED)] == ["still_unknown"]
    talk.hear(None)
    assert talk.result == Placement(result=PlaceResult.UNRESOLVED)
    assert not order.is_disowned
    kinds = {command.kind for command in talk.log if isinstance(command, AppendDurable | AppendLater)}
    assert not kinds & {RowKind.ORDER_INTENT, RowKind.ORDER_OUTCOME, RowKind.ORDER_RESOLVED}


def test_disaster_stop_whose_flow_breaks_is_resolved_later_and_not_cancelled() -> None:
    order = tracked_stop(is_gateways=True)
    ledger = OrderLedger()
    ledger.reserve(order)
    talk = placing(order, ledger).hear(True)
    talk.close()
    assert not order.is_in_flow
    assert not order.is_disowned


def test_disaster_stop_that_fills_is_an_incident_once_for_each_further_fill() -> None:
    order = tracked_stop(is_gateways=True)
    talk = Dialogue(report_unknown_fill(order, filled=Decimal("0.004")))
    (incident,) = talk.rows(RowKind.INCIDENT_OPENED)
    assert (incident["type"], incident["severity"]) == ("disaster stop filled", "critical")
    assert Dialogue(report_unknown_fill(order, filled=Decimal("0.004"))).is_over
    assert not Dialogue(report_unknown_fill(order, filled=Decimal("0.01"))).is_over


def test_intent_row_carries_the_reference_at_acceptance() -> None:
    order = tracked()
    assert intent_fields(order)["reference_price"] is None
    order.reference_price = Decimal("30000.50")
    assert intent_fields(order)["reference_price"] == "30000.5"


def test_unknown_outcome_that_is_found_and_shown_at_once_is_taken_as_it_was_found() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger).hear(T0)
    ledger.acknowledge(order.tag, "x1")
    ledger.observe(order.tag, status="PartiallyFilled", filled=Decimal("0.004"))
    (row,) = talk.hear(found("Filled", "0.01")).rows(RowKind.ORDER_RESOLVED)
    assert (row["status"], row["filled"]) == ("Filled", "0.01")


def test_unknown_outcome_that_ended_without_an_id_is_asked_for_all_the_same() -> None:
    order, ledger = reserved()
    talk = unknown(order, ledger)
    ledger.finish(order.tag, status="Rejected")
    assert isinstance(talk.hear(T0).said, AskOrder)


def test_unknown_outcome_found_partly_filled_has_filled_that_much() -> None:
    order, ledger = reserved()
    unknown(order, ledger).hear(T0).hear(found("PartiallyFilled", "0.004")).hear(None)
    assert (order.status, order.filled) == ("PartiallyFilled", Decimal("0.004"))


def test_cancels_ask_for_the_time_at_once() -> None:
    order, ledger = working()
    assert Dialogue(cancel_order(order)).said == Wait(until_ns=0)
    assert Dialogue(withdraw_order(order, ledger=ledger, reason="a test")).said == Wait(until_ns=0)


def test_withdraw_order_whose_cancel_is_lost_is_tried_again_within_four_seconds() -> None:
    order, ledger = working()
    talk = withdrawing(order, ledger).hear(LOST).hear(T0 + 3500 * NS_PER_MS)
    assert isinstance(talk.hear(T0 + 4 * NS_PER_S).said, SendCancel)
