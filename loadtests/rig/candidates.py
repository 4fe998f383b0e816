"""What is measured side by side: each candidate with its processes, its keys and who counts the orders behind it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from rivals import nginx

from rig.children import HOST, Child, LoadTestFailed, free_ports
from rig.deployment import Deployment, orders_at_stub
from rig.signed_orders import Key

RIVALS = Path(__file__).resolve().parents[1] / "rivals"
ROOT = Path(__file__).resolve().parents[2]
GATEWAY, NGINX, MITMPROXY, NAIVE = "gateway", "nginx", "mitmproxy", "naive"
# Not candidates: what loader and stub can do by themselves.
LOADER_ALONE, STUB_ALONE = "loader alone", "stub alone"
_RIVALS_KEY = Key(key="virtualkeyvirtualkey", secret="virtual secret of the rivals")
_EXCHANGE_KEY = {"exchange_key": "exchangekey", "exchange_secret": "exchange secret of the rivals"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way from the bot to the exchange. `arrived` counts the orders that reached the exchange behind it."""

    name: str
    url: str
    key: Key
    pids: tuple[int, ...]
    arrived: Callable[[], int]
    is_signature_checked: bool = True


class Candidates:
    """All of them, running until the end of the with-block."""

    def __init__(self, folder: Path, *, without: frozenset[str] = frozenset()) -> None:
        self._folder = folder
        self._without = without
        self._running = ExitStack()

    def __enter__(self) -> list[Candidate]:
        try:
            return self._start()
        except BaseException:
            self._running.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> list[Candidate]:
        self.deployment = deployment = Deployment(self._folder / "gateway")
        self._running.callback(deployment.stop)
        exchange, proxy, mitm, naive, stub, stub_ws = free_ports(6)
        upstream = nginx.start_exchange(self._folder / "nginx-exchange", port=exchange)
        self._running.callback(upstream.stop)
        exchange_url = f"http://{HOST}:{exchange}"
        count = _NginxCount(exchange_url)

        def rival(name: str, port: int, child: Child, *, is_signature_checked: bool = True) -> Candidate:
            self._running.callback(child.stop)
            return Candidate(
                name=name,
                url=f"http://{HOST}:{port}",
                key=_RIVALS_KEY,
                pids=(child.pid,),
                arrived=count,
                is_signature_checked=is_signature_checked,
            )

        passing = nginx.start_proxy(self._folder / "nginx-proxy", port=proxy, exchange_port=exchange)
        ours = Candidate(
            name=GATEWAY,
            url=deployment.url,
            key=deployment.key,
            pids=deployment.pids,
            arrived=deployment.arrived,
        )
        found = [ours, rival(NGINX, proxy, passing, is_signature_checked=False)]
        if MITMPROXY not in self._without:
            found.append(
                rival(MITMPROXY, mitm, _start_mitmproxy(self._folder / MITMPROXY, port=mitm, exchange_url=exchange_url))
            )
        found.append(rival(NAIVE, naive, _start_naive(self._folder / NAIVE, port=naive, exchange_url=exchange_url)))
        return [
            *found,
            rival(LOADER_ALONE, exchange, upstream, is_signature_checked=False),
            Candidate(
                name=STUB_ALONE,
                url=f"http://{HOST}:{stub}",
                key=_RIVALS_KEY,
                pids=(deployment.start_stub(port=stub, ws_port=stub_ws).pid,),
                arrived=lambda: orders_at_stub(stub),
                is_signature_checked=False,
            ),
        ]


def _start_mitmproxy(folder: Path, *, port: int, exchange_url: str) -> Child:
    program = ROOT / ".venv/mitmproxy/bin/mitmdump"
    if not program.is_file():
        raise LoadTestFailed(f"{program} is missing: `make bench` installs it")
    folder.mkdir()
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"key": _RIVALS_KEY.key, "secret": _RIVALS_KEY.secret, **_EXCHANGE_KEY}))
    command = [str(program), "--quiet", "--mode", f"reverse:{exchange_url}", "--listen-host", HOST]
    command += ["--listen-port", str(port), "--set", f"confdir={folder}", "--set", "flow_detail=0"]
    command += ["--scripts", str(RIVALS / "scripted_addon.py")]
    environment = {**os.environ, "SCRIPTED_ADDON_KEYS": str(keys)}
    child = Child(MITMPROXY, command, log=folder / "output.log", environment=environment)
    child.wait_for_port(port)
    return child


def _start_naive(folder: Path, *, port: int, exchange_url: str) -> Child:
    folder.mkdir()
    settings = folder / "settings.json"
    content = {
        "key": _RIVALS_KEY.key,
        "secret": _RIVALS_KEY.secret,
        **_EXCHANGE_KEY,
        "database": f"sqlite:///{folder / 'orders.db'}",
        "exchange_url": exchange_url,
    }
    settings.write_text(json.dumps(content))
    # In our own environment: the gateway's holds no database library.
    command = [sys.executable, "-m", "uvicorn", "naive_gateway:app", "--app-dir", str(RIVALS), "--host", HOST]
    command += ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    environment = {**os.environ, "NAIVE_GATEWAY_SETTINGS": str(settings)}
    child = Child(NAIVE, command, log=folder / "output.log", environment=environment)
    child.wait_for_port(port)
    return child


class _NginxCount:
    """Counts what reached nginx, without our own questions."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asked = 0

    def __call__(self) -> int:
        found = re.search(r"\n *\d+ \d+ (\d+)", httpx.get(f"{self._url}/status", timeout=5).text)
        if found is None:
            raise LoadTestFailed("nginx tells no count of its requests")
        self._asked += 1
        return int(found[1]) - self._asked
