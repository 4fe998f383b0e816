"""The disk of the journal takes no more writes: nothing adds risk, and what cancels, halts or reduces is served."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journal.gate import Gate, until

from trade_core.clock import SystemClock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, RowKind
from trade_journal.store.store import JournalStore
from trade_journal.writer.writer import JournalWriter

ORIGIN = "trade/simulated/1002/gateway"

pytestmark = pytest.mark.slow


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Put the folder over itself, to be read only. It needs root: mount(8).

    What is open already stays as it is: the kernel does not let a disk that is being written become read-only.
    """
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def made(kind: RowKind, **fields: str | bool) -> Entry:
    return Entry(at_ns=1, kind=kind, actor="gateway", fields=fields)


RISK = made(RowKind.ORDER_INTENT, adds_risk=True)
SERVED = [
    made(RowKind.CANCEL_INTENT),
    made(RowKind.ORDER_INTENT, adds_risk=False),
    made(RowKind.STATE_CHANGED, holder="operator_latch", ceiling="HALTED"),
]


async def test_disk_that_became_read_only_refuses_new_risk_and_traps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    folder, segment = tmp_path / "journal", tmp_path / "emergency.segment"
    folder.mkdir()
    url = f"sqlite:///{folder}/journal.db"
    journal = await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock(), emergency=segment)
    assert await journal.append(RISK) == 0
    with read_only(folder):
        gate.fails_before = 1  # as a disk does that has just become so, to who has the file open
        with pytest.raises(JournalUnavailable):
            await journal.append(RISK)
        assert [await journal.append(one) for one in SERVED] == [1, 2, 3]
        with pytest.raises(JournalUnavailable, match="Read-only file system"):
            await journal.append(RISK)
        assert [row.kind for row in await journal.read(1, 10)] == [one.kind for one in SERVED]
        with pytest.raises(OSError, match="Read-only file system"), (folder / "journal.db").open("r+b"):
            pass
    await until(lambda: journal.is_writable)
    rows = await journal.read(0, 10)
    assert [row.kind for row in rows[1:4]] == [one.kind for one in SERVED]
    assert rows[4].kind is RowKind.JOURNAL_RECOVERED
    assert await journal.append(RISK) == 5
    await journal.close()
    JournalStore.open(url, origin=ORIGIN).close()
