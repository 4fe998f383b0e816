"""`trade-journal` on the journal of a running gateway: verified from file and listener, then tampered with."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from integration.bot import Bot
from integration.stack import PATIENCE_S, ROOT, Stack, wait_until

pytestmark = pytest.mark.slow

COMMAND = ROOT / ".venv/journal/bin/trade-journal"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def journal_of(stack: Stack) -> Path:
    return Path(stack.description["journals"]["gateway"].removeprefix("sqlite:///"))


def verdict(journal: object, keys: object, *more: object) -> dict[str, Any]:
    done = run("verify", "--journal", journal, "--keys", keys, "--json", *more)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_journal_of_a_running_gateway_is_good_from_file_and_listener(stack: Stack, tmp_path: Path) -> None:
    keys = stack.description["public_keys"]
    wait_until(lambda: verdict(journal_of(stack), keys)["signed_rows"] > 0, what="a checkpoint")
    token = tmp_path / "operator.json"
    token.write_text(json.dumps({"admin_token": stack.gateway["admin_token"]}))
    token.chmod(0o600)
    served = verdict(stack.gateway["admin"], keys, "--token-file", token)
    assert served["signed_rows"] > 0
    assert served["origin"] == verdict(journal_of(stack), keys)["origin"]
    assert run("verify", "--journal", stack.gateway["admin"], "--keys", keys).returncode == 3


@pytest.mark.parametrize("service", ["gateway", "watchdog", "executor"])
def test_each_journal_is_good_by_the_one_file_of_public_keys(stack: Stack, service: str) -> None:
    keys, journal = stack.description["public_keys"], stack.description["journals"][service]
    found = wait_until(lambda: signed(journal, keys), what=f"a checkpoint of the {service}'s journal")
    assert found["origin"].endswith(f"/{service}")


def signed(journal: str, keys: str) -> dict[str, Any] | None:
    """Verify a journal; None while no row of it is signed yet."""
    done = run("verify", "--journal", journal, "--keys", keys, "--json")
    assert done.returncode in {0, 3}, done.stderr + done.stdout
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_journal_copied_and_tampered_with_is_named_row_by_row(stack: Stack, tmp_path: Path) -> None:
    keys = stack.description["public_keys"]
    wait_until(lambda: verdict(journal_of(stack), keys)["signed_rows"] > 5, what="a checkpoint")
    copy = tmp_path / "copy.db"
    with sqlite3.connect(journal_of(stack)) as live, sqlite3.connect(copy) as target:
        live.backup(target)
    assert verdict(copy, keys)["is_good"]
    with sqlite3.connect(copy, isolation_level=None) as owner:
        triggers = owner.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            owner.execute(f"DROP TRIGGER {name}")
        owner.execute("UPDATE rows SET body = replace(body, '\"actor\"', '\"actOr\"') WHERE seq = 3")
        for _, sql in triggers:
            owner.execute(sql)
    done = run("verify", "--journal", copy, "--keys", keys)
    assert (done.returncode, "row 3: " in done.stdout) == (1, True)
    shutil.copy(journal_of(stack), tmp_path / "torn.db")
    with (tmp_path / "torn.db").open("r+b") as torn:
        torn.truncate(5000)
    assert run("verify", "--journal", tmp_path / "torn.db", "--keys", keys).returncode in {1, 3}


def test_row_of_a_running_gateway_is_proven_and_checked_offline(stack: Stack, tmp_path: Path) -> None:
    keys = stack.description["public_keys"]
    wait_until(lambda: verdict(journal_of(stack), keys)["signed_rows"] > 2, what="a checkpoint")
    proof = tmp_path / "row.tlog-proof"
    proof.write_text(run("prove", 1, "--journal", journal_of(stack), "--keys", keys).stdout)
    checked = run("check-proof", proof, "--keys", keys)
    assert (checked.returncode, checked.stdout.startswith("GOOD  trade/simulated/")) == (0, True), checked.stderr


def test_journal_is_witnessed_and_the_witness_s_copy_says_the_same(stack: Stack) -> None:
    keys = stack.description["public_keys"]
    wait_until(lambda: verdict(journal_of(stack), keys)["witnessed_rows"] > 0, what="a witnessed row")
    copy = stack.folder / "state/watchdog/state/witnessed-gateway.db"
    own = verdict(copy, keys)
    assert own["witnessed_rows"] == own["rows"] > 0
    assert stack.state()["journal"]["witnessed_size"] > 0


def test_older_copy_of_the_journal_gets_no_lease_and_is_found_to_be_a_fork(stack: Stack) -> None:
    """The last one: the module's stack is halted by it."""
    journal = journal_of(stack)
    stack.kill("gateway")
    kept = stack.folder / "kept.db"
    with sqlite3.connect(journal) as live, sqlite3.connect(kept) as target:
        live.backup(target)
    stack.restart("gateway")
    stack.wait_for_state("ACTIVE")
    witnessed = stack.state()["journal"]["witnessed_size"]
    for name in ("gateway", "journal-writer"):
        stack.kill(name)
        stack.reap(name)
    for path in journal.parent.glob(journal.name + "-*"):
        path.unlink(missing_ok=True)
    shutil.copy(kept, journal)
    stack.restart("journal-writer")
    stack.restart("gateway")
    wait_until(lambda: stack.state_name() in {"REDUCE_ONLY", "HALTED"}, what="the gateway is back")
    bot = Bot(stack.gateway)
    states = set()
    deadline = time.monotonic() + PATIENCE_S
    while "HALTED" not in states and time.monotonic() < deadline:
        bot.get("/v5/market/time")  # rows of another history
        states.add(stack.state_name())
        time.sleep(0.1)
    bot.close()
    assert not states & {"ACTIVE", "TRIMMED"}
    assert "HALTED" in states
    # The witness finds it in the next checkpoint, or the audit in a row that it reads again: who comes first.
    reason = stack.state()["holders"]["operator_latch"]["reason"]
    assert reason.startswith("journal forked") or "is not what it was when it was witnessed" in reason
    assert stack.state()["journal"]["witnessed_size"] <= witnessed
