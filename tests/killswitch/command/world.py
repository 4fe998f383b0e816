"""An executor that verifies warrants as the real one does, over a Unix socket, and software keys of a key ring."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fido2 import cbor
from fido2.ctap import CtapDevice
from fido2.webauthn import AttestationObject
from trust_parts import ring_of

from trade_core.trust.credential import Credential
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_core.trust.signed_warrant import check_order, open_warrant
from trade_core.trust.warrant import WarrantPurpose
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker

PIN = "1234"
ORIGIN = "http://localhost:8650"
SUBJECT = "kill:spot=hold,linear=hold,inverse=hold"
WORDS = "KILL account 1002 (simulated): all keys deleted."
DONE = {"verdict": "complete", "in_words": "the kill is complete and proved after 4.2 s", "steps": []}


def software_key(**changed: Any) -> tuple[SoftwareKey, Credential]:
    """Make a key that is enrolled, and what a ring says of it."""
    device = SoftwareKey(memory=Memory(pin_hash=pin_hash(PIN)), maker=new_maker(), **changed)
    touched, device._is_touched = device._is_touched, lambda: True
    made = make_credential(device, rp_id="localhost", origin=ORIGIN, challenge=b"c" * 32, pin=PIN)
    device._is_touched = touched
    public = AttestationObject(made.attestation_object).auth_data.credential_data
    assert public is not None
    return device, Credential(
        credential_id=base64.b64encode(made.credential_id).decode(),
        public_key=base64.b64encode(cbor.encode(public.public_key)).decode(),
        label="blue",
        aaguid=str(public.aaguid),
        is_backup_eligible=False,
        added_at_ms=1,
    )


@dataclass
class ExecutorDouble:
    """What the executor would say. `reports` are what it says of the kill, one a look, the last for ever."""

    ring: KeyRing
    reports: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = field(default_factory=lambda: [(None, DONE)])
    draft: dict[str, Any] = field(default_factory=dict)
    taken: list[bytes] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    resumed: int = 0
    override: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        if path in self.override:
            return self.override[path]
        match method, path:
            case "GET", "/status":
                running, last = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
                armed = {"is_armed": False, "reason": "no warrant"}
                kill = {"running": running, "last": last}
                return 200, json.dumps({"armed": armed, "exit_key": "verified", "kill": kill}).encode()
            case "GET", "/draft":
                return 200, json.dumps(self.told(query.removeprefix("purpose="))).encode()
            case "POST", "/kill":
                return self._kill(body)
            case "POST", "/arm" | "/disarm":
                return self._arm(body, is_armed=path == "/arm")
            case "POST", "/resume":
                self.resumed += 1
                return 202, b'{"kill": "taken up again", "kill_id": "k1"}'
        return 404, b'{"detail": "Not Found"}'

    def told(self, purpose: str) -> dict[str, Any]:
        house = {name: getattr(self.ring, name) for name in ("deployment", "environment", "account")}
        drafted = {"purpose": purpose, "audience": "executor", "subject": SUBJECT, "words": WORDS}
        return {**house, "ring_hash": ring_hash(self.ring), **drafted, **self.draft}

    def _arm(self, body: bytes, *, is_armed: bool) -> tuple[int, bytes]:
        signed = open_warrant(body, ring=self.ring)
        self.taken.append(body)
        self.purposes.append(signed.warrant.purpose)
        armed = {"is_armed": is_armed, "reason": "disarmed", "expires_at_ms": signed.warrant.expires_at_ms}
        return 200, json.dumps({"armed": armed}).encode()

    def _kill(self, body: bytes) -> tuple[int, bytes]:
        try:
            signed = open_warrant(body, ring=self.ring)
            check_order(signed, purpose=WarrantPurpose(signed.warrant.purpose), audience="executor", subject=SUBJECT)
        except NotTrusted as error:
            return 403, json.dumps({"detail": f"no kill: {error}"}).encode()
        self.taken.append(body)
        self.purposes.append(signed.warrant.purpose)
        return 202, b'{"kill": "begun", "kill_id": "k1"}'


@contextmanager
def served(folder: Path, answer: Callable[[str, str, bytes], tuple[int, bytes]]) -> Iterator[Path]:
    """Serve over a Unix socket in a thread: the command brings no event loop."""
    loop, started, path = asyncio.new_event_loop(), threading.Event(), folder / "executor.sock"
    ended = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        status, content = answer(method, target, body)
        writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(content)))
        writer.write(content)
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_unix_server(serve_one, str(path))
        started.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


def write_ring(folder: Path, *credentials: Credential, **changed: Any) -> KeyRing:
    """Write the key ring that names these security keys."""
    ring = ring_of(load_private_key(new_private_key()), credentials=credentials, **changed)
    (folder / "ring.json").write_bytes(ring_bytes(ring))
    return ring


def plugged(*devices: CtapDevice) -> Callable[[], list[CtapDevice]]:
    return lambda: list(devices)
