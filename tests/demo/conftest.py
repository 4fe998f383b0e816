"""Samples shared by the tests of the demo."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from trade_core.secrets import write_secret_file
from trade_demo.files import Files
from trade_demo.options import Options, parse_options
from trade_demo.ports import Ports

Answer = Mapping[str, Any] | httpx.Response


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(root=tmp_path / "demo")
    made.root.mkdir()
    made.make_folders()
    return made


@pytest.fixture
def ports() -> Ports:
    return Ports(
        simulator=22001,
        simulator_control=22002,
        gateway=22003,
        gateway_admin=22004,
        watchdog_admin=22005,
        freqtrade=22006,
        console=22007,
    )


@pytest.fixture
def options() -> Options:
    return parse_options([])


@pytest.fixture
def credentials(files: Files) -> dict[str, Any]:
    """What the simulator writes when it is ready."""
    content = {
        "url": "http://127.0.0.1:22001",
        "ws": "ws://127.0.0.1:22001",
        "control": "http://127.0.0.1:22002",
        "control_token": "control-token",
        "accounts": {"master_uid": "1", "sub_uid": "1002", "client_uid": "3"},
        "keys": {
            role: {"key": f"{role}-key", "secret": f"{role}-secret"}
            for role in ("master", "order", "watch", "master_read", "revoker", "exit", "client")
        },
    }
    write_secret_file(files.credentials, content)
    return content


@pytest.fixture
def serve() -> Callable[[Callable[[httpx.Request], Answer]], httpx.AsyncClient]:
    """Return a client whose requests a function answers, at the edge of the process."""

    def client(answer: Callable[[httpx.Request], Answer]) -> httpx.AsyncClient:
        def handle(request: httpx.Request) -> httpx.Response:
            found = answer(request)
            return found if isinstance(found, httpx.Response) else httpx.Response(200, content=json.dumps(found))

        return httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://127.0.0.1:1")

    return client
