"""What the socket takes as a kill, as a warrant to arm, and as evidence; and what it says when it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from killswitch.test_authorisation import SUBJECT, warrant
from killswitch.test_service import World, world
from trust_parts import FastKey, ring_of, touch

from trade_core.clock import NS_PER_MS, SystemClock
from trade_core.errors import ConfigurationError
from trade_core.secrets import write_secret_file
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_bytes, ring_hash
from trade_core.trust.statement import sign_statement
from trade_killswitch.executor import EVIDENCE_PURPOSE, FLATTEN_PURPOSE
from trade_watchdog.actions.executor_link import EVIDENCE_PURPOSE as WATCHDOGS_PURPOSE
from trade_watchdog.actions.executor_link import FLATTEN_PURPOSE as WATCHDOGS_FLATTEN_PURPOSE

PRIVATE = load_private_key(new_private_key())
RING = ring_of(PRIVATE)
EVIDENCE: dict[str, Any] = {
    "request_id": "rogue_order:o1",
    "condition": "rogue_order",
    "reason": "no tag",
    "evidence": {"a": "b"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ring.json").write_bytes(ring_bytes(RING))
    return tmp_path


def now_ms() -> int:
    return SystemClock().wall_ns() // NS_PER_MS


def signed(**changed: Any) -> bytes:
    by = changed.pop("by", None)
    made = warrant(**{"ring_hash": ring_hash(RING), "expires_at_ms": now_ms() + 60_000, **changed})
    return touch(made) if by is None else touch(made, by=by)


def evidence(**changed: Any) -> bytes:
    content = {**EVIDENCE, "account": "1002", "at_ms": now_ms(), **changed}
    return sign_statement(content, PRIVATE, purpose=EVIDENCE_PURPOSE)


async def posted(made: World, path: str, content: bytes) -> tuple[int, Any]:
    answer = await made.ask("POST", path, content=content, headers={"content-type": "application/json"})
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "changed",
    [
        {"by": [FastKey("stranger")]},
        {"audience": "gateway"},
        {"account": "1003"},
        {"subject": "kill:everything"},
        {"purpose": "release"},
        {"expires_at_ms": 1},
    ],
)
async def test_warrant_that_does_not_order_this_kills_nobody(folder: Path, changed: dict[str, Any]) -> None:
    async with world(folder) as made:
        status, answer = await posted(made, "/kill", signed(**changed))
        assert status == 403
        assert answer["detail"].startswith("no kill: ")
        state = await made.status()
        assert state["kill"] == {"running": None, "last": None}
        assert "kill:ordered" not in await made.kinds()


async def test_touch_begins_a_kill_that_status_report_and_journal_show(folder: Path) -> None:
    async with world(folder) as made:
        assert (await made.ask("GET", "/report")).text == "There has been no kill.\n"
        assert (await made.ask("POST", "/resume")).status_code == 409
        raw = signed()
        status, answer = await posted(made, "/kill", raw)
        assert (status, answer["kill"]) == (202, "begun")
        again = await posted(made, "/kill", raw)
        assert again == (202, {"kill": "joined", "kill_id": answer["kill_id"]})
        state = await made.status()
        assert state["kill"]["running"]["kill_id"] == answer["kill_id"]
        assert [step["step"] for step in state["kill"]["running"]["steps"]][:2] == ["refuse", "bot"]
        report = (await made.ask("GET", "/report")).text
        assert "no gateway is set up (setting gateway_handover)" in report
        assert (await made.ask("POST", "/resume")).status_code == 202
        rows = (await made.ask("GET", "/journal/rows")).json()["rows"]
        ordered = next(row["fields"] for row in rows if row["kind"] == "kill:ordered")
        assert "".join(ordered["warrant"]).encode() == raw
        assert ordered["endings"] == {"spot": "hold", "linear": "flatten", "inverse": "hold"}


async def test_draft_says_what_a_warrant_must_name(folder: Path) -> None:
    async with world(folder) as made:
        for purpose in ("kill", "drill"):
            draft = (await made.ask("GET", f"/draft?purpose={purpose}")).json()
            assert draft["purpose"] == purpose
            assert draft["subject"] == "kill:spot=hold,linear=flatten,inverse=flatten" != SUBJECT
            assert (draft["audience"], draft["account"], draft["deployment"]) == ("executor", "1002", "d1")
            assert draft["ring_hash"] == ring_hash(RING)
            assert "account 1002 (simulated)" in draft["words"]
        for purpose in ("arm", "disarm"):
            answer = await made.ask("GET", f"/draft?purpose={purpose}")
            assert answer.status_code == 409
        assert (await made.ask("GET", "/draft?purpose=release")).status_code == 422


async def test_nothing_is_armed_or_disarmed_while_nothing_is_ready(folder: Path) -> None:
    async with world(folder) as made:
        for path, purpose in (("/arm", "arm"), ("/disarm", "disarm")):
            status, answer = await posted(made, path, signed(purpose=purpose, subject="x"))
            assert status == 403
            assert answer["detail"].startswith("not ")


async def test_evidence_kills_nobody_without_a_standing_warrant_and_says_why(folder: Path) -> None:
    async with world(folder) as made:
        status, answer = await posted(made, "/kill", evidence())
        assert (status, answer["kill"]) == (202, "not_armed")
        assert answer["reason"].startswith("no standing warrant")
        status, answer = await posted(made, "/kill", json.dumps(EVIDENCE).encode())
        assert (status, answer["reason"]) == (202, "the request is not signed by the watchdog")
        kinds = await made.kinds()
        assert kinds.count("kill:requested") == kinds.count("kill:judged") == 1
        assert "sweep:started" in kinds
    assert WATCHDOGS_PURPOSE == EVIDENCE_PURPOSE


@pytest.mark.parametrize(
    "content",
    [
        b'{"payload": "e30=", "signature": "AAAA"}',
        sign_statement(EVIDENCE, load_private_key(new_private_key()), purpose=EVIDENCE_PURPOSE),
        sign_statement(EVIDENCE, PRIVATE, purpose="lease/v1"),
    ],
)
async def test_evidence_that_somebody_else_signed_is_refused(folder: Path, content: bytes) -> None:
    async with world(folder) as made:
        status, answer = await posted(made, "/kill", content)
        assert status == 403
        assert answer["detail"].startswith("no kill: ")
        assert "kill:requested" not in await made.kinds()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"{" * 5000])
async def test_body_that_is_nothing_is_refused_with_what_is_wrong(folder: Path, content: bytes) -> None:
    async with world(folder) as made:
        status, answer = await posted(made, "/kill", content)
        assert status == 422
        assert answer["detail"].startswith("neither a warrant nor a request to kill: ")


async def test_signed_evidence_with_odd_content_is_refused(folder: Path) -> None:
    async with world(folder) as made:
        for changed in ({"condition": "boredom"}, {"at_ms": "now"}, {"at_ms": -1}):
            assert (await posted(made, "/kill", evidence(**changed)))[0] == 422


async def test_signed_evidence_of_another_account_is_refused(folder: Path) -> None:
    async with world(folder) as made:
        for changed in ({"account": "1003"}, {"account": None}):
            status, answer = await posted(made, "/kill", evidence(**changed))
            assert status == 403
            assert "not of this one" in answer["detail"]
        assert "kill:requested" not in await made.kinds()


async def test_signed_evidence_of_long_ago_is_a_sweep_and_a_call(folder: Path) -> None:
    async with world(folder) as made:
        status, answer = await posted(made, "/kill", evidence(at_ms=now_ms() - 90 * 86_400_000))
        assert (status, answer["kill"]) == (202, "not_armed")
        assert "was signed" in answer["reason"]


def flatten_request(**changed: Any) -> bytes:
    purpose, private = changed.pop("purpose", WATCHDOGS_FLATTEN_PURPOSE), changed.pop("key", PRIVATE)
    content = {"request_id": "monthly@7", "reason": "a test", "account": "1002", "at_ms": now_ms(), **changed}
    return sign_statement(content, private, purpose=purpose)


async def test_signed_request_to_close_is_answered_as_the_settings_say(folder: Path) -> None:
    async with world(folder) as made:
        assert await posted(made, "/flatten", flatten_request(purpose=FLATTEN_PURPOSE)) == (202, {"flatten": "held"})


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"account": "1003"}, 403),
        ({"at_ms": 1}, 403),
        ({"purpose": EVIDENCE_PURPOSE}, 403),
        ({"key": load_private_key(new_private_key())}, 403),
        ({"request_id": "no such id\n"}, 422),
        ({"more": "x"}, 422),
    ],
)
async def test_request_to_close_that_is_not_the_watchdogs_of_now_is_refused(
    folder: Path, changed: dict[str, Any], status: int
) -> None:
    async with world(folder) as made:
        assert (await posted(made, "/flatten", flatten_request(**changed)))[0] == status


async def test_what_cannot_be_confirmed_is_not_closed_and_says_why(folder: Path) -> None:
    write_secret_file(folder / "handover.json", {"admin_url": "http://127.0.0.1:1", "admin_token": "t" * 32})
    settings = {"on_halt_linear": "flatten", "gateway_handover": str(folder / "handover.json")}
    async with world(folder, settings=settings) as made:
        status, answer = await posted(made, "/flatten", flatten_request())
        assert status == 409
        assert answer["detail"].startswith("nothing is closed: our own")
        assert (await made.status())["on_halt"]["endings"] == {"spot": "hold", "linear": "flatten", "inverse": "hold"}


async def test_closing_on_a_halt_without_a_gateway_is_no_setting(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="gateway_handover: is missing"):
        async with world(folder, settings={"on_halt_spot": "flatten"}):
            pass
