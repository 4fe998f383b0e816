"""What a person tells and asks the running gateway from a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway.deployment import LEASE_KEY, LOG_KEY, WITNESS_KEY, deployment
from gateway.exchange_thread import exchange_thread
from http_double import Asked, reply

from trade_core.secrets import write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.warrant import parse_warrant
from trade_gateway.cli import main
from trade_gateway.identity import HANDOVER_FOLDER, initialise
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy_file import read_policy

KILLED = "killed: " + "KILL account 1002, everything is gone; " * 20


class Gateway:
    """A deployment, and what its running gateway answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[Asked] = []
        self.status = 200
        self.content: dict[str, Any] = {}

    def answer(self, asked: Asked) -> bytes:
        self.asked.append(asked)
        return reply(json.dumps(self.content).encode(), status=self.status)

    def run(self, command: str, *words: str) -> int:
        return main([command, "--config", str(self.folder / "gateway.toml"), *words])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    settings = deployment(tmp_path)
    hashed = policy_hash(read_policy(settings.policy_file))
    baseline = baseline_of(taken_at_ms=1)
    initialise(
        settings,
        log_key=LOG_KEY,
        lease_key=LEASE_KEY,
        witness_key=WITNESS_KEY,
        policy_hash=hashed,
        baseline=baseline,
    )
    with exchange_thread(made.answer) as double:
        handover = {"admin_url": double.url, "admin_token": "t" * 43}
        write_secret_file(settings.state_dir / HANDOVER_FOLDER / "operator.json", handover)
        yield made


def test_halt_names_what_was_on_the_wire(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.content = {"trading_state": "HALTED", "in_flight": ["a1", "b2\x1b[2J"]}
    assert gateway.run("halt", "--reason", 'a "test"') == 0
    said = capsys.readouterr().out
    assert said.startswith("the gateway is HALTED; on the wire at that moment: a1, b2")
    assert "\x1b" not in said
    assert (gateway.asked[0].method, gateway.asked[0].path) == ("POST", "/halt")
    assert json.loads(gateway.asked[0].body) == {"reason": 'a "test"'}


def test_halt_with_nothing_on_the_wire_says_no_more(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.content = {"trading_state": "HALTED", "in_flight": []}
    assert gateway.run("halt", "--reason", "why") == 0
    assert capsys.readouterr().out == "the gateway is HALTED\n"


def test_halt_that_is_refused_says_which_field_is_wrong_and_not_all_that_was_sent(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = {"type": "x", "loc": ["body", "reason"], "msg": "Input should be a\x1b text", "input": "y" * 5_000}
    gateway.status, gateway.content = 422, {"detail": [fault]}
    assert gateway.run("halt", "--reason", "why") == 1
    said = capsys.readouterr().err
    assert "the gateway answered 422: reason: Input should be a" in said
    assert "yyy" not in said
    assert "\x1b" not in said


def test_draft_that_nobody_signed_is_not_handed_over(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.content = killed(trading_state="HALTED", holders={"operator_latch": {"ceiling": "HALTED", "reason": "x"}})
    draft = gateway.folder / "draft"
    assert gateway.run("release", "--draft", str(draft), "--reason", "found it") == 0
    gateway.asked.clear()
    assert gateway.run("release", "--warrant", str(draft)) == 2
    assert f"{draft}: is a draft that nobody has signed; sign it first" in capsys.readouterr().err
    assert gateway.asked == []


def test_halt_that_is_not_taken_is_a_failure(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.status, gateway.content = 422, {"detail": "reason is too long"}
    assert gateway.run("halt", "--reason", "why") == 1
    assert "the gateway answered 422: reason is too long" in capsys.readouterr().err


def test_state_is_printed_whole(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.content = {"trading_state": "ACTIVE", "holders": {"own_faults": {"reason": "\x1b[31mred"}}}
    assert gateway.run("state") == 0
    said = capsys.readouterr().out
    assert json.loads(said) == gateway.content
    assert "\x1b" not in said


def killed(**changed: Any) -> dict[str, Any]:
    latch = {"ceiling": "KILLED", "reason": KILLED}
    return {
        "trading_state": "KILLED",
        "latch_subject": "latch:7",
        "holders": {"operator_latch": latch},
        "order_key": "order2",
        "killed_keys": ["order1"],
        **changed,
    }


SAID = ("--decision", "stays as it is", "--drill", "d1", "--exit-key", "exit2")


def test_release_of_a_kill_says_everything_beside_a_kill_that_says_much(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.content = killed()
    draft = gateway.folder / "draft"
    assert gateway.run("release", "--draft", str(draft), "--reason", "new keys are made", *SAID) == 0
    words = parse_warrant(draft.read_bytes()).words
    assert words.startswith("release KILLED (held because: killed: KILL account 1002")
    assert words.endswith(
        "; cause: new keys are made; decision: stays as it is; drill: d1; order key: order2; exit key: exit2"
    )
    assert "two different security keys" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "words", "code", "why"),
    [
        (killed(), (), 2, "--decision, --drill, --exit-key: a release after a kill needs it"),
        (killed(), SAID[:4], 2, "--exit-key: a release after a kill needs it"),
        (killed(order_key="order1"), SAID, 1, "still uses the order key order1, which was killed"),
        (killed(), (*SAID[:4], "--exit-key", "order1"), 2, "exit key order1 is one that was killed"),
        (killed(), (*SAID[:4], "--exit-key", "order2"), 2, "another one than the order key"),
        (killed(killed_keys=[]), SAID, 2, "names no key that it killed"),
        (
            killed(holders={"operator_latch": {"ceiling": "HALTED", "reason": "x"}}),
            SAID,
            2,
            "are of a release after a kill, and nothing is killed",
        ),
    ],
)
def test_release_that_would_be_refused_is_not_drafted(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], *, state: dict[str, Any], words: Any, code: int, why: str
) -> None:
    gateway.content = state
    draft = gateway.folder / "draft"
    assert gateway.run("release", "--draft", str(draft), "--reason", "new keys are made", *words) == code
    assert why in capsys.readouterr().err
    assert not draft.exists()


def test_release_of_a_halt_needs_its_cause_alone(gateway: Gateway) -> None:
    gateway.content = killed(trading_state="HALTED", holders={"operator_latch": {"ceiling": "HALTED", "reason": "x"}})
    draft = gateway.folder / "draft"
    assert gateway.run("release", "--draft", str(draft), "--reason", "found it", "--rebase", "daily") == 0
    words = parse_warrant(draft.read_bytes()).words
    assert words == "release HALTED and re-base the rungs daily (held because: x); cause: found it"


@pytest.mark.parametrize("other", [["--policy", "--draft", "d", "--reason", "why"], ["--warrant", "w"]])
def test_what_is_said_after_a_kill_belongs_to_a_draft_of_its_release(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    assert gateway.run("release", *other, *SAID) == 2
    assert "only the release of a latch" in (said := capsys.readouterr().err) or "it says itself" in said
