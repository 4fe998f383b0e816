"""What only a thief calls: one authenticated hit on money, authority or server-side algorithms halts.

The tests share a stack and stand in order: the first finds it ACTIVE.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.stack import Stack, most_rows, wait_until

from redteam.attacker import Attacker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that stays halted."""
    running = Stack(tmp_path_factory.mktemp("halting"))
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()


@pytest.fixture
def attacker(stack: Stack) -> Iterator[Attacker]:
    someone = Attacker(stack)
    yield someone
    someone.close()


def assert_halts(attacker: Attacker, path: str, body: str = "{}") -> None:
    """A hit is denied and a critical incident, nothing of it leaves, and the latch holds afterwards."""
    attacker.denied_post("PATH_FORBIDDEN", path, body, state="HALTED")
    stack = attacker.stack

    def incidents() -> list[dict[str, str]]:
        return [row["fields"] for row in stack.rows() if row["kind"] == "incident:opened"]

    found = wait_until(lambda: [one for one in incidents() if one.get("path") == path], what="an incident")
    assert found[-1]["severity"] == "critical"
    assert stack.state()["holders"]["operator_latch"]["ceiling"] == "HALTED"
    attacker.denied_order("STATE_HALTED", attacker.order(), state="HALTED")


def test_r01_withdrawal_is_denied_and_halts(attacker: Attacker) -> None:
    assert attacker.stack.state_name() == "ACTIVE"
    assert_halts(attacker, "/v5/asset/withdraw/create", '{"coin":"USDT","amount":"4000","address":"T"}')
    assert_halts(attacker, "/v5/asset/withdraw/cancel", '{"id":"1"}')


def test_r02_transfer_is_denied_and_halts(attacker: Attacker) -> None:
    assert_halts(attacker, "/v5/asset/transfer/universal-transfer", '{"coin":"USDT","amount":"1"}')
    assert_halts(attacker, "/v5/asset/transfer/inter-transfer")


def test_r03_key_minting_is_denied_and_halts(attacker: Attacker) -> None:
    keys = attacker.stack.control.get("/state").json()["keys"]
    assert_halts(attacker, "/v5/user/create-sub-api", '{"subuid":1,"readOnly":0,"ips":"*"}')
    assert_halts(attacker, "/v5/user/update-sub-api", '{"ips":"*"}')
    assert_halts(attacker, "/v5/user/update-api", '{"ips":"*"}')
    assert len(attacker.stack.control.get("/state").json()["keys"]) == len(keys)


def test_r04_deleting_keys_is_denied_and_halts(attacker: Attacker) -> None:
    assert_halts(attacker, "/v5/user/delete-sub-api", '{"apikey":"x"}')
    assert_halts(attacker, "/v5/user/frozen-sub-member", '{"frozen":1}')


def test_r26_server_side_algorithm_is_denied_and_halts(attacker: Attacker) -> None:
    assert_halts(attacker, "/v5/strategy/create", '{"strategyType":"twap","category":"linear"}')
    for path in ("/v5/grid/create-grid", "/v5/dca/create-bot", "/v5/fmartingalebot/create"):
        assert_halts(attacker, path)


def test_flood_of_forbidden_calls_does_not_fill_the_journal(attacker: Attacker) -> None:
    before, began = len(attacker.stack.rows()), time.monotonic()
    for _ in range(200):
        attacker.bot.post("/v5/asset/withdraw/create", "{}")
    flood_s = time.monotonic() - began
    attacker.facts()
    assert len(attacker.stack.rows()) - before < most_rows(flood_s)


def test_name_that_a_thief_chose_is_harmless_and_its_halt_outlives_a_restart(attacker: Attacker) -> None:
    target = "/v5/strategy/" + "\x1b]0;<b>" + "A" * 4000
    attacker.raw(attacker.signed_bytes("{}", target=target.replace("\x1b", "%1b")))
    attacker.facts()
    stack = attacker.stack
    assert max(len(str(row["fields"])) for row in stack.rows()) < 2000
    stack.kill("gateway")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    assert "withdraw" in stack.state()["holders"]["operator_latch"]["reason"]
