"""Takes alerts from the service and brings them to every channel, each at its own pace.

Guarantees
- `alert` and `acknowledge` return at once and never raise: whoever decides waits for nobody.
- A channel has a queue and a task of its own: one that hangs, refuses or limits delays no other.
- Nothing is lost silently. A full queue loses its least urgent, oldest message, which is counted, and the channel is
  told how many it has missed once it takes messages again.
- A message is tried until it is delivered or refused for good; a channel is asked at most once a second, and not before
  the time that it names.

It does not promise that anybody reads: that is what repeating is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, unique
from typing import Final

from trade_core.alerts.book import SUBJECTS_MAX, AlertBook, Due
from trade_core.alerts.channels import Channel, ChannelKind, Outcome, Sent
from trade_core.alerts.model import Alert, JournalHead, Message, Sender, Severity
from trade_core.clock import NS_PER_S, Clock

QUEUE_MAX: Final = 100
PACE_S: Final = 1.0
RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 60.0
LAST_WORDS_S: Final = 2.0
"""How long an orderly end waits for what is still queued."""
WAITING: Final = "waiting"
MISSED_SUBJECT: Final = "alerts:missed"
log = logging.getLogger(__name__)
_LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


@unique
class Fate(Enum):
    """What became of a message on a channel."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    FAILED = "failed"
    DROPPED = "dropped"


Count = Callable[[ChannelKind, Fate], None]


