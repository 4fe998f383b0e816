"""What was asked of the journal writer and not answered yet: each question has a number, and so has its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from trade_journal.errors import JournalUnavailable
from trade_journal.writer.frames import Failed

_G = TypeVar("_G")


class Questions:
    """Questions under way, by their numbers."""

    def __init__(self) -> None:
        self._asked: dict[int, asyncio.Future[Any]] = {}

    async def answer_to(self, number: int, *, send: Callable[[], None], within_s: float, kind: type[_G]) -> _G:
        """Send the question `number` and wait for what it is answered. Raises JournalUnavailable."""
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        send()
        try:
            async with asyncio.timeout(within_s):
                given = await answer
        except TimeoutError:
            raise JournalUnavailable(f"no answer from the journal writer within {within_s:g} s") from None
        finally:
            self._asked.pop(number, None)
        assert isinstance(given, kind)
        return given

    def answer(self, number: int, given: object) -> None:
        """Hand an answer to who waits for it; one that nobody waits for any more is dropped."""
        asked = self._asked.pop(number, None)
        if asked is not None and not asked.done():
            asked.set_result(given)

    def fail(self, answer: Failed) -> bool:
        """Tell who asked that there is no answer, and why. False when it was no question that failed."""
        asked = self._asked.pop(answer.number, None)
        if asked is not None and not asked.done():
            asked.set_exception(JournalUnavailable(answer.said, cause=answer.cause))
        return asked is not None

    def fail_all(self, why: str) -> None:
        """Tell everybody who waits that there will be no answer."""
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(JournalUnavailable(why))
        self._asked.clear()
