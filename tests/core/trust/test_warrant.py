"""Warrants: signed bytes, exact names, single subject, short life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted
from trade_core.trust.warrant import (
    MAX_ARMED_MS,
    MAX_KILL_WORDS_CHARACTERS,
    MAX_LIFETIME_MS,
    MAX_NAME_CHARACTERS,
    MAX_WARRANT_BYTES,
    MAX_WORDS_CHARACTERS,
    WARRANT_VERSION,
    Warrant,
    WarrantPurpose,
    check_in_time,
    most_words,
    parse_warrant,
    warrant_bytes,
)

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
    assert MAX_KILL_WORDS_CHARACTERS == 1000


@pytest.mark.parametrize("purpose", WarrantPurpose)
@pytest.mark.parametrize(("beyond", "is_read"), [(0, True), (1, False)])
def test_warrant_has_as_many_words_as_its_purpose_takes(purpose: WarrantPurpose, beyond: int, *, is_read: bool) -> None:
    destroys = purpose in {WarrantPurpose.KILL, WarrantPurpose.DRILL, WarrantPurpose.ARM}
    assert most_words(purpose.value) == (1000 if destroys else 400)
    length = most_words(purpose.value) + beyond
    payload = warrant_bytes(replace(WARRANT, purpose=purpose.value, words="w" * length))
    if is_read:
        assert len(parse_warrant(payload).words) == length
    else:
        with pytest.raises(NotTrusted, match="words"):
            parse_warrant(payload)


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
    with pytest.raises(NotTrusted, match="fields"):
        parse_warrant(canonical_json({name: value for name, value in WARRANT.content().items() if name != "nonce"}))


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
