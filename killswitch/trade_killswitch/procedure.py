"""The kill procedure: which step is tried now, from what came of the others so far. Pure: no clock, no I/O.

The steps, and what each waits for:

    refuse      the gateway refuses everything that adds risk               nothing
    bot         the bot runs nowhere any more                               nothing
    algorithms  server-side algorithms are stopped                          nothing
    secrets     the bot's, gateway's and jobs' secrets cannot be read       nothing
    cancel      nothing works that could add risk                           refuse
    flatten     what is open is closed, or kept as ordered                  cancel, algorithms
    revoke      every key of the account but the exit key is deleted        cancel
    exit_key    the exit key is deleted too                                 revoke; done: cancel, algorithms, flatten
    freeze      the account is frozen                                       exit_key; done: cancel, algorithms, flatten
    prove       the exchange refuses every one of those keys                revoke, exit_key, freeze
    tell        people are told how it ended                                all others

Guarantees
- A step that fails, hangs or never ends stops no other: who waits for it goes on once its time is up. Only what could
  do harm waits for success: the exit key is deleted when nothing needs it any more, and a freeze comes when the account
  is flat, since a frozen account lets the exit key stop and close nothing any more.
- A failed step is tried again: soon while its time lasts, and at longer and longer intervals after it, for as long as
  the kill is not complete. Nothing is given up but a closing that the market refused, which a person takes up again.
- Every state in which a kill can be is made from its order and its rows: after a crash it goes on, and what was done
  is not done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Final, assert_never

from trade_journal.log.rows import Fields, Scalar

REPORT_WITHIN_S: Final = 60.0
PAUSE_FIRST_S: Final = 0.25
PAUSE_BEFORE_DUE_S: Final = 2.0
PAUSE_LAST_S: Final = 15.0
_DOUBLINGS_MAX: Final = 8
_WHY_CHARACTERS_MAX: Final = 300


@unique
class Step(StrEnum):
    """What a kill consists of."""

    REFUSE = "refuse"
    BOT = "bot"
    ALGORITHMS = "algorithms"
    SECRETS = "secrets"
    CANCEL = "cancel"
    FLATTEN = "flatten"
    REVOKE = "revoke"
    EXIT_KEY = "exit_key"
    FREEZE = "freeze"
    PROVE = "prove"
    TELL = "tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a step may begin and how long it is given.

    `after` must be settled: done, not needed, out of time, or never to begin. `needs` must be done or not needed. The
    step is out of time `due_s` after the kill began; one try of it ends within `try_s`.
    """

    due_s: float
    try_s: float
    after: frozenset[Step] = frozenset()
    needs: frozenset[Step] = frozenset()


def _steps(*steps: Step) -> frozenset[Step]:
    return frozenset(steps)


# In an order in which everything comes after what it waits for. Each dependant's time ends after its own one's, so
# that a kill whose exchange is down has asked for everything, and told of it, within a minute.
RULES: Final[Mapping[Step, Rule]] = {
    Step.REFUSE: Rule(due_s=1, try_s=0.9),
    Step.BOT: Rule(due_s=50, try_s=40),
    Step.ALGORITHMS: Rule(due_s=12, try_s=8),
    Step.SECRETS: Rule(due_s=45, try_s=15),
    Step.CANCEL: Rule(due_s=16, try_s=15, after=_steps(Step.REFUSE)),
    Step.FLATTEN: Rule(due_s=44, try_s=28, after=_steps(Step.CANCEL, Step.ALGORITHMS)),
    Step.REVOKE: Rule(due_s=48, try_s=12, after=_steps(Step.CANCEL)),
    Step.EXIT_KEY: Rule(
        due_s=51,
        try_s=5,
        after=_steps(Step.REVOKE),
        needs=_steps(Step.CANCEL, Step.ALGORITHMS, Step.FLATTEN),
    ),
    Step.FREEZE: Rule(
        due_s=54,
        try_s=5,
        after=_steps(Step.EXIT_KEY),
        needs=_steps(Step.CANCEL, Step.ALGORITHMS, Step.FLATTEN),
    ),
    Step.PROVE: Rule(due_s=58, try_s=8, after=_steps(Step.REVOKE, Step.EXIT_KEY, Step.FREEZE)),
    Step.TELL: Rule(due_s=60, try_s=2, after=frozenset(Step) - {Step.TELL}),
}


