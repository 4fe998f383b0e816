"""The effects together: what waits for what, what fails, and what leaves a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from trade_core.bot_hosts.port import BotHostFailed, BotSight
from trade_core.clock import NS_PER_S, ManualClock
from trade_watchdog.actions import hands as hands_module
from trade_watchdog.actions.hands import Hands
from trade_watchdog.effects import Alert, EffectFailed, Effects, KillCondition, KillRequest, Severity
from trade_watchdog.gateway_link import GatewayRefused

KILL = KillRequest(request_id="r", condition=KillCondition.ROGUE_ORDER, reason="why", at_ns=1)


class World:
    """Every part as one that remembers what it was asked, in order, and fails when it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing: set[str] = set()
        self.rows: list[tuple[str, str]] = []
        self.alerts: list[Alert] = []
        self.clock = ManualClock()
        self.gone = False

    def part(self, name: str) -> Any:
        world = self

        class Part:
            def __getattr__(self, verb: str) -> Callable[..., Any]:
                async def act(*_: object, **_named: object) -> Any:
                    if verb == "look":
                        if "host.look" in world.failing:
                            raise BotHostFailed("host cannot tell")
                        return BotSight(is_gone=world.gone, evidence={})
                    world.done.append(f"{name}.{verb}")
                    if f"{name}.{verb}" in world.failing:
                        raise BotHostFailed("host fails") if name == "host" else EffectFailed(f"{name} fails")
                    return None

                return act

        return Part()

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def acknowledge(self, subject: str) -> None:
        self.done.append(f"acknowledge {subject}")

    def record(self, action: str, *, reason: str, failure: str = "") -> None:
        self.rows.append((action, failure))

    def hands(self, **changed: Any) -> Hands:
        parts = {name: self.part(name) for name in ("executor", "freqtrade", "host")}
        made: dict[str, Any] = {"gateway": self.part("gateway"), "outbox": self, **parts, "halt_exit_s": 0}
        return Hands(**{**made, **changed}, clock=self.clock, record=self.record)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(hands_module, "STOP_RETRY_S", 0.001)
    monkeypatch.setattr(hands_module, "EXIT_LOOK_S", 0.001)
    return World()


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0.001)


async def test_halt_sweep_and_kill_reach_whom_they_are_for(world: World) -> None:
    hands: Effects = world.hands()
    await hands.halt("x")
    await hands.sweep("x")
    await hands.request_kill(KILL)
    hands.acknowledge("s")
    assert world.done == ["gateway.halt", "executor.sweep", "executor.request_kill", "acknowledge s"]
    assert world.rows == [("sweep", "")]


async def test_gateway_that_refuses_a_halt_is_a_failure(world: World) -> None:
    class Refusing:
        async def halt(self, reason: str, *, trigger_value: str = "") -> None:
            raise GatewayRefused("HTTP 503")

    with pytest.raises(EffectFailed, match="503"):
        await world.hands(gateway=Refusing()).halt("x")


async def test_halt_is_handed_on_with_its_figure(world: World) -> None:
    told: list[tuple[str, str]] = []

    class Listening:
        async def halt(self, reason: str, *, trigger_value: str = "") -> None:
            told.append((reason, trigger_value))

    await world.hands(gateway=Listening()).halt("x", trigger_value="0.15")
    assert told == [("x", "0.15")]


@pytest.mark.parametrize("effect", ["sweep", "request_kill"])
async def test_missing_executor_is_a_failure_that_names_the_setting(world: World, effect: str) -> None:
    hands = world.hands(executor=None)
    with pytest.raises(EffectFailed, match="executor_socket"):
        await (hands.sweep("x") if effect == "sweep" else hands.request_kill(KILL))


class Closing:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def flatten(self, request_id: str, reason: str) -> str:
        return self.answers.pop(0)


async def test_closing_has_failed_until_the_executor_says_that_it_is_flat(world: World) -> None:
    hands = world.hands(executor=Closing("begun", ""))
    with pytest.raises(EffectFailed, match="not flat yet: begun"):
        await hands.flatten("monthly@7", "x")
    await hands.flatten("monthly@7", "x")


async def test_without_an_executor_positions_are_held(world: World) -> None:
    await world.hands(executor=None).flatten("monthly@7", "x")
    assert world.done == []


async def test_bot_is_paused_then_stopped_then_ended(world: World) -> None:
    hands = world.hands()
    await hands.scale_bot("x")
    await settled()
    assert world.done == ["freqtrade.pause", "freqtrade.stop", "host.scale_to_zero"]
    assert world.rows == [("end_bot", "")]
    await hands.close()


async def test_bot_manages_its_exits_until_the_time_is_over(world: World) -> None:
    hands = world.hands(halt_exit_s=900)
    await hands.scale_bot("x")
    world.clock.advance(899 * NS_PER_S)
    await settled()
    assert world.done == ["freqtrade.pause"]
    world.clock.advance(NS_PER_S)
    await settled()
    assert world.done[1:] == ["freqtrade.stop", "host.scale_to_zero"]


