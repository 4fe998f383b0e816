"""The plan of a kill: every order in which its steps may fail, hang and succeed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from trade_killswitch.procedure import (
    PAUSE_BEFORE_DUE_S,
    PAUSE_FIRST_S,
    PAUSE_LAST_S,
    REPORT_WITHIN_S,
    RULES,
    Outcome,
    Progress,
    Status,
    Step,
    StepState,
    Tried,
    Verdict,
    decide,
    fresh,
    is_over,
    noted,
    pushed,
    restored,
    step_fields,
    verdict_of,
)

DONE = Tried(outcome=Outcome.DONE, evidence={"proved": True})
FAILED = Tried(outcome=Outcome.FAILED, why="it does not answer")
SHORT = Tried(outcome=Outcome.SHORT, why="NOT FLAT: XRPUSDT")
NOT_NEEDED = Tried(outcome=Outcome.NOT_NEEDED, why="nothing to do")
FIRST = (Step.REFUSE, Step.BOT, Step.ALGORITHMS, Step.SECRETS)


def begun(progress: Progress, now_s: float = 0) -> tuple[Progress, tuple[Step, ...]]:
    decision = decide(progress, now_s=now_s)
    return decision.progress, decision.begin


class Run:
    """A kill whose steps answer as told: with an outcome at once, after a time, or never (None)."""

    def __init__(self, answers: Mapping[Step, Any] | None = None, *, progress: Progress | None = None) -> None:
        self.answers: dict[Step, Any] = dict(answers or {})
        self.progress = progress or fresh()
        self.now_s = 0.0
        self.begun: list[tuple[float, Step]] = []
        self.ended: list[Step] = []

    def to(self, end_s: float) -> Run:
        """Let it go on until a time, or until nothing more is tried."""
        while self.now_s <= end_s and not is_over(self.progress):
            decision = decide(self.progress, now_s=self.now_s)
            self.progress = decision.progress
            for step in decision.begin:
                self.begun.append((self.now_s, step))
                answer = self.answers.get(step, DONE)
                # A try that hangs is ended by its time limit, which counts as one that failed.
                self.progress = noted(self.progress, step, FAILED if answer is None else answer, now_s=self.now_s)
                self.ended.append(step)
            if not decision.begin:
                assert decision.look_again_s > self.now_s
                self.now_s = decision.look_again_s
        return self

    def status(self, step: Step) -> Status:
        return self.progress[step].status

    def tries(self, step: Step) -> list[float]:
        return [time_s for time_s, tried in self.begun if tried is step]


def test_independent_steps_begin_at_once_and_together() -> None:
    progress, begin = begun(fresh())
    assert begin == FIRST
    assert all(progress[step].status is Status.RUNNING and progress[step].tries == 1 for step in FIRST)
    assert begun(progress)[1] == ()


def test_kill_in_which_everything_succeeds_is_complete() -> None:
    run = Run().to(0)
    assert verdict_of(run.progress) is Verdict.COMPLETE
    assert is_over(run.progress)
    assert [step for _, step in run.begun] == [
        *FIRST, Step.CANCEL, Step.FLATTEN, Step.REVOKE, Step.EXIT_KEY, Step.FREEZE, Step.PROVE, Step.TELL
    ]  # fmt: skip


def test_steps_that_are_not_needed_count_as_done() -> None:
    run = Run(dict.fromkeys(Step, NOT_NEEDED)).to(0)
    assert verdict_of(run.progress) is Verdict.COMPLETE
    assert run.progress[Step.BOT].why == "nothing to do"


def test_every_step_comes_after_what_it_waits_for_and_has_later_due_times() -> None:
    seen: set[Step] = set()
    for step, rule in RULES.items():
        assert rule.after | rule.needs <= seen
        assert all(RULES[other].due_s < rule.due_s for other in rule.after | rule.needs)
        assert 0 < rule.try_s < rule.due_s
        seen.add(step)
    assert seen == set(Step)
    assert max(rule.due_s for rule in RULES.values()) == REPORT_WITHIN_S


def test_cancel_waits_for_the_gateway_no_longer_than_its_time() -> None:
    progress, _ = begun(fresh())
    assert begun(progress, 0.999)[1] == ()
    progress, begin = begun(progress, 1)
    assert begin == (Step.CANCEL,)
    assert progress[Step.REFUSE].status is Status.PENDING


def test_cancel_does_not_wait_when_the_gateway_refuses() -> None:
    progress, _ = begun(fresh())
    assert begun(noted(progress, Step.REFUSE, DONE, now_s=0.1), 0.1)[1] == (Step.CANCEL,)


def test_failed_step_is_tried_again_at_longer_intervals() -> None:
    run = Run({Step.BOT: FAILED}).to(200)
    pauses = [later - earlier for earlier, later in itertools.pairwise(run.tries(Step.BOT))]
    assert pauses[:4] == [PAUSE_FIRST_S, 0.5, 1.0, PAUSE_BEFORE_DUE_S]
    assert max(pause for pause, at_s in zip(pauses, run.tries(Step.BOT), strict=False) if at_s < 48) == 2.0
    assert pauses[-1] == PAUSE_LAST_S
    assert run.status(Step.BOT) is Status.PENDING


def test_failed_step_that_succeeds_later_is_done() -> None:
    run = Run({Step.SECRETS: FAILED}).to(3)
    assert run.status(Step.SECRETS) is Status.FAILED
    assert run.progress[Step.SECRETS].why == "it does not answer"
    run.answers[Step.SECRETS] = DONE
    run.to(10)
    assert run.status(Step.SECRETS) is Status.DONE
    assert run.progress[Step.SECRETS].why == ""
    assert verdict_of(run.progress) is Verdict.COMPLETE


def test_intervals_stay_bounded_after_any_number_of_tries() -> None:
    state = StepState(tries=2000, is_trying=True, is_late=True)
    progress = noted({**fresh(), Step.BOT: state}, Step.BOT, FAILED, now_s=100)
    assert progress[Step.BOT].next_try_s == 100 + PAUSE_LAST_S


@pytest.mark.parametrize("failing", [step for step in Step if step is not Step.TELL])
@pytest.mark.parametrize("answer", [FAILED, None])
def test_one_failing_step_keeps_no_other_from_being_tried_in_time(failing: Step, answer: Any) -> None:
    run = Run({failing: answer}).to(REPORT_WITHIN_S)
    held = {step for step, rule in RULES.items() if failing in rule.needs}
    held |= {step for step, rule in RULES.items() if rule.needs & held}
    tried = {step for _, step in run.begun}
    assert tried == set(Step) - held
    assert {step for step in Step if not run.progress[step].has_succeeded} == {failing, *held}
    assert verdict_of(run.progress) is Verdict.PENDING
    assert run.status(Step.TELL) is Status.DONE


@pytest.mark.parametrize("failing", list(itertools.combinations([step for step in Step if step is not Step.TELL], 2)))
def test_two_failing_steps_that_recover_end_complete(failing: tuple[Step, Step]) -> None:
    run = Run(dict.fromkeys(failing, FAILED)).to(REPORT_WITHIN_S)
    assert verdict_of(run.progress) is Verdict.PENDING
    assert not is_over(run.progress)
    run.answers.clear()
    run.to(REPORT_WITHIN_S + 3 * PAUSE_LAST_S)
    assert verdict_of(run.progress) is Verdict.COMPLETE
    assert is_over(run.progress)


def test_exchange_that_is_down_leaves_refusing_and_bot_done_and_the_rest_pending_within_a_minute() -> None:
    exchange = [Step.CANCEL, Step.ALGORITHMS, Step.FLATTEN, Step.REVOKE, Step.EXIT_KEY, Step.FREEZE, Step.PROVE]
    run = Run(dict.fromkeys(exchange, FAILED)).to(REPORT_WITHIN_S)
    assert run.status(Step.REFUSE) is run.status(Step.BOT) is run.status(Step.SECRETS) is Status.DONE
    assert {step for step in exchange if run.status(step) is Status.PENDING} == {
        Step.CANCEL, Step.ALGORITHMS, Step.FLATTEN, Step.REVOKE, Step.PROVE
    }  # fmt: skip
    # Never tried, so that what the others need is kept.
    assert run.status(Step.EXIT_KEY) is run.status(Step.FREEZE) is Status.WAITING
    assert run.status(Step.TELL) is Status.DONE


def test_exit_key_is_kept_while_anything_needs_it() -> None:
    for step in (Step.CANCEL, Step.ALGORITHMS, Step.FLATTEN):
        run = Run({step: FAILED}).to(REPORT_WITHIN_S)
        assert run.tries(Step.EXIT_KEY) == []
    run = Run({Step.REVOKE: FAILED}).to(REPORT_WITHIN_S)
    assert run.tries(Step.EXIT_KEY) == [48]


def test_account_that_is_not_flat_is_not_frozen_and_keeps_its_exit_key() -> None:
    run = Run({Step.FLATTEN: SHORT, Step.PROVE: SHORT}).to(REPORT_WITHIN_S)
    assert run.tries(Step.EXIT_KEY) == run.tries(Step.FREEZE) == []
    assert run.tries(Step.FLATTEN) == [0]
    assert verdict_of(run.progress) is Verdict.NOT_FLAT
    assert is_over(run.progress)
    assert run.status(Step.TELL) is Status.DONE


def test_not_flat_stays_the_verdict_while_something_else_is_pending() -> None:
    run = Run({Step.FLATTEN: SHORT, Step.SECRETS: FAILED}).to(REPORT_WITHIN_S)
    assert verdict_of(run.progress) is Verdict.NOT_FLAT
    assert not is_over(run.progress)


def test_person_takes_a_short_closing_up_again() -> None:
    run = Run({Step.FLATTEN: SHORT, Step.PROVE: SHORT}).to(REPORT_WITHIN_S)
    again = Run(progress=pushed(run.progress)).to(REPORT_WITHIN_S)
    assert verdict_of(again.progress) is Verdict.COMPLETE
    assert {step for _, step in again.begun} == {Step.FLATTEN, Step.EXIT_KEY, Step.FREEZE, Step.PROVE, Step.TELL}


def test_taking_up_again_leaves_what_is_done_and_what_is_being_tried() -> None:
    complete = Run().to(0).progress
    assert pushed(complete) == complete
    progress, _ = begun(fresh())
    progress = noted(progress, Step.SECRETS, DONE, now_s=1)
    progress = noted(progress, Step.ALGORITHMS, FAILED, now_s=1)
    again = pushed(progress)
    assert again[Step.BOT] == progress[Step.BOT]
    assert again[Step.SECRETS].status is Status.DONE
    assert again[Step.ALGORITHMS] == StepState()
    trying = {**progress, Step.TELL: StepState(is_trying=True, tries=4), Step.PROVE: StepState(is_trying=True)}
    assert pushed(trying)[Step.TELL].tries == 4


def test_proof_and_message_are_made_again_when_anything_is() -> None:
    done = {**Run().to(0).progress, Step.SECRETS: StepState(status=Status.PENDING, tries=3, is_late=True)}
    again = pushed(done)
    assert again[Step.PROVE] == again[Step.TELL] == again[Step.SECRETS] == StepState()
    assert again[Step.FREEZE].status is Status.DONE


def test_late_try_under_way_counts_as_pending_and_may_still_succeed() -> None:
    progress, _ = begun(fresh())
    progress, _ = begun(progress, 50)
    assert progress[Step.BOT].status is Status.PENDING
    assert progress[Step.BOT].is_trying
    assert not is_over(progress)
    progress = noted(progress, Step.BOT, DONE, now_s=51)
    assert progress[Step.BOT].status is Status.DONE
    assert progress[Step.BOT].ended_s == 51


def test_step_becomes_pending_at_its_time_and_not_before() -> None:
    progress, _ = begun(fresh())
    assert begun(progress, 49.999)[0][Step.BOT].status is Status.RUNNING
    assert begun(progress, 50)[0][Step.BOT].status is Status.PENDING


def test_failed_try_of_a_late_step_stays_pending() -> None:
    progress, _ = begun(fresh())
    progress, _ = begun(progress, 50)
    progress = noted(progress, Step.BOT, FAILED, now_s=50)
    assert progress[Step.BOT].status is Status.PENDING
    assert progress[Step.BOT].next_try_s == 50.25
    progress, begin = begun(progress, 50.25)
    assert Step.BOT in begin
    assert progress[Step.BOT].status is Status.PENDING
    assert progress[Step.BOT].began_s == 0


def test_look_comes_again_when_the_next_try_or_the_end_of_a_steps_time_is_due() -> None:
    decision = decide(fresh(), now_s=0)
    assert decision.look_again_s == 1  # the gateway's time
    progress = noted(decision.progress, Step.BOT, FAILED, now_s=0.5)
    assert decide(progress, now_s=0.5).look_again_s == 0.75
    late = {step: StepState(status=Status.PENDING, tries=1, is_late=True, is_trying=True) for step in Step}
    assert decide(late, now_s=500).look_again_s == 500 + PAUSE_LAST_S


def test_long_reasons_are_cut() -> None:
    progress, _ = begun(fresh())
    progress = noted(progress, Step.BOT, Tried(outcome=Outcome.FAILED, why="x" * 1000), now_s=0)
    assert progress[Step.BOT].why == "x" * 300


def test_kill_goes_on_from_its_rows_after_a_crash_at_any_step() -> None:
    whole = Run({Step.BOT: NOT_NEEDED}).to(0)
    rows = [step_fields(step, whole.progress[step]) for step in whole.ended]
    for count in range(len(rows) + 1):
        known = restored(rows[:count])
        kept = set(whole.ended[:count]) - {Step.TELL}
        assert {step for step, state in known.items() if state.has_succeeded} == kept
        again = Run(progress=known).to(0)
        assert verdict_of(again.progress) is Verdict.COMPLETE
        assert {step for _, step in again.begun} == set(Step) - kept


def test_row_of_a_step_is_read_back_as_it_was() -> None:
    progress, _ = begun(fresh(), 1.5)
    progress = noted(progress, Step.BOT, DONE, now_s=2.25)
    fields = step_fields(Step.BOT, progress[Step.BOT])
    assert fields == {
        "step": "bot",
        "status": "done",
        "tries": 1,
        "began_ms": 1500,
        "ended_ms": 2250,
        "why": "",
        "evidence": {"proved": True},
    }
    known = restored([fields])[Step.BOT]
    assert (known.status, known.tries, known.began_s, known.ended_s) == (Status.DONE, 1, 1.5, 2.25)
    assert known.evidence == {"proved": True}


def test_later_row_of_a_step_wins_and_a_failed_one_is_tried_again() -> None:
    done = step_fields(Step.PROVE, StepState(status=Status.DONE, tries=1))
    failed = step_fields(Step.PROVE, StepState(status=Status.FAILED, tries=2, why="x"))
    assert restored([done, failed])[Step.PROVE] == StepState()
    assert restored([failed, done])[Step.PROVE].status is Status.DONE
    short = step_fields(Step.FLATTEN, StepState(status=Status.SHORT, tries=1, why="NOT FLAT"))
    assert restored([short])[Step.FLATTEN].why == "NOT FLAT"


@pytest.mark.parametrize(
    "changed",
    [
        {"step": "unknown"},
        {"status": "unknown"},
        {"evidence": "text"},
        {"evidence": None},
        {"tries": "1"},
        {"tries": True},
    ],
)
def test_row_that_cannot_be_read_leaves_its_step_to_be_tried_again(changed: dict[str, Any]) -> None:
    fields = {**step_fields(Step.BOT, StepState(status=Status.DONE, tries=1)), **changed}
    assert restored([fields]) == fresh()


def test_times_that_a_row_does_not_hold_are_unknown() -> None:
    fields = {**step_fields(Step.BOT, StepState(status=Status.DONE, tries=1)), "began_ms": None, "ended_ms": "x"}
    known = restored([fields])[Step.BOT]
    assert known.status is Status.DONE
    assert known.began_s is None
    assert known.ended_s is None


TIMETABLE = {
    Step.REFUSE: (1, 0.9),
    Step.BOT: (50, 40),
    Step.ALGORITHMS: (12, 8),
    Step.SECRETS: (45, 15),
    Step.CANCEL: (16, 15),
    Step.FLATTEN: (44, 28),
    Step.REVOKE: (48, 12),
    Step.EXIT_KEY: (51, 5),
    Step.FREEZE: (54, 5),
    Step.PROVE: (58, 8),
    Step.TELL: (60, 2),
}


def test_timetable_is_the_one_that_was_decided_and_stands_on_the_page() -> None:
    assert {step: (rule.due_s, rule.try_s) for step, rule in RULES.items()} == TIMETABLE


def of(**statuses: Status) -> Progress:
    """Make a progress of steps that stand like this; the others wait."""
    return {**fresh(), **{Step(name): StepState(status=status, tries=1) for name, status in statuses.items()}}


def test_proof_waits_for_the_exit_key_while_what_that_needs_goes_on() -> None:
    done = dict.fromkeys(("refuse", "cancel", "algorithms", "revoke", "bot", "secrets"), Status.DONE)
    closing = {**of(**done), Step.FLATTEN: StepState(status=Status.RUNNING, tries=1, is_trying=True)}
    assert decide(closing, now_s=20).begin == ()


def test_step_whose_turn_comes_after_its_time_is_pending_from_its_first_try() -> None:
    decision = decide(fresh(), now_s=RULES[Step.ALGORITHMS].due_s)
    assert Step.ALGORITHMS in decision.begin
    assert decision.progress[Step.ALGORITHMS].status is Status.PENDING
    assert decide(fresh(), now_s=RULES[Step.ALGORITHMS].due_s - 0.1).progress[Step.ALGORITHMS].status is Status.RUNNING


def test_times_of_steps_that_have_ended_are_no_reason_to_look_again() -> None:
    done = {step: StepState(status=Status.DONE, tries=1, next_try_s=3) for step in Step}
    assert decide(done, now_s=0).look_again_s == PAUSE_LAST_S
