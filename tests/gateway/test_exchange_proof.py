"""The exchange is proved again for each policy, and what an older policy began clears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from gateway.house import POLICY, instrument
from gateway.parts import rows_of
from http_double import Asked, HttpDouble, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.secrets import Secret
from trade_gateway import exchange_proof
from trade_gateway.account.stream import Stream
from trade_gateway.exchange_proof import ExchangeProof
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import SymbolKey, SymbolLimits
from trade_gateway.recorder import Recorder
from trade_gateway.states import Fault
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

LIMITS = SymbolLimits(max_order_quantity=Decimal(1), max_notional_usdt=Decimal(1))
LINEAR_ETH: SymbolKey = (Category.LINEAR, "ETHUSDT")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(exchange_proof, "RETRY_S", 0.01)
    monkeypatch.setattr(exchange_proof, "REFUSED_EVERY_S", 0.01)


class Faults:
    """A board that starts with every fault of the exchange."""

    def __init__(self) -> None:
        self.there = {Fault.KEY_UNVERIFIED, Fault.INSTRUMENTS_MISSING, Fault.SETTINGS_UNPINNED}
        self.missing = ""

    def set_fault(self, fault: Fault, *, is_there: bool) -> None:
        self.there = self.there | {fault} if is_there else self.there - {fault}

    def explain_fault(self, fault: Fault, detail: str) -> None:
        assert fault is Fault.INSTRUMENTS_MISSING
        self.missing = detail


@dataclass
class Proving:
    proof: ExchangeProof
    faults: Faults
    double: HttpDouble
    instruments: list[Mapping[SymbolKey, Instrument]]
    refused: list[Set[SymbolKey]] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    margin_mode: str = "ISOLATED_MARGIN"
    leverage: str = "2"
    is_refusing: bool = False

    def answer(self, asked: Asked) -> bytes:
        symbol = asked.parameter("symbol") or ""
        match asked.path:
            case "/v5/user/query-api":
                facts = {"userID": 1002, "readOnly": 0, "isMaster": False, "ips": ["127.0.0.1"]}
                return envelope({**facts, "permissions": {"Spot": ["SpotTrade"]}})
            case "/v5/market/instruments-info" if symbol in self.silent:
                return reply(b"", status=503)
            case "/v5/market/instruments-info" if symbol in self.unlisted:
                return envelope({"list": []})
            case "/v5/market/instruments-info":
                is_spot = asked.parameter("category") == "spot"
                lot = {"minOrderQty": "0.001", "maxLimitOrderQty": "9", "maxOrderQty": "9"}
                lot |= {"basePrecision": "0.001", "minOrderAmt": "5"} if is_spot else {"qtyStep": "0.001"}
                item = {
                    "symbol": symbol,
                    "status": "Trading",
                    "baseCoin": symbol.removesuffix("USDT"),
                    "quoteCoin": "USDT",
                    "priceFilter": {"tickSize": "0.1"},
                    "lotSizeFilter": lot | {"minNotionalValue": "5"},
                }
                return envelope({"list": [item]})
            case "/v5/account/info":
                return envelope({"marginMode": self.margin_mode})
            case "/v5/position/list":
                return envelope({"list": [{"symbol": symbol, "positionIdx": 0, "leverage": self.leverage}]})
            case "/v5/position/set-leverage":
                self.leverage = asked.json()["buyLeverage"]
                return envelope({})
            case "/v5/account/set-margin-mode" if not self.is_refusing:
                self.margin_mode = asked.json()["setMarginMode"]
                return envelope({})
            case "/v5/account/set-margin-mode":
                return envelope({}, ret_code=10001)
            case _:
                return envelope({})

    def leverages(self) -> list[str]:
        return [asked.json()["buyLeverage"] for asked in self.double.asked if asked.path.endswith("set-leverage")]

    async def until_proved(self) -> None:
        async with asyncio.timeout(60):
            while self.faults.there:  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.005)


@asynccontextmanager
async def proving(recorder: Recorder) -> AsyncIterator[Proving]:
    clock = SystemClock()
    async with http_double() as double:
        client = BybitClient(base_url=double.url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
        faults, instruments, refused = Faults(), list[Mapping[SymbolKey, Instrument]](), list[Set[SymbolKey]]()

        def take(known: Mapping[SymbolKey, Instrument], not_traded: Set[SymbolKey]) -> None:
            instruments.append(known)
            refused.append(set(not_traded))

        stream = Stream(
            name="test",
            url="ws://127.0.0.1:1",
            is_simulated=True,
            clock=clock,
            operations=tuple,
            on_frame=lambda _: None,
            on_up=lambda: None,
            on_down=lambda _: None,
        )
        proof = ExchangeProof(
            private=client,
            public=client,
            ticker_stream=stream,
            account="1002",
            recorder=recorder,
            faults=faults,
            on_instruments=take,
        )
        made = Proving(proof=proof, faults=faults, double=double, instruments=instruments, refused=refused)
        double.answer = made.answer
        proof.require(POLICY, former=frozenset(), has_new_coins=False)
        task = asyncio.create_task(proof.run())
        try:
            yield made
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await client.aclose()


async def test_proof_clears_each_fault_once_it_is_proved(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        await it.until_proved()
        assert it.instruments[-1].keys() == POLICY.symbols.keys()
        assert it.leverages() == ["2"]


async def test_proof_of_another_leverage_pins_again_and_holds_the_fault_meanwhile(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        await it.until_proved()
        it.proof.require(replace(POLICY, leverage=1), former=frozenset(), has_new_coins=False)
        assert it.faults.there == {Fault.SETTINGS_UNPINNED}
        await it.until_proved()
        assert it.leverages() == ["2", "1"]


async def test_proof_of_a_policy_with_the_same_pins_asks_for_none(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        await it.until_proved()
        it.proof.require(replace(POLICY, max_open_orders=1), former=frozenset(), has_new_coins=True)
        assert it.faults.there == set()
        while len(it.instruments) < 2:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.leverages() == ["2"]


async def test_proof_of_a_new_symbol_waits_for_its_filters_and_gives_up_when_it_is_taken_back(
    recorder: Recorder,
) -> None:
    async with proving(recorder) as it:
        await it.until_proved()
        it.silent.add("ETHUSDT")
        wider = replace(POLICY, symbols={**POLICY.symbols, LINEAR_ETH: LIMITS})
        it.proof.require(wider, former=frozenset(), has_new_coins=True)
        assert Fault.INSTRUMENTS_MISSING in it.faults.there
        await asyncio.sleep(0.05)
        assert Fault.INSTRUMENTS_MISSING in it.faults.there
        it.proof.require(POLICY, former=frozenset({LINEAR_ETH}), has_new_coins=False)
        await it.until_proved()


async def test_proof_that_an_older_policy_began_clears_nothing(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        answer, wider = it.answer, replace(POLICY, leverage=1, symbols={**POLICY.symbols, LINEAR_ETH: LIMITS})
        changed: list[bool] = []

        def change_meanwhile(asked: Asked) -> bytes:
            if asked.path.endswith("set-leverage") and not changed:
                changed.append(True)
                it.silent.add("ETHUSDT")
                it.proof.require(wider, former=frozenset(), has_new_coins=False)
            return answer(asked)

        it.double.answer = change_meanwhile
        while not changed:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert it.faults.there == {Fault.INSTRUMENTS_MISSING, Fault.SETTINGS_UNPINNED}
        it.silent.clear()
        await it.until_proved()
        assert it.leverages()[-2:] == ["1", "1"]


async def test_proof_denies_a_symbol_that_is_not_traded_by_itself_and_names_it(
    recorder: Recorder, journal: JournalWriter
) -> None:
    wider = replace(POLICY, symbols={**POLICY.symbols, LINEAR_ETH: LIMITS})
    async with proving(recorder) as it:
        it.unlisted.add("ETHUSDT")
        it.proof.require(wider, former=frozenset(), has_new_coins=False)
        await it.until_proved()
        assert (it.instruments[-1].keys(), it.refused[-1]) == (POLICY.symbols.keys(), {LINEAR_ETH})
        assert it.faults.missing == "linear ETHUSDT"
        it.unlisted.clear()
        while it.faults.missing:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)
        assert (it.instruments[-1].keys(), it.refused[-1]) == (wider.symbols.keys(), set())
    incidents = [row.fields for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
    assert [(row["type"], row["category"], row["symbol"]) for row in incidents] == [
        ("symbol without filters", "linear", "ETHUSDT")
    ]


async def test_proof_keeps_what_it_knew_of_a_symbol_that_is_traded_no_more(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_proof, "PROVE_EVERY_S", 0.01)
    wider = replace(POLICY, symbols={**POLICY.symbols, LINEAR_ETH: LIMITS})
    async with proving(recorder) as it:
        it.proof.require(wider, former=frozenset(), has_new_coins=False)
        await it.until_proved()
        it.unlisted.add("ETHUSDT")
        while it.refused[-1] != {LINEAR_ETH}:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.instruments[-1].keys() == wider.symbols.keys()
        assert it.faults.there == set()


@pytest.mark.parametrize("is_silent", [True, False])
async def test_proof_lets_exits_alone_go_by_filters_of_an_earlier_run(recorder: Recorder, *, is_silent: bool) -> None:
    wider = replace(POLICY, symbols={**POLICY.symbols, LINEAR_ETH: LIMITS})
    old = {key: replace(instrument(key[0]), symbol=key[1], tick_size=Decimal(7)) for key in wider.symbols}
    gone = {(Category.SPOT, "GONEUSDT"): instrument(Category.SPOT)}
    async with proving(recorder) as it:
        (it.silent if is_silent else it.unlisted).add("ETHUSDT")
        it.proof.require(wider, former=frozenset(), has_new_coins=False)
        it.proof.remember({**old, **gone})
        assert (it.instruments[0], it.refused[0]) == (old, old.keys())  # before anything is asked
        while it.refused[-1] != {LINEAR_ETH}:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.instruments[-1][LINEAR_ETH] == old[LINEAR_ETH]
        assert it.instruments[-1][(Category.SPOT, "BTCUSDT")].tick_size == Decimal("0.1")
        if is_silent:
            assert Fault.INSTRUMENTS_MISSING in it.faults.there
        else:
            await it.until_proved()
        it.silent.clear()
        it.unlisted.clear()
        while it.refused[-1]:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.instruments[-1][LINEAR_ETH].tick_size == Decimal("0.1")
        await it.until_proved()


async def test_proof_does_not_take_a_symbol_for_known_that_only_an_earlier_run_has_read(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        it.silent.add("BTCUSDT")
        it.proof.remember({key: instrument(key[0]) for key in POLICY.symbols})
        while len(it.refused) < 3:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.refused[-1] == POLICY.symbols.keys()
        assert Fault.INSTRUMENTS_MISSING in it.faults.there


async def test_proof_without_one_symbol_that_is_traded_holds_the_fault(recorder: Recorder) -> None:
    async with proving(recorder) as it:
        it.unlisted.add("BTCUSDT")
        while not it.refused:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert it.faults.missing == "linear BTCUSDT, spot BTCUSDT"
        assert Fault.INSTRUMENTS_MISSING in it.faults.there
        it.unlisted.clear()
        await it.until_proved()


async def test_proof_pins_again_what_somebody_has_changed_and_tells_it(
    recorder: Recorder, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_proof, "PROVE_EVERY_S", 0.01)
    async with proving(recorder) as it:
        await it.until_proved()
        looks = it.double.paths().count("/v5/account/info")
        while it.double.paths().count("/v5/account/info") < looks + 2:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.leverages() == ["2"]  # what is so already is left alone
        it.leverage = "10.00"
        while it.leverage != "2":  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        await it.until_proved()
        it.is_refusing, it.margin_mode = True, "REGULAR_MARGIN"
        while not it.faults.there:  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert it.faults.there == {Fault.SETTINGS_UNPINNED}
        it.is_refusing = False
        await it.until_proved()
        assert it.margin_mode == "ISOLATED_MARGIN"
    incidents = [row.fields for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
    assert [(row["type"], row["settings"]) for row in incidents] == [
        ("pinned setting changed", "leverage of BTCUSDT"),
        ("pinned setting changed", "margin mode"),
    ]


async def test_proof_pins_again_what_cannot_be_read(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_proof, "PROVE_EVERY_S", 0.01)
    async with proving(recorder) as it:
        await it.until_proved()
        it.leverage = ""
        while it.leverage != "2":  # noqa: ASYNC110 - the loop's doing
            await asyncio.sleep(0.005)
        assert it.faults.there == set()
