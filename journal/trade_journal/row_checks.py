"""Holds rows against their hashes on all processors. What is believed is `verify`'s to say.

Guarantees
- What comes back of a block of rows is what `checked_leaves` says of them, in the order of the blocks.
- A block that is not as it should be, and every one of a process that dies, comes back as None: whoever asked looks at
  it himself, so that nothing is passed over.
- Memory holds a pipe's worth of hashes for each process.

The processes are forked: do so before any thread is started.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from trade_journal.log.row_times import Span, span_of
from trade_journal.log.tree import HASH_BYTES, root_of
from trade_journal.log.verify import HASHED_ROWS, FaultFound, checked_leaves
from trade_journal.store.plain_sqlite import PlainSqlite

ALONE_ROWS: Final = 4 * 4096
"""So few rows are checked before another process has begun."""
PROCESSES_MAX: Final = 8
_TURN: Final = 16  # blocks of one process before the next one's turn
_HASHES_BYTES: Final = (HASHED_ROWS + 1) * HASH_BYTES
_TIMES: Final = struct.Struct(">qq?")
_BLOCK_BYTES: Final = _HASHES_BYTES + _TIMES.size
_GOOD, _BAD = b"+", b"-"


class Block(NamedTuple):
    """The leaf hashes of HASHED_ROWS rows, the root over them, and the span of their times."""

    leaves: list[bytes]
    root: bytes
    times: Span


def hashed_blocks(path: Path, *, rows: int) -> Generator[Block | None, None, None]:
    """Check the whole blocks of a journal's first rows, in their order; None for one that is to be looked at."""
    blocks = rows // HASHED_ROWS
    processes = min(PROCESSES_MAX, len(os.sched_getaffinity(0))) if rows >= ALONE_ROWS else 0
    blocks = blocks if processes else 0
    forked = [_forked(path, number, of=processes, blocks=blocks) for number in range(processes)]
    return _in_order(forked, blocks)


def _in_order(forked: list[tuple[int, BinaryIO]], blocks: int) -> Generator[Block | None, None, None]:
    pipes = [pipe for _, pipe in forked]
    try:
        for block in range(blocks):
            pipe = pipes[block // _TURN % len(pipes)]
            answer = pipe.read(1 + _BLOCK_BYTES)
            is_good = len(answer) == 1 + _BLOCK_BYTES and answer[:1] == _GOOD
            yield _block_of(answer) if is_good else None
    finally:
        for pipe in pipes:
            pipe.close()  # whoever still writes into it ends by that
        for process, _ in forked:
            os.waitpid(process, 0)


def _block_of(answer: bytes) -> Block:
    hashes = [answer[start : start + HASH_BYTES] for start in range(1, 1 + _HASHES_BYTES, HASH_BYTES)]
    return Block(hashes[:-1], hashes[-1], Span(*_TIMES.unpack(answer[1 + _HASHES_BYTES :])))


def _forked(path: Path, number: int, *, of: int, blocks: int) -> tuple[int, BinaryIO]:
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, os.fdopen(reading, "rb")
    # From here on: another process, which must never return to what this one was doing.
    try:
        os.close(reading)
        _check_turns(path, range(blocks), writing, number=number, of=of)
        os._exit(0)
    finally:
        os._exit(1)


def _check_turns(path: Path, blocks: range, writing: int, *, number: int, of: int) -> None:
    journal = PlainSqlite(path)
    with os.fdopen(writing, "wb") as pipe:
        for block in blocks:
            if block // _TURN % of == number:
                pipe.write(_checked(journal, block * HASHED_ROWS))


def _checked(journal: PlainSqlite, first: int) -> bytes:
    try:
        records = journal.records(first, HASHED_ROWS)
        leaves = checked_leaves(records, first=first)
    except (FaultFound, sqlite3.Error, TypeError, AttributeError):  # the last two: what is no bytes
        leaves = []
    if len(leaves) != HASHED_ROWS:
        return _BAD + bytes(_BLOCK_BYTES)
    times = span_of([body for _, body, _ in records])
    return _GOOD + b"".join(leaves) + root_of(leaves) + _TIMES.pack(*times)
