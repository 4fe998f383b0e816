"""A running service's journal, read through its admin listener. None of its answers is believed to be what it should.

Guarantees
- What is not what was asked for is named with the path, as JournalRefused: nothing foreign ends in a traceback, and a
  service that gives the same rows for ever, or rows that nobody asked for, is not read any further.
- An answer has at most ANSWER_BYTES_MAX; no more than that is held.
"""

from __future__ import annotations

import json
from typing import Any, Final

import httpx

from trade_journal.errors import JournalRefused, JournalUnavailable, RowRefused
from trade_journal.log.checkpoint import said_name
from trade_journal.log.rows import INTEGER_MAX, Row, RowKind, row_bytes
from trade_journal.log.verify import StoredRow

TIMEOUT_S: Final = 10.0
LISTENER_ROWS_MAX: Final = 500  # what a service gives at once
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


class ListenerSource:
    """The admin listener of a running service, asked with a token that may read."""

    def __init__(self, url: str, *, token: str) -> None:
        """Prepare to ask. Raises JournalRefused for what is no URL, or no token."""
        try:
            self._client = httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT_S,
                follow_redirects=False,
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise JournalRefused(f"not the URL of a service, or not its token ({type(error).__name__})") from None

    def origin(self) -> str:
        """Name the log, as its last checkpoint does."""
        notes = self.checkpoints()
        if not notes:
            raise JournalUnavailable("/journal/checkpoint: there is none yet", cause="unsigned")
        return said_name(notes[0])

    def size(self) -> int:
        """Count the rows, as the service says it."""
        state = self._get("/state")
        journal = state.get("journal") if isinstance(state, dict) else None
        size = journal.get("size") if isinstance(journal, dict) else None
        if type(size) is not int or not 0 <= size <= INTEGER_MAX:
            raise JournalRefused("/state: the answer does not say how many rows the journal has; is it a gateway's?")
        return size

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows and render them in their canonical form."""
        limit = min(limit, LISTENER_ROWS_MAX)
        answer = self._get("/journal/rows", {"from": from_seq, "limit": limit})
        listed = answer.get("rows") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or len(listed) > limit:
            raise JournalRefused(f"/journal/rows: the answer is no list of at most {limit} rows")
        rows = [_stored(item, place=place) for place, item in enumerate(listed, start=from_seq)]
        if any(row.seq < place for place, row in enumerate(rows, start=from_seq)):
            raise JournalRefused(f"/journal/rows: rows that nobody asked for, or twice, when asked from row {from_seq}")
        return rows

    def checkpoints(self) -> list[bytes]:
        """Ask for the last checkpoint."""
        return self._note("/journal/checkpoint")

    def cosigned(self) -> list[bytes]:
        """Ask for the last cosigned checkpoint; there is none before the first lease."""
        return self._note("/journal/cosigned")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _note(self, path: str) -> list[bytes]:
        content = self._answer(path, {})
        return [content] if content else []

    def _get(self, path: str, query: dict[str, int] | None = None) -> Any:
        try:
            return json.loads(self._answer(path, query or {}))
        except (ValueError, RecursionError) as error:
            raise JournalRefused(f"{path}: the answer is not JSON") from error

    def _answer(self, path: str, query: dict[str, int]) -> bytes:
        content = bytearray()
        try:
            with self._client.stream("GET", path, params=query) as answer:
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > ANSWER_BYTES_MAX:
                        raise JournalRefused(f"{path}: answered more than {ANSWER_BYTES_MAX} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, OverflowError) as error:
            raise JournalUnavailable(f"{path}: {type(error).__name__}", cause="unreachable") from error
        if answer.status_code != httpx.codes.OK:
            raise JournalRefused(f"{path}: answered {answer.status_code} with {len(content)} bytes")
        return bytes(content)


def _stored(item: Any, *, place: int) -> StoredRow:
    try:
        if type(item["seq"]) is not int:
            raise TypeError("seq")
        row = Row(
            seq=item["seq"],
            at_ns=item["at_ns"],
            kind=RowKind(item["kind"]),
            actor=item["actor"],
            fields=item["fields"],
            policy_hash=item["policy_hash"],
        )
        return StoredRow(seq=row.seq, body=row_bytes(row), leaf_hash=bytes.fromhex(item["leaf_hash"]))
    except (KeyError, TypeError, ValueError, AttributeError, RowRefused) as error:
        raise JournalRefused(f"/journal/rows: row {place} is not a row ({type(error).__name__})") from error
