"""Tables for people, each a projection of the journal's rows. Pure.

A table keeps nothing of its own: whoever has the rows can make it again. A change of status is a later row, which fills
in what an earlier one left open. Rows are taken as they are: whether they are genuine is for `verify`, and whether a
release was entitled is for the gateway, which verifies its warrant.

Values are text or None. What others said was neutralised when it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from trade_journal.log.rendering import time_text
from trade_journal.log.rows import Row, RowKind, Value

Record: TypeAlias = dict[str, str | None]
Fields: TypeAlias = Mapping[str, Value]
_Change: TypeAlias = tuple[str, str | None, str | None]  # field, old value, new value
# The holder of the trading state that only a person loosens, and its state when it holds nothing.
LATCH_HOLDER: Final = "operator_latch"
RELEASED: Final = "ACTIVE"
RUNG_ENDS: Final = frozenset({RowKind.RUNG_CLEARED, RowKind.RUNG_REBASED, RowKind.RUNG_ACKNOWLEDGED})
# As the gateway says a change of its policy.
_CHANGE: Final = re.compile(r"(?:loosens|tightens) (?P<field>[^:]+): (?P<old>.*) -> (?P<new>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: its columns, the kinds of rows that feed it, and what makes records of them."""

    columns: tuple[str, ...]
    kinds: frozenset[RowKind]
    project: Callable[[Iterable[Row]], list[Record]]


def swing_trades(rows: Iterable[Row]) -> list[Record]:
    """Give the bot's trades in the order in which they began, each with its end and its last lesson."""
    trades: dict[str, dict[str, Value]] = {}
    for row in rows:
        trade_id = _text(row.fields, "trade_id") or ""
        if row.kind is RowKind.SWING_TRADE_OPENED:
            trades.setdefault(trade_id, dict(row.fields))
        elif trade_id in trades:
            trades[trade_id].update(row.fields)
    return [_swing_trade(fields) for fields in trades.values()]


def _swing_trade(fields: Fields) -> Record:
    is_closed = "closed_at_ns" in fields
    tags = [_text(fields, "strategy"), _text(fields, "enter_tag")]
    reason = _text(fields, "exit_reason")
    thesis = " ".join(tag for tag in tags if tag) + (f" -> {reason}" if reason else "")
    fees = [fee for fee in (_text(fields, "entry_fee"), _text(fields, "exit_fee")) if fee]
    return {
        "trade_id": _text(fields, "trade_id"),
        "pair": _text(fields, "pair"),
        "direction": _text(fields, "direction"),
        "leverage": _text(fields, "leverage"),
        "status": "closed" if is_closed else "open",
        "entry": _deal(fields, "entry_amount", "entry_price", "opened_at_ns"),
        "exit": _deal(fields, "exit_amount", "exit_price", "closed_at_ns") if is_closed else None,
        "thesis": thesis or None,
        "profit": _amount(fields, "profit", "currency"),
        "profit_ratio": _text(fields, "profit_ratio"),
        "fees": " + ".join(fees) or None,
        "lesson": _text(fields, "lesson"),
    }


def _deal(fields: Fields, amount: str, price: str, at: str) -> str:
    return f"{_text(fields, amount)} at {_text(fields, price)}, {_time(fields, at)}"


def capital_movements(rows: Iterable[Row]) -> list[Record]:
    """Give the movements of money in and out, each with its last status."""
    movements: dict[str, dict[str, Value]] = {}
    for row in rows:
        first = movements.setdefault(_text(row.fields, "movement_id") or "", {"recorded_at_ns": row.at_ns})
        first.update(row.fields)
    return [
        {
            "movement_id": _text(fields, "movement_id"),
            "at": _time(fields, "recorded_at_ns"),
            "direction": _text(fields, "direction"),
            "amount": _amount(fields, "amount", "coin"),
            "status": _text(fields, "status"),
            "confirm_txn": _text(fields, "confirm_txn"),
        }
        for fields in movements.values()
    ]


def halt_events(rows: Iterable[Row]) -> list[Record]:
    """Give each tightening of the operator latch, and each rung that fired, with the drawdown that made it fire.

    A release resolves every latch before it. A rung is resolved by what clears, re-bases or acknowledges it.
    """
    events: list[Record] = []
    latched: list[Record] = []
    fired: dict[str | None, list[Record]] = {}
    for row in rows:
        rung = _text(row.fields, "rung")
        if row.kind is RowKind.RUNG_FIRED:
            events.append(_rung_event(row, rung))
            fired.setdefault(rung, []).append(events[-1])
        elif row.kind in RUNG_ENDS:
            _resolve(fired.pop(rung, []), row)
        elif row.fields.get("holder") != LATCH_HOLDER:
            continue
        elif row.fields.get("ceiling") != RELEASED:
            events.append(_halt_event(row))
            latched.append(events[-1])
        else:
            _resolve(latched, row)
            latched = []
    return events


def _resolve(events: Iterable[Record], row: Row) -> None:
    for event in events:
        event["resolved_at"] = time_text(row.at_ns)


