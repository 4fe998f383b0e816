"""The tables for people: each made of rows alone, a change of status a later row."""

from __future__ import annotations

from typing import Any

import pytest

from trade_journal.log.rendering import time_text
from trade_journal.log.rows import Row, RowKind
from trade_journal.tables import TABLES, Record, capital_movements, config_changes, halt_events, incidents, swing_trades

OPENED = {
    "trade_id": "1",
    "pair": "BTC/USDT",
    "direction": "long",
    "leverage": "1",
    "strategy": "Sample",
    "enter_tag": "dip",
    "entry_price": "100",
    "entry_amount": "2",
    "exit_amount": "0",
    "opened_at_ns": 0,
}
CLOSED = {
    "trade_id": "1",
    "entry_price": "101",
    "entry_amount": "3",
    "exit_amount": "3",
    "exit_price": "110",
    "exit_reason": "roi",
    "closed_at_ns": 10**9,
    "profit": "27",
    "profit_ratio": "0.09",
    "currency": "USDT",
    "entry_fee": "0.1 USDT",
    "exit_fee": None,
}


def rows(*content: tuple[RowKind, dict[str, Any]]) -> list[Row]:
    return [
        Row(seq=seq, at_ns=seq * 10**9, kind=kind, actor="gateway", fields=fields)
        for seq, (kind, fields) in enumerate(content)
    ]


def lesson(text: str, trade_id: str = "1") -> tuple[RowKind, dict[str, Any]]:
    return RowKind.SWING_TRADE_LESSON, {"trade_id": trade_id, "lesson": text}


def test_swing_trade_is_one_record_from_its_beginning_to_its_last_lesson() -> None:
    opened, changed = (RowKind.SWING_TRADE_OPENED, OPENED), {"trade_id": "1", "entry_amount": "3", "entry_price": "101"}
    (record,) = swing_trades(rows(opened))
    assert (record["status"], record["exit"], record["thesis"], record["lesson"]) == ("open", None, "Sample dip", None)
    assert record["entry"] == "2 at 100, 1970-01-01T00:00:00.000Z"
    (record,) = swing_trades(rows(opened, (RowKind.SWING_TRADE_CHANGED, changed)))
    assert record["entry"] == "3 at 101, 1970-01-01T00:00:00.000Z"
    story = [opened, (RowKind.SWING_TRADE_CLOSED, CLOSED), lesson("first"), lesson("last"), lesson("no", "7")]
    assert swing_trades(rows(*story)) == [
        {
            "trade_id": "1",
            "pair": "BTC/USDT",
            "direction": "long",
            "leverage": "1",
            "status": "closed",
            "entry": "3 at 101, 1970-01-01T00:00:00.000Z",
            "exit": "3 at 110, 1970-01-01T00:00:01.000Z",
            "thesis": "Sample dip -> roi",
            "profit": "27 USDT",
            "profit_ratio": "0.09",
            "fees": "0.1 USDT",
            "lesson": "last",
        }
    ]


def test_swing_trade_without_tags_has_no_thesis_and_one_without_a_beginning_no_record() -> None:
    bare = {"trade_id": "1"}
    (record,) = swing_trades(rows((RowKind.SWING_TRADE_OPENED, bare), (RowKind.SWING_TRADE_OPENED, bare)))
    assert (record["thesis"], record["fees"], record["profit"]) == (None, None, None)
    assert record["entry"] == "None at None, at an unknown time"
    assert swing_trades(rows((RowKind.SWING_TRADE_CLOSED, CLOSED))) == []


def test_capital_movement_has_its_last_status() -> None:
    kind = RowKind.CAPITAL_MOVEMENT_RECORDED
    announced = {"movement_id": "a", "direction": "out", "amount": "50", "coin": "USDT", "status": "announced"}
    done = {"movement_id": "a", "status": "confirmed", "confirm_txn": "0x1"}
    other = {"movement_id": "b", "direction": "in", "amount": "1", "status": "seen"}
    first, second = capital_movements(rows((kind, announced), (kind, done), (kind, other)))
    assert first == {
        "movement_id": "a",
        "at": "1970-01-01T00:00:00.000Z",
        "direction": "out",
        "amount": "50 USDT",
        "status": "confirmed",
        "confirm_txn": "0x1",
    }
    assert (second["amount"], second["confirm_txn"]) == ("1", None)


def test_halt_is_resolved_by_the_next_release_of_the_latch_and_by_nothing_else() -> None:
    def latch(ceiling: str, reason: str = "x") -> tuple[RowKind, dict[str, Any]]:
        fields = {"holder": "operator_latch", "ceiling": ceiling, "reason": reason, "by": "operator"}
        return RowKind.STATE_CHANGED, fields

    effective = (RowKind.STATE_CHANGED, {"holder": "effective", "ceiling": "ACTIVE", "reason": ""})
    found = halt_events(
        rows(latch("HALTED", "one"), effective, latch("HALTED", "two"), latch("ACTIVE"), latch("HALTED"))
    )
    assert [(one["row"], one["reason"], one["resolved_at"]) for one in found] == [
        ("0", "one", "1970-01-01T00:00:03.000Z"),
        ("2", "two", "1970-01-01T00:00:03.000Z"),
        ("4", "x", None),
    ]
    again = halt_events(rows(latch("HALTED"), latch("ACTIVE"), latch("ACTIVE")))
    assert again[0]["resolved_at"] == "1970-01-01T00:00:01.000Z"


