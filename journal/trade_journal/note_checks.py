"""Checks the signatures of many checkpoints on several processors. What is believed is `verify`'s to say.

Guarantees
- The answers come in the order of the questions, and are those of `verify.check_notes`.
- Few checkpoints are checked here and now: to start the others' processes would take longer.
- Memory holds a few batches of notes, whatever their number.
- A process that dies ends the verification with an error; nothing is passed over.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from itertools import islice
from typing import Final

from trade_journal.errors import JournalUnavailable
from trade_journal.log.key_file import parse_keys
from trade_journal.log.verify import CheckedNotes, KeptNote, PublicKeys, check_notes

ALONE_BATCHES: Final = 64  # some seconds of one processor
PROCESSES_MAX: Final = 8  # beyond them the rows, which one process reads, are what takes the time
AHEAD_A_PROCESS: Final = 3  # batches that wait for each process, so that none is ever idle

Batches = Iterator[list[KeptNote]]
Checked = Iterator[tuple[list[KeptNote], CheckedNotes]]
_keys: list[PublicKeys] = []  # of a process that checks for another one


def checked_notes(batches: Batches, *, keys: PublicKeys) -> Checked:
    """Check batches of notes, in their order. Raises JournalUnavailable when a process that checks has died."""
    for batch in islice(batches, ALONE_BATCHES):
        yield batch, check_notes([kept.note for kept in batch], keys=keys)
    more = next(batches, None)
    if more is None:
        return
    processes = min(PROCESSES_MAX, len(os.sched_getaffinity(0)))
    pool = ProcessPoolExecutor(
        processes,
        # Not a fork: a progress bar's thread may hold a lock at that moment.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=("\n".join(key.text() for key in (*keys.former, keys.log, keys.witness) if key is not None),),
    )
    try:
        yield from _in_order(pool, more, batches, ahead=processes * AHEAD_A_PROCESS)
    except BrokenExecutor as error:
        raise JournalUnavailable("a process that checks signatures has died", cause="process") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, first: list[KeptNote], batches: Batches, *, ahead: int) -> Checked:
    asked: deque[tuple[list[KeptNote], Future[CheckedNotes]]] = deque()
    batch: list[KeptNote] | None = first
    while batch is not None or asked:
        if batch is not None:
            asked.append((batch, pool.submit(_check, [kept.note for kept in batch])))
            batch = next(batches, None)
        if batch is None or len(asked) >= ahead:
            done, answer = asked.popleft()
            yield done, answer.result()


def _begin(keys: str) -> None:
    """Begin a process: Ctrl-C is for the one that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keys.append(parse_keys(keys))


def _check(notes: Sequence[bytes]) -> CheckedNotes:
    return check_notes(notes, keys=_keys[0])
