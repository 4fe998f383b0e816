"""Carries a closing out: the only place where the flow of a closing meets the world."""

from __future__ import annotations

import asyncio
from typing import Any, assert_never

from trade_core.clock import Clock
from trade_killswitch.commands import AskTime, SendCancels, Wait
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exit_orders import ExitOrders
from trade_killswitch.flatten_flow import Closing, PlaceExits, ReadOpen, flatten
from trade_killswitch.flatten_plan import Settled


async def closed(closing: Closing, hand: ExitOrders, *, exchange: ExitExchange, clock: Clock) -> Settled:
    """Close what is to be closed, within the bound of the flow; says what is left. Raises Unreadable."""
    flow = flatten(closing)
    given: Any = None
    while True:
        try:
            command = flow.send(given)
        except StopIteration as ended:
            settled: Settled = ended.value
            return settled
        match command:
            case ReadOpen():
                given = await hand.read_open()
            case PlaceExits():
                await hand.place(command.orders)
                given = None
            case SendCancels():
                given = await exchange.send_cancels(command.calls)
            case Wait():
                await asyncio.sleep(command.seconds)
                given = None
            case AskTime():
                given = clock.monotonic_ns()
            case _:
                assert_never(command)