class Outbox:
    """Every channel of one service. Made inside the event loop that uses it."""

    def __init__(
        self,
        *,
        sender: Sender,
        channels: Sequence[Channel],
        clock: Clock,
        count: Count = lambda _kind, _fate: None,
        head: Callable[[], JournalHead | None] = lambda: None,
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._head = head
        self._book = AlertBook()
        self._lanes = [_Lane(channel, sender=sender, clock=clock, count=count) for channel in channels]
        self._changed = asyncio.Event()

    @property
    def unacknowledged(self) -> tuple[str, ...]:
        """The subjects that wait for somebody."""
        return self._book.unacknowledged

    def told(self, subject: str) -> dict[str, str]:
        """Say of each channel what became of the newest message of a subject; "none" where none was handed to it."""
        return {f"{number}:{lane.kind.value}": lane.fate(subject) for number, lane in enumerate(self._lanes, 1)}

    def alert(self, alert: Alert) -> None:
        """Tell something, unless it was told lately."""
        due = self._book.take(alert, now_ns=self._clock.monotonic_ns())
        if due is not None:
            self._hand_over(due)
        self._changed.set()

    def acknowledge(self, subject: str) -> bool:
        """Stop repeating a subject; False when nobody was told of it."""
        was_open = self._book.acknowledge(subject)
        if was_open:
            log.info("acknowledged: %s", subject)
        self._changed.set()
        return was_open

    async def run(self) -> None:
        """Bring messages out and repeat what nobody acknowledges, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._repeat())
                for lane in self._lanes:
                    tasks.create_task(lane.run())
        finally:
            await asyncio.gather(*(lane.end() for lane in self._lanes))

    async def _repeat(self) -> None:
        while True:
            self._changed.clear()
            now_ns = self._clock.monotonic_ns()
            for due in self._book.due(now_ns):
                self._hand_over(due)
            next_ns = self._book.next_due_ns()
            pause_s = None if next_ns is None else max(0.0, (next_ns - now_ns) / NS_PER_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    def _hand_over(self, due: Due) -> None:
        alert = due.alert
        log.log(_LEVELS[alert.severity], "alert %s: %s", alert.subject, alert.text)
        message = Message(
            sender=self._sender, alert=alert, at_ns=self._clock.wall_ns(), repeats=due.repeats, head=self._head()
        )
        for lane in self._lanes:
            lane.put(message)


class _Lane:
    """One channel and what waits for it."""

    def __init__(self, channel: Channel, *, sender: Sender, clock: Clock, count: Count) -> None:
        self._channel = channel
        self._sender = sender
        self._clock = clock
        self._count = count
        self._queue: deque[Message] = deque()
        self._is_filled = asyncio.Event()
        self._missed = 0
        self._is_working = True
        self._ended: dict[str, str] = {}  # what became of the newest message of a subject, the last ones of them

    @property
    def kind(self) -> ChannelKind:
        return self._channel.kind

    def fate(self, subject: str) -> str:
        if any(message.alert.subject == subject for message in self._queue):
            return WAITING if self._is_working else f"{WAITING}; it does not work, and is tried again"
        return self._ended.get(subject, "none")

    def put(self, message: Message) -> None:
        if len(self._queue) >= QUEUE_MAX:
            least = min(self._queue, key=lambda queued: queued.alert.severity.rank)
            self._queue.remove(least)
            self._end(least, Fate.DROPPED)
            self._miss(Fate.DROPPED)
        self._queue.append(message)
        self._is_filled.set()

    async def run(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            await self._is_filled.wait()
            outcome = await self._deliver_first()
            if outcome.sent is Sent.FAILED:
                await asyncio.sleep(max(pause_s, outcome.wait_s))
                pause_s = min(pause_s * 2, RETRY_LAST_S)
                continue
            pause_s = RETRY_FIRST_S
            await asyncio.sleep(PACE_S)

    async def end(self) -> None:
        """Try once to say what is still queued, and close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while self._queue and (await self._deliver_first()).sent is not Sent.FAILED:
                    continue
        for _ in self._queue:
            self._count(self._channel.kind, Fate.DROPPED)
        if self._queue:
            log.error("%d alerts were not delivered by %s", len(self._queue), self._channel.kind.value)
        await self._channel.close()

    async def _deliver_first(self) -> Outcome:
        if not self._queue:  # the one that waited was dropped for a graver one
            self._is_filled.clear()
            return Outcome(sent=Sent.DELIVERED)
        message = self._queue[0]
        outcome = await self._channel.send(message)
        self._note(outcome)
        if outcome.sent is Sent.FAILED:
            return outcome
        with contextlib.suppress(ValueError):  # dropped while it was on its way
            self._queue.remove(message)
        self._end(message, Fate.REFUSED if outcome.sent is Sent.REFUSED else Fate.DELIVERED)
        if outcome.sent is Sent.REFUSED:
            self._miss(Fate.REFUSED)
        elif self._missed:
            self._tell_missed()
        if not self._queue:
            self._is_filled.clear()
        return outcome

    def _end(self, message: Message, fate: Fate) -> None:
        subject = message.alert.subject
        self._ended.pop(subject, None)
        self._ended[subject] = fate.value
        while len(self._ended) > SUBJECTS_MAX:
            del self._ended[next(iter(self._ended))]

    def _note(self, outcome: Outcome) -> None:
        if outcome.sent is not Sent.REFUSED:
            fate = Fate.DELIVERED if outcome.sent is Sent.DELIVERED else Fate.FAILED
            self._count(self._channel.kind, fate)
        is_working = outcome.sent is not Sent.FAILED
        if is_working != self._is_working:
            words = "works again" if is_working else "does not work; its alerts are kept and tried again"
            log.log(logging.INFO if is_working else logging.ERROR, "%s %s", self._channel.kind.value, words)
        self._is_working = is_working

    def _miss(self, fate: Fate) -> None:
        self._missed += 1
        self._count(self._channel.kind, fate)
        log.error("an alert was %s by %s", fate.value, self._channel.kind.value)

    def _tell_missed(self) -> None:
        text = f"{self._missed} alerts did not reach this channel; look at the log and the journal"
        alert = Alert(subject=MISSED_SUBJECT, severity=Severity.WARNING, text=text)
        self._missed = 0
        self._queue.appendleft(Message(sender=self._sender, alert=alert, at_ns=self._clock.wall_ns()))
        self._is_filled.set()
