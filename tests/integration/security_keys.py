"""Security keys for a running stack: enrolled by the bootstrap code, and touched for what a person orders."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from integration.stack import Stack, wait_until
from trust_parts import KEYS, FastKey, enrolled

from trade_core.ring_keeper import current_ring
from trade_core.trust.ring import read_ring, ring_hash
from trade_core.trust.signed_warrant import touched_envelope
from trade_core.trust.succession import next_ring, ring_change, ring_offer, ring_subject
from trade_core.trust.warrant import Warrant, parse_warrant, warrant_bytes
from trade_killswitch.command.draft import draft_warrant


def enrol(stack: Stack) -> None:
    """Enrol two keys at gateway, watchdog and executor, each of which checks the offer by itself."""
    ring = read_ring(Path(stack.description["ring"]))
    offer(stack, enrolled(ring, stack.description["enrol_code"]), version=2)


def add_key(stack: Stack, key: FastKey) -> None:
    """Add a key by the touch of the two that are enrolled."""
    ring = current_ring(Path(stack.description["ring"]))
    change = ring_change(ring, credentials=[*ring.credentials, key.credential])
    order = Warrant(
        purpose="ring",
        version=1,
        deployment=ring.deployment,
        environment=ring.environment,
        audience="deployment",
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=ring_subject(ring, next_ring(ring, change)),
        nonce=secrets.token_hex(16),
        words=f"add {key.credential.label}",
        expires_at_ms=time.time_ns() // 10**6 + 120_000,
    )
    payload = warrant_bytes(order)
    touched = touched_envelope(payload, [one.touch(payload, client=_client_of(stack)) for one in KEYS])
    offer(stack, ring_offer(change=change, warrant=touched), version=ring.version + 1)


def offer(stack: Stack, raw: bytes, *, version: int) -> None:
    """Hand a next ring to all three, and see that each has taken it."""
    watchdog = stack.description["watchdog"]
    bearer = {"Authorization": f"Bearer {watchdog['admin_token']}"}
    answers = [
        stack.admin.post("/ring", content=raw),
        httpx.post(f"{watchdog['admin']}/ring", content=raw, headers=bearer),
    ]
    with executor_of(stack) as executor:
        answers.append(executor.post("/ring", content=raw))
    counting = ring_hash(current_ring(Path(stack.description["ring"])))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert (answer.json()["version"], answer.json()["ring_hash"]) == (version, counting)


def arm(stack: Stack) -> None:
    """Arm the automatic kill by a touch, once every part of a kill is ready."""
    answer = handed_to_arm(stack)
    assert answer.status_code == 200, answer.text
    assert answer.json()["armed"]["is_armed"] is True, answer.text


def handed_to_arm(stack: Stack, **changed: Any) -> httpx.Response:
    """Hand the executor a touched warrant to arm for a day, with fields changed before the touch."""
    with executor_of(stack) as executor:

        def draft() -> httpx.Response | None:
            answer = executor.get("/draft", params={"purpose": "arm"})
            return answer if answer.is_success else None

        told = wait_until(draft, what="the executor is ready to be armed").json()
        ring = current_ring(Path(stack.description["ring"]))
        drafted = draft_warrant(told, ring=ring, nonce="n", now_ms=time.time_ns() // 10**6, armed_days=1)
        payload = warrant_bytes(replace(parse_warrant(drafted), **changed))
        touched = touched_envelope(payload, [KEYS[0].touch(payload, client=_client_of(stack))])
        return executor.post("/arm", content=touched)


def executor_of(stack: Stack) -> httpx.Client:
    """The executor's socket."""
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    return httpx.Client(transport=transport, base_url="http://executor", trust_env=False, timeout=30)


def _client_of(stack: Stack) -> dict[str, str]:
    return {"origin": read_ring(Path(stack.description["ring"])).origins[0]}


def last_kill(stack: Stack) -> dict[str, Any] | None:
    """Return the report of the last kill that is over; None while there is none."""
    with executor_of(stack) as executor:
        last: dict[str, Any] | None = executor.get("/status").raise_for_status().json()["kill"]["last"]
        return last


def sign(stack: Stack, draft: Path, *, by: Sequence[FastKey] = KEYS[:1]) -> Path:
    """Sign what a command drafted, beside it, as a browser on the console's page would have it signed."""
    payload, envelope = draft.read_bytes(), draft.with_name("signed")
    envelope.write_bytes(touched_envelope(payload, [key.touch(payload, client=_client_of(stack)) for key in by]))
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
