"""What a warrant brings about is told outside, each in its own right, and counts from when somebody there has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

import pytest

from trade_core.alerts.channels import ChannelKind, Outcome, Sent
from trade_core.alerts.model import Alert, Message, Sender, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.clock import SystemClock
from trade_gateway.announcer import announcing


class HangingChannel:
    """A channel that answers nothing until it is let; then what it is told to."""

    kind = ChannelKind.WEBHOOK

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def send(self, message: Message) -> Outcome:
        self.was_asked.set()
        await self.may_answer.wait()
        return Outcome(sent=self._sent)

    async def close(self) -> None:
        """Hold nothing open."""


@asynccontextmanager
async def outbox(*channels: HangingChannel) -> AsyncIterator[Outbox]:
    made = Outbox(
        sender=Sender(service="gateway", environment="live", account="1"), channels=channels, clock=SystemClock()
    )
    running = asyncio.create_task(made.run())
    yield made
    for channel in channels:
        channel.may_answer.set()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_each_warrant_is_a_matter_of_its_own_and_fits_an_alert() -> None:
    told: list[Alert] = []
    announce = announcing(told.append, told=lambda _: {}, needs_channel=True)
    announce("release", b"one", "release HALTED")
    announce("release", b"two", "w" * 500)
    first, second = told
    assert (first.severity, first.text, first.subject[:8]) == (Severity.CRITICAL, "release HALTED", "release:")
    assert first.subject != second.subject
    assert len(first.subject) == len("release:") + 12
    assert len(second.text) == 400


async def test_announcement_reaches_when_the_first_channel_takes_it_and_not_while_all_hang() -> None:
    one, other = HangingChannel(Sent.DELIVERED), HangingChannel(Sent.DELIVERED)
    async with outbox(one, other) as box:
        has_reached = announcing(box.alert, told=box.told, needs_channel=True)("release", b"one", "release HALTED")
        await asyncio.gather(one.was_asked.wait(), other.was_asked.wait())
        assert not has_reached()
        other.may_answer.set()
        async with asyncio.timeout(30):
            while not has_reached():  # noqa: ASYNC110 - the outbox tells when it is asked
                await asyncio.sleep(0)
        assert not one.may_answer.is_set()


async def test_announcement_that_every_channel_refuses_reaches_nobody() -> None:
    channel = HangingChannel(Sent.REFUSED)
    channel.may_answer.set()
    async with outbox(channel) as box:
        announce = announcing(box.alert, told=box.told, needs_channel=False)
        has_reached = announce("release", b"one", "release HALTED")
        async with asyncio.timeout(30):
            while "refused" not in box.told(f"release:{sha256(b'one').hexdigest()[:12]}").values():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        assert not has_reached()


@pytest.mark.parametrize("needs_channel", [True, False])
async def test_without_any_channel_it_reaches_only_where_none_is_needed(needs_channel: bool) -> None:
    async with outbox() as box:
        announce = announcing(box.alert, told=box.told, needs_channel=needs_channel)
        assert announce("release", b"one", "release HALTED")() is not needs_channel
