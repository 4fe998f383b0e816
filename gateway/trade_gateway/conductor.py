"""Runs flows: does what they yield, gives them what came of it. The only place where order flows meet the world.

Guarantees
- A flow runs in a task of its own: a client that goes away never stops one half-way.
- New orders are bounded by MAX_ORDERS_UNDER_WAY. Nothing else is refused here, cancels least of all: they are one an
  order, so that the orders bound them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, assert_never

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.cancel_room import CancelRoom
from trade_gateway.commands import (
    AppendBeside,
    AppendDurable,
    AppendLater,
    AskOrder,
    Command,
    Flow,
    NotSent,
    SendCancel,
    SendOrder,
    Wait,
)
from trade_gateway.recorder import Recorder
from trade_gateway.upstream import Upstream
from trade_journal.errors import JournalError

MAX_ORDERS_UNDER_WAY = 512
R = TypeVar("R")
log = logging.getLogger(__name__)


class TooManyFlows(RuntimeError):
    """More orders are under way than the gateway follows at once."""


class Conductor:
    """Performs the commands of flows against journal, exchange and clock."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        upstream: Upstream,
        clock: Clock,
        permits: Callable[[bool], bool],
    ) -> None:
        self._recorder = recorder
        self._upstream = upstream
        self._clock = clock
        self._permits = permits
        self._cancels = CancelRoom()
        self._running: set[asyncio.Task[Any]] = set()
        self._orders: set[asyncio.Task[Any]] = set()

    async def place(self, flow: Flow[R]) -> R:
        """Run the flow of a new order to its end, even when the caller is cancelled meanwhile. Raises TooManyFlows."""
        if len(self._orders) >= MAX_ORDERS_UNDER_WAY:
            flow.close()
            raise TooManyFlows(f"{MAX_ORDERS_UNDER_WAY} orders are under way")
        task = self.start(flow)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
        return await asyncio.shield(task)

    async def run(self, flow: Flow[R]) -> R:
        """Run any other flow to its end, even when the caller is cancelled meanwhile."""
        return await asyncio.shield(self.start(flow))

    def start(self, flow: Flow[R]) -> asyncio.Task[R]:
        """Begin a flow that nobody waits for."""
        return self._follow(self._drive(flow))

    def _follow(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self, *, within_s: float) -> None:
        """Wait for the flows under way, so that an orderly stop leaves no unknown outcome behind."""
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)

    @property
    def orders_under_way(self) -> int:
        """How many new orders are under way."""
        return len(self._orders)

    async def _drive(self, flow: Flow[R]) -> R:
        given: Any = None
        while True:
            try:
                command = flow.send(given)
            except StopIteration as ended:
                result: R = ended.value
                return result
            try:
                given = await self._perform(command)
            except BaseException:
                flow.close()  # now, and not when the traceback is forgotten: the flow hands its order over
                raise

    async def _perform(self, command: Command) -> Any:
        match command:
            case AppendDurable(within_ns=int(within_ns)):
                return await self._append_within(command, within_ns=within_ns)
            case AppendDurable():
                return await self._recorder.append_durable(
                    command.kind, command.fields, policy_hash=command.policy_hash
                )
            case AppendLater():
                return self._recorder.append_later(command.kind, command.fields)
            case AppendBeside():
                self._follow(self._append(command))
                return None
            case SendOrder():
                if not self._permits(command.adds_risk):
                    return NotSent(reason="trading state", is_withheld=True)
                if not self._may_send(command):
                    return NotSent(reason="the policy changed", is_withheld=True)
                return await self._upstream.send_order(command.body, may_send=lambda: self._may_send(command))
            case SendCancel(is_own=True):
                return await self._cancels.send(lambda: self._upstream.send_cancel(command.body))
            case SendCancel():
                return await self._upstream.send_cancel(command.body)
            case AskOrder():
                return await self._upstream.ask_order(command)
            case Wait():
                return await self._wait(command.until_ns)
            case _:
                assert_never(command)

    async def _append(self, row: AppendBeside | AppendDurable) -> bool:
        try:
            return await self._recorder.append_durable(row.kind, row.fields)
        except JournalError:
            log.exception("a row of kind %s was not written", row.kind.value)
            return False

    async def _append_within(self, row: AppendDurable, *, within_ns: int) -> bool:
        writing = self._follow(self._append(row))
        done, _ = await asyncio.wait({writing}, timeout=within_ns / NS_PER_S)
        return writing in done and writing.result()

    def _may_send(self, command: SendOrder) -> bool:
        """The last question before the write: does the state permit it, and did the policy in force decide it?"""
        if not self._permits(command.adds_risk):
            return False
        is_decided_now = command.policy_hash in {None, self._recorder.policy_hash}
        return is_decided_now or not command.adds_risk

    async def _wait(self, until_ns: int) -> int:
        left_ns = until_ns - self._clock.monotonic_ns()
        if left_ns > 0:
            await asyncio.sleep(left_ns / NS_PER_S)
        return self._clock.monotonic_ns()
