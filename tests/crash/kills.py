"""Kills gateway or journal writer with SIGKILL at random moments while bots trade, and counts what should not be there.

After each kill the process is started again, and so is a gateway that gave up because its journal was gone.
What must hold, seen from outside:
- every order that the exchange ever received has its intent among the durable rows;
- no durable row is ever lost or changed, and the journal verifies, witnessed, at the end;
- orders that nobody was told of do not stay at the exchange.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
from integration.bot import Bot, resting_order
from integration.stack import Stack, is_alive, wait_until

from trade_demo.policy import demo_policy
from trade_journal.log.key_file import parse_keys
from trade_journal.log.rows import RowKind
from trade_journal.log.verify import Verification, checked_points
from trade_journal.store.store import JournalReader

VICTIMS = ("gateway", "journal-writer")
BOTS = 4
PACE_S = 0.2  # of each bot: together below what the message throttle takes
QUICKER = {"_deny = 10": "_deny = 40", "_terminate = 25": "_terminate = 50"}
UP_WITHIN_S = 180.0  # says nothing of the promise: a busy machine starts a gateway late
LONGEST_LIFE_S = 1.5
CHECK_EVERY = 20
PAGE = 1000
ORDER_PATH = "/v5/order/create"


@dataclass(slots=True, kw_only=True)
class Kills:
    """The running count."""

    kills: int = 0
    of_writer: int = 0
    orders: int = 0
    acknowledged: set[str] = field(default_factory=set)
    without_row: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    arrivals: int = 0
    rows: int = 0
    last_leaf: bytes = b""


class Traffic:
    """Bots that place and cancel for as long as a block lasts."""

    def __init__(self, stack: Stack, found: Kills) -> None:
        self._stack = stack
        self._found = found
        self._order = resting_order(stack)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._trade, args=(Random(number),)) for number in range(BOTS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _trade(self, dice: Random) -> None:
        bot = Bot(self._stack.gateway)
        while not self._done.is_set():
            order = self._another(dice)
            time.sleep(PACE_S)
            try:
                answer = bot.post(ORDER_PATH, order)
                if answer["retCode"] == 0:
                    order_id = answer["result"]["orderId"]
                    self._found.acknowledged.add(order_id)
                    cancel = {"category": "spot", "symbol": order["symbol"], "orderId": order_id}
                    bot.post("/v5/order/cancel", cancel)
            except (httpx.HTTPError, ValueError):
                bot.close()
                time.sleep(0.02)
                bot = Bot(self._stack.gateway)
        bot.close()

    def _another(self, dice: Random) -> dict[str, Any]:
        """Make an order of a quantity of its own: a copy of a working one would be denied."""
        return {**self._order, "qty": str(int(float(self._order["qty"]) + dice.randint(0, 40)))}


def quick_policy(folder: Path) -> Path:
    """Write the demo's policy with the message throttle at its bound."""
    text = demo_policy()
    for before, after in QUICKER.items():
        assert before in text
        text = text.replace(before, after)
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def kill_often(stack: Stack, *, count: int, seed: int) -> Kills:
    """Kill one or the other so many times. Raises AssertionError for a row that is lost or changed."""
    found = Kills()
    dice = Random(seed)
    reader = JournalReader(stack.description["journals"]["gateway"])
    with Traffic(stack, found):
        for number in range(1, count + 1):
            if number % 3:  # otherwise it dies while it starts
                _wait_until_up(stack)
            time.sleep(dice.uniform(0, LONGEST_LIFE_S))
            victim = dice.choice(VICTIMS)
            if is_alive(stack.description["processes"][victim]["pid"]):
                stack.kill(victim)
            stack.reap(victim)
            _check_rows(reader, found)
            stack.restart(victim)
            found.kills += 1
            found.of_writer += victim == "journal-writer"
            if number % CHECK_EVERY == 0:
                _check_orders(stack, found)
                print(f"{found.kills} kills, {found.orders} orders, {len(found.without_row)} without a row", flush=True)
    _wait_until_up(stack)
    _check_rows(reader, found)
    _check_orders(stack, found)
    wait_until(lambda: _working(stack) <= found.acknowledged, what="orders nobody was told of are cancelled")
    check_journal(stack, reader)
    reader.close()
    return found


