"""Security keys for a running stack: enrolled by the bootstrap code, and touched for what a person orders."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from integration.stack import Stack, wait_until
from trust_parts import KEYS, FastKey, enrolled

from trade_core.ring_keeper import current_ring
from trade_core.trust.ring import read_ring, ring_hash
from trade_core.trust.signed_warrant import touched_envelope
from trade_killswitch.command.draft import draft_warrant


def enrol(stack: Stack) -> None:
    """Enrol two keys at gateway, watchdog and executor, each of which checks the offer by itself."""
    ring_file = Path(stack.description["ring"])
    raw = enrolled(read_ring(ring_file), stack.description["enrol_code"])
    watchdog = stack.description["watchdog"]
    bearer = {"Authorization": f"Bearer {watchdog['admin_token']}"}
    answers = [
        stack.admin.post("/ring", content=raw),
        httpx.post(f"{watchdog['admin']}/ring", content=raw, headers=bearer),
    ]
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", timeout=30) as executor:
        answers.append(executor.post("/ring", content=raw))
    counting = ring_hash(current_ring(ring_file))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert (answer.json()["version"], answer.json()["ring_hash"]) == (2, counting)


def arm(stack: Stack) -> None:
    """Arm the automatic kill by a touch, once every part of a kill is ready."""
    client = {"origin": read_ring(Path(stack.description["ring"])).origins[0]}
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", timeout=30) as executor:

        def draft() -> httpx.Response | None:
            answer = executor.get("/draft", params={"purpose": "arm"})
            return answer if answer.is_success else None

        told = wait_until(draft, what="the executor is ready to be armed").json()
        ring = current_ring(Path(stack.description["ring"]))
        now_ms = time.time_ns() // 10**6
        payload = draft_warrant(told, ring=ring, nonce="n", now_ms=now_ms, armed_days=1)
        envelope = touched_envelope(payload, [KEYS[0].touch(payload, client=client)])
        answer = executor.post("/arm", content=envelope)
        assert answer.status_code == 200, answer.text
        assert answer.json()["armed"]["is_armed"] is True, answer.text


def last_kill(stack: Stack) -> dict[str, Any] | None:
    """Return the report of the last kill that is over; None while there is none."""
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", timeout=30) as executor:
        last: dict[str, Any] | None = executor.get("/status").raise_for_status().json()["kill"]["last"]
        return last


def sign(stack: Stack, draft: Path, *, by: Sequence[FastKey] = KEYS[:1]) -> Path:
    """Sign what a command drafted, beside it, as a browser on the console's page would have it signed."""
    payload, envelope = draft.read_bytes(), draft.with_name("signed")
    client = {"origin": read_ring(Path(stack.description["ring"])).origins[0]}
    envelope.write_bytes(touched_envelope(payload, [key.touch(payload, client=client) for key in by]))
    return envelope


def release(
    stack: Stack, *arguments: str, reason: str = "a test", by: Sequence[FastKey] = KEYS[:1]
) -> subprocess.CompletedProcess[str]:
    """Draft a release, touch it and hand it over; answers how drafting failed, or how all of it went."""
    command = stack.description["processes"]["gateway"]["command"]
    asked = [command[0], "release", "--config", command[command.index("--config") + 1]]
    draft = stack.folder / "draft"
    drafted = ran([*asked, "--reason", reason, "--draft", draft, *arguments])
    if drafted.returncode:
        return drafted
    handed = ran([*asked, "--warrant", sign(stack, draft, by=by)])
    handed.stdout = drafted.stdout + handed.stdout
    return handed


def ran(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False)
