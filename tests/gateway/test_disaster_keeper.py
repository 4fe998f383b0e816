"""The gateway's own stops at a small exchange: placed, replaced, withdrawn, retried, told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from gateway.house import DEPLOYMENT, TAG_KEY, House, house
from gateway.parts import ACCOUNT, rows_of, value_of
from http_double import Asked, envelope, reply

from trade_core.clock import NS_PER_S, Clock, ManualClock, SystemClock
from trade_core.trust.tag import TaggedOrder, is_valid_tag
from trade_gateway import disaster_keeper
from trade_gateway.conductor import TooManyFlows
from trade_gateway.disaster_keeper import APART_NS, LONGEST_WAIT_NS, DisasterKeeper
from trade_gateway.metrics import Metrics
from trade_gateway.order_flow import resolve_order
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.tags import TagMaker
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

FRACTION = Decimal("0.1")


@dataclass
class Guarded:
    """A house with a keeper of disaster stops; `orders` is what the exchange has by tag."""

    it: House
    disaster: DisasterKeeper
    fraction: list[Decimal | None]
    changes: list[None]
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> bytes | None:
        answer = self.it.answer(asked)
        if asked.path == "/v5/order/create" and "/v5/order/create" not in self.it.answers:
            body = asked.json()
            order_id = f"x{self.it.placed}"
            self.orders[order_id] = {**body, "orderId": order_id, "orderStatus": "Untriggered", "cumExecQty": "0"}
        if asked.path == "/v5/order/cancel":
            self.orders[asked.json()["orderId"]]["orderStatus"] = "Deactivated"
        return answer

    async def round(self, *, after_ns: int = APART_NS) -> int:
        self.it.clock.advance(after_ns)
        return await self.disaster.run_round()

    def end(self, order_id: str) -> None:
        """Let the ledger know that an order has ended, as the stream would."""
        order = self.it.ledger.get(self.orders[order_id]["orderLinkId"])
        assert order is not None
        self.it.ledger.finish(order.tag, status="Deactivated")


@asynccontextmanager
async def guarded(parts: tuple[Recorder, Metrics, ManualClock], clock: Clock | None = None) -> AsyncIterator[Guarded]:
    async with house(*parts) as it:
        fraction: list[Decimal | None] = [FRACTION]
        changes: list[None] = []
        keeper = DisasterKeeper(
            fraction=lambda: fraction[0],
            ledger=it.ledger,
            keeper=it.account.keeper,
            conductor=it.conductor,
            recorder=it.recorder,
            clock=clock or it.clock,
            tags=TagMaker(key=TAG_KEY, deployment=DEPLOYMENT, account=ACCOUNT),
            instruments=lambda: it.desk.instruments,
            trading_state=lambda: it.state[0],
            on_changed=lambda: changes.append(None),
        )
        made = Guarded(it=it, disaster=keeper, fraction=fraction, changes=changes)
        it.double.answer = made.answer
        yield made


@pytest.fixture
def parts(recorder: Recorder, metrics: Metrics, clock: ManualClock) -> tuple[Recorder, Metrics, ManualClock]:
    """What a house is built of."""
    return recorder, metrics, clock


async def test_disaster_stop_of_a_position_is_placed_once_under_a_valid_tag(parts: Any, journal: JournalWriter) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        assert await made.round() == 1
        assert await made.round() == 0
        (sent,) = made.it.sent()
        body = sent.json()
        assert (body["orderType"], body["side"], body["qty"]) == ("Market", "Sell", "0.5")
        assert (body["triggerPrice"], body["triggerDirection"], body["triggerBy"]) == ("27000", 2, "MarkPrice")
        assert (body["reduceOnly"], "price" in body) == (True, False)
        tagged = TaggedOrder(
            category="linear",
            symbol="BTCUSDT",
            side="Sell",
            quantity=Decimal("0.5"),
            price=Decimal(0),
            is_reducing=True,
        )
        assert is_valid_tag(body["orderLinkId"], tagged, key=TAG_KEY, deployment=DEPLOYMENT, account=ACCOUNT)
        kinds = [row.kind for row in await rows_of(journal)]
        assert kinds == [RowKind.DISASTER_STOP_INTENT, RowKind.DISASTER_STOP_OUTCOME]
        assert len(made.changes) == 1
        assert made.disaster.describe() == {
            "fraction": "0.1",
            "stops": [
                {
                    "symbol": "BTCUSDT",
                    "side": "Sell",
                    "quantity": "0.5",
                    "trigger_price": "27000",
                    "is_standing": True,
                }
            ],
            "missing": {},
        }


@pytest.mark.parametrize(
    ("state", "placed"),
    [(TradingState.REDUCE_ONLY, 1), (TradingState.HALTED, 1), (TradingState.KILLED, 0)],
)
async def test_disaster_stop_is_sent_in_every_state_but_killed(parts: Any, state: TradingState, placed: int) -> None:
    async with guarded(parts) as made:
        made.it.hold("-0.5")
        made.it.state[0] = state
        assert await made.round() == placed
        assert len(made.it.sent()) == placed


async def test_disaster_stop_follows_a_position_that_grows_and_the_old_one_goes_last(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        made.it.hold("0.8")
        assert await made.round() == 1
        assert [body.json()["qty"] for body in made.it.sent()] == ["0.5", "0.8"]
        assert made.it.sent("/v5/order/cancel") == []
        assert await made.round() == 1
        (cancel,) = made.it.sent("/v5/order/cancel")
        assert cancel.json()["orderId"] == "x1"
        made.end("x1")
        assert await made.round() == 0


async def test_disaster_stop_follows_the_entry_price(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        made.it.hold("0.5", entry_price="30100")
        assert await made.round() == 0
        made.it.hold("0.5", entry_price="31000")
        assert await made.round() == 1
        assert made.it.sent()[1].json()["triggerPrice"] == "27900"


async def test_disaster_stop_of_a_closed_position_is_withdrawn_once_the_view_is_trusted(
    parts: Any, journal: JournalWriter
) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        made.it.account.keeper.distrust("test")
        made.it.hold("0", side="")
        assert await made.round() == 0
        await made.it.account.read()
        assert await made.round() == 1
        assert made.orders["x1"]["orderStatus"] == "Deactivated"
        rows = [row for row in await rows_of(journal) if row.kind is RowKind.ORDER_CANCELED_BY_GATEWAY]
        assert [row.fields["reason"] for row in rows] == ["its position is gone"]


async def test_disaster_stop_that_somebody_cancels_is_placed_again(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        made.end("x1")
        assert await made.round() == 1
        assert len(made.it.sent()) == 2


async def test_disaster_stop_is_withdrawn_when_the_policy_wants_none(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        made.fraction[0] = None
        assert await made.round() == 1
        assert made.disaster.describe()["fraction"] is None


async def test_disaster_stop_before_the_first_reading_is_none(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.account.keeper.view.trust_keeper._read_at_ns = None
        made.it.hold("0.5")
        assert await made.round() == 0


async def test_disaster_stop_that_the_exchange_rejects_is_an_incident_and_stands_in_the_state(
    parts: Any, journal: JournalWriter
) -> None:
    async with guarded(parts) as made:
        made.it.answers["/v5/order/create"] = envelope({}, ret_code=110093, ret_msg="expect Falling")
        made.it.hold("0.5")
        await made.round()
        assert made.disaster.missing() == {"BTCUSDT": "the exchange rejected it with code 110093"}
        rows = await rows_of(journal)
        (incident,) = [row for row in rows if row.kind is RowKind.INCIDENT_OPENED]
        assert incident.fields["type"] == "disaster stop not placed"
        assert incident.fields["symbol"] == "BTCUSDT"
        del made.it.answers["/v5/order/create"]
        await made.round(after_ns=2 * NS_PER_S)
        assert made.disaster.missing() == {}


async def test_disaster_stop_tries_are_spaced_and_told_once(parts: Any, journal: JournalWriter) -> None:
    async with guarded(parts) as made:
        made.it.answers["/v5/order/create"] = envelope({}, ret_code=110093, ret_msg="expect Falling")
        made.it.hold("0.5")
        for _ in range(600):
            await made.round()
        # 2, 4, 8, 16, 32, then every 60 s
        assert len(made.it.sent()) == 14
        incidents = [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
        assert len(incidents) == 1
        made.it.hold("0", side="")
        await made.it.account.read()
        await made.round()
        assert made.disaster.missing() == {}
        del made.it.answers["/v5/order/create"]
        made.it.hold("0.5")
        assert await made.round() == 1  # a new position owes nothing to the old one's failures
        assert LONGEST_WAIT_NS == 60 * NS_PER_S


async def test_disaster_stop_one_failure_that_is_no_refusal_is_no_incident_yet(
    parts: Any, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with guarded(parts) as made:

        async def full(flow: Any) -> Any:
            flow.close()
            raise TooManyFlows

        with monkeypatch.context() as patched:
            patched.setattr(made.it.conductor, "place", full)
            made.it.hold("0.5")
            await made.round()
            assert made.it.ledger.stops() == []
            assert made.disaster.missing() == {"BTCUSDT": "too many orders are under way"}
            assert await rows_of(journal) == []
            await made.round(after_ns=2 * NS_PER_S)
        (incident,) = await rows_of(journal)
        assert incident.kind is RowKind.INCIDENT_OPENED


async def test_disaster_stop_of_a_symbol_without_facts_is_named(parts: Any) -> None:
    async with guarded(parts) as made:
        made.it.desk.instruments = {}
        made.it.hold("0.5")
        assert await made.round() == 0
        assert "no instrument facts" in made.disaster.missing()["BTCUSDT"]


async def test_disaster_stop_whose_row_cannot_be_written_is_not_sent(parts: Any, journal: JournalWriter) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await journal.close()
        await made.round()
        assert made.it.sent() == []
        assert made.disaster.missing() == {"BTCUSDT": "it was not placed: journal_unavailable"}


class Lossy:
    """Loses the answer of every create; shows the order only when told to."""

    def __init__(self, made: Guarded) -> None:
        self.made = made
        self.is_shown = False
        made.it.answers["/v5/order/create"] = reply(b"", status=504)
        made.it.double.answer = self.answer

    def answer(self, asked: Asked) -> bytes | None:
        if asked.path != "/v5/order/realtime":
            return self.made.answer(asked)
        stops = self.made.it.ledger.stops()
        rows = [
            {"orderId": "x9", "orderLinkId": order.tag, "orderStatus": "Untriggered", "cumExecQty": "0"}
            for order in stops
            if self.is_shown
        ]
        return envelope({"list": rows})


async def test_disaster_stop_whose_answer_is_lost_is_asked_for_and_not_sent_twice(parts: Any) -> None:
    async with guarded(parts, SystemClock()) as made:
        made.it.hold("0.5")
        Lossy(made).is_shown = True
        assert await made.round() == 1
        assert await made.round() == 0
        assert len(made.it.sent()) == 1
        assert made.disaster.missing() == {}


async def test_disaster_stop_whose_outcome_stays_unknown_is_missing_until_it_is_found(parts: Any) -> None:
    async with guarded(parts) as made:  # whose clock stands far behind, so that no time is left to ask
        made.it.hold("0.5")
        lossy = Lossy(made)
        await made.round()
        assert made.disaster.missing() == {"BTCUSDT": "it was not placed: unresolved"}
        assert await made.round(after_ns=LONGEST_WAIT_NS) == 0
        assert len(made.it.sent()) == 1
        lossy.is_shown = True
        (order,) = made.it.ledger.unresolved()
        later_ns = SystemClock().monotonic_ns() + NS_PER_S
        assert await made.it.conductor.run(resolve_order(order, ledger=made.it.ledger, deadline_ns=later_ns))
        assert not order.is_disowned
        assert await made.round() == 0
        assert made.disaster.missing() == {}


async def test_disaster_keeper_wakes_when_the_stream_tells_of_a_position(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disaster_keeper, "ROUND_EVERY_S", 3600)
    async with guarded(parts) as made:
        waiting = asyncio.create_task(made.disaster.wait_for_round())
        await asyncio.sleep(0)
        made.it.hold("0.5")
        async with asyncio.timeout(60):
            await waiting


async def test_disaster_keeper_wakes_by_itself(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disaster_keeper, "ROUND_EVERY_S", 0.01)
    async with guarded(parts) as made, asyncio.timeout(60):
        await made.disaster.wait_for_round()


async def test_disaster_stops_are_no_orders_of_the_bot(parts: Any, metrics: Metrics) -> None:
    async with guarded(parts) as made:
        made.it.hold("0.5")
        await made.round()
        facts = made.it.account.keeper.facts(unpinned=frozenset(), message_level=made.it.account.keeper.count_message())
        assert (facts.working_orders, facts.working_stops) == (0, {})
        assert value_of(metrics, "trade_gateway_orders_total", result="placed") == 0
