"""What is said of a kill: as data for machines, and as text that can be printed. Pure.

Both say the same: how it stands as a whole, each step by name with its time and evidence, and what is not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from trade_journal.log.rows import Fields
from trade_killswitch.kill_order import KillOrder
from trade_killswitch.procedure import Progress, Status, Step, StepState, Verdict, verdict_of

STEP_WORDS: Final[Mapping[Step, str]] = {
    Step.REFUSE: "the gateway refuses what adds risk",
    Step.BOT: "the bot runs nowhere",
    Step.ALGORITHMS: "no server-side algorithm runs",
    Step.SECRETS: "secrets are destroyed",
    Step.CANCEL: "no order works that could add risk",
    Step.FLATTEN: "positions are as ordered",
    Step.REVOKE: "the account's keys are deleted",
    Step.EXIT_KEY: "the exit key is deleted",
    Step.FREEZE: "the account is frozen",
    Step.PROVE: "the exchange refuses the old keys",
    Step.TELL: "people are told",
}
_STATUS_WORDS: Final[Mapping[Status, str]] = {
    Status.WAITING: "not begun",
    Status.RUNNING: "goes on",
    Status.FAILED: "tried again",
    Status.PENDING: "PENDING",
    Status.DONE: "done",
    Status.NOT_NEEDED: "not needed",
    Status.SHORT: "NOT REACHED",
}


def unfinished(progress: Progress) -> list[Step]:
    """List the steps that have not succeeded, in the order of the procedure."""
    return [step for step in Step if not progress[step].has_succeeded]


def sentence(order: KillOrder, progress: Progress, *, took_s: float) -> str:
    """Say in one sentence how the kill stands."""
    what = "kill drill" if order.is_drill else "kill"
    open_steps = [step for step in unfinished(progress) if step is not Step.TELL]
    names = ", ".join(step.value for step in open_steps)
    match verdict_of(progress):
        case Verdict.NOT_FLAT:
            return f"the {what} is NOT FLAT after {took_s:.1f} s: {progress[Step.FLATTEN].why}"
        case Verdict.COMPLETE:
            return f"the {what} is complete and proved after {took_s:.1f} s"
        case Verdict.PENDING if not open_steps:
            return f"the {what} is proved after {took_s:.1f} s; people are being told"
        case Verdict.PENDING if all(progress[step].status is not Status.PENDING for step in open_steps):
            return f"the {what} goes on, {took_s:.1f} s so far; still to do: {names}"
        case Verdict.PENDING:
            return f"the {what} is PENDING after {took_s:.1f} s: {names}; the rest is done, and these are tried again"
        case verdict:
            assert_never(verdict)


def report(
    order: KillOrder, progress: Progress, *, began_at_ns: int, now_s: float, told: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything about a kill as plain data. Times of steps are seconds since it began.

    `told` is what became of the message about it on each channel. It goes on after the kill, which waits for nobody.
    """
    took_s = _took_s(progress, now_s)
    return {
        **order.fields(),
        "began_at_ns": began_at_ns,
        "took_s": took_s,
        "verdict": verdict_of(progress).value,
        "in_words": sentence(order, progress, took_s=took_s),
        "unfinished": [step.value for step in unfinished(progress)],
        "told": dict(told),
        "steps": [_step(step, progress[step]) for step in Step],
    }


def report_fields(order: KillOrder, progress: Progress, *, now_s: float) -> Fields:
    """Return what the journal keeps of the report; the evidence stands in the rows of the steps."""
    return {
        "kill_id": order.kill_id,
        "is_drill": order.is_drill,
        "verdict": verdict_of(progress).value,
        "took_ms": round(_took_s(progress, now_s) * 1000),
        "unfinished": [step.value for step in unfinished(progress)],
        "ended_ms": {step.value: _ended_ms(progress[step]) for step in Step},
    }


def printed(content: Mapping[str, Any]) -> str:
    """Write a report for a person, a line a step, from what `report` gave."""
    width = max(len(words) for words in STEP_WORDS.values())
    lines = [
        f"Kill {content['kill_id']}{' (drill)' if content['is_drill'] else ''}: {content['in_words']}.",
        f"Ordered by {content['authority'].replace('_', ' ')}: {content['reason']}",
        "Positions: " + ", ".join(f"{category} {ending}" for category, ending in content["endings"].items()),
        "",
    ]
    for step in content["steps"]:
        time = "" if step["ended_s"] is None else f"{step['ended_s']:6.2f} s"
        lines.append(f"  {step['words']:<{width}}  {step['status_words']:<11}  {time:>8}".rstrip())
        if step["why"]:
            lines.append(f"      {step['why']}")
        lines += [f"      {name}: {value}" for name, value in step["evidence"].items()]
    told = [f"{channel} {fate}" for channel, fate in content["told"].items()]
    lines += ["", f"People: {', '.join(told) if told else 'no channel of alerts is set up (setting alerts_file)'}"]
    return "\n".join(lines) + "\n"


def _step(step: Step, state: StepState) -> dict[str, Any]:
    return {
        "step": step.value,
        "words": STEP_WORDS[step],
        "status": state.status.value,
        "status_words": _STATUS_WORDS[state.status],
        "tries": state.tries,
        "began_s": state.began_s,
        "ended_s": state.ended_s,
        "why": state.why,
        "evidence": dict(state.evidence),
    }


def _took_s(progress: Progress, now_s: float) -> float:
    """Return how long a complete kill took; of another one, how long it has gone on."""
    ended = [state.ended_s for state in progress.values() if state.ended_s is not None]
    if verdict_of(progress) is Verdict.COMPLETE and ended:
        return round(max(ended), 3)
    return round(now_s, 3)


def _ended_ms(state: StepState) -> int | None:
    return None if state.ended_s is None else round(state.ended_s * 1000)
