"""The command line, with the real fido2 client over software keys and an executor that verifies what it is handed."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fido2.ctap import CtapDevice
from killswitch.command.world import DONE, PIN, WORDS, ExecutorDouble, plugged, served, software_key, write_ring
from trust_parts import keep_enrolled

from trade_core.canonical import canonical_json
from trade_core.trust.keys import public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_core.trust.warrant import parse_warrant
from trade_killswitch.command import follow, security_key
from trade_killswitch.command.cli import EXIT_NOT_SIGNED, Surroundings, main

RUNNING = {
    "verdict": "pending",
    "in_words": "goes on",
    "steps": [
        {"step": "refuse", "words": "the gateway refuses", "status": "done", "ended_s": 0.4, "why": ""},
        {"step": "bot", "words": "the bot runs nowhere", "status": "running", "ended_s": None, "why": ""},
    ],
}


class World:
    """An executor, a ring, and whatever is plugged in."""

    def __init__(self, folder: Path, executor: ExecutorDouble, socket: Path) -> None:
        self.folder, self.executor, self.socket = folder, executor, socket
        self.devices: list[CtapDevice] = []
        self.pin = PIN

    def run(self, *words: str) -> int:
        around = Surroundings(devices=plugged(*self.devices), ask_secret=lambda _: self.pin)
        places = ["--socket", str(self.socket), "--ring", str(self.folder / "ring.json")]
        return main([*words, *places], surroundings=around)


@pytest.fixture(scope="module")
def keys() -> Any:
    return [software_key() for _ in range(2)]


@pytest.fixture
def world(tmp_path: Path, keys: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.01)
    executor = ExecutorDouble(write_ring(tmp_path, *(credential for _, credential in keys)))
    with served(tmp_path, executor.answer) as socket:
        made = World(tmp_path, executor, socket)
        made.devices = [keys[0][0]]
        yield made


def test_revoke_shows_what_is_destroyed_signs_and_follows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.executor.reports = [(RUNNING, None), (RUNNING, None), (None, DONE)]
    assert world.run("--revoke") == 0
    assert world.executor.purposes == ["kill"]
    said = capsys.readouterr().err
    assert WORDS in said
    assert said.count("the gateway refuses") == 1
    assert "0.40 s  done" in said
    assert "complete and proved" in said


def test_person_is_asked_for_the_touch() -> None:
    said: list[str] = []
    security_key.Terminal(ask_pin=lambda _: "", say=said.append).prompt_up()
    assert said == ["touch the security key now"]


def test_drill_is_a_warrant_of_its_own(world: World) -> None:
    assert world.run("--drill") == 0
    assert world.executor.purposes == ["drill"]


@pytest.mark.parametrize(("verdict", "code"), [("complete", 0), ("pending", 3), ("not_flat", 4), ("odd", 3)])
def test_exit_code_says_how_it_ended(world: World, verdict: str, code: int) -> None:
    world.executor.reports = [(None, {**DONE, "verdict": verdict})]
    assert world.run("--revoke") == code
    assert world.run("--status") == code


def test_kill_that_is_not_over_in_time_goes_on(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.executor.reports = [(RUNNING, None)]
    assert world.run("--revoke", "--wait", "0") == 3
    assert "it goes on by itself" in capsys.readouterr().err


def test_ring_that_counts_now_is_signed_under(world: World, tmp_path: Path) -> None:
    code = new_code()
    first = write_ring(
        tmp_path,
        bootstrap_key=public_text(printed_key(code, purpose="bootstrap")),
        bootstrap_expires_at_ms=time.time_ns() // 10**6 + 600_000,
    )
    world.executor.ring = keep_enrolled(first, code, folder=tmp_path)
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 0
    assert parse_warrant((tmp_path / "w").read_bytes()).ring_hash == ring_hash(world.executor.ring)
    (tmp_path / "rings.json").unlink()
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 2


def test_second_key_signs_when_the_first_is_a_stranger(world: World, keys: Any) -> None:
    stranger, _ = software_key()
    world.devices = [stranger, keys[1][0]]
    assert world.run("--revoke") == 0
    assert len(world.executor.taken) == 1


def test_stranger_alone_signs_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.devices = [software_key()[0]]
    assert world.run("--revoke") == 5
    assert "none of the 1 security keys plugged in is one of the key ring's (blue, blue)" in capsys.readouterr().err
    assert world.executor.taken == []


def test_nothing_plugged_in_says_what_else_there_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.devices = []
    assert world.run("--revoke") == 5
    said = capsys.readouterr().err
    assert "Open the console in a browser" in said
    assert "--sign FILE there" in said


@pytest.mark.parametrize(("pin", "words"), [("9999", "the PIN is wrong"), ("", "no PIN was given")])
def test_wrong_pin_signs_nothing(world: World, pin: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    world.devices, world.pin = [software_key()[0]], pin
    assert world.run("--revoke") == 5
    assert words in capsys.readouterr().err
    assert world.executor.taken == []


def test_key_that_blocked_itself_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    device, _ = software_key()
    device.memory.pin_tries = 0
    world.devices = [device]
    assert world.run("--revoke") == 5
    assert "is blocked" in capsys.readouterr().err


def test_key_that_nobody_touches_signs_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.devices = [software_key(is_touched=lambda: False)[0]]
    assert world.run("--revoke") == 5
    assert "was not touched" in capsys.readouterr().err


def test_thing_that_is_no_key_signs_nothing(world: World) -> None:
    class Broken(CtapDevice):
        capabilities = 4

        def call(self, *_: Any, **__: Any) -> bytes:
            raise OSError("gone")

        @classmethod
        def list_devices(cls) -> Iterator[CtapDevice]:
            return iter(())

    world.devices = [Broken()]
    assert world.run("--revoke") == 5


def test_keys_that_cannot_be_listed_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(security_key.CtapHidDevice, "list_devices", refuse)
    with pytest.raises(security_key.NotSigned, match="Permission denied"):
        security_key.plugged_in()


def test_drafted_here_signed_there_and_handed_over_here(world: World, tmp_path: Path) -> None:
    draft, signed = tmp_path / "warrant", tmp_path / "signed.json"
    devices, world.devices = world.devices, []
    assert world.run("--revoke", "--out", str(draft)) == 0
    assert world.executor.taken == []
    laptop = Surroundings(devices=plugged(*devices), ask_secret=lambda _: PIN)
    ring = ["--ring", str(tmp_path / "ring.json")]
    assert main(["--sign", str(draft), "--out", str(signed), *ring], surroundings=laptop) == 0
    assert world.run("--revoke", "--signed", str(signed)) == 0
    assert parse_warrant(draft.read_bytes()).words == WORDS
    assert len(world.executor.taken) == 1


def test_draft_that_nobody_signed_is_not_handed_over(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = tmp_path / "warrant"
    assert world.run("--revoke", "--out", str(draft)) == 0
    assert world.run("--revoke", "--signed", str(draft)) == 2
    assert f"{draft}: is a draft that nobody has signed; sign it first" in capsys.readouterr().err
    assert world.executor.taken == []


def test_recovery_code_without_a_terminal_signs_nothing(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    around = Surroundings(devices=plugged(), ask_secret=nobody)
    places = ["--socket", str(world.socket), "--ring", str(tmp_path / "ring.json")]
    assert main(["--revoke", "--recovery", *places], surroundings=around) == EXIT_NOT_SIGNED
    assert "nothing was signed: there is no terminal to ask at" in capsys.readouterr().err
    assert world.executor.taken == []


def test_sign_reads_and_writes_where_it_is_pasted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run("--revoke", "--out", "-") == 0
    pasted = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(pasted.encode())))
    assert world.run("--sign", "-") == 0
    envelope = capsys.readouterr().out.strip().encode()
    assert open_warrant(envelope, ring=world.executor.ring).warrant.purpose == "kill"


def test_two_keys_sign_one_warrant(world: World, keys: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.devices = [device for device, _ in keys]
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 0
    capsys.readouterr()
    assert world.run("--sign", str(tmp_path / "w"), "--keys", "2") == 0
    said = capsys.readouterr()
    assert len(open_warrant(said.out.strip().encode(), ring=world.executor.ring).touches) == 2
    assert "security key 2 of 2" in said.err


def test_same_key_is_never_taken_twice(world: World, tmp_path: Path) -> None:
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 0
    assert world.run("--sign", str(tmp_path / "w"), "--keys", "2") == 5


def test_warrant_that_is_over_is_not_signed(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 0
    late = Surroundings(
        devices=plugged(*world.devices), ask_secret=lambda _: PIN, now_ms=lambda: time.time_ns() // 10**6 + 400_000
    )
    arguments = ["--sign", str(tmp_path / "w"), "--ring", str(tmp_path / "ring.json")]
    assert main(arguments, surroundings=late) == 5
    assert "is over" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["deployment", "environment", "account", "ring_hash"])
def test_warrant_of_another_house_is_not_signed(world: World, tmp_path: Path, field: str) -> None:
    assert world.run("--revoke", "--out", str(tmp_path / "w")) == 0
    changed = {**json.loads((tmp_path / "w").read_bytes()), field: "other"}
    (tmp_path / "w").write_bytes(canonical_json(changed))
    assert world.run("--sign", str(tmp_path / "w")) == 2
    world.executor.draft = {field: "other"}
    assert world.run("--revoke") == 2
    assert world.executor.taken == []


@pytest.mark.parametrize("draft", [{"words": None}, {"subject": 7}, {"words": "x" * 1001}, {"words": "\x1b[2J"}])
def test_draft_that_is_none_is_not_signed(world: World, draft: dict[str, Any]) -> None:
    world.executor.draft = draft
    assert world.run("--revoke") == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 5000, b"\xff"])
def test_file_that_is_no_warrant_is_refused(world: World, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    assert world.run("--sign", str(tmp_path / "w")) == 2
    assert world.run("--sign", str(tmp_path / "none")) == 2


def test_recovery_code_kills_without_a_key(world: World, tmp_path: Path, keys: Any) -> None:
    code = new_code()
    ring = write_ring(tmp_path, keys[0][1], recovery_key=public_text(printed_key(code, purpose="recovery")))
    world.executor.ring, world.devices, world.pin = ring, [], code.lower()
    assert world.run("--revoke", "--recovery") == 0
    assert b"recovery_signature" in world.executor.taken[0]
    world.pin = "not a code"
    assert world.run("--revoke", "--recovery") == 2
    world.pin = new_code()
    assert world.run("--revoke", "--recovery") == 1


def test_executor_that_refuses_is_quoted_safely(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.executor.override["/kill"] = (403, b'{"detail": "no kill: \\u001b[2J a cloned key"}')
    assert world.run("--revoke") == 1
    said = capsys.readouterr().err
    assert "a cloned key" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("answer", [(200, b"nonsense"), (200, b"[]"), (500, b"x"), (200, b"x" * 300_000)])
def test_executor_that_talks_nonsense_takes_nothing(world: World, answer: tuple[int, bytes]) -> None:
    world.executor.override["/draft"] = answer
    assert world.run("--revoke") == 1
    assert world.executor.taken == []


def test_executor_that_goes_away_is_waited_for(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [(500, b"x"), (500, b"x")]
    inner = world.executor.answer

    def answer(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        return answers.pop() if target == "/status" and answers else inner(method, target, body)

    (world.folder / "again").mkdir()
    with served(world.folder / "again", answer) as socket:
        world.socket = socket
        assert world.run("--revoke") == 0
    assert capsys.readouterr().err.count("goes on when it is back") == 1


def test_no_executor_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.socket = world.folder / "none.sock"
    for what in ("--revoke", "--status", "--resume"):
        assert world.run(what) == 1
    assert "start `trade-kill-executor`" in capsys.readouterr().err


def test_status_says_it_in_words_and_for_machines(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.executor.reports = [(None, None)]
    assert world.run("--status", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["exit_key"] == "verified"
    assert "NOT armed (no warrant)" in said.err
    assert "there has been no kill" in said.err
    world.executor.reports = [(RUNNING, None)]
    assert world.run("--status") == 3
    world.executor.override["/status"] = (200, b"{}")
    assert world.run("--status") == 1


def test_resume_asks_and_follows(world: World) -> None:
    assert world.run("--resume") == 0
    assert world.executor.resumed == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--revoke"],
        ["--revoke", "--drill"],
        ["--revoke", "--socket", "x"],
        ["--sign", "x"],
        ["--status", "--config", "x", "--wait", "-1"],
        ["--status", "--config", "x", "--keys", "3"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_settings_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert main(["--status", "--config", str(tmp_path / "none.toml")]) == 2


def test_arm_shows_until_when_has_it_touched_and_says_that_it_is_armed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before_ms = time.time_ns() // 1_000_000
    assert world.run("--arm", "30") == 0
    assert world.executor.purposes == ["arm"]
    warrant = open_warrant(world.executor.taken[0], ring=world.executor.ring).warrant
    assert 0 <= warrant.expires_at_ms - before_ms - 30 * 86_400_000 < 60_000
    said = capsys.readouterr().err
    assert "It lapses on" in said
    assert "an automatic kill is armed until 20" in said


def test_disarm_has_it_touched_and_says_that_it_is_not_armed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run("--disarm") == 0
    assert world.executor.purposes == ["disarm"]
    assert "an automatic kill is NOT armed (disarmed)" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "90", "-1", "1.5", "x", "", "1000", "²"])
def test_days_that_nobody_may_arm_for_are_refused(world: World, days: str) -> None:
    with pytest.raises(SystemExit) as ended:
        world.run(f"--arm={days}")
    assert ended.value.code == 2
    assert world.executor.taken == []


def test_arm_that_the_executor_refuses_is_not_called_armed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.executor.override["/arm"] = (403, b'{"detail": "not armed: not every part is ready"}')
    assert world.run("--arm", "1") == 1
    said = capsys.readouterr().err
    assert "not armed: not every part is ready" in said
    assert "is armed" not in said


@pytest.mark.parametrize(
    "armed", [None, 7, {}, {"is_armed": True}, {"is_armed": True, "expires_at_ms": "soon"}, {"is_armed": 1}]
)
def test_arm_without_a_plain_yes_is_called_not_armed(
    world: World, capsys: pytest.CaptureFixture[str], armed: Any
) -> None:
    world.executor.override["/arm"] = (200, json.dumps({"armed": armed}).encode())
    assert world.run("--arm", "1") == 0
    assert "an automatic kill is NOT armed" in capsys.readouterr().err


@pytest.mark.parametrize(("has_browser", "code"), [(True, 0), (False, 1)])
def test_console_is_opened_at_the_origin_of_the_keys(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, has_browser: bool, code: int
) -> None:
    opened: list[str] = []

    def browse(address: str) -> bool:
        opened.append(address)
        return has_browser

    arguments = ["--browser", "--socket", str(tmp_path / "nobody"), "--ring", str(tmp_path / "ring.json")]
    around = Surroundings(devices=plugged(), ask_secret=lambda _: PIN, browse=browse)
    assert main(arguments, surroundings=around) == code
    assert opened == [f"{world.executor.ring.origins[0]}/"]
    said = capsys.readouterr().err
    assert "trade-console code" in said
    assert ("there is no browser here" in said) is not has_browser
    assert world.executor.taken == []
