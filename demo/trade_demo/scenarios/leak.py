"""Somebody with the master account makes a second trading key."""

from __future__ import annotations

from typing import Final

from trade_demo.scenarios.stage import Stage

NOTICED_WITHIN_S: Final = 120.0


async def play(stage: Stage) -> None:
    """Make the key, and see it found and the gateway halted. Raises ScenarioFailed."""
    stage.say("somebody makes a new key of the account, which trades from any address")
    made = await stage.act("/key", {"permissions": {"Spot": ["SpotTrade"]}, "readOnly": 0, "ips": []})
    key = str(made.get("key", ""))
    took_s = await stage.until_state("HALTED", within_s=NOTICED_WITHIN_S)
    stage.prove(f"the key sentinel found {key}, and the gateway was HALTED after {took_s:.1f} s")
    stage.prove(f"the watchdog's audit counts {await stage.findings()}")
    halts = await stage.rows(frozenset({"state:changed"}))
    stage.prove(f"row {halts[-1]['seq']} of the gateway's journal keeps the halt: {halts[-1]['fields'].get('reason')}")
