"""Did the demonstration show what it set out to show? Pure: facts in, exit code and one sentence out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trade_demo.options import Bot
from trade_demo.view import Counts

GOOD, FAILED = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the demo ends."""

    exit_code: int
    sentence: str


def judge(
    *, bot: Bot, counts: Counts, died: Sequence[str], failure: Verdict | None, scenario: Verdict | None = None
) -> Verdict:
    """Judge a run. `died` names processes that ended unasked; `failure` is the end of a stack that did not start.

    A run with a scenario is judged by how that ended.

    A fill counts when the exchange reports it and the gateway's journal holds the intent of its order.
    """
    if failure is not None:
        return failure
    if died:
        return Verdict(exit_code=FAILED, sentence=f"ended without being asked to: {', '.join(died)}")
    if scenario is not None:
        return scenario
    if bot is Bot.NONE:
        return Verdict(exit_code=GOOD, sentence="every process ran to the end; no bot was asked for")
    unjournaled = counts.entry_fills + counts.exit_fills - counts.journaled_entry_fills - counts.journaled_exit_fills
    if unjournaled:
        return Verdict(exit_code=FAILED, sentence=f"{unjournaled} fills have no intent in the gateway's journal")
    if not counts.journaled_entry_fills:
        return Verdict(exit_code=FAILED, sentence="no entry was filled")
    if not counts.journaled_exit_fills:
        return Verdict(exit_code=FAILED, sentence="an entry was filled, but no exit")
    return Verdict(
        exit_code=GOOD,
        sentence=f"{counts.entry_fills} entry and {counts.exit_fills} exit fills, each with its intent in the journal",
    )
