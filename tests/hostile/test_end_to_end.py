"""One hostile bot against the real gateway process over HTTP; an accomplice thins the book by the exchange's API.

The loss is measured from what the simulator's control interface shows: its orders and its index price. The market is
held almost still; where the index moved around an order's creation, its kindest price counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from integration.bot import Bot
from integration.stack import Stack, wait_until
from simulator.support import Key, signed_headers

from trade_demo.policy import demo_policy
from trade_gateway.policy.hostile_loss import hostile_loss
from trade_gateway.policy.limits import parse_policy

SYMBOL = "BTCUSDT"
QUANTITY = Decimal("0.003")  # a little below 200 USDT
TRIES = 80
ROUNDS = 4
POLICY = parse_policy(demo_policy().encode())
PATIENCE_MS = 3_000  # a reference is at most this much older than its order


@dataclass
class Index:
    """The index price as the control interface shows it, many times a second."""

    stack: Stack
    seen: list[tuple[int, Decimal]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> Decimal:
        price = Decimal(self.stack.control.get("/state").json()["prices"]["linear"][SYMBOL]["index"])
        self.seen.append((time.time_ns() // 1_000_000, price))
        return price

    def around(self, at_ms: int) -> list[Decimal]:
        """The prices that an order of that time may have been measured against."""
        before = [price for seen_ms, price in self.seen if seen_ms <= at_ms - PATIENCE_MS][-1:]
        return before + [price for seen_ms, price in self.seen if at_ms - PATIENCE_MS < seen_ms <= at_ms + PATIENCE_MS]


class Accomplice:
    """A stranger with a key of their own and a million."""

    def __init__(self, stack: Stack) -> None:
        client = stack.simulator["client"]
        self.key = Key(key=client["key"], secret=client["secret"])
        self.http = httpx.Client(base_url=stack.simulator["url"], timeout=5)

    def sweep(self, side: str, price: Decimal) -> None:
        """Take all that stands up to a price."""
        body = (
            f'{{"category":"linear","symbol":"{SYMBOL}","side":"{side}","orderType":"Limit","qty":"20",'
            f'"price":"{price}","timeInForce":"IOC"}}'
        ).encode()
        headers = signed_headers(self.key, body, now_ms=time.time_ns() // 1_000_000)
        self.http.post("/v5/order/create", content=body, headers=headers | {"Content-Type": "application/json"})


@contextmanager
def still_stack(folder: Path) -> Iterator[Stack]:
    stack = Stack(folder, "--speed", "0.01", "--equity", "5000")
    try:
        stack.wait_for_state("ACTIVE")
        yield stack
    finally:
        stack.stop()


def place_until_filled(stack: Stack, bot: Bot, accomplice: Accomplice, index: Index, *, reducing: bool) -> bool:
    """Sweep the book and post at the collar's edge, until an order stood when the makers came back."""
    side, sweeps = ("Sell", "Sell") if reducing else ("Buy", "Buy")
    for _ in range(TRIES):
        reference = index.look()
        away = -POLICY.exit_collar if reducing else POLICY.collar
        price = (reference * (1 + away)).quantize(Decimal("0.1"), rounding="ROUND_UP" if reducing else "ROUND_DOWN")
        accomplice.sweep(sweeps, price)
        order = {
            "category": "linear",
            "symbol": SYMBOL,
            "side": side,
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "qty": str(QUANTITY),
            "price": str(price),
        }
        answer = bot.post("/v5/order/create", order | ({"reduceOnly": True} if reducing else {}))
        time.sleep(0.25)
        if answer["retCode"] == 0 and is_filled(stack, answer["result"]["orderId"]):
            return True
    return False


def is_filled(stack: Stack, order_id: str) -> bool:
    closed = stack.control.get("/state").json()["closed_orders"]
    return any(order["orderId"] == order_id and Decimal(order["cumExecQty"]) > 0 for order in closed)


def lost(stack: Stack, index: Index) -> tuple[Decimal, Decimal, int]:
    """What the account has lost by price and fees, the part of it beyond the reference, and how many orders filled."""
    state = stack.control.get("/state").json()
    trading = next(account["uid"] for account in state["accounts"] if account["name"] == "trading")
    total = beyond = Decimal(0)
    filled = 0
    for order in [*state["orders"], *state["closed_orders"]]:
        quantity = Decimal(order["cumExecQty"] or "0")
        if order["uid"] != trading or not quantity:
            continue
        sign = 1 if order["side"] == "Buy" else -1
        price = Decimal(order["cumExecValue"]) / quantity
        adverse = min(max(Decimal(0), (price - seen) * sign) for seen in index.around(int(order["createdTime"])))
        beyond += quantity * adverse
        total += quantity * adverse + Decimal(order["cumExecFee"])
        filled += 1
    return total, beyond, filled


@pytest.mark.slow
@pytest.mark.attack  # a race against the makers: on a machine that does other work beside it, no order stands in time
@pytest.mark.timeout(1260)
def test_hostile_bot_over_http_loses_less_than_the_state_says(tmp_path: Path) -> None:
    with still_stack(tmp_path) as stack:
        bot, accomplice, index = Bot(stack.gateway), Accomplice(stack), Index(stack)
        said = Decimal(stack.state()["max_hostile_loss"]["usdt"])
        assert said == hostile_loss(POLICY, equity_usdt=Decimal(5000)).usdt.quantize(Decimal("0.01"))
        began_at = wait_until(index.look, what="a price")
        rounds = sum(
            place_until_filled(stack, bot, accomplice, index, reducing=False)
            and place_until_filled(stack, bot, accomplice, index, reducing=True)
            for _ in range(ROUNDS)
        )
        total, beyond, filled = lost(stack, index)
        turned = QUANTITY * began_at * (POLICY.collar + POLICY.exit_collar)
        print(f"{filled} orders filled in {rounds} rounds: lost {total:.3f} of at most {said} USDT")
        assert rounds, "no order ever stood at the edge: the attack proves nothing"
        assert beyond > rounds * turned / 2
        assert total <= said
        bot.close()
        accomplice.http.close()
