"""`trade-security-key enrol`, against a listener that says what it was handed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from trust_parts import ring_of

from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import ring_bytes
from trade_simulator.security_key.command import main

CODE = new_code()


class Door(BaseHTTPRequestHandler):
    """Takes what is handed in, unless it was told not to."""

    def do_POST(self) -> None:
        server: Any = self.server
        server.taken.append(
            (self.path, self.headers.get("Authorization"), self.rfile.read(int(self.headers["Content-Length"])))
        )
        self.send_response(server.status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def door() -> Iterator[Any]:
    """A listener on loopback."""
    server: Any = HTTPServer(("127.0.0.1", 0), Door)
    server.taken, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def described(tmp_path: Path, door: Any) -> Path:
    """What a demo says of itself."""
    ring = ring_of(
        load_private_key(new_private_key()),
        credentials=(),
        bootstrap_key=public_text(printed_key(CODE, purpose="bootstrap")),
        bootstrap_expires_at_ms=2**52,
    )
    (tmp_path / "ring.json").write_bytes(ring_bytes(ring))
    url = f"http://127.0.0.1:{door.server_port}"
    path = tmp_path / "demo.json"
    admin = {"admin": url, "admin_token": "t"}
    path.write_text(
        json.dumps(
            {
                "ring": str(tmp_path / "ring.json"),
                "enrol_code": CODE,
                "gateway": admin,
                "watchdog": admin,
                "killswitch": {"socket": url},
            }
        )
    )
    return path


def run(described: Path) -> int:
    keys = described.parent / "keys"
    keys.mkdir(exist_ok=True)
    return main(["enrol", "--describe", str(described), str(keys / "blue.key"), str(keys / "green.key")])


def test_keys_are_enrolled_everywhere_and_once(described: Path, door: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(described) == 0
    handed = [(path, token) for path, token, _ in door.taken]
    assert handed == [("/ring", "Bearer t"), ("/ring", "Bearer t"), ("/ring", None)]
    assert len({body for *_, body in door.taken}) == 1
    assert json.loads(capsys.readouterr().out)["enrolled"] == ["blue", "green"]
    assert run(described) == 2
    assert "exists already" in capsys.readouterr().err


def test_service_that_refuses_is_named(described: Path, door: Any, capsys: pytest.CaptureFixture[str]) -> None:
    door.status = 409
    assert run(described) == 1
    assert "the gateway answered 409" in capsys.readouterr().err


def test_service_that_is_not_there_is_named(described: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(described.read_text())
    content["killswitch"]["socket"] = str(described.parent / "nobody.sock")
    described.write_text(json.dumps(content))
    assert run(described) == 1
    assert "nobody listens at" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", '{"ring": "/nowhere"}'])
def test_description_that_is_none_is_named(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.json"
    path.write_text(content)
    assert run(path) == 2
    assert "trade-security-key: " in capsys.readouterr().err


def test_ring_of_real_money_is_refused(described: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring_file = described.parent / "ring.json"
    ring_file.write_text(json.dumps({**json.loads(ring_file.read_text()), "environment": "live"}))
    assert run(described) == 2
    assert "is not the ring of a simulated exchange" in capsys.readouterr().err
