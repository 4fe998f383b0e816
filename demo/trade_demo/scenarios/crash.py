"""A large holding that the account had from the beginning falls, rung by rung, until nothing may trade."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

from trade_demo.scenarios.stage import Stage

COIN, SYMBOL = "XRP", "XRPUSDT"
FALL: Final = Decimal("0.985")
"""What is left of the price at each step; the holding is 70 % of the equity, so that a step costs about 1 %."""
STEP_S: Final = 5.0
TICK: Final = Decimal("0.0001")
RUNGS: Final = ("daily", "weekly", "monthly", "high_water")
WALK_WITHIN_S: Final = 420.0


async def play(stage: Stage) -> None:
    """Let the price fall until the last rung has fired, telling each as it does. Raises ScenarioFailed."""
    stage.say(
        f"the account holds {COIN} since before its deployment began; the bot does not trade it. Its price falls now"
    )
    falling = asyncio.create_task(_fall(stage))
    try:
        for rung in RUNGS:
            took_s = await stage.until(f"the rung {rung} fires", _has_fired(stage, rung), within_s=WALK_WITHIN_S)
            state = (await stage.gateway_state()).get("trading_state")
            shown = _rung(await stage.watchdog_state(), rung)
            stage.prove(f"rung {rung} fired after {took_s:.0f} s more: {_figures(shown)}; the gateway is {state}")
    finally:
        falling.cancel()
        await asyncio.gather(falling, return_exceptions=True)
    await stage.until_state("HALTED", within_s=30)
    stage.prove(
        "there is no standing warrant, so the kill that the last rung asks for falls back: halted, swept, the bot "
        "scaled to zero, and a person is paged for a touch"
    )


async def _fall(stage: Stage) -> None:
    price = stage.view.prices[SYMBOL]
    while True:
        price = (price * FALL).quantize(TICK)
        await stage.act("/price", {"symbol": SYMBOL, "price": str(price)})
        await asyncio.sleep(STEP_S)


def _has_fired(stage: Stage, rung: str) -> Any:
    async def holds() -> bool:
        return str(_rung(await stage.watchdog_state(), rung).get("stage")) != "armed"

    return holds


def _rung(state: Any, name: str) -> dict[str, Any]:
    rungs = state.get("rungs")
    found = [rung for rung in rungs if rung.get("rung") == name] if isinstance(rungs, list) else []
    return found[0] if found else {"stage": "armed"}


def _figures(rung: dict[str, Any]) -> str:
    return f"drawdown {rung.get('drawdown')} of {rung.get('fraction')}, peak {rung.get('peak')}"
