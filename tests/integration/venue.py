"""Another venue on loopback: a second simulator process, whose prices the tests drive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
from integration.stack import ROOT, Stack, wait_until
from ports import free_ports

COMMAND = ROOT / ".venv/simulator/bin/trade-simulator"


class Venue:
    """A running simulator and its control."""

    def __init__(self, folder: Path, *, seed: int = 99, spot_only: bool = False) -> None:
        port, control_port = free_ports(2)
        settings = {
            "environment": "simulated",
            "port": port,
            "control_port": control_port,
            "control_token_file": str(folder / "control.token"),
            "credentials_file": str(folder / "credentials.json"),
            "seed": seed,
            "spot_only": spot_only,
        }
        config = folder / "simulator.toml"
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        with (folder / "venue.log").open("wb") as log:
            self.process = subprocess.Popen([COMMAND, "--config", config], stdout=log, stderr=log)
        try:
            wait_until((folder / "credentials.json").exists, what="venue ready")
            opened: dict[str, Any] = json.loads((folder / "credentials.json").read_text())
        except BaseException:
            self.stop()
            raise
        self.url = str(opened["url"])
        self.control = httpx.Client(
            base_url=str(opened["control"]),
            headers={"Authorization": f"Bearer {opened['control_token']}"},
            timeout=30,
        )

    def set_price(self, symbol: str, price: float) -> None:
        """Move a symbol's price."""
        self.control.post("/price", json={"symbol": symbol, "price": f"{price:.4f}"}).raise_for_status()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        if hasattr(self, "control"):
            self.control.close()


def point_watchdog(stack: Stack, venue: Venue | None) -> None:
    """Give the stack's watchdog another second venue, or none, and start it again."""
    config = stack.folder / "state/watchdog/watchdog.toml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("second_venue")]
    if venue is not None:
        kept += ['second_venue = "bybit"', f'second_venue_url = "{venue.url}"']
    config.write_text("\n".join(kept) + "\n")
    stack.kill("watchdog", signal.SIGTERM)
    pid = stack.description["processes"]["watchdog"]["pid"]
    wait_until(lambda: not Path(f"/proc/{pid}/fd").exists() or _is_dead(pid), what="watchdog ended")
    stack.restart("watchdog")


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
