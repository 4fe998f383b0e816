"""The doctor over whole and broken deployments: it says what is wrong, and changes nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway.deployment import LEASE_KEY, LOG_KEY, WITNESS_KEY, deployment
from gateway.exchange_thread import exchange_thread
from http_double import Asked, HttpDouble, envelope, reply
from trust_parts import keep_enrolled

from trade_core.secrets import Secret, write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code
from trade_gateway.cli import main
from trade_gateway.codes import Codes
from trade_gateway.identity import initialise, load_identity
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy_file import read_policy
from trade_journal.log.ring_keys import public_keys_text

KEY = {
    "userID": 1002,
    "readOnly": 0,
    "isMaster": False,
    "ips": ["127.0.0.1"],
    "permissions": {"Spot": ["SpotTrade"]},
}
NOBODY = "nobody"
WATCHDOG_LOG_KEY = public_text(load_private_key(new_private_key()))
CODE = new_code()


class Exchange:
    """What the exchange says of its time and of the key."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.key: dict[str, Any] = dict(KEY)
        self.ret_code = 0

    def answer(self, asked: Asked) -> bytes:
        if asked.path == "/v5/market/time":
            return envelope({"timeNano": str(time.time_ns() + self.offset_ms * 1_000_000)})
        assert asked.path == "/v5/user/query-api"
        return envelope(self.key, ret_code=self.ret_code)


class Case:
    """A deployment beside an exchange."""

    def __init__(self, folder: Path, exchange: Exchange, double: HttpDouble) -> None:
        self.folder, self.exchange, self.double = folder, exchange, double
        self.settings = deployment(folder, exchange_url=double.url)
        initialise(
            self.settings,
            log_key=LOG_KEY,
            lease_key=LEASE_KEY,
            witness_key=WITNESS_KEY,
            policy_hash=policy_hash(read_policy(self.settings.policy_file)),
            baseline=baseline_of(taken_at_ms=1),
            codes=Codes(bootstrap=Secret(CODE), recovery=Secret(CODE), expires_at_ms=2**52),
        )

    def examine(self, *flags: str) -> tuple[int, dict[str, list[tuple[str, str, str]]]]:
        code = main(["doctor", "--config", str(self.folder / "gateway.toml"), "--json", *flags])
        found: dict[str, list[tuple[str, str, str]]] = {}
        for one in json.loads(self.capture.readouterr().out):
            found.setdefault(one["check"], []).append((one["level"], one["found"], one["advice"]))
        return code, found

    capture: pytest.CaptureFixture[str]


@pytest.fixture
def case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Case]:
    exchange = Exchange()
    with exchange_thread(exchange.answer) as double:
        made = Case(tmp_path, exchange, double)
        made.capture = capsys
        yield made


def test_whole_deployment_has_nothing_wrong(case: Case) -> None:
    code, found = case.examine("--bot-user", NOBODY)
    assert code == 0
    assert found["order key"] == [("good", "may trade, and nothing else", "")]
    assert found["clock"][0][0] == found["exchange"][0][0] == found["key ring"][0][0] == "good"
    assert "readable by its owner alone" in found["secrets"][0][1]
    assert "hostile bot can lose" in found["policy"][0][1]
    assert "127.0.0.1" in found["egress"][0][1]
    assert found["bot's user"][0][0] == "good"
    assert found["security keys"][0][:2] == ("warning", "0 enrolled")
    assert (found["gateway"][0][0], found["journal writer"][0][0]) == ("warning", "warning")
    assert (found["kill"][0][0], found["alerts"][0][0]) == ("unknown", "unknown")


def test_file_of_public_keys_that_lacks_a_journal_is_named(case: Case) -> None:
    _, found = case.examine()
    level, words, advice = found["public keys"][0]
    assert level == "warning"
    assert words.endswith("public-keys.txt has no key of trade/simulated/1002/watchdog")
    assert "trade-gateway public-keys" in advice
    path = case.settings.ring_file.with_name("public-keys.txt")
    ring = load_identity(case.settings)[1]
    path.write_text(public_keys_text(ring, watchdog_key=WATCHDOG_LOG_KEY))
    assert case.examine()[1]["public keys"][0][0] == "good"
    path.write_text(public_keys_text(replace(ring, gateway_key=WATCHDOG_LOG_KEY)))
    code, found = case.examine()
    assert (code, found["public keys"][0][0]) == (1, "wrong")
    assert "that of this deployment is" in found["public keys"][0][1]
    path.unlink()
    level, words, _ = case.examine()[1]["public keys"][0]
    assert (level, words.count("trade/simulated/1002/")) == ("warning", 3)


