"""Which rows of a journal are ours: after a connection has died, what was in flight is known again by its bytes.

A row's bytes but for its number are all that was handed over, so the same bytes twice are two rows. Where a peer is one
process, a row under its name that it did not hand over is another process's: two that write to one journal know nothing
of each other's orders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from trade_journal.errors import JournalRefused, RowRefused
from trade_journal.log.rows import Entry, draft, numbered, parse_row
from trade_journal.log.verify import StoredRow
from trade_journal.writer.peers import CONNECTIONS_BY_PEER, Peer


def written_among(rows: Sequence[StoredRow], handed_over: Mapping[int, Sequence[Entry]], *, peer: Peer) -> set[int]:
    """Name those of `handed_over`, by their numbers, that stand among the rows.

    What was handed over together stands together, so the first row of each tells. Raises JournalRefused when another
    process writes under our name, JournalDamaged for bytes that are no row.
    """
    waiting = _by_first_row(handed_over)
    found: set[int] = set()
    place = 0
    while place < len(rows):
        stored, place = rows[place], place + 1
        row = parse_row(stored.body)
        if row.actor != peer.value:
            continue
        same = waiting[stored.body.removesuffix(numbered(b"", row.seq))]
        if same:
            number = same.pop(0)
            found.add(number)
            place += len(handed_over[number]) - 1
        elif CONNECTIONS_BY_PEER[peer] == 1:
            raise JournalRefused(f"row {row.seq} is under our name and not ours: another process writes here")
    return found


def _by_first_row(handed_over: Mapping[int, Sequence[Entry]]) -> defaultdict[bytes, list[int]]:
    by_bytes: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, entries in handed_over.items():
        with suppress(RowRefused):  # the writer refuses it too
            by_bytes[draft(entries[0]).head].append(number)
    return by_bytes
