"""Fails the n-th system call of a kind on a journal's files, or dies at it, for every n; the promises must hold.

The writer runs under strace, which answers that one call in the kernel's place, or kills it. In an emergency another
call has failed before, so that rows are on their way into the emergency segment. What must hold then:
- every row that was acknowledged is there, with its number and content, and every checkpoint that was given out;
- nothing is there that was not handed over, but the row that tells of the recovery;
- the journal verifies, and opens again for writing; or it was refused at the opening with one sentence;
- the process ended by itself, and not with a traceback, unless it was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crash.appender import EMERGENCY_NUMBERS, ROWS, SIGNER, entry, opened, segment_of

from trade_journal.log.note import parse_note
from trade_journal.log.rows import Row, RowKind
from trade_journal.log.verify import PublicKeys, verify_journal
from trade_journal.store.store import JournalReader

CALLS = (
    *("pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "fcntl"),
    *("pread64", "unlink", "flock", "fallocate", "rename"),
)
# What fails before, in an emergency: a commit, and not by the call that is tried.
EMERGENCIES = {"pwrite64": "fdatasync:error=EIO:when=4", "fdatasync": "pwrite64:error=EIO:when=14"}
KILLED = "SIGKILL"
OUTCOMES = ("EIO", "ENOSPC", KILLED)
MORE = 3  # calls that come only because one before them failed
RUN_WITHIN_S = 300
FAST_STRACE = ("--seccomp-bpf",)  # stops the writer at the traced calls only
APPENDER = Path(__file__).with_name("appender.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The n-th of these calls on a journal's files ends so; the journal is new, or has rows already."""

    call: str
    outcome: str
    number: int
    is_new: bool
    is_emergency: bool = False

    def __str__(self) -> str:
        """Name it in a line."""
        journal = f"{'new' if self.is_new else 'old'} journal{' in an emergency' if self.is_emergency else ''}"
        return f"{journal}, {self.call} number {self.number} ends with {self.outcome}"


class PromiseBroken(Exception):
    """What the writer promised, or what it must never do, and did."""


def count_calls(call: str, *, is_new: bool) -> int:
    """Count how often a run makes a call when nothing fails."""
    with tempfile.TemporaryDirectory(prefix="trade-crash-") as folder:
        log = _run(Path(folder), [*FAST_STRACE, "-e", f"trace={call}"], is_new=is_new)
    return log.count(f"{call}(")


def run_with(fault: Fault) -> bool:
    """Run the writer under one fault and check it; False when there was no such call. Raises PromiseBroken."""
    how = "signal=KILL" if fault.outcome == KILLED else f"error={fault.outcome}"
    tracing = [*FAST_STRACE] if fault.outcome != KILLED else []  # with it, strace sends no signals
    traced = fault.call
    if fault.is_emergency:
        before = EMERGENCIES[fault.call]
        traced += "," + before.partition(":")[0]
        tracing += ["-e", f"inject={before}"]
    tracing += ["-e", f"trace={traced}", "-e", f"inject={fault.call}:{how}:when={fault.number}"]
    with tempfile.TemporaryDirectory(prefix="trade-crash-") as folder:
        try:
            log = _run(Path(folder), tracing, is_new=fault.is_new)
        except PromiseBroken as broken:
            raise PromiseBroken(f"{fault}: {broken}") from broken
    return "INJECTED" in log or KILLED in log


def _run(folder: Path, tracing: Sequence[str], *, is_new: bool) -> str:
    journal = folder / "journal.db"
    log = folder / "strace.log"
    watched = [journal, *(journal.with_name(journal.name + end) for end in ("-wal", "-shm", ".lock")), folder]
    watched += [segment_of(str(journal)), folder / ".emergency.segment.partial"]
    strace = ["strace", "-f", "-q", "-o", str(log)]
    strace += [part for path in watched for part in ("-P", str(path))]
    before = [] if is_new else _promises(_appended([], journal, first_number=0))
    done = _appended([*strace, *tracing], journal, first_number=ROWS)
    _check(done, journal, [*before, *_promises(done)])
    return log.read_text(errors="replace")


def _appended(under: Sequence[str], journal: Path, *, first_number: int) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, str(APPENDER), f"sqlite:///{journal}", str(first_number)]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False)


