"""One request on its way through the interface: who asks, for what, of which exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from trade_simulator.api.fields import Fields
from trade_simulator.api.rate_limits import Allowance
from trade_simulator.exchange import Exchange
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.paging import Page
from trade_simulator.rejections import PERMISSION_DENIED, parameter_error

Row = TypeVar("Row")
# Histories are asked for at most a week at a time.
MAX_SPAN_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An admitted request. `key` is None on public endpoints; `charge` counts one more order of a batch.

    `is_partial` is a fault that was switched on: a cancel-all is acknowledged and carried out only in part.
    """

    exchange: Exchange
    fields: Fields
    now_ms: int
    key: ApiKey | None
    charge: Callable[[Category], Allowance]
    is_partial: bool = False

    @property
    def caller(self) -> ApiKey:
        """Give the key that signed the request. Raises Rejected 10005 when nobody did."""
        if self.key is None:
            raise PERMISSION_DENIED.error()
        return self.key

    @property
    def uid(self) -> str:
        """Give the account that asks."""
        return self.caller.uid


Handler = Callable[[Call], object]


def time_span(fields: Fields, *, most_ms: int = MAX_SPAN_MS) -> tuple[int | None, int | None]:
    """Read startTime and endTime: the start before the end, not further apart than the endpoint allows."""
    start_ms = fields.optional_integer("startTime")
    end_ms = fields.optional_integer("endTime")
    for value in (start_ms, end_ms):
        if value is not None and value < 0:
            raise parameter_error("startTime or endTime invalid")
    if start_ms is not None and end_ms is not None:
        if start_ms > end_ms:
            raise parameter_error("startTime cannot be greater than endTime")
        if end_ms - start_ms > most_ms:
            raise parameter_error("the interval between startTime and endTime is too long")
    return start_ms, end_ms


def listing(page: Page[Row], render: Callable[[Row], object], **extra: object) -> dict[str, object]:
    """Render a page as `list` with its cursor."""
    return {**extra, "list": [render(row) for row in page.items], "nextPageCursor": page.next_cursor}
