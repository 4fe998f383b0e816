"""What is measured of a journal of some size: each measure is a process of its own and prints one JSON object.

Seconds are of the work alone, without the start of Python; `cpu_s` counts this process and those that it started, and
means the same on a busy machine. `peak_mib` is the most memory that this process ever had.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.house import LIMITS
from growth.bot_rows import ORIGIN, ROWS_AN_ORDER, SIGNER, WITNESS_VERIFIER, keep_checkpoint, order_rows

from trade_core.clock import SystemClock
from trade_gateway.account.activity import Activity
from trade_gateway.ledger import OrderLedger
from trade_gateway.recovery import recover
from trade_journal import cli
from trade_journal.log.rows import RowKind
from trade_journal.store.store import JournalReader, JournalStore
from trade_journal.writer.writer import GROUP_ROWS_MAX, JournalWriter

Figures = dict[str, float]
BURST_ROWS = 2 * GROUP_ROWS_MAX  # full commits, as when rows wait for the disk


@contextmanager
def _timed() -> Iterator[Figures]:
    """Give a mapping that holds the times at the end."""
    found: Figures = {}
    wall_s, cpu_s = time.perf_counter(), _cpu_s()
    yield found
    found["wall_s"] = time.perf_counter() - wall_s
    found["cpu_s"] = _cpu_s() - cpu_s


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def append(journal: Path, rows: int) -> Figures:
    """Let the journal grow to a number of rows as in life, the last of them in a burst, which alone is timed."""
    store = JournalStore.open(f"sqlite:///{journal}", origin=ORIGIN, log=SIGNER.verifier())
    try:
        while store.size() < rows - BURST_ROWS:
            store.append(order_rows(store.size() // ROWS_AN_ORDER))
            keep_checkpoint(store)
        first, orders = store.size() // ROWS_AN_ORDER, (rows - store.size()) // ROWS_AN_ORDER
        waiting = [one for number in range(first, first + orders) for one in order_rows(number)]
        with _timed() as found:
            for start in range(0, len(waiting), GROUP_ROWS_MAX):
                store.append(waiting[start : start + GROUP_ROWS_MAX])
        keep_checkpoint(store)
    finally:
        store.close()
    return {**found, "rows": len(waiting)}


def size(journal: Path, rows: int) -> Figures:
    """Count the bytes on the disk for each row, and those of one intent with its share of everything else."""
    files = [journal, *(path for end in ("-wal",) if (path := journal.with_name(journal.name + end)).exists())]
    bytes_a_row = sum(path.stat().st_size for path in files) / rows
    with contextlib.closing(JournalReader(f"sqlite:///{journal}")) as reader:
        page = reader.stored_rows(0, 1000)
    bodies = [len(row.body) for row in page]
    intents = [len(row.body) for row in page if RowKind.ORDER_INTENT.value.encode() in row.body]
    overhead = bytes_a_row - sum(bodies) / len(bodies)
    return {"bytes_a_row": bytes_a_row, "bytes_an_order_row": sum(intents) / len(intents) + overhead}


def opening(journal: Path, rows: int) -> Figures:
    """Open the journal for writing, as its writer starts."""
    with _timed() as found:
        store = JournalStore.open(f"sqlite:///{journal}", origin=ORIGIN, log=SIGNER.verifier())
    assert store.size() == rows
    store.close()
    return found


def replay(journal: Path, rows: int) -> Figures:
    """Rebuild the gateway's state from every row, as the gateway starts; the socket to the writer is left out."""

    async def replayed() -> int:
        opened = await JournalWriter.open(f"sqlite:///{journal}", origin=ORIGIN, clock=SystemClock(), signer=SIGNER)
        try:
            recovered = await recover(
                opened,
                OrderLedger(),
                activity=Activity(limits=LIMITS),
                started_at_ns=1,
                is_release=lambda *_, **__: False,
            )
        finally:
            await opened.close()
        return recovered.rows

    with _timed() as found:
        assert asyncio.run(replayed()) == rows
    return found


def verify(journal: Path, rows: int) -> Figures:
    """Verify every row, checkpoint and cosignature with `trade-journal verify`."""
    keys = journal.with_name("public-keys.txt")
    keys.write_text(f"{SIGNER.verifier().text()}\n{WITNESS_VERIFIER.text()}\n")
    with _timed() as found, contextlib.redirect_stdout(io.StringIO()) as said:
        code = cli.main(["verify", "--journal", str(journal), "--keys", str(keys), "--json"])
    verdict = json.loads(said.getvalue())
    assert (code, verdict["rows"], verdict["witnessed_rows"]) == (0, rows, rows), verdict
    return {**found, "checkpoints": verdict["checkpoints"]}


MEASURES: dict[str, Callable[[Path, int], Figures]] = {
    "append": append,
    "size": size,
    "opening": opening,
    "replay": replay,
    "verify": verify,
}


def main() -> int:
    """Take one measure of a journal."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("journal", type=Path)
    parser.add_argument("rows", type=int)
    options = parser.parse_args()
    found = MEASURES[options.measure](options.journal, options.rows)
    print(json.dumps({**found, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
