"""Our gateway as it runs, for a load: exchange, order entry stub, watchdog, journal writer, gateway: each a process.

Everything is on: leases flow, every row is durable before its order, the policy decides. What differs from trade-demo
is the pace (`orders_per_s`), the bench policy, and the stub that takes the orders.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from rig.bench_policy import CAPITAL_USDT, ORDERS_PER_S, bench_policy
from rig.children import HOST, Child, LoadTestFailed, free_ports
from rig.signed_orders import Key
from trade_core.secrets import read_secret_file
from trade_demo.commands import (
    init_executor_command,
    init_gateway_command,
    init_journal_writer_command,
    init_watchdog_command,
    service_spec,
)
from trade_demo.credentials import Handover, read_exchange_credentials, read_handover
from trade_demo.files import JOURNAL_WRITER, Files
from trade_demo.options import parse_options
from trade_demo.ports import choose_ports
from trade_demo.process import ProcessSpec
from trade_demo.settings_files import (
    write_executor_settings,
    write_gateway_settings,
    write_journal_writer_settings,
    write_simulator_settings,
    write_watchdog_settings,
)

STUB = Path(__file__).with_name("exchange_stub.py")
_STUB_NAME = "stub"


class Deployment:
    """A running deployment in a folder of its own. `launcher` is a script that starts the gateway in another way."""

    def __init__(self, folder: Path, *, launcher: Path | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True)
        self.files = Files(root=folder)
        self._launcher = launcher
        self._ports = choose_ports(None)
        self._children: list[Child] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        files, ports = self.files, self._ports
        files.make_folders()
        options = parse_options(["--bot", "none", "--equity", str(CAPITAL_USDT)])
        write_simulator_settings(files, ports=ports, options=options)
        simulator = self._run(service_spec(files, "simulator"))
        simulator.wait_until(files.credentials.is_file)
        exchange = read_exchange_credentials(files.credentials)
        self.exchange_url, self.exchange_ws = exchange.url, exchange.ws
        self.stub_port, stub_ws_port = free_ports(2)
        self.stub = self.start_stub(port=self.stub_port, ws_port=stub_ws_port)
        stubbed = replace(exchange, url=f"http://{HOST}:{self.stub_port}", ws=f"ws://{HOST}:{stub_ws_port}")
        write_watchdog_settings(files, ports=ports, exchange=exchange)
        write_gateway_settings(files, ports=ports, exchange=stubbed, options=options)
        files.policy.write_text(bench_policy())
        with files.settings("gateway").open("a") as settings:
            settings.write(f"orders_per_s = {ORDERS_PER_S}\n")
        write_journal_writer_settings(files, exchange=exchange)
        write_executor_settings(files, exchange=exchange)  # for its key in the ring; it does not run
        _run_to_end(init_watchdog_command(files))
        _run_to_end(init_journal_writer_command(files))
        _run_to_end(init_executor_command(files))
        _run_to_end(init_gateway_command(files))
        writer = self._run(service_spec(files, JOURNAL_WRITER))
        writer.wait_until(files.journal_socket("gateway").exists)
        self.start_gateway()
        self.start_watchdog()
        self.wait_until_active()

    def start_gateway(self) -> None:
        """Start the gateway, also one that has ended."""
        spec = service_spec(self.files, "gateway")
        if self._launcher is not None:
            python = Path(spec.command[0]).with_name("python")
            spec = replace(spec, command=(str(python), str(self._launcher), *spec.command[1:]))
        self.gateway = self._run(spec)
        handover = self.files.handover("gateway", "freqtrade")
        self.gateway.wait_for_port(self._ports.gateway_admin)
        access = read_secret_file(handover)
        self.url, self.ws = str(access["url"]).rstrip("/"), str(access["ws"]).rstrip("/")
        self.key = Key(key=str(access["key"]), secret=str(access["secret"]))
        self.operator: Handover = read_handover(self.files.handover("gateway", "operator"))
        self.admin = httpx.Client(
            base_url=self.operator.url,
            headers={"Authorization": f"Bearer {self.operator.token.reveal()}"},
            timeout=20,
            trust_env=False,
        )

    def start_watchdog(self) -> None:
        """Start the watchdog, also one that has ended."""
        self.watchdog = self._run(service_spec(self.files, "watchdog"))

    def start_stub(self, *, port: int, ws_port: int) -> Child:
        """Start a stub before the simulated exchange; the gateway's own is there already."""
        command = [sys.executable, str(STUB), "--exchange", self.exchange_url, "--exchange-ws", self.exchange_ws]
        command += ["--port", str(port), "--ws-port", str(ws_port)]
        stub = Child(_STUB_NAME, command, log=self.files.log("stub"))
        self._children.append(stub)
        stub.wait_for_port(port)
        return stub

    def _run(self, spec: ProcessSpec) -> Child:
        child = Child(spec.name, spec.command, log=spec.log_file, environment=dict(spec.environment))
        self._children.append(child)
        return child

    def state(self) -> dict[str, Any]:
        """Return what the gateway says of itself."""
        state: dict[str, Any] = self.admin.get("/state").raise_for_status().json()
        return state

    def wait_until_active(self) -> None:
        """Wait until orders that add risk are considered."""
        try:
            self.gateway.wait_until(lambda: self.state()["trading_state"] == "ACTIVE")
        except LoadTestFailed as error:
            raise LoadTestFailed(f"{error}; the gateway's state: {self.state()['holders']}") from None

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the processes that carry, write and witness orders: all but the exchange."""
        return tuple(child.pid for child in self._children if child.name not in {_STUB_NAME, "simulator"})

    def arrived(self) -> int:
        """Return how many orders have arrived at the gateway's stub."""
        return orders_at_stub(self.stub_port)

    def take_arrivals(self) -> list[tuple[int, str]]:
        """Return when each order arrived since the last call, in monotonic ns, and its order link id."""
        lines = httpx.get(f"http://{HOST}:{self.stub_port}/stub/arrivals", timeout=20).text.splitlines()
        return [(int(at_ns), link_id) for at_ns, link_id in (line.split(" ") for line in lines)]

    def stop(self) -> None:
        """End everything, the exchange last."""
        for child in reversed(self._children):
            child.stop()
        if hasattr(self, "admin"):
            self.admin.close()


def orders_at_stub(port: int) -> int:
    """Return how many orders have arrived at a stub."""
    return int(httpx.get(f"http://{HOST}:{port}/stub/count", timeout=20).text)


def _run_to_end(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise LoadTestFailed(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr[-600:]}")
