"""Rows: one byte form each, within bounds, and back again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.canonical import canonical_json
from trade_journal.errors import JournalDamaged, RowRefused
from trade_journal.log.rows import (
    INTEGER_MAX,
    REQUEST_KINDS,
    ROW_BYTES_MAX,
    TIME_NS_MAX,
    Entry,
    Row,
    RowKind,
    draft,
    leaf_hash,
    numbered,
    parse_row,
    row_bytes,
)

ROW = Row(seq=0, at_ns=1_790_000_000_000_000_000, kind=RowKind.ORDER_INTENT, actor="gateway", fields={})

TIMES = st.integers(-TIME_NS_MAX, TIME_NS_MAX)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | TEXTS
NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z").filter(lambda name: not name.endswith("_ns"))
TIME_NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,10}_ns\Z")
KEYS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,20}\Z").filter(lambda name: not name.endswith("_ns"))
VALUES = SCALARS | st.lists(SCALARS, max_size=5) | st.dictionaries(KEYS, SCALARS, max_size=5)
FIELDS = st.builds(
    lambda plain, times: {**plain, **times},
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.dictionaries(TIME_NAMES, st.none() | TIMES | st.lists(TIMES, max_size=3), max_size=3),
)
ROWS = st.builds(
    Row,
    seq=st.integers(0, INTEGER_MAX),
    at_ns=TIMES,
    kind=st.sampled_from(RowKind),
    actor=st.from_regex(r"\A[a-z][A-Za-z0-9_.:@-]{0,63}\Z"),
    fields=FIELDS,
    policy_hash=st.none() | st.from_regex(r"\A[0-9a-f]{64}\Z"),
)


def as_document(value: Any, name: str = "") -> Any:
    """Render a row's value independently of the code under test: nanoseconds as text."""
    if isinstance(value, dict):
        return {key: as_document(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [as_document(item, name) for item in value]
    return str(value) if name.endswith("_ns") and value is not None else value


@given(ROWS)
def test_row_rendered_and_parsed_is_the_same_row(row: Row) -> None:
    assert parse_row(row_bytes(row)) == row


@given(ROWS)
def test_row_bytes_are_the_canonical_json_of_its_parts(row: Row) -> None:
    document = {
        "seq": row.seq,
        "at_ns": str(row.at_ns),
        "kind": row.kind.value,
        "actor": row.actor,
        "fields": as_document(row.fields),
        "policy_hash": row.policy_hash,
    }
    assert row_bytes(row) == canonical_json(document)


@given(ROWS)
def test_draft_numbered_is_the_row(row: Row) -> None:
    entry = Entry(at_ns=row.at_ns, kind=row.kind, actor=row.actor, fields=row.fields, policy_hash=row.policy_hash)
    assert numbered(draft(entry).head, row.seq) == row_bytes(row)


def test_leaf_hash_is_rfc_6962() -> None:
    assert leaf_hash(b"") == bytes.fromhex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
    assert leaf_hash(b"row") == hashlib.sha256(b"\x00row").digest()


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), b"x", {"a": {"b": 1}}, [[1]], [1.0], {"a": 1.0}, {1: "x"}, {"": 1}, object(), {1, 2}],
)
def test_field_value_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={"value": value}))


@pytest.mark.parametrize("name", ["", "Name", "1a", "a-b", "a b", "a\n", "é", "a" * 49, 7])
def test_field_name_out_of_grammar_is_refused(name: Any) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={name: "x"}))


@pytest.mark.parametrize("actor", ["", "Gateway", "a b", "a\n", "a" * 65, None])
def test_actor_out_of_grammar_is_refused(actor: Any) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, actor=actor))


@pytest.mark.parametrize("policy_hash", ["", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", 7])
def test_policy_hash_out_of_grammar_is_refused(policy_hash: Any) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, policy_hash=policy_hash))


@pytest.mark.parametrize("at_ns", [True, 1.0, "1", None, TIME_NS_MAX + 1])
def test_time_not_an_integer_within_64_bits_is_refused(at_ns: Any) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, at_ns=at_ns))


