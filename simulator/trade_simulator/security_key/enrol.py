"""Has a running demo take simulated keys: enrolled by its bootstrap code at gateway, watchdog and executor alike."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trade_core.errors import ConfigurationError, TradeError
from trade_simulator.security_key.client import make_credential
from trade_simulator.security_key.file import write_memory
from trade_simulator.security_key.key import Memory, SoftwareKey, pin_hash
from trade_simulator.security_key.maker import new_maker
from trade_simulator.security_key.papers import bootstrap_offer, enrolment_challenge

_WITHIN_S: Final = 10.0


class NotTaken(TradeError):
    """A service did not take what it was handed; the message says which and why."""


def enrol(describe: Path, files: Sequence[Path], *, pin: str) -> dict[str, Any]:
    """Make a key in each of two files and enrol them; answers what is known then.

    Raises ConfigurationError, NotTaken, fido2.client.ClientError.
    """
    described = read_described(describe)
    ring = read_described(Path(str(described.get("ring"))))
    if ring.get("environment") != "simulated":
        raise ConfigurationError(f"{described.get('ring')}: is not the ring of a simulated exchange")
    for path in files:
        if path.exists():
            raise ConfigurationError(f"{path}: exists already; a key is enrolled once")
    made = {path.stem: _made(path, ring, pin=pin) for path in files}
    offer = bootstrap_offer(ring, made, code=str(described["enrol_code"]))
    for name in ("gateway", "watchdog"):
        _hand(name, described[name]["admin"], offer, token=str(described[name]["admin_token"]))
    _hand("executor", described["killswitch"]["socket"], offer)
    return {"enrolled": list(made), "at": ["gateway", "watchdog", "executor"], "origin": ring["origins"][0]}


def read_described(path: Path) -> dict[str, Any]:
    """Read a description of a demo, or a key ring: one JSON object. Raises ConfigurationError."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: is not an object")
    return content


def _made(path: Path, ring: Mapping[str, Any], *, pin: str) -> Any:
    memory = Memory(pin_hash=pin_hash(pin))
    write_memory(path, memory)
    key = SoftwareKey(memory=memory, maker=new_maker(), on_change=lambda: write_memory(path, memory))
    challenge, origin = enrolment_challenge(ring), ring["origins"][0]
    return make_credential(key, rp_id=ring["rp_id"], origin=origin, challenge=challenge, pin=pin)


def _hand(name: str, where: str, body: bytes, *, token: str = "") -> None:
    """Give a ring to a service, at an address or a socket. Raises NotTaken."""
    connection = _connection(where)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request("POST", "/ring", body=body, headers=headers)
        answer = connection.getresponse()
        said = answer.read(2000).decode("utf-8", "replace")
    except OSError as error:
        raise NotTaken(f"the {name} at {where} did not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NotTaken(f"the {name} answered {answer.status}: {said}")


def _connection(where: str) -> http.client.HTTPConnection:
    if where.startswith("http://"):
        address = urlsplit(where)
        return http.client.HTTPConnection(str(address.hostname), address.port, timeout=_WITHIN_S)
    connection = http.client.HTTPConnection("localhost", timeout=_WITHIN_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(_WITHIN_S)
    try:
        connection.sock.connect(where)
    except OSError as error:
        connection.close()
        raise NotTaken(f"nobody listens at {where}: {error.strerror}") from error
    return connection
