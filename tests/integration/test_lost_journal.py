"""The gateway's disk is lost: the runbook is followed, and trading goes on beside the same watchdog."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from integration.bot import Bot, resting_order
from integration.security_keys import enrol, release, sign
from integration.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def setting(stack: Stack, name: str) -> str:
    """Where a process's settings file is."""
    command = stack.description["processes"][name]["command"]
    return str(command[command.index("--config") + 1])


def journal_command(stack: Stack) -> str:
    return str(Path(stack.description["processes"]["journal-writer"]["command"][0]).with_name("trade-journal"))


def verified(stack: Stack, journal: str) -> dict[str, Any]:
    done = subprocess.run(
        [journal_command(stack), "verify", "--journal", journal, "--keys", stack.description["public_keys"], "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_journal_that_is_lost_goes_on_behind_the_watchdogs_copy(own_stack: Stack) -> None:
    stack, bot = own_stack, Bot(own_stack.gateway)
    enrol(stack)
    stack.wait_for_state("ACTIVE")
    order = resting_order(stack)
    placed = bot.create(order)
    assert placed["retCode"] == 0
    size = stack.state()["journal"]["size"]
    wait_until(lambda: stack.state()["journal"]["witnessed_size"] >= size, what="every row is witnessed")
    before = stack.rows()
    for name in ("gateway", "journal-writer"):
        stack.kill(name)
        stack.reap(name)
    journal = Path(stack.description["journals"]["gateway"].removeprefix("sqlite:///"))
    for lost in journal.parent.glob(journal.name + "*"):
        lost.unlink()
    folder = Path(stack.folder / "state")
    (copy,) = folder.rglob("witnessed-gateway.db")
    succeed = [journal_command(stack), "succeed", "--config", setting(stack, "journal-writer"), "--copy", copy]
    draft = stack.folder / "draft"
    subprocess.run([*succeed, "--reason", "the disk died", "--draft", draft], capture_output=True, check=True)
    begin = [*succeed, "--warrant", sign(stack, draft)]
    told = subprocess.run(begin, capture_output=True, text=True, check=False)
    # The segment lay on another disk, and held nothing.
    assert (told.returncode, "It begins HALTED" in told.stdout) == (0, True), told.stdout + told.stderr
    again = subprocess.run(begin, capture_output=True, text=True, check=False)
    assert (again.returncode, "is there; a new log is for a journal that is lost" in again.stderr) == (3, True)

    stack.restart("journal-writer")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    assert "the journal was lost" in stack.state()["holders"]["operator_latch"]["reason"]
    wait_until(
        lambda: stack.state()["journal"]["witnessed_size"] > size,
        what="the watchdog bears out the new log",
    )
    kept = stack.rows()[: len(before)]
    seen = next((n for n, (old, new) in enumerate(zip(before, kept, strict=True)) if old != new), len(before))
    assert seen >= size
    succeeded = [row for row in stack.rows() if row["kind"] == "log:succeeded"]
    assert [row["fields"]["log"] for row in succeeded] == [2]
    assert bot.post("/v5/order/create", resting_order(stack))["retMsg"].startswith("STATE_HALTED")

    assert release(stack, reason="looked at the account").returncode == 0
    stack.wait_for_state("ACTIVE")
    answer = bot.create(resting_order(stack, symbol="ETHUSDT", usdt=64))
    assert answer["retCode"] == 0
    size = stack.state()["journal"]["size"]
    wait_until(lambda: stack.state()["journal"]["witnessed_size"] >= size, what="what followed is witnessed")
    verdict = verified(stack, str(journal))
    assert (verdict["is_good"], verdict["origin"].endswith("/gateway/2")) == (True, True)
    assert verdict["witnessed_rows"] >= size
    # Its copy spans both logs too, and a restart of the watchdog goes on from there.
    stack.kill("watchdog", signal.SIGTERM)
    stack.reap("watchdog")
    assert verified(stack, str(copy))["witnessed_rows"] >= size
    stack.restart("watchdog")
    generation = stack.state()["lease"]["generation"]
    wait_until(lambda: stack.state()["lease"]["generation"] > generation, what="a lease of the new watchdog")
    stack.wait_for_state("ACTIVE")
    bot.close()