def test_time_field_given_as_text_is_refused() -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={"sent_at_ns": "5"}))


def test_integer_at_the_bound_is_kept_and_past_it_is_refused() -> None:
    assert parse_row(row_bytes(replace(ROW, fields={"n": INTEGER_MAX}))).fields == {"n": INTEGER_MAX}
    for value in (INTEGER_MAX + 1, -INTEGER_MAX - 1):
        with pytest.raises(RowRefused):
            row_bytes(replace(ROW, fields={"n": value}))


def test_text_at_the_bound_is_kept_and_past_it_is_refused() -> None:
    assert parse_row(row_bytes(replace(ROW, fields={"text": "x" * 512}))).fields == {"text": "x" * 512}
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={"text": "x" * 513}))


def test_text_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={"text": "\ud800"}))


def test_row_of_8_kib_is_the_largest() -> None:
    filled = {f"text{index}": "x" * 512 for index in range(15)}
    room = ROW_BYTES_MAX - len(row_bytes(replace(ROW, seq=INTEGER_MAX, fields={**filled, "last": ""})))
    assert 0 < room <= 512
    largest = row_bytes(replace(ROW, seq=INTEGER_MAX, fields={**filled, "last": "x" * room}))
    assert len(largest) == ROW_BYTES_MAX
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, fields={**filled, "last": "x" * (room + 1)}))


def test_too_many_fields_or_items_are_refused() -> None:
    row_bytes(replace(ROW, fields={f"f{index}": 1 for index in range(64)}))
    row_bytes(replace(ROW, fields={"items": [1] * 128}))
    for fields in ({f"f{index}": 1 for index in range(65)}, {"items": [1] * 129}):
        with pytest.raises(RowRefused):
            row_bytes(replace(ROW, fields=fields))


@pytest.mark.parametrize("seq", [-1, INTEGER_MAX + 1])
def test_sequence_number_out_of_bounds_is_refused(seq: int) -> None:
    with pytest.raises(RowRefused):
        row_bytes(replace(ROW, seq=seq))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "order:unheard_of"},
        {"seq": "0"},
        {"at_ns": 5},
        {"at_ns": "05"},
        {"actor": 5},
        {"fields": []},
        {"fields": {"a": 1.5}},
        {"fields": {"a": [[1]]}},
        {"extra": 1},
        {"policy_hash": "x"},
    ],
)
def test_bytes_that_are_no_row_are_damage(change: dict[str, Any]) -> None:
    document = {**json.loads(row_bytes(ROW)), **change}
    with pytest.raises(JournalDamaged):
        parse_row(canonical_json(document) if change != {"fields": {"a": 1.5}} else json.dumps(document).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{}", b"[" * 5000, b"1" * 5000])
def test_bytes_that_are_no_document_are_damage(body: bytes) -> None:
    with pytest.raises(JournalDamaged):
        parse_row(body)


def test_bytes_not_in_canonical_form_are_damage() -> None:
    body = row_bytes(ROW)
    for spoiled in (body + b" ", body.replace(b":", b": ", 1), b'{"seq":0,' + body[1:].replace(b',"seq":0', b"")):
        assert json.loads(spoiled)
        with pytest.raises(JournalDamaged):
            parse_row(spoiled)


def test_request_kinds_are_those_that_stand_for_one_request() -> None:
    assert {kind.value for kind in REQUEST_KINDS} == {
        "order:intent",
        "order:denied",
        "cancel:intent",
        "cancel:answered",
        "read:forwarded",
        "read:answered",
        "read:failed",
        "pin:answered",
        "request:denied",
        "stream:opened",
        "stream:denied",
    }


def test_row_bytes_of_every_character_there_is_are_canonical() -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    for first in range(0, len(characters), 500):
        text = "".join(characters[first : first + 500])
        head = draft(Entry(at_ns=1, kind=RowKind.ORDER_INTENT, actor="gateway", fields={"a": text})).head
        assert head.removeprefix(b'{"actor":"gateway","at_ns":"1","fields":').startswith(canonical_json({"a": text}))
