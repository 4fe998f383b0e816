"""What a flow asks its conductor to do, and what it gets back. Data only: flows do no I/O of their own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from trade_core.records import record
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import Fields, RowKind


@record(frozen=True, slots=True, kw_only=True)
class AppendDurable:
    """Write a row and wait until it is on disk. Gives bool: False means that it is not known to be durable.

    With `within_ns` the wait ends after so long, with False, and the row goes on by itself.
    `policy_hash` is of the policy that decided, when the row is a decision; else the one in force when it is written.
    """

    kind: RowKind
    fields: Fields
    policy_hash: str | None = None
    within_ns: int | None = None


@record(frozen=True, slots=True, kw_only=True)
class AppendLater:
    """Write a row with the next commit. Gives None."""

    kind: RowKind
    fields: Fields


@record(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """Send a new order once; whether trading still permits it is asked last. Gives SendResult.

    One that adds risk is withheld too when `policy_hash` is no longer that of the policy in force.
    """

    body: bytes
    adds_risk: bool
    policy_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendBeside:
    """Write a row that must be on disk soon, and go on at once. Gives None."""

    kind: RowKind
    fields: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCancel:
    """Send a cancel. Gives SendResult; sending one again is safe.

    `is_own` says that the gateway cancels by itself: then it takes a place among those that go out at once.
    """

    body: bytes
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOrder:
    """Look an order up by its tag, in the open orders and in the history. Gives AskResult.

    `deadline_ns` (monotonic) cuts the question short for a client that waits.
    """

    category: Category
    symbol: str
    tag: str
    deadline_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait until a monotonic time. Gives the monotonic time now."""

    until_ns: int


Command: TypeAlias = AppendDurable | AppendLater | AppendBeside | SendOrder | SendCancel | AskOrder | Wait


@record(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The exchange took the request. Not an outcome: the order may be cancelled a moment later."""

    order_id: str
    signed_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The exchange refused the request with a code of its own."""

    ret_code: int
    ret_msg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Nothing left the gateway. `is_withheld` says that a state change forbade it at the last moment."""

    reason: str
    is_withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Sent, and the effect is not known."""

    reason: str
    signed_at_ns: int


SendResult: TypeAlias = Acknowledged | Rejected | NotSent | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The order exists at the exchange. `status` is the exchange's own word."""

    order_id: str
    status: str
    filled: str
    asked_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """Neither the open orders nor the history knew the order when asked."""

    asked_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotAsk:
    """The exchange could not be asked. `is_budget` says that our own share of its request limits is used up."""

    reason: str
    is_budget: bool = False


AskResult: TypeAlias = Found | NotFound | CannotAsk

R = TypeVar("R")
Flow: TypeAlias = Generator[Command, Any, R]
