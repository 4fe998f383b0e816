"""Everything is closed, whoever fails or is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trade_core.closing import close_all


class Fault(Exception):
    """A close that fails."""


def closes(closed: list[int], *, faulty: int | None = None) -> list[Callable[[], Awaitable[None]]]:
    def one(number: int) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            await asyncio.sleep(0)
            if number == faulty:
                raise Fault(number)
            closed.append(number)

        return close

    return [one(number) for number in range(4)]


async def test_close_all_closes_in_order() -> None:
    closed: list[int] = []
    await close_all(*closes(closed))
    assert closed == [0, 1, 2, 3]


@pytest.mark.parametrize("faulty", range(4))
async def test_close_all_of_which_one_fails_closes_the_others_and_tells(faulty: int) -> None:
    closed: list[int] = []
    with pytest.raises(Fault):
        await close_all(*closes(closed, faulty=faulty))
    assert closed == [number for number in range(4) if number != faulty]


@pytest.mark.parametrize("turns", range(7))
async def test_close_all_that_is_cancelled_has_closed_everything_when_it_ends(turns: int) -> None:
    closed: list[int] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await close_all(*closes(closed))

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert closed == [0, 1, 2, 3]


@pytest.mark.parametrize("turns", range(1, 7))
def test_close_all_whose_loop_ends_leaves_out_none_but_what_was_closing(turns: int) -> None:
    closed: list[int] = []

    async def main() -> None:
        closing = asyncio.create_task(close_all(*closes(closed)))
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not closing.done()

    asyncio.run(main())
    assert len(closed) >= 3
