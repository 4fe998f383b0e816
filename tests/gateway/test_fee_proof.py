"""The fees that the exchange takes, against the fee that the policy's formula stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.house import POLICY
from gateway.parts import rows_of
from http_double import Asked, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import ManualClock, SystemClock
from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber
from trade_core.secrets import Secret
from trade_gateway import fee_proof
from trade_gateway.fee_proof import ASK_EVERY_NS, HOLDS_NS, FeeProof, ask_fee
from trade_gateway.policy.model import SymbolKey, SymbolLimits
from trade_gateway.recorder import Recorder
from trade_gateway.states import Fault
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

SPOT: SymbolKey = (Category.SPOT, "BTCUSDT")
LINEAR: SymbolKey = (Category.LINEAR, "BTCUSDT")
LIMITS = SymbolLimits(max_order_quantity=Decimal(1), max_notional_usdt=Decimal(1))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that follow one another quickly."""
    monkeypatch.setattr(fee_proof, "LOOK_EVERY_S", 0.005)


@dataclass
class Board:
    is_there: bool = True
    detail: str = ""

    def set_fault(self, fault: Fault, *, is_there: bool) -> None:
        assert fault is Fault.FEES_UNPROVED
        self.is_there = is_there

    def explain_fault(self, fault: Fault, detail: str) -> None:
        assert fault is Fault.FEES_UNPROVED
        self.detail = detail


@dataclass
class Proving:
    proof: FeeProof
    board: Board
    clock: ManualClock
    fees: dict[SymbolKey, tuple[Any, Any]]  # taker, maker
    asked: list[SymbolKey] = field(default_factory=list)
    is_down: bool = False

    def answer(self, asked: Asked) -> bytes:
        key = (Category(asked.parameter("category")), asked.parameter("symbol") or "")
        self.asked.append(key)
        if self.is_down:
            return reply(b"", status=503)
        taker, maker = self.fees[key]
        return envelope({"list": [{"symbol": key[1], "takerFeeRate": taker, "makerFeeRate": maker}]})

    async def until_asked(self, times: int) -> None:
        """Wait until so many questions were answered, and what they said was judged."""
        async with asyncio.timeout(60):
            while len(self.asked) < times:  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)

    async def until(self, *, is_there: bool) -> None:
        async with asyncio.timeout(60):
            while self.board.is_there is not is_there:  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.001)


@asynccontextmanager
async def proving(recorder: Recorder, clock: ManualClock) -> AsyncIterator[Proving]:
    async with http_double() as double:
        client = BybitClient(
            base_url=double.url, clock=SystemClock(), is_simulated=True, key=Secret("k"), secret=Secret("s")
        )
        board = Board()
        proof = FeeProof(client=client, clock=clock, recorder=recorder, faults=board)
        fees = {SPOT: ("0.001", "0.001"), LINEAR: ("0.00055", "0.0002")}
        made = Proving(proof=proof, board=board, clock=clock, fees=fees)
        double.answer = made.answer
        proof.require(replace(POLICY, symbols=dict.fromkeys(fees, LIMITS), highest_fee=Decimal("0.001")))
        task = asyncio.create_task(proof.run())
        try:
            yield made
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await client.aclose()


async def test_fees_are_a_fault_until_every_traded_symbol_has_answered(recorder: Recorder, clock: ManualClock) -> None:
    async with proving(recorder, clock) as it:
        it.is_down = True
        assert it.board.is_there
        it.proof.take_traded({SPOT, LINEAR, (Category.SPOT, "ETHUSDT")})
        await it.until_asked(4)
        assert it.board == Board(is_there=True, detail="no answer about linear BTCUSDT, spot BTCUSDT")
        it.is_down = False
        await it.until(is_there=False)
        assert it.board.detail == ""
        assert set(it.asked) == {SPOT, LINEAR}