async def test_bot_is_ended_as_soon_as_looks_after_the_halt_show_that_the_account_is_flat(world: World) -> None:
    seen_at_ns = world.clock.monotonic_ns()
    hands = world.hands(halt_exit_s=900)
    hands.is_flat = lambda since_ns: seen_at_ns > since_ns
    await hands.scale_bot("x")
    seen_at_ns += hands_module.FLAT_AFTER_S * NS_PER_S
    await settled()
    assert world.done == ["freqtrade.pause"]
    seen_at_ns += 1
    await settled()
    assert world.done[1:] == ["freqtrade.stop", "host.scale_to_zero"]


async def test_bot_whose_halt_is_released_is_not_ended(world: World) -> None:
    hands = world.hands(halt_exit_s=900)
    hands.spare_bot()
    assert world.rows == []
    await hands.scale_bot("x")
    hands.spare_bot()
    world.clock.advance(900 * NS_PER_S)
    await settled()
    assert (world.done, world.rows) == (["freqtrade.pause"], [("spare_bot", "")])
    await hands.scale_bot("y")
    world.clock.advance(900 * NS_PER_S)
    await settled()
    assert world.done[1:] == ["freqtrade.pause", "freqtrade.stop", "host.scale_to_zero"]
    hands.spare_bot()
    assert [action for action, _ in world.rows] == ["spare_bot", "end_bot"]


async def test_bot_that_cannot_be_paused_is_a_failure_and_is_ended_all_the_same(world: World) -> None:
    world.failing = {"freqtrade.pause", "freqtrade.stop"}
    hands = world.hands()
    with pytest.raises(EffectFailed, match="freqtrade fails"):
        await hands.scale_bot("x")
    await settled()
    assert "host.scale_to_zero" in world.done
    assert world.rows == [("end_bot", "")]


async def test_bot_that_is_gone_needs_no_pause(world: World) -> None:
    world.failing = {"freqtrade.pause"}
    world.gone = True
    await world.hands().scale_bot("x")


async def test_bot_that_does_not_end_is_tried_again_and_a_person_is_called(world: World) -> None:
    world.failing = {"host.scale_to_zero"}
    hands = world.hands()
    await hands.scale_bot("x")
    await settled()
    assert world.done.count("host.scale_to_zero") > 2
    assert world.rows == [("end_bot", "host fails")]
    assert {alert.subject for alert in world.alerts} == {"bot:not_ended"}
    assert world.alerts[0].severity is Severity.CRITICAL
    world.failing.clear()
    await settled()
    assert world.rows == [("end_bot", "host fails"), ("end_bot", "")]


async def test_asking_again_while_the_bot_is_being_ended_begins_nothing_anew(world: World) -> None:
    hands = world.hands(halt_exit_s=900)
    for _ in range(5):
        await hands.scale_bot("x")
    world.clock.advance(900 * NS_PER_S)
    await settled()
    assert world.done.count("host.scale_to_zero") == 1
    await hands.scale_bot("x")
    world.clock.advance(900 * NS_PER_S)
    await settled()
    assert world.done.count("host.scale_to_zero") == 2


async def test_without_a_host_the_stopped_loop_is_all_there_is(world: World) -> None:
    hands = world.hands(host=None)
    await hands.scale_bot("x")
    await settled()
    assert world.done == ["freqtrade.pause", "freqtrade.stop"]
    assert world.rows == [("end_bot", "")]


async def test_without_a_host_a_bot_that_does_not_stop_is_tried_again(world: World) -> None:
    world.failing = {"freqtrade.stop"}
    await world.hands(host=None).scale_bot("x")
    await settled()
    assert world.rows == [("end_bot", "freqtrade fails")]


async def test_without_freqtrade_s_control_the_host_ends_it(world: World) -> None:
    await world.hands(freqtrade=None).scale_bot("x")
    await settled()
    assert world.done == ["host.scale_to_zero"]


async def test_without_any_bot_control_it_fails_by_name(world: World) -> None:
    hands = world.hands(freqtrade=None, host=None)
    with pytest.raises(EffectFailed, match="freqtrade_file, bot_host"):
        await hands.scale_bot("x")
    await settled()
    assert world.rows[0][0] == "end_bot"
    assert "freqtrade_file" in world.rows[0][1]
    await hands.close()


async def test_rows_of_a_repeated_outcome_are_one_a_minute(world: World) -> None:
    hands = world.hands()
    for _ in range(50):
        await hands.sweep("x")
    assert len(world.rows) == 1
    world.clock.advance(60 * NS_PER_S)
    await hands.sweep("x")
    assert len(world.rows) == 2
    world.failing = {"executor.sweep"}
    with pytest.raises(EffectFailed):
        await hands.sweep("x")
    assert world.rows[-1] == ("sweep", "executor fails")


async def test_close_leaves_the_bot_as_it_is(world: World) -> None:
    hands = world.hands(halt_exit_s=900)
    await hands.scale_bot("x")
    await hands.close()
    world.clock.advance(10**6 * NS_PER_S)
    await settled()
    assert world.done == ["freqtrade.pause"]
