"""Fails the n-th system call of a kind while a journal is sealed, or dies at it, for every n; no row may be lost.

What must hold after each of these faults:
- the journal opens, has every row and every checkpoint that it had, under the same root, and verifies;
- the sealing can be done then, or has been done, and all of that holds after it too;
- the process ended by itself, with 0 or with one sentence, unless it was killed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crash.io_faults import FAST_STRACE, KILLED, MORE, OUTCOMES, RUN_WITHIN_S, PromiseBroken
from journal.store.sealed import Sealable

from trade_journal.errors import JournalError
from trade_journal.log.verify import StoredRow, Verdict

CALLS = (
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "openat",
    "fcntl",
    "pread64",
    "unlink",
    "link",
    "rename",
    "mkdir",
    "chmod",
)
TESTS = Path(__file__).resolve().parents[1]
SEALER = Path(__file__).with_name("sealer.py")
ENDS = ("", "-wal", "-shm", "-journal", ".lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingFault:
    """The n-th of these calls on the files of a journal ends so, while it is sealed for the first or a second time."""

    call: str
    outcome: str
    number: int
    has_segment: bool

    def __str__(self) -> str:
        """Name it in a line."""
        sealed = "second" if self.has_segment else "first"
        return f"{sealed} sealing, {self.call} number {self.number} ends with {self.outcome}"


def count_calls(call: str, *, has_segment: bool) -> int:
    """Count how often a sealing makes a call when nothing fails."""
    with tempfile.TemporaryDirectory(prefix="trade-crash-") as folder:
        log = _run(Path(folder), [*FAST_STRACE, "-e", f"trace={call}"], has_segment=has_segment)
    return log.count(f"{call}(")


def run_with(fault: SealingFault) -> bool:
    """Seal under one fault and check; False when there was no such call. Raises PromiseBroken."""
    is_killed = fault.outcome == KILLED
    how = "signal=KILL" if is_killed else f"error={fault.outcome}"
    tracing = [] if is_killed else [*FAST_STRACE]  # with it, strace sends no signals
    tracing += ["-e", f"trace={fault.call}", "-e", f"inject={fault.call}:{how}:when={fault.number}"]
    with tempfile.TemporaryDirectory(prefix="trade-crash-") as folder:
        try:
            log = _run(Path(folder), tracing, has_segment=fault.has_segment)
        except PromiseBroken as broken:
            raise PromiseBroken(f"{fault}: {broken}") from broken
    return "INJECTED" in log or KILLED in log


def faults_of(call: str, *, has_segment: bool) -> list[SealingFault]:
    """List every fault of one call."""
    numbers = range(1, count_calls(call, has_segment=has_segment) + 1 + MORE)
    return [
        SealingFault(call=call, outcome=outcome, number=number, has_segment=has_segment)
        for outcome in OUTCOMES
        for number in numbers
    ]


def _run(folder: Path, tracing: Sequence[str], *, has_segment: bool) -> str:
    journal, log = Sealable(path=folder / "journal.db"), folder / "strace.log"
    if has_segment:
        journal.sealed(3)
    journal.grow(4)
    journal.vouch()
    journal.grow(2)
    journal.sign()
    journal.grow(1)
    before = _found(journal)
    watched = [folder, journal.archive, *(folder / f"journal.db{end}" for end in ENDS)]
    watched += [folder / f".journal.db.sealing{end}" for end in ENDS]
    first = 3 if has_segment else 0
    watched.append(journal.archive / f"rows-{first:016d}-{first + 4:016d}.db")
    strace = ["strace", "-f", "-q", "-o", str(log), *(part for path in watched for part in ("-P", str(path)))]
    command = [*strace, *tracing, sys.executable, str(SEALER), journal.url]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_WITHIN_S, check=False, env=environment)
    _check(done, journal, before, segments=has_segment + 1)
    return log.read_text(errors="replace")


def _check(
    done: subprocess.CompletedProcess[str],
    journal: Sealable,
    before: tuple[list[StoredRow], Verdict],
    *,
    segments: int,
) -> None:
    if done.returncode not in {0, 2, -signal.SIGKILL} or "Traceback" in done.stderr:
        raise PromiseBroken(f"ended with {done.returncode}: {done.stderr[-800:]}")
    if done.returncode == 2 and len(done.stderr.strip().splitlines()) != 1:
        raise PromiseBroken(f"refused, and not in one sentence: {done.stderr!r}")
    try:
        with journal.store() as store:
            size = store.size()
        if (size, _found(journal)) != (len(before[0]), before):
            raise PromiseBroken("the journal is not what it was")
        journal.seal()
        if len(journal.segments()) != segments or _found(journal) != before:
            raise PromiseBroken(f"sealed afterwards, it is not what it was: {journal.segments()}")
        journal.grow(1)
    except JournalError as error:
        raise PromiseBroken(f"cannot be read or sealed afterwards: {error}") from error


def _found(journal: Sealable) -> tuple[list[StoredRow], Verdict]:
    verdict = journal.verdict()
    if verdict.fault is not None:  # a journal that was killed at once may have no checkpoint yet
        raise PromiseBroken(f"does not verify: {verdict.fault}")
    return journal.rows(), verdict


def main() -> int:
    """Fail every system call of a sealing once, and find every row where it should be."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sample", type=int, help="of each kind of fault only so many numbers, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    total = 0
    for call in CALLS:
        for has_segment in (False, True):
            faults = faults_of(call, has_segment=has_segment)
            if options.sample is not None and options.sample < len(faults):
                faults = random.Random(options.seed).sample(faults, options.sample)
            count = sum(run_with(fault) for fault in faults)
            total += count
            print(
                f"{'second' if has_segment else 'first'} sealing, {call:10} {count:4} faults, no row lost", flush=True
            )
    print(f"{total} faults")
    return 0


if __name__ == "__main__":
    sys.exit(main())
