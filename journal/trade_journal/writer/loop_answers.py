"""Answers from the writer's thread to who waits in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from trade_journal.errors import JournalDoubtful, JournalUnavailable
from trade_journal.writer.backlog import Item

_Given = TypeVar("_Given", int, bytes)


class LoopAnswers:
    """Hands results over to one event loop. A closed loop means that whoever waited is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def give(self, answers: Sequence[tuple[asyncio.Future[_Given], _Given | JournalUnavailable]]) -> None:
        """Answer waiters, in one turn of the loop; those whose wait is over are passed over."""
        if answers:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_answer, answers)

    def tell(self, fates: Sequence[asyncio.Future[bool]], *, is_written: bool) -> None:
        """Tell what became of rows."""
        if fates:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, fates, is_written)

    def doubt(self, items: Sequence[Item], said: str, *, cause: str) -> None:
        """Fail those who wait for rows; what became of the rows is told to `is_written`."""
        self.give(
            [
                (item.waiter, JournalDoubtful(said, cause=cause, is_written=item.is_written))
                for item in items
                if item.waiter is not None and item.is_written is not None
            ]
        )


def _answer(answers: Sequence[tuple[asyncio.Future[_Given], _Given | JournalUnavailable]]) -> None:
    for waiter, answer in answers:
        if waiter.done():  # its deadline passed, or whoever waited was cancelled
            continue
        if isinstance(answer, JournalUnavailable):
            waiter.set_exception(answer)
        else:
            waiter.set_result(answer)


def _settle(fates: Sequence[asyncio.Future[bool]], is_written: bool) -> None:
    for fate in fates:
        if not fate.done():
            fate.set_result(is_written)
