"""How soon is seen: a fall by streams and by readings alone, rogue orders and keys, an edited row; and what is asked.

`make watch-figures` runs it on a stack of its own and prints one JSON object; times in seconds, from before the act at
the exchange to the gateway refusing, or to the finding in the watchdog's `/state`. A journal is edited on a stack of
its own each time, and watched until the gateway is HALTED.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
from integration.bot import resting_order
from integration.stack import Stack, wait_until

SYMBOL: Final = "BTCUSDT"
CALM, FALLEN = 0.985, 0.945  # of the peak; a step of less than what counts as wild
BUDGET_REQUESTS, BUDGET_WINDOW_MS = 600, 5000
PAUSE_S: Final = 0.003
NOBODY: Final = "ws://127.0.0.1:9"


class Scene:
    """A stack whose account is nearly all BTC, so that its price is the unit price."""

    def __init__(self, folder: Path) -> None:
        self.stack = Stack(folder)
        self.stack.wait_for_state("ACTIVE")
        described = self.stack.description["watchdog"]
        headers = {"Authorization": f"Bearer {described['admin_token']}"}
        self.watchdog = httpx.Client(base_url=described["admin"], headers=headers, timeout=30)
        self.act("/flow", {"coin": "BTC", "amount": "100"})
        time.sleep(5)
        self.stack.wait_for_state("ACTIVE")
        self.base = float(self.stack.control.get("/state").json()["prices"]["linear"][SYMBOL]["index"])

    def act(self, path: str, body: dict[str, Any]) -> None:
        self.stack.control.post(path, json=body).raise_for_status()

    def seen(self) -> dict[str, Any]:
        said: dict[str, Any] = self.watchdog.get("/state").raise_for_status().json()
        return said

    def move_to(self, part: float) -> None:
        """Move the price so that the unit price is this part of the daily peak."""
        seen = self.seen()
        now = float(self.stack.control.get("/state").json()["prices"]["linear"][SYMBOL]["index"])
        wanted = now * part * float(seen["rungs"]["daily"]["peak"]) / float(seen["equity"]["unit_price"])
        self.act("/price", {"symbol": SYMBOL, "price": f"{wanted:.1f}"})

    def fall(self) -> float:
        """Let the account fall past the daily rung and come back; answers how long the gateway took to refuse."""
        if self.seen()["rungs"]["daily"]["stage"] == "fired":
            self.watchdog.post("/ack", json={"subject": "rung:daily"})
        self.move_to(CALM)
        wait_until(lambda: self.seen()["rungs"]["daily"]["stage"] == "armed", what="armed")
        time.sleep(1.3)  # three samples must agree
        self.stack.wait_for_state("ACTIVE")
        seen = self.seen()
        wanted = FALLEN * float(seen["rungs"]["daily"]["peak"]) / float(seen["equity"]["unit_price"])
        now = float(self.stack.control.get("/state").json()["prices"]["linear"][SYMBOL]["index"])
        began = time.monotonic()
        self.act("/price", {"symbol": SYMBOL, "price": f"{now * wanted:.1f}"})
        return self._took(began, lambda: self.stack.state_name() != "ACTIVE")

    def rogue_order(self, number: int) -> float:
        """Place an order behind the gateway's back; answers how long the watchdog took to call it rogue."""
        order = {**resting_order(self.stack, symbol="XRPUSDT", usdt=20 + number), "timeInForce": "GTC"}
        before = self.seen()["audit"]["rogue_orders"]
        began = time.monotonic()
        self.act("/order", order)
        return self._took(began, lambda: self.seen()["audit"]["rogue_orders"] > before)

    def rogue_key(self) -> float:
        """Make a key; answers how long the watchdog took to call it rogue."""
        before = len(self.seen()["audit"]["key_alarms"])
        began = time.monotonic()
        self.act("/key", {"permissions": {"Spot": ["SpotTrade"]}, "readOnly": 0, "ips": ["127.0.0.1"]})
        return self._took(began, lambda: len(self.seen()["audit"]["key_alarms"]) > before)

    def point_streams_at(self, url: str) -> None:
        """Start the watchdog anew with its streams elsewhere; the gateway's own stay."""
        how = self.stack.description["processes"]["watchdog"]["command"]
        config = Path(how[how.index("--config") + 1])
        lines = config.read_text().splitlines()
        changed = [f'exchange_ws_url = "{url}"' if line.startswith("exchange_ws_url") else line for line in lines]
        config.write_text("\n".join(changed) + "\n")
        self.stack.kill("watchdog")
        self.stack.reap("watchdog")
        self.stack.restart("watchdog")
        time.sleep(10)
        self.stack.wait_for_state("ACTIVE")

    def asked(self) -> dict[str, float]:
        """Say how much of what one address may ask the watchdog's keys have asked: at most, and on the whole."""
        state = self.stack.control.get("/state").json()
        keys = {key["key"] for key in state["keys"] if key["role"] in {"watch", "master_read"}}
        listed = self.stack.control.get("/requests", params={"since": 0}, timeout=60).json()
        listed = listed["requests"] if isinstance(listed, dict) else listed
        at_ms = [item["at_ns"] // 1_000_000 for item in listed if item["key"] in keys and item["method"] == "GET"]
        windows = [
            sum(begin <= at < begin + BUDGET_WINDOW_MS for at in at_ms[i : i + 600]) for i, begin in enumerate(at_ms)
        ]
        span_s = max(1.0, (at_ms[-1] - at_ms[0]) / 1000)
        return {
            "most": max(windows) / BUDGET_REQUESTS,
            "mean": len(at_ms) / span_s / (BUDGET_REQUESTS / BUDGET_WINDOW_MS * 1000),
            "requests": len(at_ms),
        }

    def close(self) -> None:
        self.watchdog.close()
        self.stack.stop()

    @staticmethod
    def _took(began: float, is_so: Callable[[], bool]) -> float:
        while not is_so():
            if time.monotonic() - began > 90:
                raise AssertionError("not noticed within 90 s")
            time.sleep(PAUSE_S)
        return time.monotonic() - began


def tampered_journal() -> float:
    """Edit a row of a running gateway's journal; answers how long it took until the gateway was HALTED."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.wait_for_state("ACTIVE")
            journal = stack.description["journals"]["gateway"].removeprefix("sqlite:///")
            began = time.monotonic()
            with contextlib.closing(sqlite3.connect(journal, timeout=10)) as connection, connection:
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    connection.execute(f"DROP TRIGGER {name}")
                connection.execute("UPDATE rows SET body = replace(body, '\"actor\"', '\"actOr\"') WHERE seq = 3")
            return Scene._took(began, lambda: stack.state_name() == "HALTED")
        finally:
            stack.stop()


def summary(times: list[float]) -> dict[str, float]:
    """Name the median, the 99th percentile (the nearest rank) and the longest."""
    ordered = sorted(times)
    rank = max(0, -(-99 * len(ordered) // 100) - 1)
    return {
        "count": len(ordered),
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[rank], 3),
        "max": round(ordered[-1], 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--falls", type=int, default=100)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--journals", type=int, default=3)
    parser.add_argument("--only-orders", action="store_true", help="leave out the falls")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            if not asked.only_orders:
                found["fall by stream"] = summary([scene.fall() for _ in range(asked.falls)])
                found["asked by stream"] = scene.asked()
                print(json.dumps(found), flush=True)
                streams = scene.stack.simulator["ws"]
                scene.point_streams_at(NOBODY)
                scene.stack.control.delete("/requests")
                found["fall by reading"] = summary([scene.fall() for _ in range(asked.falls)])
                found["asked by reading"] = scene.asked()
                print(json.dumps(found), flush=True)
                scene.point_streams_at(streams)
            scene.stack.control.delete("/requests")
            found["rogue order"] = summary([scene.rogue_order(number) for number in range(asked.orders)])
            found["asked among rogue orders"] = scene.asked()
            print(json.dumps(found), flush=True)
            found["rogue key"] = summary([scene.rogue_key() for _ in range(asked.keys)])
            print(json.dumps(found), flush=True)
        finally:
            scene.close()
    found["tampered journal"] = summary([tampered_journal() for _ in range(asked.journals)])
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
