"""Somebody with root edits a row of the gateway's journal while everything runs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from trade_demo.process import minimal_environment
from trade_demo.scenarios.stage import ScenarioFailed, Stage

NOTICED_WITHIN_S: Final = 90.0
VERIFY_WITHIN_S: Final = 180.0
TAMPERED: Final = 1


async def play(stage: Stage) -> None:
    """Edit a row, and see it found, the gateway halted, and `verify` name it. Raises ScenarioFailed."""
    journal = Path(stage.files.journal("gateway").removeprefix("sqlite:///"))
    seq = await asyncio.to_thread(edit_a_row, journal)
    stage.say(f"root changes what row {seq} of the gateway's journal says, and its hash along with it")
    took_s = await stage.until_state("HALTED", within_s=NOTICED_WITHIN_S)
    stage.prove(f"the journal's writer saw another hand, and the gateway was HALTED after {took_s:.1f} s")
    took_s = await stage.until(f"the witness names row {seq}", _is_named(stage, seq), within_s=NOTICED_WITHIN_S)
    stage.prove(f"the witness read the rows again, {took_s:.1f} s more: {await _witnessed(stage)}")
    for halt in await stage.rows(frozenset({"state:changed"})):
        if halt["fields"].get("holder") == "operator_latch":
            stage.prove(f"row {halt['seq']} of the gateway's journal keeps the halt: {halt['fields'].get('reason')}")
    code, said = await verify(journal, keys=stage.files.public_keys, home=stage.files.root / "scenario")
    if code != TAMPERED:
        raise ScenarioFailed(f"trade-journal verify ended with {code}: {said}")
    stage.prove(f"trade-journal verify ends with {code}: {said}")


def _is_named(stage: Stage, seq: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return f"row {seq} " in await _witnessed(stage)

    return holds


async def _witnessed(stage: Stage) -> str:
    """Say what the watchdog says of the gateway's journal."""
    return str((await stage.watchdog_state())["audit"]["journal_detail"])


def edit_a_row(journal: Path) -> int:
    """Turn a Buy into a Sell in the newest intent that the witness has; without one, change the actor of an old row.

    The hash fits again. Answers the row's number. Raises ScenarioFailed for a journal without rows.
    """
    with contextlib.closing(sqlite3.connect(journal, timeout=10)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        row, old, new = _row_to_edit(connection)
        body = bytes(row[1]).replace(old, new)
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        leaf = hashlib.sha256(b"\x00" + body).digest()
        connection.execute("UPDATE rows SET body = ?, leaf_hash = ? WHERE seq = ?", (body, leaf, row[0]))
        for _, made in triggers:
            connection.execute(made)  # nothing is left to see of it
        return int(row[0])


def _row_to_edit(connection: sqlite3.Connection) -> tuple[tuple[int, bytes], bytes, bytes]:
    """Choose a row, and what in it becomes what. Raises ScenarioFailed."""
    (witnessed,) = connection.execute("SELECT coalesce(max(size), 0) FROM cosignatures").fetchone()
    order = connection.execute(
        "SELECT seq, body FROM rows WHERE seq < ? AND instr(body, ?) AND instr(body, ?) ORDER BY seq DESC LIMIT 1",
        (witnessed, b'"kind":"order:intent"', b'"side":"Buy"'),
    ).fetchone()
    if order is not None:
        return order, b'"side":"Buy"', b'"side":"Sell"'
    old = b'"actor":"gateway"'
    # An old one: it has been witnessed, so that nothing but reading it again can tell which it is.
    first = connection.execute(
        "SELECT seq, body FROM rows WHERE instr(body, ?) ORDER BY seq LIMIT 1", (old,)
    ).fetchone()
    if first is None:
        raise ScenarioFailed("there is no row of the gateway in its journal yet")
    return first, old, b'"actor":"console"'


async def verify(journal: Path, *, keys: Path, home: Path) -> tuple[int, str]:
    """Run `trade-journal verify` as a stranger would; answers its exit code and its last line."""
    command = [str(Path(sys.executable).with_name("trade-journal")), "verify", "--journal", str(journal)]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--keys", str(keys)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=minimal_environment(home),
    )
    async with asyncio.timeout(VERIFY_WITHIN_S):
        output, _ = await process.communicate()
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return process.returncode or 0, lines[-1] if lines else ""
