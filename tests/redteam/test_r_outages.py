"""Halts, broken disks, wrong files, doubled processes, death half-way, clocks: nothing gets looser by any of them."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.stack import Stack, wait_until
from ports import free_port

from redteam.attacker import CREATE, Attacker, dumps, orders_at_exchange, received_since, working_ids

pytestmark = [pytest.mark.slow, pytest.mark.attack]


def folder_of(stack: Stack) -> Path:
    command = stack.description["processes"]["gateway"]["command"]
    return Path(command[command.index("--config") + 1]).parent


def with_free_ports(text: str) -> str:
    """Give the listeners of a configuration ports that are free at the moment."""
    for name in ("listen_port", "admin_port"):
        text = re.sub(rf"{name} = \d+", f"{name} = {free_port()}", text)
    return text


def copied(stack: Stack, name: str) -> Path:
    """Copy gateway and journal writer, with listeners of their own; gives the folder of the gateway's copy."""
    old, new = folder_of(stack).parent, stack.folder / name
    for service in ("gateway", "journal-writer"):
        shutil.copytree(old / service, new / service, ignore=shutil.ignore_patterns("*.sock"))
        config = new / service / f"{service}.toml"
        text = config.read_text()
        for each in ("gateway", "journal-writer"):
            text = text.replace(str(old / each), str(new / each))
        config.write_text(with_free_ports(text))
    return new / "gateway"


@contextmanager
def writing(stack: Stack, copy: Path) -> Iterator[None]:
    """Run the journal writer of a copy, if it does run: what is wrong may be told by it."""
    folder = copy.parent / "journal-writer"
    command = [stack.description["processes"]["journal-writer"]["command"][0], "--config"]
    with subprocess.Popen([*command, str(folder / "journal-writer.toml")], stderr=subprocess.DEVNULL) as writer:
        try:
            wait_until(lambda: (folder / "gateway.sock").exists() or writer.poll() is not None, what="a writer")
            yield
        finally:
            writer.terminate()


def run_copy(stack: Stack, change: Callable[[Path], None], *, name: str) -> subprocess.CompletedProcess[str]:
    """Run a second gateway and its journal writer from a changed copy of the first one's folders."""
    copy = copied(stack, name)
    change(copy)
    command = [stack.description["processes"]["gateway"]["command"][0], "--config", str(copy / "gateway.toml")]
    with writing(stack, copy):
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def rewrite(path: Path, pattern: str, by: str) -> None:
    text = path.read_text()
    changed = re.sub(pattern, by, text, count=1, flags=re.M | re.S)
    assert changed != text, pattern
    path.write_text(changed)


@pytest.fixture(scope="module")
def breaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    """An attacker of a stack that is broken test by test, in the order in which the tests stand."""
    stack = Stack(tmp_path_factory.mktemp("breaking"))
    someone = Attacker(stack)
    try:
        stack.wait_for_state("ACTIVE")
        yield someone
    finally:
        someone.close()
        stack.stop()


POLICY_FAULTS = {
    "max_order_notional_usdt": (r'^(max_order_notional_usdt = )"[^"]*"', r'\1"inf"'),
    "collar": (r'^collar = "[^"]*"\n', ""),
    "leverage": (r"^(leverage = )\d+", r"\g<1>100"),
    "turnover_budget_24h": (r'^(turnover_budget_24h = )"[^"]*"', r'\1"-1.5"'),
    "max_gross_exposure": (r'^(max_gross_exposure = )"[^"]*"', r'\1"0"'),
    "symbols": (r"^\[\[symbols\]\].*", ""),
}


@contextmanager
def running_copy(stack: Stack, *, name: str, policy: str) -> Iterator[tuple[Path, Callable[[], dict[str, Any]]]]:
    """Run a second gateway on a copy of the first one's folders; gives its policy file and its state."""
    copy = copied(stack, name)
    config, file = copy / "gateway.toml", copy / "policy-of-the-copy.toml"
    text = config.read_text()
    config.write_text(re.sub(r'^policy_file = "[^"]*"', f'policy_file = "{file}"', text, flags=re.M))
    file.write_text(policy)
    port = re.search(r"^admin_port = (\d+)", text, re.M)
    assert port is not None
    token = stack.gateway["admin_token"]
    command = [stack.description["processes"]["gateway"]["command"][0], "--config", str(config)]
    with (
        writing(stack, copy),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port[1]}", headers={"Authorization": f"Bearer {token}"}, timeout=5
        ) as admin,
    ):

        def state() -> dict[str, Any]:
            try:
                found: dict[str, Any] = admin.get("/state").raise_for_status().json()
            except httpx.HTTPError:
                return {}
            return found

        try:
            wait_until(state, what="the copy answers")
            yield file, state
        finally:
            process.terminate()


