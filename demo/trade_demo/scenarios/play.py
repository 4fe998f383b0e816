"""Plays one scenario to its end and says how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_demo.options import Scenario
from trade_demo.scenarios import crash, drill, leak, rogue, tamper
from trade_demo.scenarios.stage import ScenarioFailed, Stage
from trade_demo.verdict import FAILED, GOOD, Verdict

_PLAYS: Final[Mapping[Scenario, Callable[[Stage], Awaitable[None]]]] = {
    Scenario.CRASH: crash.play,
    Scenario.ROGUE: rogue.play,
    Scenario.LEAK: leak.play,
    Scenario.TAMPER: tamper.play,
    Scenario.DRILL: drill.play,
}


async def play(scenario: Scenario, stage: Stage) -> Verdict:
    """Play a scenario; its evidence is in the stage and has been shown."""
    try:
        await _PLAYS[scenario](stage)
    except (ScenarioFailed, ExchangeUnavailable, ExchangeAnswerInvalid) as error:
        return Verdict(exit_code=FAILED, sentence=f"the scenario {scenario.value} did not come to its end: {error}")
    lines = "\n".join(f"  - {line}" for line in stage.evidence)
    return Verdict(exit_code=GOOD, sentence=f"the scenario {scenario.value} came to its end. The evidence:\n{lines}")