def test_rung_that_fired_is_a_halt_with_its_drawdown_until_it_ends() -> None:
    def rung(kind: RowKind, name: str, drawdown: str | None = None) -> tuple[RowKind, dict[str, Any]]:
        return kind, {"rung": name, "drawdown": drawdown, "by": "ladder"}

    fired, latch = RowKind.RUNG_FIRED, {"holder": "operator_latch", "reason": "x", "by": "watchdog"}
    found = halt_events(
        rows(
            rung(fired, "weekly", "0.08"),
            rung(fired, "monthly", "0.15"),
            (RowKind.STATE_CHANGED, {**latch, "ceiling": "HALTED"}),
            rung(RowKind.RUNG_CLEARED, "weekly"),
            rung(RowKind.RUNG_CLEARED, "daily"),
            rung(fired, "daily", "0.05"),
            (RowKind.STATE_CHANGED, {**latch, "ceiling": "ACTIVE"}),
            rung(RowKind.RUNG_ACKNOWLEDGED, "daily"),
            rung(fired, "weekly", "0.09"),
            rung(RowKind.RUNG_REBASED, "weekly"),
        )
    )
    assert [(one["row"], one["reason"], one["trigger_value"], one["resolved_at"]) for one in found] == [
        ("0", "rung weekly", "0.08", "1970-01-01T00:00:03.000Z"),
        ("1", "rung monthly", "0.15", None),
        ("2", "x", None, "1970-01-01T00:00:06.000Z"),
        ("5", "rung daily", "0.05", "1970-01-01T00:00:07.000Z"),
        ("8", "rung weekly", "0.09", "1970-01-01T00:00:09.000Z"),
    ]
    assert found[0]["by"] == "ladder"


def test_each_changed_key_is_a_record() -> None:
    changes = ["loosens collar: 0.003 -> 0.004", "tightens symbols.spot.BTCUSDT: 1 -> 2 -> none", "and 7 more"]
    fields = {"old_hash": "a", "new_hash": "b", "changes": changes}
    found = config_changes(rows((RowKind.POLICY_CHANGED, fields), (RowKind.POLICY_CHANGED, {"changes": "odd"})))
    assert [(one["service"], one["field"], one["old_value"], one["new_value"]) for one in found] == [
        ("gateway", "collar", "0.003", "0.004"),
        ("gateway", "symbols.spot.BTCUSDT", "1 -> 2", "none"),
        ("gateway", "and 7 more", None, None),
    ]


def test_settings_that_differ_between_two_starts_are_records() -> None:
    def loaded(**settings: str) -> tuple[RowKind, dict[str, Any]]:
        return RowKind.CONFIG_LOADED, {"settings": settings}

    found = config_changes(
        rows(loaded(a="1", b="2"), loaded(a="1", b="3", c="4"), loaded(a="1", b="3"), loaded(a="1", b="3"))
    )
    assert [(one["row"], one["field"], one["old_value"], one["new_value"]) for one in found] == [
        ("1", "b", "2", "3"),
        ("1", "c", None, "4"),
        ("2", "c", "4", None),
    ]
    assert config_changes(rows((RowKind.CONFIG_LOADED, {}), (RowKind.CONFIG_LOADED, {"settings": "odd"}))) == []


def test_incident_has_what_is_known_of_it() -> None:
    fields = {"type": "disaster stop filled", "severity": "critical", "symbol": "BTCUSDT", "filled": "1"}
    (found,) = incidents(rows((RowKind.INCIDENT_OPENED, fields)))
    assert (found["type"], found["severity"], found["detail"], found["mitigated_at"]) == (
        "disaster stop filled",
        "critical",
        "symbol=BTCUSDT filled=1",
        None,
    )


def test_incident_is_mitigated_by_the_first_row_that_names_its_row() -> None:
    opened = (RowKind.INCIDENT_OPENED, {"type": "x"})
    told = [
        {"incident": 1, "mitigation": "looked", "by": "kim"},
        {"incident": 1, "mitigation": "again"},
        {"incident": "0"},
    ]
    made = rows(opened, opened, *((RowKind.INCIDENT_MITIGATED, fields) for fields in told))
    other, found = incidents(made)
    assert (other["mitigated_at"], other["mitigation"]) == (None, None)
    assert (found["mitigated_at"], found["mitigation"]) == (time_text(made[2].at_ns), "looked (by kim)")
    (found,) = incidents(rows(opened, (RowKind.INCIDENT_MITIGATED, {"incident": 0, "mitigation": "looked"})))
    assert found["mitigation"] == "looked"
    assert incidents(rows((RowKind.INCIDENT_MITIGATED, {"incident": 7}), (RowKind.INCIDENT_MITIGATED, {}))) == []


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_what_the_records_have(name: str) -> None:
    table = TABLES[name]
    fields = {"holder": "operator_latch", "changes": ["tightens x: 1 -> 2"], "trade_id": "1", "settings": {}}
    found: list[Record] = table.project(rows(*((kind, fields) for kind in RowKind if kind in table.kinds)))
    assert found
    assert all(tuple(record) == table.columns for record in found)


def test_tables_of_the_design_have_their_columns() -> None:
    wanted = {
        "swing_trades": {"trade_id", "pair", "entry", "exit", "thesis", "lesson"},
        "capital_movements": {"direction", "amount", "status", "confirm_txn"},
        "halt_events": {"reason", "trigger_value", "resolved_at"},
        "config_changes": {"service", "field", "old_value", "new_value"},
        "incidents": {"type", "severity", "mitigated_at"},
    }
    assert TABLES.keys() == wanted.keys()
    assert all(columns <= set(TABLES[name].columns) for name, columns in wanted.items())