def spoiled(text: str, key: str) -> str:
    pattern, by = POLICY_FAULTS[key]
    changed = re.sub(pattern, by, text, count=1, flags=re.M | re.S)
    assert changed != text, key
    return changed


def test_r45_first_policy_with_an_absurd_or_missing_limit_is_refused(attacker: Attacker) -> None:
    stack = attacker.stack
    whole = Path(stack.gateway["policy"]).read_text()
    for number, key in enumerate(POLICY_FAULTS):

        def spoil(copy: Path, key: str = key) -> None:
            (copy / "spoiled.toml").write_text(spoiled(whole, key))
            rewrite(copy / "gateway.toml", r'^policy_file = "[^"]*"', f'policy_file = "{copy}/spoiled.toml"')
            drop_journal(copy)
            genesis = next(copy.rglob("genesis.json"))
            genesis.write_text('{"first_leaf_hash": null}')  # as `init` leaves it

        ended = run_copy(stack, spoil, name=f"policy-{number}")
        assert ended.returncode == 2, (key, ended.stderr)
        assert key in ended.stderr


def test_r45_policy_that_becomes_absurd_adds_no_risk_and_is_named(attacker: Attacker) -> None:
    whole = Path(attacker.stack.gateway["policy"]).read_text()
    with running_copy(attacker.stack, name="absurd", policy=spoiled(whole, "collar")) as (file, state):
        approved = state()["policy_hash"]
        for key in ("collar", *POLICY_FAULTS):
            file.write_text(spoiled(whole, key))
            wait_until(
                lambda key=key: (found := state()["policy"]["file"])["status"] == "unusable" and key in found["reason"],
                what=f"{key} is named",
            )
            assert "policy file" in state()["holders"]["own_faults"]["reason"]
            assert (state()["trading_state"], state()["policy_hash"]) == ("REDUCE_ONLY", approved)


def test_r45_policy_that_is_in_bounds_and_not_the_approved_one_changes_nothing(attacker: Attacker) -> None:
    whole = Path(attacker.stack.gateway["policy"]).read_text()
    loose = re.sub(r"^(max_open_orders = )\d+", r"\g<1>40", whole, count=1, flags=re.M)
    with running_copy(attacker.stack, name="loosened", policy=loose) as (_, state):
        wait_until(lambda: state()["policy"]["file"]["status"] == "needs_warrant", what="it is seen")
        assert state()["policy_hash"] == attacker.stack.state()["policy_hash"]
        assert state()["limits"]["max_open_orders"]["value"] == "20"


def drop_journal(copy: Path) -> None:
    for file in (copy.parent / "journal-writer").glob("gateway.db*"):
        file.unlink()


WRONG_FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "secrets readable by others": ("secrets.json", lambda copy: (copy / "secrets.json").chmod(0o644)),
    "another environment": (
        "environment",
        lambda copy: rewrite(copy / "gateway.toml", r'^environment = "simulated"', 'environment = "testnet"'),
    ),
    "another account": ("account", lambda copy: rewrite(copy / "gateway.toml", r'^account = "[^"]*"', 'account = "1"')),
    "a key nobody knows": ("unknown_key", lambda copy: rewrite(copy / "gateway.toml", r"^", "unknown_key = 1\n")),
    "a wiped journal": ("journal", drop_journal),
}


def test_wrong_files_and_lax_modes_are_refused(attacker: Attacker) -> None:
    for number, (what, (said, change)) in enumerate(WRONG_FILES.items()):
        ended = run_copy(attacker.stack, change, name=f"wrong-{number}")
        assert ended.returncode == 2, (what, ended.stderr)
        assert said in ended.stderr, (what, ended.stderr)


