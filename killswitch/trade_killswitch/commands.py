"""What a sweep asks its conductor to do, and what it gets back. Data only: flows do no I/O of their own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from trade_journal.log.rows import Fields, RowKind
from trade_killswitch.sweep_plan import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadShelves:
    """Read every shelf to its end. Gives a sequence of Reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCancels:
    """Send cancels, each once. Gives Cancelled; what it does not count may have been cancelled nevertheless."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write a row. Gives None: a sweep goes on when nothing can be written."""

    kind: RowKind
    fields: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait so many seconds. Gives None."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskTime:
    """Gives the monotonic time in nanoseconds."""


Command: TypeAlias = ReadShelves | SendCancels | Record | Wait | AskTime
R = TypeVar("R")
Flow: TypeAlias = Generator[Command, Any, R]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """How the exchange answered cancels: `refusals` counts its codes, `unanswered` what brought no answer."""

    acknowledged: int
    refusals: tuple[tuple[int, int], ...] = ()
    unanswered: int = 0
