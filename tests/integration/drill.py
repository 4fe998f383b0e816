"""Kills whole stacks, every process its own, and says how long each kill took: `make drill-stacks`.

A kill destroys what it kills, so each has a stack of its own: simulator, gateway, journal writer, watchdog, executor as
`trade-demo` starts them, three orders that the gateway placed, a touch, and the secrets in files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from integration.bot import Bot, resting_order
from integration.security_keys import enrol, last_kill
from integration.shell import is_ready_to_kill
from integration.stack import Stack, wait_until
from killswitch.drill import percentile
from trust_parts import KEYS

from trade_core.ring_keeper import current_ring
from trade_core.trust.ring import read_ring
from trade_core.trust.signed_warrant import touched_envelope
from trade_killswitch.command.draft import draft_warrant

KILLS = 100
ORDERS = 3
LIMIT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """One kill: its verdict, how long it took, until when the gateway refused, and what is left at the exchange."""

    verdict: str
    took_s: float
    refused_s: float
    state: str
    working: int


def kill_once(folder: Path) -> Done:
    """Start a stack, place orders, kill it by a touch, and end it."""
    stack = Stack(folder)
    try:
        enrol(stack)
        stack.wait_for_state("ACTIVE")
        wait_until(lambda: is_ready_to_kill(stack), what="every part of a kill is ready")
        bot = Bot(stack.gateway)
        for number in range(ORDERS):
            placed = bot.create(resting_order(stack, usdt=20 + 10 * number))
            assert placed["retCode"] == 0, placed
        bot.close()
        touch_kill(stack)
        return done_of(stack, wait_until(lambda: last_kill(stack), what="the kill is over"))
    finally:
        stack.stop()


def touch_kill(stack: Stack) -> None:
    """Draft a kill, touch a key for it, and hand it to the executor."""
    ring_file = Path(stack.description["ring"])
    client = {"origin": read_ring(ring_file).origins[0]}
    transport = httpx.HTTPTransport(uds=stack.description["killswitch"]["socket"])
    with httpx.Client(transport=transport, base_url="http://executor", timeout=10, trust_env=False) as executor:
        told = executor.get("/draft", params={"purpose": "kill"}).raise_for_status().json()
        now_ms = time.time_ns() // 10**6
        payload = draft_warrant(told, ring=current_ring(ring_file), nonce="n", now_ms=now_ms)
        envelope = touched_envelope(payload, [KEYS[0].touch(payload, client=client)])
        executor.post("/kill", content=envelope).raise_for_status()


def done_of(stack: Stack, report: dict[str, Any]) -> Done:
    """Put the report together with what gateway and exchange say themselves."""
    account = stack.state()["account"]
    orders = stack.control.get("/state").raise_for_status().json()["orders"]
    return Done(
        verdict=report["verdict"],
        took_s=report["took_s"],
        refused_s=next(step["ended_s"] for step in report["steps"] if step["step"] == "refuse"),
        state=stack.state_name(),
        working=sum(order["uid"] == account for order in orders),
    )


def main() -> int:
    """Run the drill; 0 when every kill is complete and 95 of 100 are within the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many stacks ({KILLS}); each takes half a minute")
    count = parser.parse_args().kills
    done = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            done.append(one := kill_once(Path(folder)))
        sys.stdout.write(
            f"{number + 1:4} {one.verdict:<9} {one.took_s:6.2f} s  refused {one.refused_s:.2f} s  {one.state}\n"
        )
        sys.stdout.flush()
    took = [one.took_s for one in done]
    complete = sum((one.verdict, one.state, one.working) == ("complete", "KILLED", 0) for one in done)
    figures = {
        "kills": count,
        "complete": complete,
        "refusing_max_s": max(one.refused_s for one in done),
        "p50_s": percentile(took, 0.5),
        "p95_s": percentile(took, 0.95),
        "max_s": max(took),
        "limit_s": LIMIT_S,
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0 if complete == count and figures["p95_s"] < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
