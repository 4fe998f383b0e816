"""A thief has copied the order key and places an order behind the gateway's back."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from trade_demo.scenarios.stage import ScenarioFailed, Stage

SYMBOL: Final = "BTCUSDT"
QUANTITY: Final = "0.005"
BELOW: Final = Decimal("0.97")
TICK: Final = Decimal("0.1")
NOTICED_WITHIN_S: Final = 60.0


async def play(stage: Stage) -> None:
    """Place the order, and see it found, the gateway halted and the incident kept. Raises ScenarioFailed."""
    price = stage.view.prices.get(SYMBOL)
    if price is None:
        raise ScenarioFailed(f"no price of {SYMBOL} is known yet")
    limit = (price * BELOW).quantize(TICK)
    stage.say(f"a stolen order key places an order that the gateway never saw: Buy {QUANTITY} {SYMBOL} at {limit}")
    placed = await stage.act(
        "/order",
        {
            "category": "spot",
            "symbol": SYMBOL,
            "side": "Buy",
            "orderType": "Limit",
            "qty": QUANTITY,
            "price": str(limit),
            "timeInForce": "GTC",
        },
    )
    order_id = str(placed.get("orderId", ""))
    took_s = await stage.until_state("HALTED", within_s=NOTICED_WITHIN_S)
    stage.prove(f"the watchdog found order {order_id} at the exchange, and the gateway was HALTED after {took_s:.1f} s")

    async def is_gone() -> bool:
        return order_id not in str((await stage.world()).get("orders"))

    gone_s = await stage.until("the rogue order is cancelled", is_gone, within_s=NOTICED_WITHIN_S)
    stage.prove(f"the kill executor swept it away with its exit key {gone_s:.1f} s later")
    stage.prove(f"the watchdog's audit counts {await stage.findings()}")
    halts = await stage.rows(frozenset({"state:changed"}))
    stage.prove(f"row {halts[-1]['seq']} of the gateway's journal keeps the halt: {halts[-1]['fields'].get('reason')}")
