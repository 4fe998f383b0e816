"""What the gateway's orders have done lately: turnover of 24 hours, repeated executions, the rate of messages.

Guarantees
- A fill counts once, at the moment at which the gateway learned of it, which is never before it happened.
- Latches (terminated, tripped) are rows; a restart replays the same rows through the same code.

It keeps no clock: every time is passed in, wall-clock ns, so that rows can be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from enum import Enum

from trade_core.money import format_decimal
from trade_gateway.account.view import Filled
from trade_gateway.policy.exact import EXACT
from trade_gateway.policy.model import Policy, SymbolKey
from trade_gateway.policy.throttles import MessageLevel, MessageThrottle, RepeatedExecutionThrottle
from trade_gateway.policy.turnover import Turnover, turnover_share
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import Fields, Row, RowKind

_PLACES = Decimal("1e-12")
_UPWARD = Context(prec=64, rounding=ROUND_UP)


class Throttle(Enum):
    """The throttles that latch."""

    MESSAGES = "messages"
    REPEATED_EXECUTION = "repeated_execution"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityLimits:
    """The numbers of the policy that the counters need."""

    messages_per_s_deny: int
    messages_per_s_terminate: int
    repeated_execution_limit: int
    repeated_execution_window_s: int

    @classmethod
    def of(cls, policy: Policy) -> ActivityLimits:
        """Take them from the policy."""
        return cls(
            messages_per_s_deny=policy.messages_per_s_deny,
            messages_per_s_terminate=policy.messages_per_s_terminate,
            repeated_execution_limit=policy.repeated_execution_limit,
            repeated_execution_window_s=policy.repeated_execution_window_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A row to write."""

    kind: RowKind
    fields: Fields


class Activity:
    """The counters."""

    def __init__(self, *, limits: ActivityLimits) -> None:
        self._turnover = Turnover()
        self._messages = MessageThrottle(
            deny_above=limits.messages_per_s_deny, terminate_above=limits.messages_per_s_terminate
        )
        self._is_terminated = False
        self._executions = RepeatedExecutionThrottle(
            limit=limits.repeated_execution_limit, window_s=limits.repeated_execution_window_s
        )
        self._tripped: set[SymbolKey] = set()

    def limit(self, limits: ActivityLimits) -> None:
        """Take other limits; what was counted so far counts on."""
        self._messages.limit(deny_above=limits.messages_per_s_deny, terminate_above=limits.messages_per_s_terminate)
        self._executions.limit(limit=limits.repeated_execution_limit, window_s=limits.repeated_execution_window_s)

    @property
    def is_terminated(self) -> bool:
        """Whether messages came faster than the terminate level since the last release."""
        return self._is_terminated or self._messages.is_terminated

    @property
    def tripped_symbols(self) -> frozenset[SymbolKey]:
        """The symbols on which executions repeated too often since the last release."""
        return self._executions.tripped_symbols | self._tripped

    def count_message(self, *, at_ns: int) -> tuple[MessageLevel, list[Note]]:
        """Count an order message of the bot; returns its level and the row when it terminates."""
        was_terminated = self.is_terminated
        level = self._messages.count(at_ns=at_ns)
        if self.is_terminated and not was_terminated:
            return level, [Note(kind=RowKind.THROTTLE_TRIPPED, fields={"throttle": Throttle.MESSAGES.value})]
        return level, []

    def count_fill(self, fill: Filled, *, at_ns: int) -> list[Note]:
        """Count a fill; returns its row, and another when it trips a symbol."""
        order, intent = fill.order, fill.order.intent
        notional = turnover_share(fill.quantity, whole=intent.quantity, notional=order.turnover_usdt, price=fill.price)
        if order.is_gateways:
            # Neither the bot's turnover nor a loop of the bot; the incident beside it says what it is.
            return [Note(kind=RowKind.DISASTER_STOP_FILLED, fields=fill_fields(fill, notional))]
        notes = [Note(kind=RowKind.ORDER_FILLED, fields=fill_fields(fill, notional))]
        key = (intent.category, intent.symbol)
        if self._count(key, intent.side, tag=order.tag, notional=notional, adds_risk=order.adds_risk, at_ns=at_ns):
            fields: Fields = {
                "throttle": Throttle.REPEATED_EXECUTION.value,
                "category": intent.category.value,
                "symbol": intent.symbol,
            }
            notes.append(Note(kind=RowKind.THROTTLE_TRIPPED, fields=fields))
        return notes

    def replay(self, row: Row) -> None:
        """Count a row of the time before this start."""
        match row.kind:
            case RowKind.ORDER_FILLED:
                key = (Category(str(row.fields["category"])), str(row.fields["symbol"]))
                self._count(
                    key,
                    Side(str(row.fields["side"])),
                    tag=str(row.fields["tag"]),
                    notional=Decimal(str(row.fields["notional_usdt"])),
                    adds_risk=bool(row.fields["adds_risk"]),
                    at_ns=row.at_ns,
                )
            case RowKind.THROTTLE_TRIPPED:
                self._trip(row.fields)
            case _:
                # A row that says rearmed lifts nothing: replay believes the release beside it, with its warrant.
                pass

    def rearm_all(self) -> list[Note]:
        """Lift every throttle's latch, since a person has released the gateway; returns the rows that say so."""
        notes = []
        if self.is_terminated:
            notes.append(Note(kind=RowKind.THROTTLE_REARMED, fields={"throttle": Throttle.MESSAGES.value}))
        self._is_terminated = False
        self._messages.rearm()
        for key in sorted(self.tripped_symbols, key=lambda item: (item[0].value, item[1])):
            fields: Fields = {
                "throttle": Throttle.REPEATED_EXECUTION.value,
                "category": key[0].value,
                "symbol": key[1],
            }
            notes.append(Note(kind=RowKind.THROTTLE_REARMED, fields=fields))
            self._executions.rearm(key)
        self._tripped.clear()
        return notes

    def turnover_usdt(self, pending_usdt: Decimal, *, at_ns: int) -> Decimal:
        """Return the adding fills of the window, plus what orders that add risk may fill or filled uncounted."""
        return EXACT.add(self._turnover.used_usdt(at_ns=at_ns), pending_usdt)

    def _count(self, key: SymbolKey, side: Side, *, tag: str, notional: Decimal, adds_risk: bool, at_ns: int) -> bool:
        if adds_risk:
            self._turnover.add(notional, at_ns=at_ns)
        return self._executions.count(key, side, order=tag, at_ns=at_ns)

    def _trip(self, fields: Fields) -> None:
        if fields["throttle"] == Throttle.MESSAGES.value:
            self._is_terminated = True
        else:
            self._tripped.add((Category(str(fields["category"])), str(fields["symbol"])))


def fill_fields(fill: Filled, notional: Decimal) -> Fields:
    """The fields of a fill's row: enough to count it again after a restart, and for a person to judge it."""
    order, intent = fill.order, fill.order.intent
    reference = order.reference_price
    return {
        "tag": order.tag,
        "category": intent.category.value,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "quantity": format_decimal(fill.quantity),
        "price": format_decimal(_UPWARD.quantize(fill.price, _PLACES)),
        "filled": format_decimal(fill.total),
        "notional_usdt": format_decimal(notional),
        "reference_price": None if reference is None else format_decimal(reference),
        "adds_risk": order.adds_risk,
    }
