"""The journal read again, round by round."""

from __future__ import annotations

import pytest

from trade_journal.errors import ForkProven, JournalUnavailable
from trade_journal.log.verify import StoredRow
from trade_watchdog import recheck as recheck_module
from trade_watchdog.recheck import Recheck


def rows(count: int) -> list[StoredRow]:
    return [StoredRow(seq=seq, body=b"row %d" % seq, leaf_hash=b"") for seq in range(count)]


class Journal:
    """The copy and what the gateway serves, side by side."""

    def __init__(self, count: int) -> None:
        self.kept, self.served = rows(count), rows(count)
        self.asked: list[tuple[int, int]] = []
        self.is_open = True
        self.closed = 0

    def size(self) -> int:
        return len(self.kept)

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        return self.kept[from_seq : from_seq + limit]

    def close(self) -> None:
        self.closed += 1

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        self.asked.append((from_seq, limit))
        return self.served[from_seq : from_seq + limit]


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setattr(recheck_module, "CHUNK_ROWS", 2)
    return Journal(5)


@pytest.fixture
def recheck(journal: Journal) -> Recheck:
    return Recheck(source=journal, open_copy=lambda: journal if journal.is_open else None)


async def test_every_row_is_read_again_round_by_round(journal: Journal, recheck: Recheck) -> None:
    for _ in range(7):
        await recheck.step()
    assert journal.asked == [*[(0, 2), (2, 2), (4, 1)] * 2, (0, 2)]
    assert (recheck.rounds, journal.closed) == (2, 7)


async def test_rows_that_came_since_are_read_too(journal: Journal, recheck: Recheck) -> None:
    for _ in range(3):
        await recheck.step()
    journal.kept, journal.served = rows(6), rows(6)
    await recheck.step()
    assert journal.asked[-1] == (5, 1)


@pytest.mark.parametrize("seq", [0, 3, 4])
async def test_row_that_was_edited_is_named(journal: Journal, recheck: Recheck, seq: int) -> None:
    journal.served[seq] = StoredRow(seq=seq, body=b"edited", leaf_hash=b"")
    for _ in range(seq // 2):
        await recheck.step()
    for _ in range(2):
        with pytest.raises(ForkProven, match=f"^row {seq} of the gateway.s journal is not what it was"):
            await recheck.step()


async def test_row_that_is_gone_is_named(journal: Journal, recheck: Recheck) -> None:
    del journal.served[3:]
    await recheck.step()
    with pytest.raises(ForkProven, match=r"^row 3 of the gateway.s journal was witnessed and is not there any more$"):
        await recheck.step()


async def test_nothing_is_read_while_the_copy_is_closed_or_empty(journal: Journal, recheck: Recheck) -> None:
    journal.is_open = False
    with pytest.raises(JournalUnavailable, match="not open"):
        await recheck.step()
    journal.is_open, journal.kept = True, []
    await recheck.step()
    assert (journal.asked, recheck.rounds) == ([], 0)
