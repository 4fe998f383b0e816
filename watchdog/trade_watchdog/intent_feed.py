"""Feeds the audit with intents and policies: from the witness's copy of the gateway's journal, then row by row.

Guarantees
- What it feeds are rows that the witness keeps, so that they are those under the root it cosigns.
- A start reads back LOAD_ROWS_MAX rows, whatever the journal's length; older intents are found by `search`, which reads
  the whole copy and is for the few orders that rest that long; so is a policy, by `find_policy`.

It runs off the event loop; the audit only looks at what is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from trade_core.clock import NS_PER_MS
from trade_core.money import parse_decimal
from trade_journal.errors import JournalError
from trade_journal.log.rows import Fields, RowKind, parse_row
from trade_journal.log.verify import StoredRow
from trade_watchdog.audit.journaled import INTENT_KINDS, JournaledOrders
from trade_watchdog.audit.reconciliation import JournaledFills

READ_ROWS_MAX: Final = 1000
LOAD_ROWS_MAX: Final = 500_000
"""Three days of a busy futures bot, read in some seconds."""
POLICIES_MAX: Final = 256
"""A forgotten one freezes, should it be the authorised one; each is some thousand characters."""
_FED: Final = (*sorted(INTENT_KINDS, key=lambda kind: kind.value), RowKind.POLICY_RECORDED)
_FILL_MARKS: Final = tuple(
    f'"kind":"{kind.value}"'.encode() for kind in (RowKind.ORDER_FILLED, RowKind.DISASTER_STOP_FILLED)
)
_MARKS: Final = tuple(f'"kind":"{kind.value}"'.encode() for kind in _FED)


class CopyReading(Protocol):
    """A view of the witness's copy."""

    def size(self) -> int:
        """Count the rows. Raises JournalError."""
        ...

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there, at most READ_ROWS_MAX. Raises JournalError."""
        ...

    def close(self) -> None:
        """Close the view."""
        ...


class IntentFeed:
    """The way from rows to `journaled` and `policies`, which the audit reads. One caller at a time."""

    def __init__(self) -> None:
        """Begin with a journal that has no rows."""
        self.journaled = JournaledOrders()
        self.policies: dict[str, str] = {}

    def load(self, copy: CopyReading) -> None:
        """Read the newest rows of the copy, before any row is fed. Raises JournalError."""
        size = copy.size()
        begin = max(0, size - LOAD_ROWS_MAX)
        first = copy.stored_rows(begin, 1) if begin else []
        self.journaled = JournaledOrders(covers_from_ms=parse_row(first[0].body).at_ns // NS_PER_MS if first else 0)
        if begin:
            self._take_policies(copy.stored_rows(0, READ_ROWS_MAX))  # the first one is recorded at the genesis
        for page in _pages(copy, begin, size):
            self.take(page)

    def take(self, rows: Sequence[StoredRow]) -> None:
        """Take the next rows. One that looks like an intent and is no row was refused by the witness before."""
        for stored in rows:
            if not any(mark in stored.body for mark in _MARKS):
                continue  # most rows: their bytes need not be read
            row = parse_row(stored.body)
            if row.kind is RowKind.POLICY_RECORDED:
                self._take_policy(row.fields)
            self.journaled.take(seq=row.seq, at_ns=row.at_ns, kind=row.kind, fields=row.fields)

    def _take_policies(self, rows: Sequence[StoredRow]) -> None:
        for row in (parse_row(stored.body) for stored in rows if _MARKS[-1] in stored.body):
            self._take_policy(row.fields)

    def _take_policy(self, fields: Fields) -> None:
        """Keep the text of a policy by its hash, when it is the text of that hash."""
        parts = fields.get("content")
        text = "".join(str(part) for part in parts) if isinstance(parts, Sequence) else ""
        named = hashlib.sha256(text.encode()).hexdigest()
        if named == fields.get("hash"):
            self.policies[named] = text
        while len(self.policies) > POLICIES_MAX:
            del self.policies[next(iter(self.policies))]

    def find_policy(self, copy: CopyReading, named: str) -> bool:
        """Look for the text of a policy through the whole copy, newest first. Raises JournalError."""
        mark = named.encode()
        for page in _pages_back(copy):
            self._take_policies([row for row in page if mark in row.body])
            if named in self.policies:
                return True
        return False

    def search(self, copy: CopyReading, tags: Sequence[str]) -> int:
        """Look for the intents of tags through the whole copy, newest first; answers how many were found and taken.

        Raises JournalError.
        """
        wanted = {tag.encode(): tag for tag in tags}
        found = 0
        for page in _pages_back(copy):
            hits = [row for row in page if any(tag in row.body for tag in wanted) and self._is_intent(row, wanted)]
            self.take(hits)
            found += len(hits)
            if not wanted:
                break
        return found

    @staticmethod
    def _is_intent(stored: StoredRow, wanted: dict[bytes, str]) -> bool:
        row = parse_row(stored.body)
        if row.kind not in {RowKind.ORDER_INTENT, RowKind.DISASTER_STOP_INTENT}:
            return False
        return wanted.pop(str(row.fields.get("tag")).encode(), None) is not None


def fills_since(copy: CopyReading, since_ns: int) -> dict[str, JournaledFills]:
    """Read what each tag has filled, from the rows of the copy since a time, UTC. Raises JournalError."""
    found: dict[str, JournaledFills] = {}
    for page in _pages_back(copy):
        for row in (parse_row(stored.body) for stored in page if any(mark in stored.body for mark in _FILL_MARKS)):
            tag, total = str(row.fields["tag"]), parse_decimal(str(row.fields["filled"]))
            known, at_ms = found.get(tag), row.at_ns // NS_PER_MS
            if known is None or (-total, at_ms) < (-known.filled, known.at_ms):  # when all of it was told first
                found[tag] = JournaledFills(filled=total, at_ms=at_ms)
        if parse_row(page[0].body).at_ns < since_ns:
            break
    return found


def _pages_back(copy: CopyReading) -> Iterator[list[StoredRow]]:
    """Read the whole copy, the newest page first."""
    end = copy.size()
    while end:
        begin = max(0, end - READ_ROWS_MAX)
        page = copy.stored_rows(begin, end - begin)
        if not page:
            raise JournalError(f"rows {begin} to {end} of the copy are not there")
        yield page
        end = begin


def _pages(copy: CopyReading, begin: int, end: int) -> Iterator[list[StoredRow]]:
    while begin < end:
        page = copy.stored_rows(begin, min(READ_ROWS_MAX, end - begin))
        if not page:
            raise JournalError(f"rows {begin} to {end} of the copy are not there")
        yield page
        begin = page[-1].seq + 1
