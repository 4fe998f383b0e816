"""Pages of records, newest first, with cursors that stay valid while records are added."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from trade_simulator.rejections import parameter_error

T = TypeVar("T")

# Bybit hands out cursors already percent-encoded; clients send them back encoded once or twice, or decoded.
_CURSOR = re.compile(r"^page_token(?:=|%3D|%253D)([1-9][0-9]{0,18})(?:&|%26|%2526)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page. next_cursor is percent-encoded as Bybit gives it, and "" on the last page."""

    items: tuple[T, ...]
    next_cursor: str


def paginate(newest_first: Iterable[T], *, sequence_of: Callable[[T], int], limit: int, cursor: str) -> Page[T]:
    """Cut one page out of records whose sequence number falls strictly.

    Raises Rejected 10001 for a cursor that this exchange did not make.
    """
    before = _parse(cursor) if cursor else None
    taken: list[T] = []
    for record in newest_first:
        if before is not None and sequence_of(record) >= before:
            continue
        if len(taken) == limit:
            return Page(items=tuple(taken), next_cursor=f"page_token%3D{sequence_of(taken[-1])}%26")
        taken.append(record)
    return Page(items=tuple(taken), next_cursor="")


def _parse(cursor: str) -> int:
    found = _CURSOR.match(cursor)
    if found is None:
        raise parameter_error("cursor invalid")
    return int(found.group(1))