@unique
class Outcome(StrEnum):
    """What came of one try."""

    DONE = "done"
    NOT_NEEDED = "not_needed"
    FAILED = "failed"
    SHORT = "short"  # carried out, but what was wanted did not come about: a person decides how to go on


@unique
class Status(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    """Its last try failed; there will be another one within its time."""
    PENDING = "pending"
    """Out of time, and not given up."""
    DONE = "done"
    NOT_NEEDED = "not_needed"
    SHORT = "short"


_SUCCEEDED: Final = frozenset({Status.DONE, Status.NOT_NEEDED})
_ENDED: Final = _SUCCEEDED | {Status.SHORT}
Evidence = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one try: why it did not succeed, or evidence that it did, as plain named facts."""

    outcome: Outcome
    why: str = ""
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step of one kill. Times are seconds since the kill began, or began anew after a crash."""

    status: Status = Status.WAITING
    tries: int = 0
    is_trying: bool = False
    is_late: bool = False
    next_try_s: float = 0.0
    began_s: float | None = None
    ended_s: float | None = None
    why: str = ""
    evidence: Evidence = field(default_factory=dict)

    @property
    def is_ended(self) -> bool:
        """Tell whether it is never tried again by itself."""
        return self.status in _ENDED

    @property
    def has_succeeded(self) -> bool:
        """Tell whether what it is there for is so."""
        return self.status in _SUCCEEDED


Progress = Mapping[Step, StepState]


@unique
class Verdict(StrEnum):
    """How a kill stands as a whole."""

    COMPLETE = "complete"
    NOT_FLAT = "not_flat"
    """A position could not be closed; everything else that is not named as pending is done."""
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now: begin a try of these steps, and look again at the latest at `look_again_s`."""

    progress: Progress
    begin: tuple[Step, ...]
    look_again_s: float


def fresh() -> Progress:
    """Return where a kill stands when nothing of it has been tried."""
    return {step: StepState() for step in Step}


def decide(progress: Progress, *, now_s: float) -> Decision:
    """Say what is to be tried now, at `now_s` seconds since the kill began."""
    states = {step: _aged(step, progress[step], now_s) for step in Step}
    settled = _settled(states)
    begin = tuple(step for step in RULES if _may_begin(step, states, settled, now_s))
    for step in begin:
        state = states[step]
        began_s = now_s if state.began_s is None else state.began_s
        states[step] = replace(
            state,
            status=Status.PENDING if state.is_late else Status.RUNNING,
            tries=state.tries + 1,
            is_trying=True,
            began_s=began_s,
        )
    return Decision(progress=states, begin=begin, look_again_s=_look_again(states, now_s))


def noted(progress: Progress, step: Step, tried: Tried, *, now_s: float) -> Progress:
    """Return where the kill stands after one try of a step."""
    state = progress[step]
    changed = replace(state, is_trying=False, why=tried.why[:_WHY_CHARACTERS_MAX], evidence=dict(tried.evidence))
    match tried.outcome:
        case Outcome.FAILED:
            status = Status.PENDING if state.is_late else Status.FAILED
            changed = replace(changed, status=status, next_try_s=now_s + _pause_s(state))
        case Outcome.DONE | Outcome.NOT_NEEDED | Outcome.SHORT:
            changed = replace(changed, status=Status(tried.outcome.value), ended_s=now_s)
        case _:
            assert_never(tried.outcome)
    return {**progress, step: changed}


def pushed(progress: Progress) -> Progress:
    """Return where the kill stands when a person wants it taken up again, its time counted anew.

    What has not succeeded is tried at once. The proof and the message are of the kill as it stood, so both are made
    again when anything else is; a try under way is left to end.
    """
    idle = {step for step, state in progress.items() if not state.is_trying}
    opened = {step for step in idle if not progress[step].has_succeeded}
    if opened:
        opened |= idle & {Step.PROVE, Step.TELL}
    return {**progress, **{step: StepState() for step in opened}}


def verdict_of(progress: Progress) -> Verdict:
    """Say how the kill stands as a whole."""
    if progress[Step.FLATTEN].status is Status.SHORT:
        return Verdict.NOT_FLAT
    return Verdict.COMPLETE if all(state.has_succeeded for state in progress.values()) else Verdict.PENDING


def is_over(progress: Progress) -> bool:
    """Tell whether nothing more is tried by itself."""
    settled = _settled(progress)
    return all(state.is_ended or _is_shut(step, progress, settled) for step, state in progress.items())


def step_fields(step: Step, state: StepState) -> Fields:
    """Return what the journal keeps of a step."""
    return {
        "step": step.value,
        "status": state.status.value,
        "tries": state.tries,
        "began_ms": _milliseconds(state.began_s),
        "ended_ms": _milliseconds(state.ended_s),
        "why": state.why,
        "evidence": dict(state.evidence),
    }


def restored(rows: list[Fields]) -> Progress:
    """Return where a kill stands after a crash: what its rows, in order, say is ended stays so; the rest begins anew.

    Times are those of the run before. A row that this version cannot read leaves its step to be tried again, which is
    harmless: each step may be done twice. The message is always given again, since nobody knows whether it went out.
    """
    progress = dict(fresh())
    for fields in rows:
        known = _restored_step(fields)
        if known is not None:
            progress[known[0]] = known[1]
    return {**progress, Step.TELL: StepState()}


def _restored_step(fields: Fields) -> tuple[Step, StepState] | None:
    evidence, tries = fields.get("evidence"), fields.get("tries")
    try:
        step, status = Step(str(fields.get("step"))), Status(str(fields.get("status")))
    except ValueError:
        return None
    if status not in _ENDED or not isinstance(evidence, Mapping) or type(tries) is not int:
        return step, StepState()
    state = StepState(
        status=status,
        tries=tries,
        began_s=_seconds(fields.get("began_ms")),
        ended_s=_seconds(fields.get("ended_ms")),
        why=str(fields.get("why", "")),
        evidence=dict(evidence),
    )
    return step, state


def _aged(step: Step, state: StepState, now_s: float) -> StepState:
    if state.is_ended or now_s < RULES[step].due_s:
        return state
    # Out of time. One that has not begun is not late: nothing has been tried yet, and its turn may be now.
    if state.tries == 0:
        return replace(state, is_late=True)
    return replace(state, is_late=True, status=Status.PENDING)


def _settled(states: Progress) -> frozenset[Step]:
    """List the steps for which nobody has to wait."""
    settled: set[Step] = set()
    for step in RULES:
        state = states[step]
        if state.is_ended or state.status is Status.PENDING or _is_shut(step, states, settled):
            settled.add(step)
    return frozenset(settled)


def _is_shut(step: Step, states: Progress, settled: frozenset[Step] | set[Step]) -> bool:
    """Tell whether something that a step needs has not come about, so that it does not begin for now."""
    return any(need in settled and not states[need].has_succeeded for need in RULES[step].needs)


def _may_begin(step: Step, states: Progress, settled: frozenset[Step], now_s: float) -> bool:
    state, rule = states[step], RULES[step]
    if state.is_ended or state.is_trying or now_s < state.next_try_s:
        return False
    return rule.after <= settled and all(states[need].has_succeeded for need in rule.needs)


def _look_again(states: Progress, now_s: float) -> float:
    """Return when something changes by the mere passing of time: a next try, or a step out of its time."""
    times = [now_s + PAUSE_LAST_S]
    for step, state in states.items():
        if state.is_ended:
            continue
        times += [time for time in (state.next_try_s, RULES[step].due_s) if time > now_s]
    return min(times)


def _pause_s(state: StepState) -> float:
    most_s = PAUSE_LAST_S if state.is_late else PAUSE_BEFORE_DUE_S
    doublings = min(state.tries - 1, _DOUBLINGS_MAX)
    return float(min(most_s, PAUSE_FIRST_S * 2**doublings))


def _milliseconds(time_s: float | None) -> int | None:
    return None if time_s is None else round(time_s * 1000)


def _seconds(time_ms: object) -> float | None:
    return time_ms / 1000 if type(time_ms) is int else None