def test_security_keys_that_were_enrolled_are_counted(case: Case) -> None:
    keep_enrolled(load_identity(case.settings)[1], CODE, folder=case.settings.ring_file.parent)
    code, found = case.examine()
    assert code == 0
    assert found["key ring"][0][1].startswith("version 2, ")
    assert found["security keys"] == [("good", "2 enrolled: first, second", "")]


def test_ring_that_does_not_prove_itself_is_wrong(case: Case) -> None:
    case.settings.ring_file.with_name("rings.json").write_text("{}")
    code, found = case.examine()
    assert code == 1
    assert found["key ring"][0][0] == "wrong"


def test_lines_are_for_a_person(case: Case) -> None:
    assert main(["doctor", "--config", str(case.folder / "gateway.toml")]) == 0
    assert "0 wrong" in case.capture.readouterr().out


def test_secret_that_others_may_read_is_wrong(case: Case) -> None:
    case.settings.secrets_file.chmod(0o640)
    code, found = case.examine()
    assert code == 1
    assert found["secrets"][0][0] == "wrong"
    assert found["secrets"][0][2] == f"chmod 600 {case.settings.secrets_file}"
    assert found["order key"][0][0] == "wrong"


def test_missing_order_key_is_wrong(case: Case) -> None:
    case.settings.secrets_file.unlink()
    code, found = case.examine()
    assert code == 1
    assert "is not there" in found["secrets"][0][1]


def test_folder_that_anybody_may_write_is_wrong(case: Case) -> None:
    case.settings.state_dir.chmod(0o777)
    assert case.examine()[1]["folders"][0][0] == "wrong"


@pytest.mark.parametrize(("user", "words"), [("root", "as root"), ("no-such-user", "there is no user")])
def test_bot_that_can_read_secrets_is_wrong(case: Case, user: str, words: str) -> None:
    code, found = case.examine("--bot-user", user)
    assert code == 1
    assert words in found["bot's user"][0][1]


def test_bot_that_owns_a_secret_is_wrong(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = case.settings.secrets_file.stat().st_uid

    class Entry:
        pw_uid = owner + 1

    monkeypatch.setattr("trade_gateway.doctor.file_checks.pwd.getpwnam", lambda _: Entry)
    assert case.examine("--bot-user", "bot")[1]["bot's user"][0][0] == "good"
    case.settings.secrets_file.chmod(0o600)
    Entry.pw_uid = owner or 12345
    if owner == 0:  # a test that runs as root can give the file to the bot's user
        import os  # noqa: PLC0415

        os.chown(case.settings.secrets_file, 12345, -1)
    assert "can read" in case.examine("--bot-user", "bot")[1]["bot's user"][0][1]


def test_policy_and_ring_that_cannot_be_used_are_wrong(case: Case) -> None:
    case.settings.policy_file.write_text("x = 1")
    ring = json.loads(case.settings.ring_file.read_text())
    case.settings.ring_file.write_text(json.dumps({**ring, "account": "7"}))
    code, found = case.examine()
    assert code == 1
    assert found["policy"][0][0] == found["key ring"][0][0] == "wrong"


def test_deployment_that_was_not_begun_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployment(tmp_path, exchange_url="http://127.0.0.1:1")
    assert main(["doctor", "--config", str(tmp_path / "gateway.toml")]) == 1
    out = capsys.readouterr().out
    assert "NO  key ring: this deployment was not begun" in out
    assert "NO  exchange: does not answer" in out
    assert "?   order key: the exchange could not be asked" in out


@pytest.mark.parametrize(
    ("offset_ms", "level"), [(0, "good"), (600, "warning"), (-600, "warning"), (5000, "wrong"), (-5000, "wrong")]
)
def test_clock_is_measured_against_the_exchange(case: Case, offset_ms: int, level: str) -> None:
    case.exchange.offset_ms = offset_ms
    _, found = case.examine()
    assert found["clock"][0][0] == level
    assert ("behind" if offset_ms < 0 else "ahead") in found["clock"][0][1] or offset_ms == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"permissions": {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer"]}}, "may do more than trade"),
        ({"ips": ["*"]}, "bound to any address"),
        ({"isMaster": True}, "master"),
        ({"userID": 7}, "another account"),
    ],
)
def test_key_with_another_power_is_wrong(case: Case, changed: dict[str, Any], words: str) -> None:
    case.exchange.key.update(changed)
    code, found = case.examine()
    assert code == 1
    assert any(level == "wrong" and words in text for level, text, _ in found["order key"])
    assert "egress" not in found