def _promises(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.split() for line in done.stdout.splitlines()]


def _check(done: subprocess.CompletedProcess[str], journal: Path, promises: Sequence[Sequence[str]]) -> None:
    if done.returncode not in {0, 2, -signal.SIGKILL} or "Traceback" in done.stderr:
        raise PromiseBroken(f"ended with {done.returncode}: {done.stderr[-800:]}")
    if done.returncode == 2 and len(done.stderr.strip().splitlines()) != 1:
        raise PromiseBroken(f"refused, and not in one sentence: {done.stderr!r}")
    rows, sizes = _found(journal)
    for _, seq, number in (line for line in promises if line[0] == "row"):
        if int(seq) >= len(rows) or rows[int(seq)].fields.get("number") != int(number):
            raise PromiseBroken(f"row {seq} was acknowledged and is not there")
    for _, size in (line for line in promises if line[0] == "point"):
        if int(size) not in sizes:
            raise PromiseBroken(f"a checkpoint of {size} rows was given out and is not kept")
    numbers = [row.fields["number"] for row in rows if "number" in row.fields]
    if len(set(numbers)) != len(numbers) or not set(numbers) <= set(range(2 * EMERGENCY_NUMBERS)):
        raise PromiseBroken(f"rows twice, or that nobody wrote: {numbers}")
    if {row.kind for row in rows} - {RowKind.ORDER_INTENT, RowKind.CANCEL_INTENT, RowKind.JOURNAL_RECOVERED}:
        raise PromiseBroken("rows of a kind that nobody wrote")


def _found(journal: Path) -> tuple[list[Row], set[int]]:
    """Verify what lies there, and open it again as a restart does."""
    url = f"sqlite:///{journal}"
    rows = asyncio.run(_rows_after_a_restart(url))
    reader = JournalReader(url)
    try:
        notes = reader.checkpoints(0, 1000)
        keys = PublicKeys(log=SIGNER.verifier(), witness=None)
        verdict = verify_journal(reader.stored_rows(0, 1000), notes=notes, keys=keys)
    finally:
        reader.close()
    if verdict.fault is not None:  # a journal that was killed at once may have no checkpoint yet
        raise PromiseBroken(f"does not verify: {verdict.fault}")
    return rows, {int(parse_note(note).text.split("\n")[1]) for note in notes}


async def _rows_after_a_restart(url: str) -> list[Row]:
    journal = await opened(url)
    while not journal.is_writable:  # noqa: ASYNC110 - the segment's rows are on their way
        await asyncio.sleep(0.01)
    rows = await journal.read(0, 1000)
    await journal.append(entry(9_999))
    await journal.close()
    return rows


def main() -> int:
    """Fail every system call of a journal once, and see every promise kept."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sample", type=int, help="of each kind of fault only so many numbers, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    total = 0
    for call in CALLS:
        for is_new in (True, False):
            faults = faults_of(call, is_new=is_new)
            count = sum(run_with(fault) for fault in sampled(faults, options.sample, seed=options.seed))
            total += count
            print(f"{'new' if is_new else 'old'} journal, {call:10} {count:4} faults, every promise kept", flush=True)
    for call in EMERGENCIES:
        faults = [replace(fault, is_emergency=True) for fault in faults_of(call, is_new=False)]
        count = sum(run_with(fault) for fault in sampled(faults, options.sample, seed=options.seed))
        total += count
        print(f"in an emergency, {call:10} {count:4} faults, every promise kept", flush=True)
    print(f"{total} faults")
    return 0


def faults_of(call: str, *, is_new: bool) -> list[Fault]:
    """List every fault of one call."""
    numbers = range(1, count_calls(call, is_new=is_new) + 1 + MORE)
    return [Fault(call=call, outcome=one, number=n, is_new=is_new) for one in OUTCOMES for n in numbers]


def sampled(faults: Sequence[Fault], count: int | None, *, seed: int) -> Sequence[Fault]:
    """Draw some faults, or give all."""
    if count is None or count >= len(faults):
        return faults
    return random.Random(seed).sample(faults, count)


if __name__ == "__main__":
    sys.exit(main())
