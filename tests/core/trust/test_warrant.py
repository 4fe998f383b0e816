"""Warrants: signed bytes, exact names, single subject, short life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.lease import PURPOSE as LEASE_PURPOSE
from trade_core.trust.statement import sign_statement
from trade_core.trust.warrant import (
    MAX_ARMED_MS,
    MAX_LIFETIME_MS,
    MAX_NAME_CHARACTERS,
    MAX_WARRANT_BYTES,
    MAX_WORDS_CHARACTERS,
    SIGNATURE_PURPOSE,
    WARRANT_VERSION,
    Warrant,
    WarrantPurpose,
    check_in_time,
    check_warrant,
    open_warrant,
    parse_warrant,
    sign_warrant,
    warrant_bytes,
)

KEY = load_private_key(new_private_key())
PUBLIC = public_text(KEY)
NOW_MS = 1_800_000_000_000
WARRANT = Warrant(
    purpose="release",
    version=1,
    deployment="d1",
    environment="simulated",
    audience="gateway",
    account="1002",
    ring_hash="r",
    subject="latch:7",
    nonce="n",
    words="release HALTED",
    expires_at_ms=NOW_MS + 60_000,
)
NAMES = {
    "deployment": "d1",
    "environment": "simulated",
    "audience": "gateway",
    "account": "1002",
    "ring_hash": "r",
    "subject": "latch:7",
}


def test_warrant_opens_to_what_was_signed() -> None:
    opened = open_warrant(sign_warrant(WARRANT, KEY), operator_key=PUBLIC)
    assert opened == WARRANT
    check_warrant(opened, purpose=WarrantPurpose.RELEASE, **NAMES)
    check_in_time(opened, now_ms=NOW_MS)


def test_warrant_changed_in_any_byte_is_refused() -> None:
    raw = sign_warrant(WARRANT, KEY)
    for position in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[position] ^= 1
        with pytest.raises(NotTrusted):
            open_warrant(bytes(changed), operator_key=PUBLIC)


def test_warrant_by_another_key_or_for_another_purpose_is_refused() -> None:
    stranger = load_private_key(new_private_key())
    with pytest.raises(NotTrusted, match="not by key"):
        open_warrant(sign_warrant(WARRANT, stranger), operator_key=PUBLIC)
    as_lease = sign_statement(WARRANT.content(), KEY, purpose=LEASE_PURPOSE)
    with pytest.raises(NotTrusted, match="not by key"):
        open_warrant(as_lease, operator_key=PUBLIC)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"purpose": "withdraw"}, {"words": "x" * 401}, {"words": "a\x1b[2J"}, {"version": "1"}],
)
def test_warrant_with_absurd_fields_is_refused(change: dict[str, object]) -> None:
    raw = sign_statement({**WARRANT.content(), **change}, KEY, purpose="warrant/v1")
    with pytest.raises(NotTrusted):
        open_warrant(raw, operator_key=PUBLIC)


@pytest.mark.parametrize("name", NAMES)
def test_warrant_for_something_else_is_refused_by_name(name: str) -> None:
    with pytest.raises(NotTrusted, match=name):
        check_warrant(replace(WARRANT, **{name: "other"}), purpose=WarrantPurpose.RELEASE, **NAMES)


def test_warrant_of_another_purpose_is_refused() -> None:
    with pytest.raises(NotTrusted, match="purpose"):
        check_warrant(WARRANT, purpose=WarrantPurpose.POLICY, **NAMES)


@pytest.mark.parametrize(
    ("left_ms", "is_valid"), [(1, True), (0, False), (-1, False), (MAX_LIFETIME_MS, True), (MAX_LIFETIME_MS + 1, False)]
)
def test_warrant_lives_at_most_five_minutes(left_ms: int, is_valid: bool) -> None:
    warrant = replace(WARRANT, expires_at_ms=NOW_MS + left_ms)
    if is_valid:
        check_in_time(warrant, now_ms=NOW_MS)
    else:
        with pytest.raises(NotTrusted):
            check_in_time(warrant, now_ms=NOW_MS)


def test_warrant_has_the_bounds_that_were_decided() -> None:
    assert (WARRANT_VERSION, MAX_LIFETIME_MS, MAX_WORDS_CHARACTERS) == (1, 300_000, 400)


def test_warrant_with_a_field_more_or_less_is_refused() -> None:
    content = WARRANT.content()
    less = {name: value for name, value in content.items() if name != "nonce"}
    for changed in ({**content, "more": "x"}, less):
        with pytest.raises(NotTrusted, match="fields"):
            open_warrant(sign_statement(changed, KEY, purpose=SIGNATURE_PURPOSE), operator_key=PUBLIC)


@pytest.mark.parametrize(("length", "is_read"), [(400, True), (401, False)])
def test_warrant_has_at_most_four_hundred_characters_of_words(length: int, *, is_read: bool) -> None:
    raw = sign_warrant(replace(WARRANT, words="w" * length), KEY)
    if is_read:
        assert len(open_warrant(raw, operator_key=PUBLIC).words) == length
    else:
        with pytest.raises(NotTrusted, match="words"):
            open_warrant(raw, operator_key=PUBLIC)


def test_warrant_is_read_from_its_one_form_alone() -> None:
    payload = warrant_bytes(WARRANT)
    assert parse_warrant(payload) == WARRANT
    for changed in (payload + b" ", b" " + payload, payload.replace(b":", b": ", 1), payload[:-1] + b',"version":1}'):
        with pytest.raises(NotTrusted, match="warrant"):
            parse_warrant(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"purpose": "withdraw"},
        {"words": "a\u202eb"},
        {"subject": "s\n"},
        {"nonce": "\x7f"},
        {"audience": "a" * 201},
        {"expires_at_ms": -1},
    ],
)
def test_warrant_bytes_with_absurd_fields_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotTrusted, match="warrant"):
        parse_warrant(warrant_bytes(replace(WARRANT, **change)))


def test_warrant_bytes_with_a_field_more_are_refused() -> None:
    with pytest.raises(NotTrusted, match="fields"):
        parse_warrant(canonical_json({**WARRANT.content(), "more": "x"}))


@pytest.mark.parametrize("name", ["audience", "subject", "nonce"])
def test_warrant_with_names_at_their_bound_is_read(name: str) -> None:
    longest = replace(WARRANT, **{name: "n" * 200})
    assert parse_warrant(warrant_bytes(longest)) == longest
    with pytest.raises(NotTrusted, match=f"{name} is too long"):
        parse_warrant(warrant_bytes(replace(WARRANT, **{name: "n" * 201})))


def test_warrant_bytes_beyond_their_bound_are_refused() -> None:
    with pytest.raises(NotTrusted, match="at most 2048"):
        parse_warrant(warrant_bytes(replace(WARRANT, account="1" * 2048)))
    assert (MAX_WARRANT_BYTES, MAX_NAME_CHARACTERS, MAX_ARMED_MS) == (2048, 200, 7_776_000_000)


@pytest.mark.parametrize("purpose", [purpose.value for purpose in WarrantPurpose])
def test_clock_that_is_not_trusted_refuses_all_but_a_kill(purpose: str) -> None:
    expired = replace(WARRANT, purpose=purpose, expires_at_ms=1)
    if purpose == "kill":
        check_in_time(expired, now_ms=NOW_MS, is_clock_trusted=False)
        with pytest.raises(NotTrusted, match="expired"):
            check_in_time(expired, now_ms=NOW_MS)
    else:
        with pytest.raises(NotTrusted, match="clock"):
            check_in_time(replace(WARRANT, purpose=purpose), now_ms=NOW_MS, is_clock_trusted=False)


@pytest.mark.parametrize(
    ("purpose", "left_ms", "is_valid"),
    [
        ("arm", MAX_ARMED_MS, True),
        ("arm", MAX_ARMED_MS + 1, False),
        ("arm", 0, False),
        ("kill", MAX_LIFETIME_MS + 1, False),
        ("disarm", MAX_LIFETIME_MS + 1, False),
    ],
)
def test_standing_warrant_alone_lives_for_ninety_days(purpose: str, left_ms: int, *, is_valid: bool) -> None:
    warrant = replace(WARRANT, purpose=purpose, expires_at_ms=NOW_MS + left_ms)
    if is_valid:
        check_in_time(warrant, now_ms=NOW_MS)
    else:
        with pytest.raises(NotTrusted):
            check_in_time(warrant, now_ms=NOW_MS)
