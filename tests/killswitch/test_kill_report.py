"""What is said of a kill."""

from __future__ import annotations

import json
from typing import Any

from killswitch.test_kill_order import order
from killswitch.test_procedure import FAILED, SHORT, Run

from trade_killswitch.kill_report import STEP_WORDS, printed, report, report_fields, sentence, unfinished
from trade_killswitch.procedure import Progress, Step, StepState, fresh


def report_of(run: Run, **changed: Any) -> dict[str, Any]:
    return report(order(**changed), run.progress, began_at_ns=5, now_s=run.now_s, told={})


def test_complete_kill_says_so_with_the_time_of_its_last_step() -> None:
    run = Run().to(0)
    late: Progress = {**run.progress, Step.FREEZE: StepState(status=run.status(Step.FREEZE), ended_s=4.25)}
    content = report(order(), late, began_at_ns=5, now_s=99, told={})
    assert content["verdict"] == "complete"
    assert content["took_s"] == 4.25
    late = {**late, Step.TELL: StepState(status=run.status(Step.TELL), ended_s=4.56789)}
    assert report(order(), late, began_at_ns=5, now_s=99, told={})["took_s"] == 4.568
    assert report(order(), fresh(), began_at_ns=5, now_s=1.23456, told={})["took_s"] == 1.235
    assert report_fields(order(), late, now_s=9)["ended_ms"]["tell"] == 4568
    assert content["in_words"] == "the kill is complete and proved after 4.2 s"
    assert content["unfinished"] == []
    assert content["began_at_ns"] == 5
    assert content["kill_id"] == "0123456789abcdef"
    assert [step["step"] for step in content["steps"]] == [step.value for step in Step]
    json.dumps(content)


def test_complete_kill_whose_times_are_not_known_takes_as_long_as_it_is_old() -> None:
    timeless = {step: StepState(status=state.status) for step, state in Run().to(0).progress.items()}
    assert report(order(), timeless, began_at_ns=5, now_s=7, told={})["took_s"] == 7


def test_pending_kill_names_its_steps() -> None:
    run = Run({Step.BOT: FAILED, Step.SECRETS: FAILED}).to(60)
    content = report_of(run)
    assert content["verdict"] == "pending"
    assert content["unfinished"] == ["bot", "secrets"]
    assert "PENDING after 60.0 s: bot, secrets; the rest is done" in content["in_words"] or run.now_s > 60
    assert content["took_s"] == round(run.now_s, 3)


def test_kill_whose_steps_are_in_time_goes_on() -> None:
    run = Run({Step.BOT: FAILED}).to(1)
    assert report_of(run)["in_words"] == f"the kill goes on, {run.now_s:.1f} s so far; still to do: bot"
    assert report_of(run, is_drill=True)["in_words"].startswith("the kill drill goes on")


def test_kill_with_one_step_out_of_its_time_is_pending() -> None:
    run = Run({Step.ALGORITHMS: FAILED, Step.BOT: FAILED}).to(20)
    assert report_of(run)["in_words"].startswith("the kill is PENDING after")


def test_kill_of_which_only_the_message_is_missing_says_that() -> None:
    progress = {**Run().to(0).progress, Step.TELL: StepState()}
    assert sentence(order(), progress, took_s=3) == "the kill is proved after 3.0 s; people are being told"
    assert unfinished(progress) == [Step.TELL]


def test_account_that_is_not_flat_comes_first() -> None:
    run = Run({Step.FLATTEN: SHORT, Step.PROVE: SHORT}).to(60)
    assert report_of(run)["in_words"].startswith("the kill is NOT FLAT after")
    assert report_of(run)["in_words"].endswith("NOT FLAT: XRPUSDT")
    assert report_of(run, is_drill=True)["in_words"].startswith("the kill drill is NOT FLAT")


def test_row_of_the_report_has_the_times_of_every_step() -> None:
    fields = report_fields(order(), Run({Step.BOT: FAILED}).to(1).progress, now_s=1)
    assert fields["verdict"] == "pending"
    assert fields["took_ms"] == 1000
    assert fields["unfinished"] == ["bot", "tell"]
    assert fields["ended_ms"]["refuse"] == 0
    assert fields["ended_ms"]["bot"] is None
    assert fields["is_drill"] is False


def test_printed_report_has_a_line_a_step_with_reasons_and_evidence() -> None:
    run = Run({Step.BOT: FAILED}).to(60)
    lines = printed(report_of(run, is_drill=True)).splitlines()
    assert lines[0].startswith("Kill 0123456789abcdef (drill): the kill drill is PENDING")
    assert lines[1] == "Ordered by touch: a person said so"
    assert lines[2] == "Positions: spot hold, linear flatten, inverse hold"
    assert any(line.split() == [*STEP_WORDS[Step.REFUSE].split(), "done", "0.00", "s"] for line in lines)
    assert "      it does not answer" in lines
    assert "      " not in lines
    (named,) = [line for line in lines if "no order works" in line]
    (short,) = [line for line in lines if "people are told" in line]
    assert named.index("done") == short.index("done") == 2 + max(map(len, STEP_WORDS.values())) + 2
    assert "      proved: True" in lines
    assert any("the bot runs nowhere" in line and line.endswith("PENDING") for line in lines)
    assert printed(report_of(run)).startswith("Kill 0123456789abcdef: the kill is PENDING")


def test_every_status_is_said_in_words() -> None:
    content = report(order(), Run({Step.BOT: FAILED}).to(1).progress, began_at_ns=0, now_s=1, told={})
    said = {step["step"]: (step["status"], step["status_words"]) for step in content["steps"]}
    assert (said["refuse"], said["bot"]) == (("done", "done"), ("failed", "tried again"))
    assert "not begun" in printed(report(order(), fresh(), began_at_ns=0, now_s=0, told={}))


def test_what_became_of_the_message_on_each_channel_is_said() -> None:
    told = {"1:telegram": "delivered", "2:webhook": "waiting"}
    content = report(order(), Run().to(0).progress, began_at_ns=5, now_s=1, told=told)
    assert content["told"] == told
    assert printed(content).endswith("\n\nPeople: 1:telegram delivered, 2:webhook waiting\n")
    nobody = report(order(), Run().to(0).progress, began_at_ns=5, now_s=1, told={})
    assert printed(nobody).endswith("\n\nPeople: no channel of alerts is set up (setting alerts_file)\n")