def _wait_until_up(stack: Stack) -> None:
    """Wait until new risk is permitted again; a gateway whose journal went away while it started has ended."""

    def is_up() -> bool:
        if not is_alive(stack.description["processes"]["gateway"]["pid"]):
            stack.reap("gateway")
            stack.restart("gateway")
        return stack.state_name() == "ACTIVE"

    wait_until(is_up, within_s=UP_WITHIN_S, what="ACTIVE again")


def _check_rows(reader: JournalReader, found: Kills) -> None:
    """Read the rows since the last look; the last one seen then must still be there, as it was."""
    if found.rows:
        (last,) = reader.stored_rows(found.rows - 1, 1)
        assert last.leaf_hash == found.last_leaf, f"row {found.rows - 1} is not what it was"
    while page := reader.read(found.rows, PAGE):
        found.tags |= {str(row.fields["tag"]) for row in page if row.kind is RowKind.ORDER_INTENT}
        found.rows += len(page)
    (last,) = reader.stored_rows(found.rows - 1, 1)
    found.last_leaf = last.leaf_hash


def _check_orders(stack: Stack, found: Kills) -> None:
    """Hold what the exchange received since the last look against the rows; one that is under way has its row."""
    arrived = stack.control.get("/requests", params={"since": found.arrivals}).raise_for_status().json()
    numbers = [item["n"] for item in arrived]
    # Nothing is deleted and no number may be missing, so that every request is held against the rows exactly once.
    assert numbers == list(range(found.arrivals + 1, found.arrivals + 1 + len(numbers))), "the exchange's log has a gap"
    found.arrivals += len(numbers)
    sent = [item["body"] for item in arrived if item["path"] == ORDER_PATH]
    reader = JournalReader(stack.description["journals"]["gateway"])
    _check_rows(reader, found)
    reader.close()
    tags = [str(json.loads(body)["orderLinkId"]) for body in sent]
    found.orders += len(tags)
    found.without_row += [tag for tag in tags if tag not in found.tags]


def _working(stack: Stack) -> set[str]:
    orders: list[dict[str, Any]] = stack.control.get("/state").json()["orders"]
    return {str(order["orderId"]) for order in orders if order["orderStatus"] in {"New", "PartiallyFilled"}}


def check_journal(stack: Stack, reader: JournalReader) -> None:
    """Verify the journal with its checkpoints and the witness's. Raises AssertionError."""
    keys = parse_keys(Path(stack.description["public_keys"]).read_text(), origin=reader.origin())
    notes: list[bytes] = []
    while page := reader.checkpoints(len(notes), PAGE):
        notes += page
    cosigned: list[bytes] = []
    while page := reader.cosigned(len(cosigned), PAGE):
        cosigned += page
    verification = Verification(checked_points(notes, cosigned, keys=keys))
    size = 0
    while rows := reader.stored_rows(size, PAGE):
        verification.feed(rows)
        size += len(rows)
    verdict = verification.verdict()
    assert verdict.is_good, verdict.fault
    assert verdict.witnessed_rows > 0


def main() -> int:
    """Kill gateway and journal writer under load and see that no order is without a row."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trade-kills-") as folder:
        stack = Stack(Path(folder), "--policy", str(quick_policy(Path(folder))))
        try:
            found = kill_often(stack, count=options.kills, seed=options.seed)
        finally:
            stack.stop()
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s, {found.orders} orders upstream")
    print(f"{found.kills} kills, {found.of_writer} of them of the journal writer:")
    print(f"{len(found.without_row)} without a durable row; {found.rows} rows, none lost or changed")
    return 1 if found.without_row or not found.orders else 0


if __name__ == "__main__":
    sys.exit(main())
