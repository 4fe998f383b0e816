"""Where a journal is read from: its own database with its sealed segments, a bundle, or a running service.

A source gives rows as bytes and checkpoints as notes and judges neither; `verify` does. Rows that come as JSON are
rendered again in their one canonical form, so that a row that says anything else has another hash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import httpx

from trade_journal.errors import JournalRefused, JournalUnavailable, RowRefused
from trade_journal.export.bundle_source import BundleSource, is_bundle
from trade_journal.log.checkpoint import said_name
from trade_journal.log.rows import Row, RowKind, row_bytes
from trade_journal.log.verify import StoredRow
from trade_journal.store.segments import last_segment
from trade_journal.store.store import CHECKPOINTS_MAX, READ_ROWS_MAX, JournalReader

TIMEOUT_S: Final = 10.0
LISTENER_ROWS_MAX: Final = 500  # what a service gives at once
AHEAD_PAGES: Final = 8  # at most 64 MiB, of the largest rows
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


class Source(Protocol):
    """A journal that can be read."""

    def origin(self) -> str:
        """Name the journal, or its log, as it says itself. Raises JournalError."""

    def size(self) -> int:
        """Count the rows. Raises JournalError."""

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows in the order of their numbers, at most READ_ROWS_MAX; empty at the end. Raises JournalError."""

    def checkpoints(self) -> Iterable[bytes]:
        """Read every checkpoint that is kept by now, or the last one where no more are served. Raises JournalError.

        They may be read while they are asked for; one that is kept later is never among them.
        """

    def cosigned(self) -> Iterable[bytes]:
        """Read every cosigned checkpoint that is kept by now, or the last one, as above. Raises JournalError."""

    def close(self) -> None:
        """Release what is held."""


class DatabaseSource:
    """A journal's own database: a SQLite file, or a schema in PostgreSQL, and the folder of its sealed segments."""

    def __init__(self, url: str, *, archive: Path | None = None) -> None:
        self._reader = JournalReader(url, archive=archive)
        self._ahead: deque[list[StoredRow]] = deque()

    def origin(self) -> str:
        """Name the journal."""
        return self._reader.origin()

    def size(self) -> int:
        """Count the rows."""
        return self._reader.size()

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there. Whole pages are read ahead: a view costs as much as a page."""
        if limit != READ_ROWS_MAX:
            return self._reader.stored_rows(from_seq, limit)
        if not self._ahead or self._ahead[0][0].seq != from_seq:
            self._ahead = deque(self._reader.stored_pages(from_seq, AHEAD_PAGES))
        return self._ahead.popleft() if self._ahead else []

    def checkpoints(self) -> Iterator[bytes]:
        """Read every checkpoint."""
        return _all_pages(self._reader.checkpoints, self._reader.count_checkpoints())

    def cosigned(self) -> Iterator[bytes]:
        """Read every cosigned checkpoint."""
        return _all_pages(self._reader.cosigned, self._reader.count_cosigned())

    def close(self) -> None:
        """Close the database."""
        self._reader.close()


class ListenerSource:
    """The admin listener of a running service, asked with a token that may read."""

    def __init__(self, url: str, *, token: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
        )

    def __enter__(self) -> ListenerSource:
        """Give itself, to be closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def origin(self) -> str:
        """Name the log, as its last checkpoint does."""
        return said_name(self.checkpoints()[0])

    def size(self) -> int:
        """Count the rows, as the service says it."""
        return int(self._get("/state")["journal"]["size"])

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows and render them in their canonical form."""
        listed = self._get("/journal/rows", {"from": from_seq, "limit": min(limit, LISTENER_ROWS_MAX)})["rows"]
        try:
            return [_stored(item) for item in listed]
        except (KeyError, TypeError, ValueError, RowRefused) as error:
            raise JournalRefused(f"a row after {from_seq} is not a row ({type(error).__name__})") from error

    def checkpoints(self) -> list[bytes]:
        """Ask for the last checkpoint."""
        answer = self._answer("/journal/checkpoint", {})
        return [answer.content]

    def cosigned(self) -> list[bytes]:
        """Ask for the last cosigned checkpoint; there is none before the first lease."""
        answer = self._answer("/journal/cosigned", {})
        return [answer.content] if answer.content else []

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _get(self, path: str, query: dict[str, int] | None = None) -> Any:
        try:
            return self._answer(path, query or {}).json()
        except ValueError as error:
            raise JournalRefused(f"{path}: the answer is not JSON") from error

    def _answer(self, path: str, query: dict[str, int]) -> httpx.Response:
        try:
            answer = self._client.get(path, params=query)
        except httpx.HTTPError as error:
            raise JournalUnavailable(f"{path}: {type(error).__name__}", cause="unreachable") from error
        if answer.status_code != httpx.codes.OK or len(answer.content) > ANSWER_BYTES_MAX:
            raise JournalRefused(f"{path}: answered {answer.status_code} with {len(answer.content)} bytes")
        return answer


def open_source(where: str, *, token: str | None, archive: Path | None = None) -> Source:
    """Open a journal by its file, a folder of sealed segments, a bundle, its database URL, or an admin listener's URL.

    ``archive`` is the folder of the sealed segments, where it is not beside the file. Raises JournalError.
    """
    if where.startswith(("http://", "https://")):
        if token is None:
            raise JournalRefused("a service's journal needs a token that may read: --token-file FILE")
        return ListenerSource(where, token=token)
    if "://" in where:
        return DatabaseSource(where, archive=archive)
    path = Path(where).absolute()
    if path.is_dir():
        return DatabaseSource(f"sqlite:///{last_segment(path)}", archive=path)
    if is_bundle(path):
        return BundleSource(path)
    return DatabaseSource(f"sqlite:///{path}", archive=archive)


def stored_rows(source: Source, *, from_seq: int = 0) -> Iterator[list[StoredRow]]:
    """Read a journal to its end, a page at a time."""
    while page := source.rows(from_seq, READ_ROWS_MAX):
        yield page
        from_seq = page[-1].seq + 1


def _all_pages(read: Callable[[int, int], list[bytes]], count: int) -> Iterator[bytes]:
    number = 0
    while number < count and (page := read(number, min(CHECKPOINTS_MAX, count - number))):
        yield from page
        number += len(page)


def _stored(item: dict[str, Any]) -> StoredRow:
    row = Row(
        seq=item["seq"],
        at_ns=item["at_ns"],
        kind=RowKind(item["kind"]),
        actor=item["actor"],
        fields=item["fields"],
        policy_hash=item["policy_hash"],
    )
    return StoredRow(seq=row.seq, body=row_bytes(row), leaf_hash=bytes.fromhex(item["leaf_hash"]))
