"""A large holding that the account had from the beginning falls, rung by rung, until nothing may trade."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from trade_demo.policy import CRASH_COIN, CRASH_SYMBOL
from trade_demo.scenarios.stage import Stage

FALL: Final = Decimal("0.985")
"""What is left of the price at each step; the holding is 70 % of the equity, so that a step costs about 1 %."""
STEP_S: Final = 5.0
TICK: Final = Decimal("0.0001")
RUNGS: Final = ("daily", "weekly", "monthly", "high_water")
EFFECTS: Final = {"weekly": "TRIMMED", "monthly": "HALTED", "high_water": "HALTED"}
EFFECT_WITHIN_S: Final = 60.0
WALK_WITHIN_S: Final = 420.0
_ACTIONS: Final = {
    "halt": "the gateway halted",
    "kill": "the kill asked for at the executor",
    "scale_bot": "the bot paused and stopped",
}


async def play(stage: Stage) -> None:
    """Let the price fall until the last rung has fired, telling each as it does. Raises ScenarioFailed."""
    stage.say(f"the account has held {CRASH_COIN} since before its deployment began. Its price falls now")
    for rung in RUNGS:
        took_s = await _fallen(stage, rung)
        state = await _state_after(stage, rung)
        shown = _rung(await stage.watchdog_state(), rung)
        stage.prove(f"rung {rung} fired after {took_s:.0f} s more: {_figures(shown)}; the gateway is {state}")
    await stage.until_state("HALTED", within_s=EFFECT_WITHIN_S)
    stage.say("nobody has armed a kill, so the last rung falls back: halted, swept, the bot stopped, a person paged")
    await stage.until("the watchdog has done what the rungs demand", _is_all_done(stage), within_s=60)
    for action, found in sorted((await stage.watchdog_state())["actions"].items()):
        stage.prove(f"{_ACTIONS.get(action, action)}: {found.get('failure') or 'done'}")


async def _fallen(stage: Stage, rung: str) -> float:
    """Let the price fall until a rung fires, and no further before its effect was seen; answers the seconds it took."""
    falling = asyncio.create_task(_fall(stage))
    try:
        return await stage.until(f"the rung {rung} fires", _has_fired(stage, rung), within_s=WALK_WITHIN_S)
    finally:
        falling.cancel()
        await asyncio.gather(falling, return_exceptions=True)


async def _state_after(stage: Stage, rung: str) -> str:
    """Wait for what the rung does to the gateway; answers its trading state."""
    if rung not in EFFECTS:
        return str((await stage.gateway_state()).get("trading_state"))
    await stage.until_state(EFFECTS[rung], within_s=EFFECT_WITHIN_S)
    return EFFECTS[rung]


async def _fall(stage: Stage) -> None:
    price = stage.view.prices[CRASH_SYMBOL]
    while True:
        price = (price * FALL).quantize(TICK)
        await stage.act("/price", {"symbol": CRASH_SYMBOL, "price": str(price)})
        await asyncio.sleep(STEP_S)


def _is_all_done(stage: Stage) -> Callable[[], Awaitable[bool]]:
    """Tell whether all has come about; without a bot there is none to be stopped, and the watchdog says so for ever."""
    wanted = [name for name in _ACTIONS if name != "scale_bot" or stage.files.bot_pid.exists()]

    async def holds() -> bool:
        actions = (await stage.watchdog_state()).get("actions")
        found = actions if isinstance(actions, Mapping) else {}
        return all(found.get(name, {}).get("done_for") and not found[name].get("failure") for name in wanted)

    return holds


def _has_fired(stage: Stage, rung: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return str(_rung(await stage.watchdog_state(), rung).get("stage")) != "armed"

    return holds


def _rung(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    rungs = state.get("rungs")
    found = rungs.get(name) if isinstance(rungs, Mapping) else None
    return found if isinstance(found, Mapping) else {"stage": "armed"}


def _figures(rung: Mapping[str, Any]) -> str:
    return f"drawdown {rung.get('drawdown')} of {rung.get('threshold')}, unit price peak {rung.get('peak')}"
