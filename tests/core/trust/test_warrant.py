"""Warrants: signed bytes, exact names, single subject, short life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.lease import PURPOSE as LEASE_PURPOSE
from trade_core.trust.statement import sign_statement
from trade_core.trust.warrant import (
    MAX_LIFETIME_MS,
    MAX_WORDS_CHARACTERS,
    SIGNATURE_PURPOSE,
    WARRANT_VERSION,
    Warrant,
    WarrantPurpose,
    check_in_time,
    check_warrant,
    open_warrant,
    sign_warrant,
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
    [{"version": 2}, {"purpose": "kill"}, {"words": "x" * 401}, {"words": "a\x1b[2J"}, {"version": "1"}],
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
