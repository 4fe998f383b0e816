"""The watch over the gateway's silence: the sweep comes before the words."""

from __future__ import annotations

from collections.abc import Callable

from trade_core.clock import NS_PER_S, ManualClock
from trade_watchdog.actions.gateway_silence import GatewaySilence
from trade_watchdog.effects import Alert, EffectFailed, Effects
from trade_watchdog.gateway_link import GatewayUnavailable


class Seen:
    """Effects that remember their order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.texts: list[str] = []
        self.is_failing = False
        self.asked = 0
        self.hear: Callable[[], None] | None = None

    async def ask(self) -> None:
        self.asked += 1
        if self.hear is None:
            raise GatewayUnavailable("silent")
        self.hear()

    async def sweep(self, reason: str) -> None:
        self.done.append("sweep")
        if self.is_failing:
            raise EffectFailed("nobody there")

    def alert(self, alert: Alert) -> None:
        self.done.append(f"alert {alert.subject}")
        self.texts.append(alert.text)


def watch() -> tuple[GatewaySilence, Seen, ManualClock]:
    seen, clock = Seen(), ManualClock()
    effects: Effects = seen  # type: ignore[assignment]
    return GatewaySilence(effects=effects, ask=seen.ask, clock=clock), seen, clock


async def test_answering_gateway_is_left_alone() -> None:
    silence, seen, clock = watch()
    for _ in range(40):
        clock.advance(NS_PER_S)
        silence.hear()
        await silence.look()
    assert seen.done == []
    assert silence.silent_s == 0


async def test_silent_gateway_is_swept_first_and_told_then() -> None:
    silence, seen, clock = watch()
    clock.advance(15 * NS_PER_S)
    await silence.look()
    assert seen.done == ["sweep", "alert gateway:silent"]
    assert "are being swept" in seen.texts[0]
    await silence.look()
    assert len(seen.done) == 2
    clock.advance(30 * NS_PER_S)
    await silence.look()
    assert seen.done[2:] == ["sweep", "alert gateway:silent"]
    assert silence.silent_s == 45


async def test_sweep_that_nobody_takes_is_asked_for_every_second_and_said() -> None:
    silence, seen, clock = watch()
    seen.is_failing = True
    clock.advance(15 * NS_PER_S)
    for _ in range(3):
        await silence.look()
        clock.advance(NS_PER_S)
    assert seen.done.count("sweep") == 3
    assert "CANNOT be swept" in seen.texts[0]


async def test_gateway_that_answers_again_is_left_alone_until_the_next_silence() -> None:
    silence, seen, clock = watch()
    clock.advance(15 * NS_PER_S)
    await silence.look()
    silence.hear()
    await silence.look()
    clock.advance(14 * NS_PER_S)
    await silence.look()
    assert seen.done.count("sweep") == 1
    clock.advance(31 * NS_PER_S)
    await silence.look()
    assert seen.done.count("sweep") == 2


async def test_gateway_that_nobody_asks_is_asked_and_not_taken_for_silent() -> None:
    silence, seen, clock = watch()
    seen.hear = silence.hear
    for _ in range(100):
        clock.advance(NS_PER_S)
        await silence.look()
    assert seen.done == []
    assert seen.asked == 33


async def test_gateway_that_others_hear_is_not_asked() -> None:
    silence, seen, clock = watch()
    for _ in range(20):
        clock.advance(2 * NS_PER_S)
        silence.hear()
        await silence.look()
    assert seen.asked == 0
