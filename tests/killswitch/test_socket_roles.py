"""Who may call what on the executor's socket: the table, and the socket itself with callers of three users."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from killswitch.test_kill_over_socket import RING, evidence, signed
from killswitch.test_service import World, world

from trade_core import peer_protocol
from trade_core.trust.ring import ring_bytes
from trade_core.unix_sockets import Caller
from trade_killswitch.socket_roles import ALLOWED, Role, permits, roles_by_user

WATCHDOG_UID, CONSOLE_UID = 70_001, 70_002
ROW = {
    "kind": "console:acted",
    "session": "session-1",
    "address": "127.0.0.1",
    "browser": "b",
    "action": "halt",
    "shown": "x",
    "result": "x",
}
FORBIDDEN = [
    (WATCHDOG_UID, "POST", "/ack", {"subject": "kill:rogue_key"}),
    (WATCHDOG_UID, "POST", "/console/rows", ROW),
    (WATCHDOG_UID, "POST", "/resume", {}),
    (WATCHDOG_UID, "POST", "/arm", {}),
    (WATCHDOG_UID, "POST", "/disarm", {}),
    (WATCHDOG_UID, "POST", "/ring", {}),
    (WATCHDOG_UID, "GET", "/draft?purpose=kill", None),
    (WATCHDOG_UID, "GET", "/report", None),
    (CONSOLE_UID, "POST", "/release", {}),
    (CONSOLE_UID, "POST", "/flatten", {}),
    (os.getuid(), "POST", "/flatten", {}),
    (os.getuid(), "POST", "/release", {}),
    (CONSOLE_UID, "POST", "/kill", {"request_id": "r", "condition": "rogue_key", "reason": "x"}),
    (os.getuid(), "POST", "/kill", {"request_id": "r", "condition": "rogue_key", "reason": "x"}),
    (os.getuid(), "POST", "/console/rows", ROW),
    (os.getuid(), "GET", "/docs", None),
    (CONSOLE_UID, "GET", "/status/", None),
]


class As:
    """The user that the kernel says is calling."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uid = os.getuid()
        monkeypatch.setattr(peer_protocol, "caller_of", lambda _: Caller(pid=1, uid=self.uid))


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> As:
    return As(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ring.json").write_bytes(ring_bytes(RING))
    return tmp_path


UIDS = {"watchdog_uid": WATCHDOG_UID, "console_uid": CONSOLE_UID}


async def test_users_are_refused_what_is_not_theirs(folder: Path, caller: As) -> None:
    async with world(folder, settings=UIDS) as made:
        for uid, method, path, body in FORBIDDEN:
            caller.uid = uid
            answer = await made.ask(method, path, json=body)
            assert answer.status_code == 403, (uid, method, path)
        caller.uid = CONSOLE_UID
        kinds = await made.kinds()
        assert not [kind for kind in kinds if kind.startswith(("console", "kill", "sweep"))]


async def test_users_are_given_what_is_theirs(folder: Path, caller: As) -> None:
    async with world(folder, settings=UIDS) as made:

        async def asked(uid: int, method: str, path: str, **more: Any) -> int:
            caller.uid = uid
            return (await made.ask(method, path, **more)).status_code

        assert await asked(CONSOLE_UID, "POST", "/console/rows", json=ROW) == 201
        assert await asked(CONSOLE_UID, "POST", "/ack", json={"subject": "x"}) == 200
        assert await asked(CONSOLE_UID, "GET", "/draft?purpose=kill") == 200
        assert await asked(WATCHDOG_UID, "POST", "/kill", content=evidence()) == 202
        assert await asked(WATCHDOG_UID, "POST", "/release", content=signed()) == 409  # no release
        assert await asked(WATCHDOG_UID, "GET", "/journal/entries?from=0&limit=1") == 200
        for uid in (os.getuid(), WATCHDOG_UID, CONSOLE_UID):
            assert await asked(uid, "POST", "/sweep", json={"reason": "x"}) == 202
            assert await asked(uid, "GET", "/status") == 200
        assert await asked(CONSOLE_UID, "POST", "/kill", content=evidence()) == 403


@pytest.mark.parametrize("uid", [os.getuid(), WATCHDOG_UID, CONSOLE_UID])
async def test_warrant_that_orders_a_kill_is_taken_from_whoever_brings_it(folder: Path, caller: As, uid: int) -> None:
    async with world(folder, settings=UIDS) as made:
        caller.uid = uid
        answer = await made.ask("POST", "/kill", content=signed())
        assert (answer.status_code, answer.json()["kill"]) == (202, "begun")


async def test_user_that_no_setting_names_is_cut_off(folder: Path, caller: As) -> None:
    async with world(folder, settings=UIDS) as made:
        caller.uid = 70_003
        assert not await World.answers(made)


def test_executors_own_user_stands_in_for_roles_that_are_not_given() -> None:
    assert roles_by_user(own_uid=1, watchdog_uid=None, console_uid=None) == {1: frozenset(Role)}
    assert roles_by_user(own_uid=1, watchdog_uid=2, console_uid=None) == {
        1: frozenset({Role.TERMINAL, Role.CONSOLE}),
        2: frozenset({Role.WATCHDOG}),
    }
    assert roles_by_user(own_uid=0, watchdog_uid=2, console_uid=2) == {
        0: frozenset({Role.TERMINAL}),
        2: frozenset({Role.WATCHDOG, Role.CONSOLE}),
    }


def test_whoever_has_no_role_may_nothing_and_nobody_may_what_is_not_listed() -> None:
    assert not any(permits(frozenset(), method=method, path=path) for method, path in ALLOWED)
    for method, path in (("GET", "/"), ("PUT", "/kill"), ("GET", "/kill"), ("HEAD", "/status"), ("POST", "/sweep/")):
        assert not permits(frozenset(Role), method=method, path=path)
