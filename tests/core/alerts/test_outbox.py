"""Alerts on their way: each channel at its own pace, nothing lost silently, nobody waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from trade_core.alerts import outbox as outbox_module
from trade_core.alerts.book import REPEAT_FIRST_S, SUBJECTS_MAX
from trade_core.alerts.channels import ChannelKind, Outcome, Sent
from trade_core.alerts.model import Alert, JournalHead, Message, Sender, Severity
from trade_core.alerts.outbox import QUEUE_MAX, Fate, Outbox
from trade_core.clock import NS_PER_S, ManualClock


class Double:
    """A channel that does what it is told and remembers what it was given."""

    kind = ChannelKind.WEBHOOK

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.given: list[Message] = []
        self.is_hanging = False
        self.is_closed = False

    async def send(self, message: Message) -> Outcome:
        self.given.append(message)
        while self.is_hanging:  # noqa: ASYNC110 - a test flips it
            await asyncio.sleep(0.001)
        return self.outcomes.pop(0) if self.outcomes else Outcome(sent=Sent.DELIVERED)

    async def close(self) -> None:
        self.is_closed = True

    def texts(self) -> list[str]:
        return [message.alert.text for message in self.given]


class World:
    def __init__(self, *channels: Double) -> None:
        self.clock = ManualClock()
        self.counts: Counter[Fate] = Counter()
        self.outbox = Outbox(
            sender=Sender(service="watchdog", environment="simulated", account="1"),
            channels=channels,
            clock=self.clock,
            count=lambda _kind, fate: self.counts.update([fate]),
            head=lambda: JournalHead(size=3, root="r"),
        )

    def alert(
        self, text: str, *, severity: Severity = Severity.WARNING, needs: bool = False, subject: str = ""
    ) -> None:
        self.outbox.alert(Alert(subject=subject or text, severity=severity, text=text, needs_acknowledgement=needs))


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    task = asyncio.create_task(world.outbox.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACE_S", "RETRY_FIRST_S", "RETRY_LAST_S"):
        monkeypatch.setattr(outbox_module, name, 0.001)
    monkeypatch.setattr(outbox_module, "LAST_WORDS_S", 0.05)


async def test_alert_reaches_every_channel_with_the_journal_s_head() -> None:
    channels = (Double(), Double())
    async with running(World(*channels)) as world:
        world.alert("a")
        await settled()
    for channel in channels:
        (message,) = channel.given
        assert message.alert.text == "a"
        assert message.head == JournalHead(size=3, root="r")
        assert message.at_ns == world.clock.wall_ns()
    assert world.counts == {Fate.DELIVERED: 2}


async def test_hanging_channel_delays_no_other_and_nobody_who_alerts() -> None:
    hanging, good = Double(), Double()
    hanging.is_hanging = True
    async with running(World(hanging, good)) as world:
        for text in "abc":
            world.alert(text)
        await settled()
        assert good.texts() == ["a", "b", "c"]
        assert hanging.texts() == ["a"]
        hanging.is_hanging = False
        await settled()
        assert hanging.texts() == ["a", "b", "c"]


async def test_failed_message_is_tried_until_it_is_delivered() -> None:
    channel = Double(*[Outcome(sent=Sent.FAILED)] * 3)
    async with running(World(channel)) as world:
        world.alert("a")
        world.alert("b")
        await settled()
    assert channel.texts() == ["a", "a", "a", "a", "b"]
    assert world.counts == {Fate.FAILED: 3, Fate.DELIVERED: 2}


async def test_channel_is_not_asked_before_the_time_it_names() -> None:
    channel = Double(Outcome(sent=Sent.FAILED, wait_s=30))
    async with running(World(channel)) as world:
        world.alert("a")
        await settled()
        assert channel.texts() == ["a"]


async def test_refused_message_is_counted_and_the_channel_is_told_later() -> None:
    channel = Double(Outcome(sent=Sent.REFUSED))
    async with running(World(channel)) as world:
        world.alert("a")
        world.alert("b")
        await settled()
    assert channel.texts()[:2] == ["a", "b"]
    assert "1 alerts did not reach this channel" in channel.texts()[2]
    assert world.counts == {Fate.REFUSED: 1, Fate.DELIVERED: 2}


async def test_full_queue_loses_the_least_urgent_and_says_how_many() -> None:
    channel = Double()
    channel.is_hanging = True
    async with running(World(channel)) as world:
        world.alert("on its way")
        await settled()
        for number in range(QUEUE_MAX + 5):
            severity = Severity.INFO if number < 10 else Severity.CRITICAL
            world.alert(f"n{number}", severity=severity)
        assert world.counts == {Fate.DROPPED: 6}
        channel.is_hanging = False
        for _ in range(20):
            await settled()
    texts = channel.texts()
    assert [text for text in texts if text in {f"n{number}" for number in range(10)}] == ["n6", "n7", "n8", "n9"] or (
        [text for text in texts if text in {f"n{number}" for number in range(10)}] == ["n5", "n6", "n7", "n8", "n9"]
    )
    assert f"n{QUEUE_MAX + 4}" in texts
    assert any("alerts did not reach this channel" in text for text in texts)


async def test_same_matter_is_told_once() -> None:
    channel = Double()
    async with running(World(channel)) as world:
        for _ in range(50):
            world.alert("a", subject="s")
        await settled()
    assert channel.texts() == ["a"]


async def test_alert_is_repeated_until_it_is_acknowledged() -> None:
    channel = Double()
    async with running(World(channel)) as world:
        world.alert("a", subject="s", needs=True)
        await settled()
        assert world.outbox.unacknowledged == ("s",)
        world.clock.advance(REPEAT_FIRST_S * NS_PER_S)
        world.outbox.acknowledge("unknown")  # wakes the loop as anything does
        await settled()
        assert [message.repeats for message in channel.given] == [0, 1]
        world.outbox.acknowledge("s")
        world.clock.advance(10**6 * NS_PER_S)
        world.outbox.acknowledge("unknown")
        await settled()
    assert len(channel.given) == 2


async def test_end_says_what_is_queued_and_counts_what_it_cannot() -> None:
    good, bad = Double(), Double()
    bad.is_hanging = True
    world = World(good, bad)
    task = asyncio.create_task(world.outbox.run())
    await settled()
    for text in "abc":
        world.alert(text)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert good.texts() == ["a", "b", "c"]
    assert (good.is_closed, bad.is_closed) == (True, True)
    assert world.counts[Fate.DROPPED] == 3


async def test_outbox_without_channels_takes_alerts() -> None:
    async with running(World()) as world:
        world.alert("a", needs=True)
        await settled()
    assert world.counts == {}


async def test_fate_of_a_subject_is_told_for_each_channel() -> None:
    good, slow, bad, refusing = Double(), Double(), Double(), Double(Outcome(sent=Sent.REFUSED))
    slow.is_hanging = True
    bad.outcomes = [Outcome(sent=Sent.FAILED)] * 1000
    async with running(World(good, slow, bad, refusing)) as world:
        assert set(world.outbox.told("a").values()) == {"none"}
        world.alert("a")
        await settled()
        assert world.outbox.told("a") == {
            "1:webhook": "delivered",
            "2:webhook": "waiting",
            "3:webhook": "waiting; it does not work, and is tried again",
            "4:webhook": "refused",
        }
        slow.is_hanging = False
        await settled()
        assert world.outbox.told("a")["2:webhook"] == "delivered"
        assert world.outbox.told("b")["1:webhook"] == "none"


async def test_fate_of_a_dropped_message_is_told_and_fates_are_bounded() -> None:
    slow = Double()
    slow.is_hanging = True
    async with running(World(slow)) as world:
        for number in range(QUEUE_MAX + 2):
            world.alert(f"{number}")
        await settled()
        assert "dropped" in {world.outbox.told(f"{number}")["1:webhook"] for number in range(3)}
        slow.is_hanging = False
    quick = Double()
    async with running(World(quick)) as world:
        for number in range(SUBJECTS_MAX + 1):
            world.alert(f"{number}")
            await asyncio.sleep(0.002)
        await settled()
        assert world.outbox.told(f"{SUBJECTS_MAX}")["1:webhook"] == "delivered"
        assert world.outbox.told("0")["1:webhook"] == "none"
