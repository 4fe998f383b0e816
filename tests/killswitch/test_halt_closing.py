"""Closing on a halt: what confirms it, what refuses it, and who takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from killswitch.kill_scene import Rows

from trade_core.alerts.model import Alert
from trade_core.clock import NS_PER_S, ManualClock
from trade_core.errors import ExchangeUnavailable
from trade_journal.log.rows import RowKind
from trade_killswitch import halt_closing
from trade_killswitch.flatten_flow import Unreadable
from trade_killswitch.flatten_plan import Settled, Thing
from trade_killswitch.halt_closing import PAUSE_S, PENDING_SUBJECT, FlattenRefused, HaltClosing
from trade_killswitch.kill_order import Ending
from trade_killswitch.working_orders import Category

HOLD = dict.fromkeys(Category, Ending.HOLD)
CLOSE_LINEAR = {**HOLD, Category.LINEAR: Ending.FLATTEN}
POSITION = Thing(category=Category.LINEAR, symbol="XRPUSDT", quantity=Decimal(100))


class World:
    """An executor's parts that say what they are told to say, and remember what they were asked for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.rows = Rows()
        self.told: list[tuple[str, bool]] = []
        self.acknowledged: list[str] = []
        self.admits_risk: bool | None = False
        self.drawdown: Decimal | None = Decimal("0.15")
        self.is_readable = True
        self.is_killing = False
        self.swept: list[str] = []
        self.is_swept = asyncio.Event()
        self.is_swept.set()
        self.settled: Settled | Exception = Settled()
        self.closed: list[dict[Category, Ending]] = []

    async def closes(self, closing: Any, hand: Any, **_: Any) -> Settled:
        self.closed.append(closing.endings)
        if isinstance(self.settled, Exception):
            raise self.settled
        return self.settled

    async def begin(self, reason: str, *, by: str) -> None:
        self.swept.append(by)

    async def proof(self) -> dict[str, Any]:
        await self.is_swept.wait()
        return {}

    async def gateway(self) -> bool | None:
        return self.admits_risk

    async def sample(self) -> None:
        if not self.is_readable:
            raise ExchangeUnavailable("down")

    def alert(self, alert: Alert) -> None:
        self.told.append((alert.subject, alert.needs_acknowledgement))

    def acknowledge(self, subject: str) -> None:
        self.acknowledged.append(subject)

    def closing(self, **changed: Any) -> HaltClosing:
        world = self
        parts = SimpleNamespace(
            clock=self.clock, recorder=self.rows, baseline={}, quote_coin="USDT", slippage=Decimal("0.02"),
            exchange=SimpleNamespace(calls=None), sweeper=self, gateway=SimpleNamespace(admits_risk=self.gateway),
        )  # fmt: skip

        class Samples:
            async def sample(self) -> None:
                await world.sample()

            @property
            def drawdown(self) -> Decimal | None:
                return world.drawdown

        made: dict[str, Any] = {
            "parts": cast("Any", parts), "endings": CLOSE_LINEAR, "drawdown": Decimal("0.15"),
            "samples": cast("Any", Samples()), "is_killing": lambda: self.is_killing, "outbox": cast("Any", self),
        }  # fmt: skip
        return HaltClosing(**{**made, **changed})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(halt_closing, "closed", made.closes)
    return made


async def ask(closing: HaltClosing, request_id: str = "monthly@7") -> dict[str, Any]:
    answer = await closing.ask(request_id=request_id, reason="the monthly rung has fired", by="uid 1")
    for _ in range(10):
        await asyncio.sleep(0)
    return answer


async def test_nothing_is_done_where_everything_is_held(world: World) -> None:
    assert await ask(world.closing(endings=HOLD)) == {"flatten": "held"}
    assert (world.swept, world.closed, world.rows.rows) == ([], [], [])


async def test_open_things_are_closed_once_for_a_firing_and_the_journal_says_so(world: World) -> None:
    closing = world.closing()
    assert await ask(closing) == {"flatten": "begun"}
    assert await ask(closing) == {"flatten": "flat"}
    assert (world.swept, world.closed) == (["flatten"], [CLOSE_LINEAR])
    (began,), (ended,) = world.rows.of(RowKind.FLATTEN_STARTED), world.rows.of(RowKind.FLATTEN_ENDED)
    assert (began["request_id"], began["endings"]) == (
        "monthly@7",
        {"spot": "hold", "linear": "flatten", "inverse": "hold"},
    )
    assert began["confirmed"] == "our own drawdown is 15.00 %, armed for 15.00 %"
    assert (ended["closing_id"], ended["is_flat"]) == (began["closing_id"], True)
    assert world.told == [("flatten:begun", False), ("flatten:ended", False)]
    assert world.acknowledged == [PENDING_SUBJECT]
    assert await ask(closing, "monthly@8") == {"flatten": "begun"}  # another firing