@pytest.mark.parametrize(("taker", "maker"), [("0.0011", "0.001"), ("0.001", "0.0011"), ("0.0011", "-0.0001")])
async def test_fee_above_the_highest_is_a_fault_that_names_both_and_one_row(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock, taker: str, maker: str
) -> None:
    async with proving(recorder, clock) as it:
        it.fees[SPOT] = (taker, maker)
        it.proof.take_traded({SPOT, LINEAR})
        await it.until_asked(2)
        assert it.board == Board(is_there=True, detail="spot BTCUSDT takes 0.0011, highest_fee is 0.001")
        (row,) = [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
        assert row.fields == {
            "type": "fee above highest_fee",
            "severity": "critical",
            "category": "spot",
            "symbol": "BTCUSDT",
            "fee": "0.0011",
            "highest_fee": "0.001",
        }


async def test_fee_that_comes_down_clears_the_fault_at_the_next_question(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with proving(recorder, clock) as it:
        it.fees[SPOT] = ("0.0011", "0.001")
        it.proof.take_traded({SPOT})
        await it.until_asked(1)
        it.fees[SPOT] = ("0.001", "0.001")
        clock.advance(ASK_EVERY_NS - 1)
        await it.until_asked(1)
        assert len(it.asked) == 1
        clock.advance(1)
        await it.until(is_there=False)
        assert len(it.asked) == 2


async def test_fee_that_a_trade_was_charged_counts_at_once_until_it_was_asked_for(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with proving(recorder, clock) as it:
        it.proof.note_charged(SPOT, Decimal("0.5"))  # nothing is known yet, which is a fault already
        it.proof.take_traded({SPOT})
        await it.until(is_there=False)
        for rate in ("0.001", "0.0009", "-1"):
            it.proof.note_charged(SPOT, Decimal(rate))
        await it.until_asked(0)
        assert (len(it.asked), it.board.is_there) == (1, False)
        it.is_down = True
        it.proof.note_charged(SPOT, Decimal("0.0011"))
        assert it.board == Board(is_there=True, detail="spot BTCUSDT takes 0.0011, highest_fee is 0.001")
        await it.until_asked(2)
        assert it.board.is_there  # the question failed: what the trade cost is the best knowledge
        it.is_down = False
        await it.until(is_there=False)


async def test_fee_question_that_fails_is_asked_again_and_the_last_answer_holds_two_hours(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with proving(recorder, clock) as it:
        it.proof.take_traded({SPOT})
        await it.until(is_there=False)
        it.is_down = True
        clock.advance(HOLDS_NS - 1)
        await it.until_asked(4)
        assert not it.board.is_there
        clock.advance(1)
        await it.until(is_there=True)
        assert it.board.detail == "no answer about spot BTCUSDT"
        it.is_down = False
        await it.until(is_there=False)


async def test_fee_of_another_policy_is_judged_at_once(recorder: Recorder, clock: ManualClock) -> None:
    async with proving(recorder, clock) as it:
        it.proof.take_traded({SPOT})
        await it.until(is_there=False)
        it.proof.require(replace(POLICY, symbols={SPOT: LIMITS}, highest_fee=Decimal("0.0005")))
        assert it.board == Board(is_there=True, detail="spot BTCUSDT takes 0.001, highest_fee is 0.0005")
        it.proof.take_traded(frozenset())
        it.proof.require(replace(POLICY, symbols={SPOT: LIMITS}))
        assert it.board == Board(is_there=True, detail="")  # the exchange trades nothing of it


@pytest.mark.parametrize(
    "items",
    [None, [], ["x"], [{"symbol": "ETHUSDT", "takerFeeRate": "0", "makerFeeRate": "0"}], [{"symbol": "BTCUSDT"}]],
)
async def test_fee_that_is_not_in_the_answer_is_no_fee(items: Any) -> None:
    async with http_double() as double:
        client = BybitClient(
            base_url=double.url, clock=SystemClock(), is_simulated=True, key=Secret("k"), secret=Secret("s")
        )
        double.answer = lambda _: envelope({} if items is None else {"list": items})
        with pytest.raises((ExchangeAnswerInvalid, InvalidNumber)):
            await ask_fee(client, SPOT)
        double.answer = lambda _: envelope(
            {"list": [{"symbol": "BTCUSDT", "takerFeeRate": "0", "makerFeeRate": "0"}]}, ret_code=10016
        )
        with pytest.raises(ExchangeAnswerInvalid):
            await ask_fee(client, SPOT)
        await client.aclose()