@pytest.mark.parametrize(
    ("ret_code", "check", "level"),
    [(10010, "egress", "wrong"), (10003, "order key", "wrong"), (10016, "order key", "unknown")],
)
def test_key_that_the_exchange_refuses(case: Case, ret_code: int, check: str, level: str) -> None:
    case.exchange.ret_code = ret_code
    assert case.examine()[1][check][0][0] == level


def test_key_that_ends_soon_is_a_warning(case: Case) -> None:
    case.exchange.key["deadlineDay"] = 5
    code, found = case.examine()
    assert code == 0
    assert ("warning", "ends in 5 days", "make the next one now") in found["order key"]


def state_of(asked: Asked) -> bytes:
    if asked.path == "/state":
        assert asked.headers["authorization"].startswith("Bearer ")
        holders = {"operator_latch": {"ceiling": "HALTED", "reason": "by hand"}, "lease": {"ceiling": "ACTIVE"}}
        return reply(json.dumps({"trading_state": "HALTED", "holders": holders}).encode())
    return reply(b"no", status=503)


def test_running_gateway_says_why_it_is_held(case: Case) -> None:
    with exchange_thread(state_of) as admin:
        path = case.settings.state_dir / "handover" / "operator.json"
        write_secret_file(path, {"admin_url": admin.url, "admin_token": "t"})
        assert case.examine()[1]["gateway"] == [
            ("warning", "HALTED; operator_latch: by hand", "see docs/runbook.md, why is nothing traded")
        ]


def test_journal_writer_is_seen_by_its_socket(case: Case) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        case.settings.journal_socket.parent.mkdir(parents=True, exist_ok=True)
        listening.bind(str(case.settings.journal_socket))
        assert case.examine()[1]["journal writer"][0][0] == "good"


def test_executor_that_does_not_answer_is_wrong(case: Case) -> None:
    code, found = case.examine("--executor-socket", str(case.folder / "none.sock"))
    assert code == 1
    assert found["kill"][0][0] == "wrong"


def test_alerts_are_tried_when_that_is_asked_for(case: Case) -> None:
    with exchange_thread(lambda _: reply(b"{}")) as hook:
        write_secret_file(case.folder / "alerts.json", {"channels": [{"kind": "webhook", "url": hook.url + "/x"}]})
        alerts = ["--alerts", str(case.folder / "alerts.json")]
        assert case.examine(*alerts)[1]["alerts"][0][:2] == ("warning", "1 channels are set up")
        assert hook.asked == []
        assert case.examine(*alerts, "--send-test-alert")[1]["alerts"][0][0] == "good"
        assert "doctor:test" in hook.asked[0].body.decode()


def test_alerts_that_reach_nobody_are_wrong(case: Case) -> None:
    url = "http://127.0.0.1:1/x"
    write_secret_file(case.folder / "alerts.json", {"channels": [{"kind": "webhook", "url": url}]})
    code, found = case.examine("--alerts", str(case.folder / "alerts.json"), "--send-test-alert")
    assert code == 1
    assert "did not take it" in found["alerts"][0][1]
    assert case.examine("--alerts", str(case.folder / "none.json"))[1]["alerts"][0][0] == "wrong"