def _rung_event(row: Row, rung: str | None) -> Record:
    return {
        "row": str(row.seq),
        "at": time_text(row.at_ns),
        "ceiling": None,
        "by": _text(row.fields, "by"),
        "reason": f"rung {rung}",
        "trigger_value": _text(row.fields, "drawdown"),
        "resolved_at": None,
    }


def _halt_event(row: Row) -> Record:
    return {
        "row": str(row.seq),
        "at": time_text(row.at_ns),
        "ceiling": _text(row.fields, "ceiling"),
        "by": _text(row.fields, "by"),
        "reason": _text(row.fields, "reason"),
        "trigger_value": _text(row.fields, "trigger_value"),
        "resolved_at": None,
    }


def config_changes(rows: Iterable[Row]) -> list[Record]:
    """Give each key of the policy, and each setting between one start and the next, that has another value."""
    records: list[Record] = []
    settings: dict[str, Mapping[str, Value]] = {}
    for row in rows:
        if row.kind is RowKind.POLICY_CHANGED:
            changes = _policy_changes(row)
        else:
            loaded = row.fields.get("settings")
            loaded = loaded if isinstance(loaded, Mapping) else {}
            changes = _setting_changes(settings.get(row.actor, loaded), loaded)
            settings[row.actor] = loaded
        records += [_config_change(row, field, old, new) for field, old, new in changes]
    return records


def _policy_changes(row: Row) -> list[_Change]:
    """Read the lines of a change; one of another form stands whole as the field."""
    lines = row.fields.get("changes")
    found: list[_Change] = []
    for line in lines if isinstance(lines, list | tuple) else ():
        parts = _CHANGE.fullmatch(str(line))
        found.append((parts["field"], parts["old"], parts["new"]) if parts else (str(line), None, None))
    return found


def _setting_changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[_Change]:
    names = [*after, *(name for name in before if name not in after)]
    return [
        (name, _text(before, name), _text(after, name)) for name in names if _text(before, name) != _text(after, name)
    ]


def _config_change(row: Row, field: str, old: str | None, new: str | None) -> Record:
    return {
        "row": str(row.seq),
        "at": time_text(row.at_ns),
        "service": row.actor,
        "field": field,
        "old_value": old,
        "new_value": new,
    }


def incidents(rows: Iterable[Row]) -> list[Record]:
    """Give each incident with what is known of it, and what a person did about it; the first word on that counts."""
    records: dict[int, Record] = {}
    for row in rows:
        if row.kind is RowKind.INCIDENT_OPENED:
            records[row.seq] = _incident(row)
            continue
        named = row.fields.get("incident")
        record = records.get(named) if isinstance(named, int) else None
        if record is not None and record["mitigated_at"] is None:
            record |= {"mitigated_at": time_text(row.at_ns), "mitigation": _mitigation(row.fields)}
    return list(records.values())


def _mitigation(fields: Fields) -> str | None:
    """Say what was done, and who did it where the row says so."""
    done, by = _text(fields, "mitigation"), _text(fields, "by")
    return done if done is None or by is None else f"{done} (by {by})"


def _incident(row: Row) -> Record:
    return {
        "row": str(row.seq),
        "at": time_text(row.at_ns),
        "type": _text(row.fields, "type"),
        "severity": _text(row.fields, "severity"),
        "detail": " ".join(f"{name}={value}" for name, value in row.fields.items() if name not in {"type", "severity"}),
        "mitigated_at": None,
        "mitigation": None,
    }


def _text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _amount(fields: Fields, amount: str, unit: str) -> str | None:
    value = _text(fields, amount)
    return None if value is None else f"{value} {_text(fields, unit) or ''}".rstrip()


def _time(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return time_text(value) if isinstance(value, int) else "at an unknown time"


def _table(kinds: set[RowKind], project: Callable[[Iterable[Row]], list[Record]], columns: str) -> Table:
    return Table(columns=tuple(columns.split()), kinds=frozenset(kinds), project=project)


TABLES: Final[Mapping[str, Table]] = {
    "swing_trades": _table(
        {
            RowKind.SWING_TRADE_OPENED,
            RowKind.SWING_TRADE_CHANGED,
            RowKind.SWING_TRADE_CLOSED,
            RowKind.SWING_TRADE_LESSON,
        },
        swing_trades,
        "trade_id pair direction leverage status entry exit thesis profit profit_ratio fees lesson",
    ),
    "capital_movements": _table(
        {RowKind.CAPITAL_MOVEMENT_RECORDED},
        capital_movements,
        "movement_id at direction amount status confirm_txn",
    ),
    "halt_events": _table(
        {RowKind.STATE_CHANGED, RowKind.RUNG_FIRED, *RUNG_ENDS},
        halt_events,
        "row at ceiling by reason trigger_value resolved_at",
    ),
    "config_changes": _table(
        {RowKind.POLICY_CHANGED, RowKind.CONFIG_LOADED}, config_changes, "row at service field old_value new_value"
    ),
    "incidents": _table(
        {RowKind.INCIDENT_OPENED, RowKind.INCIDENT_MITIGATED},
        incidents,
        "row at type severity detail mitigated_at mitigation",
    ),
}