def test_r47_second_gateway_on_one_journal_is_refused(attacker: Attacker) -> None:
    stack = attacker.stack
    config = stack.folder / "second.toml"
    text = (folder_of(stack) / "gateway.toml").read_text()
    config.write_text(with_free_ports(text))
    command = [stack.description["processes"]["gateway"]["command"][0], "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "another gateway" in ended.stderr
    assert stack.state_name() == "ACTIVE"


def test_r54_full_disk_no_order_leaves_and_cancels_pass(breaker: Attacker) -> None:
    stack = breaker.stack
    resting = breaker.place(qty="28")
    order = breaker.order(qty="29")
    before = breaker.facts().received
    pid = int(stack.description["processes"]["journal-writer"]["pid"])
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        codes = {breaker.bot.post(CREATE, order)["retMsg"].split(":")[0] for _ in range(5)}
        assert codes <= {"JOURNAL_NOT_WRITABLE", "STATE_REDUCE_ONLY"}
        assert [item for item in received_since(stack, before) if item["path"] == CREATE] == []
        assert breaker.cancel(resting)["retCode"] in (0, 170213)
        wait_until(lambda: not working_ids(stack), what="no working order")
        stack.wait_for_state("REDUCE_ONLY")
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    stack.wait_for_state("ACTIVE")
    sequence = [row["seq"] for row in stack.rows()]
    assert sequence == list(range(len(sequence)))


def test_r56_exchange_clock_that_leaps_freezes_new_risk_and_recovers(breaker: Attacker) -> None:
    stack = breaker.stack
    stack.control.post("/clock", json={"offset_ms": 600_000}).raise_for_status()
    stack.wait_for_state("REDUCE_ONLY")
    stack.control.post("/clock", json={"offset_ms": 0}).raise_for_status()
    stack.wait_for_state("ACTIVE")
    times = [int(row["at_ns"]) for row in stack.rows()]
    assert [row["seq"] for row in stack.rows()] == list(range(len(times)))


@pytest.mark.parametrize("fault", ["delay", "lose_response"])
def test_r55_death_between_send_and_answer_leaves_no_order_nobody_knows_of(breaker: Attacker, fault: str) -> None:
    stack = breaker.stack
    before = breaker.facts().received
    wanted = {"path": CREATE, "mode": fault, "count": 1} | ({"ms": 3000} if fault == "delay" else {})
    stack.control.post("/faults", json=wanted).raise_for_status()
    data = breaker.signed_bytes(dumps(breaker.order(qty="31")))
    host, port = breaker.address
    with subprocess.Popen(["bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}; cat >&3; sleep 9"], stdin=-1) as client:
        assert client.stdin is not None
        client.stdin.write(data)
        client.stdin.close()
        wait_until(
            lambda: [item for item in received_since(stack, before) if item["path"] == CREATE],
            what="the order at the exchange",
        )
        stack.kill("gateway")
        client.kill()
    stack.restart("gateway")
    stack.wait_for_state("ACTIVE")
    wait_until(lambda: not working_ids(stack), what="no order that nobody was told of")
    tags = {row["fields"]["tag"] for row in stack.rows() if row["kind"] == "order:intent"}
    assert {o["orderLinkId"] for o in orders_at_exchange(stack) if o["orderLinkId"].startswith("T1")} <= tags


def test_r35_halted_denies_an_increase_lets_a_cancel_and_a_held_coin_s_sale_pass(breaker: Attacker) -> None:
    stack = breaker.stack
    stack.control.post("/flow", json={"coin": "XRP", "amount": "30"}).raise_for_status()
    resting = breaker.place(qty="25")
    stack.admin.post("/halt", json={"reason": "a test"}).raise_for_status()
    assert breaker.cancel(resting)["retCode"] in (0, 170213)
    wait_until(lambda: not working_ids(stack), what="no working order")
    wait_until(lambda: stack.state()["working_orders"] == 0, what="nothing left to withdraw")
    breaker.denied_order("STATE_HALTED", breaker.order(qty="26"), state="HALTED")
    exit_order = breaker.order(side="Sell", qty="10")
    exit_order["price"] = f"{float(exit_order['price']) * 1.04:.3f}"
    answer = wait_until(
        lambda: (found := breaker.bot.post(CREATE, exit_order))["retCode"] == 0 and found,
        what="the exit placed",
    )
    breaker.denied_order("ORDER_SELL_EXCEEDS_HOLDINGS", exit_order | {"qty": "9999"}, state="HALTED")
    assert breaker.cancel(exit_order | answer["result"])["retCode"] == 0


def test_r34_bot_that_ignores_a_halt_gets_nowhere(breaker: Attacker) -> None:
    stack = breaker.stack
    order = breaker.order()
    assert stack.state_name() == "HALTED"
    with breaker.denied("STATE_HALTED", state="HALTED", times=60):
        for number in range(60):  # the same bytes within a millisecond would have one signature
            breaker.bot.post(CREATE, order | {"qty": str(100 + number)})


def test_r53_order_key_is_bound_to_its_address_and_to_trading(breaker: Attacker) -> None:
    stack = breaker.stack
    keys = {key["role"]: key for key in stack.control.get("/state").json()["keys"]}
    assert keys["order"]["ips"]
    wide = {"uid": keys["order"]["uid"], "permissions": {"Spot": ["SpotTrade"]}, "ips": []}
    unbound = stack.control.post("/key", json=wide).raise_for_status().json()
    stack.kill("gateway", signal.SIGTERM)
    wait_until(lambda: stack.state_name() == "unreachable", what="the gateway ended")
    secrets = folder_of(stack) / "secrets.json"
    own = secrets.read_text()
    secrets.write_text(json.dumps({"exchange_key": unbound["key"], "exchange_secret": unbound["secret"]}))
    assert stack.restart("gateway").wait(timeout=30) == 2
    secrets.write_text(own)
    assert "address" in (stack.folder / "gateway-restarted.log").read_text()


def test_r44_neither_a_restart_nor_an_older_journal_lifts_a_halt(own_attacker: Attacker) -> None:
    stack = own_attacker.stack
    journal, older = folder_of(stack).parent / "journal-writer", stack.folder / "older"

    def begin_again(before: Callable[[], object]) -> None:
        for name in ("gateway", "journal-writer"):
            stack.kill(name)
            stack.reap(name)
        before()
        for name in ("journal-writer", "gateway"):
            stack.restart(name)

    begin_again(lambda: shutil.copytree(journal, older, ignore=shutil.ignore_patterns("*.sock")))
    stack.wait_for_state("ACTIVE")
    assert stack.admin.post("/halt", json={"reason": "for good"}).json()["trading_state"] == "HALTED"
    halted = len(stack.rows())
    wait_until(lambda: stack.state()["journal"]["witnessed_size"] >= halted, what="the halt is witnessed")
    begin_again(lambda: None)
    stack.wait_for_state("HALTED")
    begin_again(lambda: shutil.copytree(older, journal, dirs_exist_ok=True))
    before = received_since(stack, 0)[-1]["n"]
    seen = set()
    for _ in range(30):
        seen.add(stack.state_name())
        with suppress(httpx.HTTPError):
            assert own_attacker.bot.post(CREATE, own_attacker.order(qty="27"))["retCode"] != 0
        time.sleep(0.5)
    assert "ACTIVE" not in seen
    assert [item for item in received_since(stack, before) if item["path"] == CREATE] == []


def test_r52_journal_edited_under_a_dead_gateway_is_refused_at_the_next_start(breaker: Attacker) -> None:
    stack = breaker.stack  # its gateway is dead, and has its own key again
    stack.kill("journal-writer")
    stack.reap("journal-writer")
    with sqlite3.connect(folder_of(stack).parent / "journal-writer" / "gateway.db") as database:
        with pytest.raises(sqlite3.DatabaseError):
            database.execute("DELETE FROM rows WHERE seq = 3")
        triggers = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for trigger in triggers:
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("DELETE FROM rows WHERE seq = 3")
    database.close()
    assert stack.restart("journal-writer").wait(timeout=30) != 0
    assert "gateway.db" in (stack.folder / "journal-writer-restarted.log").read_text()
    assert stack.restart("gateway").wait(timeout=60) != 0