def _killing(world: World) -> None:
    world.is_killing = True


def _released(world: World) -> None:
    world.admits_risk = True


def _unreadable(world: World) -> None:
    world.is_readable = False


def _unknown(world: World) -> None:
    world.drawdown = None


def _small(world: World) -> None:
    world.drawdown = Decimal("0.139999")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_killing, "a kill goes on"),
        (_released, "not halted"),
        (_unreadable, "cannot be read"),
        (_unknown, "not known yet"),
        (_small, "less than 15.00 %"),
    ],
)
async def test_what_is_not_confirmed_closes_nothing_and_calls_a_person(
    world: World, spoil: Callable[[World], None], why: str
) -> None:
    closing = world.closing()
    spoil(world)
    with pytest.raises(FlattenRefused, match=why):
        await ask(closing)
    assert (world.swept, world.closed, world.rows.rows) == ([], [], [])
    assert world.told == [(PENDING_SUBJECT, True)]


@pytest.mark.parametrize("own", ["0.14", "0.5"])
async def test_own_drawdown_confirms_from_a_point_below_on(world: World, own: str) -> None:
    world.drawdown = Decimal(own)
    assert await ask(world.closing()) == {"flatten": "begun"}
    assert len(world.closed) == 1


async def test_silent_gateway_holds_nothing_up(world: World) -> None:
    world.admits_risk = None
    assert await ask(world.closing()) == {"flatten": "begun"}
    assert len(world.closed) == 1


async def test_release_during_the_sweep_closes_nothing(world: World) -> None:
    world.is_swept.clear()
    closing = world.closing()
    await ask(closing)
    assert await ask(closing) == {"flatten": "going_on"}
    world.admits_risk = True
    world.is_swept.set()
    assert await ask(closing) == {"flatten": "going_on"}
    assert world.closed == []
    assert world.rows.of(RowKind.FLATTEN_ENDED)[0]["left"] == halt_closing.NOT_HALTED
    assert await ask(closing) == {"flatten": "not_flat", "open": halt_closing.NOT_HALTED}


async def test_sweep_without_a_proof_ends_the_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halt_closing, "SWEEP_WITHIN_S", 0.001)
    world.is_swept.clear()
    closing = world.closing()
    await ask(closing)
    while closing.status()["is_running"]:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert world.closed == []
    assert "no proof" in world.rows.of(RowKind.FLATTEN_ENDED)[0]["left"]


@pytest.mark.parametrize(
    ("settled", "left"),
    [
        (Settled(open=(POSITION,), stops=("linear XRPUSDT",)), "linear XRPUSDT 100 long"),
        (Unreadable("neither positions nor coins could be read"), "neither positions nor coins could be read"),
        (ValueError("nobody foresaw it"), "a defect; see the log"),
    ],
)
async def test_what_stays_open_is_told_and_tried_again_after_a_pause(
    world: World, settled: Settled | Exception, left: str
) -> None:
    closing = world.closing()
    world.settled = settled
    await ask(closing)
    assert await ask(closing) == {"flatten": "not_flat", "open": left}
    assert closing.status()["left"] == left
    assert (world.rows.of(RowKind.FLATTEN_ENDED)[0]["is_flat"], world.told[-1]) == (False, (PENDING_SUBJECT, True))
    world.clock.advance(int(PAUSE_S * NS_PER_S) - 1)
    assert (await ask(closing))["flatten"] == "not_flat"
    world.clock.advance(1)
    world.settled = Settled()
    assert await ask(closing) == {"flatten": "begun"}
    assert await ask(closing) == {"flatten": "flat"}
    assert closing.status()["left"] == ""


@pytest.mark.parametrize("how", ["give_way", "stop"])
async def test_what_goes_on_ends_for_a_kill_and_at_a_stop(world: World, how: str) -> None:
    world.is_swept.clear()
    closing = world.closing()
    await ask(closing)
    if how == "stop":
        await closing.stop()
    else:
        closing.give_way()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    world.is_swept.set()
    await asyncio.sleep(0)
    assert not closing.status()["is_running"]
    assert (world.closed, world.rows.of(RowKind.FLATTEN_ENDED)) == ([], [])


async def test_nothing_goes_on_without_a_request(world: World) -> None:
    closing = world.closing()
    closing.give_way()
    await closing.stop()
    assert closing.status() == {
        "endings": {"spot": "hold", "linear": "flatten", "inverse": "hold"},
        "is_running": False,
        "flat_for": "",
        "left": "",
    }
